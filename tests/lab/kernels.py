"""Get the lab's kernels: `python -m tests.lab.kernels [NAME]...` prints the paths of their images.

- `own`, the lab's own: Debian 13's Linux 6.12 source, built with `kernel.config`. It has all
  features that tests may need.
- `debian`, Debian 13's, as distributed: kernel DAMON, but no idle page tracking.
- `newest`, the newest of Debian 13 (backports): for features of newer kernels.

Without names the first two are printed.

Kernels are kept in ~/.cache/damon-lab (or in XDG_CACHE_HOME); remove that folder to get newer ones.
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

#: Shows a line of progress.
Report = Callable[[str], None]


def cache_folder() -> Path:
    """Return the folder where kernels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "damon-lab"


def own_kernel(cache: Path, report: Report) -> Path:
    """Return the image of the lab's own kernel; build it if `kernel.config` has changed.

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
        report(f"fetching {_SOURCE} (150 MB)")
        source = _unpacked_source(cache, Path(work))
        report("building it, which takes 5 minutes on two processors")
        make = ["nice", "make", "--silent", f"--jobs={os.cpu_count()}", "LOCALVERSION=-lab"]
        # Without the variables that `make lab` passes down.
        make[:0] = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL"]
        run(*make, "tinyconfig", cwd=source)
        with (source / ".config").open("a") as configuration:
            configuration.write(_FRAGMENT.read_text())
        run(*make, "olddefconfig", cwd=source)
        run(*make, "bzImage", cwd=source)
        shutil.copy(source / "arch/x86/boot/bzImage", folder)
    return image


def debian_kernel(cache: Path, report: Report) -> Path:
    """Return the image of Debian's kernel, with its modules beside it; fetch it if necessary.

    Raises:
        LabError: The kernel can't be fetched.
    """
    kept = cache / "debian-13"
    if not kept.exists():
        report("fetching Debian 13's kernel (110 MB)")
        with _new_folder(kept) as folder, tempfile.TemporaryDirectory(dir=cache) as work:
            archive = Archive(_apt_folder(cache), _RELEASE)
            package = archive.depends("linux-image-amd64", r"linux-image-6\S*")
            run("dpkg-deb", "--extract", str(archive.download(package, Path(work))), str(folder))
    (image,) = (kept / "boot").glob("vmlinuz-*")
    return image


def newest_kernel(cache: Path, report: Report) -> Path:
    """Return the image of the newest kernel, with its modules beside it; fetch it if necessary.

    Raises:
        LabError: The kernel can't be fetched.
    """
    kept = cache / "newest"
    if not kept.exists():
        report("fetching Debian's newest kernel (120 MB)")
        with _new_folder(kept) as folder, tempfile.TemporaryDirectory(dir=cache) as work:
            archive = Archive(_apt_folder(cache, "newest-apt"), f"{_RELEASE}-backports")
            image_package = archive.depends("linux-image-amd64", r"linux-image-\d\S*")
            version = image_package.removeprefix("linux-image-")
            for part in ("binary", "modules"):
                download = Path(work) / part
                download.mkdir()
                package = archive.download(f"linux-{part}-{version}", download)
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
    """Yield a new folder, which gets its path only if the block succeeds."""
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)


_KERNELS: dict[str, Callable[[Path, Report], Path]] = {
    "own": own_kernel,
    "debian": debian_kernel,
    "newest": newest_kernel,
}


def main() -> None:
    """Print the paths of the images in the format of DAMON_LAB_KERNELS."""
    names = sys.argv[1:] or ["own", "debian"]
    for name in names:
        if name not in _KERNELS:
            sys.exit(f"lab: there is no kernel '{name}'; possible: {', '.join(_KERNELS)}")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)

    def report(line: str) -> None:
        click.echo(f"lab: {line}", err=True)

    try:
        images = [_KERNELS[name](cache, report) for name in names]
    except LabError as error:
        sys.exit(f"lab: {error}")
    click.echo(os.pathsep.join(map(str, images)))


if __name__ == "__main__":
    main()
