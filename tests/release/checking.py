"""What distributions have to be like before anybody gets them."""

import email
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from email.message import Message
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from tests.release.packages import COMPILED, FOLDERS, VERSION, modules, project_file
from tests.release.programs import ReleaseError, run

#: What is in each source distribution besides the code.
_SOURCE = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}

#: What check-wheel-contents finds, and is meant.
_MEANT = {
    "damon-author": ["W002"],  # What a new package begins with has the licence, too.
    "damon-core": ["W009"],  # Its plugin of pytest is a module beside it.
    "damon-idle-native": ["W102"],  # What is compiled isn't in the source.
}


def wheels(name: str, dist: Path) -> list[Path]:
    """Return the files of a package's wheels: one, or for compiled modules one for each machine."""
    start = f"{name.replace('-', '_')}-{VERSION}"
    if name not in COMPILED:
        return [dist / f"{start}-py3-none-any.whl"]
    return sorted(dist.glob(f"{start}-cp311-abi3-*.whl"))


def wheel(name: str, dist: Path) -> Path:
    """Return the file of a package's wheel for this machine.

    Raises:
        ReleaseError: There is none.
    """
    here = set(sys_tags())
    for path in wheels(name, dist):
        if parse_wheel_filename(path.name)[3] & here:
            return path
    raise ReleaseError(f"{name}: {dist} has no wheel for this machine")


def source_distribution(name: str, dist: Path) -> Path:
    """Return the file of a package's source distribution."""
    return dist / f"{name.replace('-', '_')}-{VERSION}.tar.gz"


def check(names: Iterable[str], dist: Path) -> None:
    """Check the distributions of packages.

    Raises:
        ReleaseError: A file is missing or superfluous, or one of them isn't right.
    """
    names = list(names)
    expected = {source_distribution(name, dist) for name in names}
    expected |= {path for name in names for path in (*wheels(name, dist), wheel(name, dist))}
    if found := expected ^ set(dist.iterdir()):
        raise ReleaseError(f"missing or superfluous: {', '.join(sorted(map(str, found)))}")
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(expected), cwd=dist)
    for name in names:
        _check_wheel_contents(name, dist)
        mistakes = [each for path in wheels(name, dist) for each in wheel_mistakes(name, path)]
        if mistakes := [*mistakes, *source_mistakes(name, dist)]:
            raise ReleaseError("\n".join(f"{name}: {mistake}" for mistake in mistakes))


def _check_wheel_contents(name: str, dist: Path) -> None:
    """Run check-wheel-contents, which compares the wheel with the source, too."""
    program = Path(sys.executable).with_name("check-wheel-contents")
    # Templates have files whose names begin with a dot: it would leave them out.
    command: list[str | Path] = [program, "--no-config", "--package-omit", "__pycache__"]
    for folder in modules(name):
        command += ["--package", folder]
    if meant := _MEANT.get(name):
        command += ["--ignore", ",".join(meant)]
    run(*command, *wheels(name, dist), cwd=dist)
    if name in COMPILED:
        run(program.with_name("abi3audit"), "--strict", *wheels(name, dist), cwd=dist)


def wheel_mistakes(name: str, path: Path) -> list[str]:
    """Return what is wrong with a wheel: its metadata, types, licence."""
    with zipfile.ZipFile(path) as archive:
        files = set(archive.namelist())
        info = f"{name.replace('-', '_')}-{VERSION}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    mistakes = [
        f"{each} has no py.typed" for each in modules(name) if f"{each.name}/py.typed" not in files
    ]
    if f"{info}/licenses/LICENSE" not in files:
        mistakes.append("the wheel has no LICENSE")
    return [*mistakes, *metadata_mistakes(name, metadata)]


def metadata_mistakes(name: str, metadata: Message) -> list[str]:
    """Return what is wrong with the metadata of a package."""
    project = project_file(name)["project"]
    expected = {
        "Name": name,
        "Version": VERSION,
        "Summary": project["description"],
        "Requires-Python": project["requires-python"],
        "License-Expression": project["license"],
        "Description-Content-Type": "text/markdown",
    }
    mistakes = [
        f"{field} is {metadata[field]!r}, not {value!r}"
        for field, value in expected.items()
        if metadata[field] != value
    ]
    required = map(Requirement, metadata.get_all("Requires-Dist", []))
    mistakes += [
        f"{each} isn't met by {VERSION}, with which it is released"
        for each in required
        if each.name in FOLDERS and VERSION not in each.specifier
    ]
    return mistakes


def source_mistakes(name: str, dist: Path) -> list[str]:
    """Return what a source distribution lacks."""
    path = source_distribution(name, dist)
    with tarfile.open(path) as archive:
        files = {str(PurePosixPath(*PurePosixPath(each).parts[1:])) for each in archive.getnames()}
    code = {str(module.relative_to(FOLDERS[name]) / "py.typed") for module in modules(name)}
    return [f"{path.name} has no {each}" for each in sorted((_SOURCE | code) - files)]
