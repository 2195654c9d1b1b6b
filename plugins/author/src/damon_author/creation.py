"""A package made of the template: the work of ``damon plugin new``."""

import contextlib
import re
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path

import copier
from copier.errors import CopierError

from damon_core import InputError, Plugins

#: What a package can have, in the order in which people read about it.
KINDS = ("callback", "primitive", "backend", "policy", "format", "command")
TEMPLATE = Path(__file__).parent / "template"

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
#: Longer ones would make lines too long.
_MOST_CHARACTERS = 24
_PREFIX = "damon-"
#: Names that mean something else where the plugin would be named.
_RESERVED = {"backend": "auto", "primitive": "format"}


def create_package(
    plugins: Plugins, name: str, kinds: Collection[str], directory: Path | None = None
) -> Path:
    """Make a package of the template.

    Args:
        plugins: What is installed: names that are taken aren't taken again.
        name: What files and command lines will call the plugin.
        kinds: What is in it, of `KINDS`.
        directory: Where to put it; by default the folder ``damon-NAME`` of the working directory.

    Returns:
        Where it is.

    Raises:
        InputError: The name can't be used, nothing is to be in it, or the folder isn't empty or
            can't be written.
    """
    if not kinds:
        options = ", ".join(f"--{kind}" for kind in KINDS)
        raise InputError(f"say what is in the package: {options}; several go together")
    _check_name(name, kinds)
    if (taken := next(_taken(plugins, name, kinds), None)) is not None:
        raise InputError(f"{taken}: choose another name")
    target = directory or Path(package_name(name))
    try:
        if target.exists() and any(each.name != ".git" for each in target.iterdir()):
            raise InputError(f"'{target}' isn't empty: choose another --directory")
        target.mkdir(parents=True, exist_ok=True)
        copier.run_copy(
            str(TEMPLATE),
            target,
            data={
                "name": name,
                "kinds": [kind for kind in KINDS if kind in kinds],
                "series": _series(),
            },
            defaults=True,
            quiet=True,
        )
    except (OSError, CopierError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"'{target}' can't be made: {reason}") from error
    return target


def package_name(name: str) -> str:
    """Return what the package of a plugin is called."""
    return _PREFIX + name.replace("_", "-")


def _check_name(name: str, kinds: Collection[str]) -> None:
    if name.startswith((_PREFIX, "damon_")):
        raise InputError(
            f"'{name}': leave 'damon-' out; the package is called damon-NAME by itself"
        )
    if not _NAME.fullmatch(name) or len(name) > _MOST_CHARACTERS:
        raise InputError(
            f"'{name}' can't be a plugin's name: up to {_MOST_CHARACTERS} lower-case letters, "
            "digits and single '-' or '_', beginning with a letter, such as 'tally'"
        )
    for kind, reserved in _RESERVED.items():
        if kind in kinds and name == reserved:
            raise InputError(f"no {kind} can be called '{name}', which means something else")


def _taken(plugins: Plugins, name: str, kinds: Collection[str]) -> Iterator[str]:
    """Yield what is installed by this name already."""
    package = package_name(name)
    with contextlib.suppress(metadata.PackageNotFoundError):
        yield f"{package} {metadata.version(package)} is installed already"
    if "command" in kinds and metadata.entry_points(group="damon.commands", name=name):
        yield f"there is a command 'damon {name}' already"
    of_processes = "backend" in kinds and "primitive" not in kinds
    for info in plugins.infos():
        there = {
            "callback": info.callbacks,
            "primitive": info.primitives,
            "policy": info.policies,
            "format": info.formats,
        }
        for kind, names in there.items():
            if kind in kinds and name in names:
                yield f"{info.package} has a {kind} '{name}'"
        if of_processes and f"vaddr.{name}" in info.backends:
            yield f"{info.package} has a backend '{name}' of vaddr"


def _series() -> str:
    """Return the series of damon-core that is installed, such as 0.1: a package is made for it."""
    return ".".join(metadata.version("damon-core").split(".")[:2])
