"""Get the laboratory's kernels: `python -m tests.lab.kernels [NAME]...` prints where they are.

- `own`, the lab's own: Debian 13's Linux 6.12 source, built with `kernel.config`. It has all that
  tests may need.
- `debian`, Debian 13's own, as distributed: kernel DAMON, but no idle page tracking.
- `newest`, the newest that Debian offers for its release 13 (backports): for what only newer
  kernels have.

Without names these are the first two.

They are kept in ~/.cache/damon-lab (or below XDG_CACHE_HOME); remove that to get newer ones.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tests.lab.debian import Archive, run
from tests.lab.errors import LabError

_RELEASE = "trixie"
_SOURCE = "linux-source-6.12"
_FRAGMENT = Path(__file__).with_name("kernel.config")
_PROGRAMS = ("gcc", "make", "flex", "bison", "bc", "xz")
_PACKAGES = "gcc make flex bison bc xz-utils libelf-dev libssl-dev"

Tell = Callable[[str], None]


def cache_folder() -> Path:
    """Return where kernels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "damon-lab"


def own_kernel(cache: Path, tell: Tell) -> Path:
    """Return the image of the lab's own kernel; build it if this fragment wasn't built yet.

    Raises:
        LabError: A program is missing, the source can't be fetched, or the build fails.
    """
    fingerprint = hashlib.sha256(_FRAGMENT.read_bytes()).hexdigest()[:12]
    kept = cache / f"own-{fingerprint}"
    image = kept / "bzImage"
    if image.exists():
        return image
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise LabError(f"building a kernel needs {', '.join(missing)}: apt-get install {_PACKAGES}")
    with _new_folder(kept) as folder, tempfile.TemporaryDirectory(dir=cache) as work:
        tell(f"fetching {_SOURCE} (150 MB)")
        source = _unpacked_source(cache, Path(work))
        tell("building it, which takes 5 minutes on two processors")
        make = ["nice", "make", "--silent", f"--jobs={os.cpu_count()}", "LOCALVERSION=-lab"]
        # `make lab` hands its own variables down otherwise.
        make[:0] = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL"]
        run(*make, "tinyconfig", cwd=source)
        with (source / ".config").open("a") as configuration:
            configuration.write(_FRAGMENT.read_text())
        run(*make, "olddefconfig", cwd=source)
        run(*make, "bzImage", cwd=source)
        shutil.copy(source / "arch/x86/boot/bzImage", folder)
    return image


def debian_kernel(cache: Path, tell: Tell) -> Path:
    """Return the image of Debian's kernel, beside which are its modules; fetch it if need be.

    Raises:
        LabError: It can't be fetched.
    """
    kept = cache / "debian-13"
    if not kept.exists():
        tell("fetching Debian 13's kernel (110 MB)")
        with _new_folder(kept) as folder, tempfile.TemporaryDirectory(dir=cache) as work:
            archive = Archive(_apt_folder(cache), _RELEASE)
            package = archive.depends("linux-image-amd64", r"linux-image-6\S*")
            run("dpkg-deb", "--extract", str(archive.download(package, Path(work))), str(folder))
    (image,) = (kept / "boot").glob("vmlinuz-*")
    return image


def newest_kernel(cache: Path, tell: Tell) -> Path:
    """Return the image of the newest kernel, beside which are its modules; fetch it if need be.

    Raises:
        LabError: It can't be fetched.
    """
    kept = cache / "newest"
    if not kept.exists():
        tell("fetching Debian's newest kernel (120 MB)")
        with _new_folder(kept) as folder, tempfile.TemporaryDirectory(dir=cache) as work:
            archive = Archive(_apt_folder(cache, "newest-apt"), f"{_RELEASE}-backports")
            image_package = archive.depends("linux-image-amd64", r"linux-image-\d\S*")
            version = image_package.removeprefix("linux-image-")
            for part in ("binary", "modules"):
                place = Path(work) / part
                place.mkdir()
                package = archive.download(f"linux-{part}-{version}", place)
                run("dpkg-deb", "--extract", str(package), str(folder))
            image = folder / f"usr/lib/modules/{version}/vmlinuz"
            (folder / "boot").mkdir(exist_ok=True)
            image.rename(folder / f"boot/vmlinuz-{version}")
    (image,) = (kept / "boot").glob("vmlinuz-*")
    return image


def _unpacked_source(cache: Path, work: Path) -> Path:
    package = Archive(_apt_folder(cache), _RELEASE).download(_SOURCE, work)
    run("dpkg-deb", "--extract", str(package), str(work))
    run("tar", "--extract", "--file", str(work / f"usr/src/{_SOURCE}.tar.xz"), cwd=work)
    return work / _SOURCE


def _apt_folder(cache: Path, name: str = "apt") -> Path:
    folder = cache / name
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)


_KERNELS: dict[str, Callable[[Path, Tell], Path]] = {
    "own": own_kernel,
    "debian": debian_kernel,
    "newest": newest_kernel,
}


def main() -> None:
    """Print the images' paths as DAMON_LAB_KERNELS wants them."""
    names = sys.argv[1:] or ["own", "debian"]
    for name in names:
        if name not in _KERNELS:
            sys.exit(f"lab: there is no kernel '{name}'; possible: {', '.join(_KERNELS)}")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)

    def tell(what: str) -> None:
        click.echo(f"lab: {what}", err=True)

    try:
        images = [_KERNELS[name](cache, tell) for name in names]
    except LabError as error:
        sys.exit(f"lab: {error}")
    click.echo(os.pathsep.join(map(str, images)))


if __name__ == "__main__":
    main()
