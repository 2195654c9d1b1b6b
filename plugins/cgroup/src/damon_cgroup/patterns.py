"""Patterns of cgroups: which cgroups there are now that match some and don't match others."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import frozen

from damon_cgroup.hierarchy import Hierarchy, hierarchies
from damon_core import AttributeValueError, TargetError

if TYPE_CHECKING:
    from attrs import Attribute

#: Any number of levels, none included.
_ANY_LEVELS = "**"
_MAGIC = frozenset("*?[")
_LINKS_WITHOUT_CHILDREN = 2


def known_patterns(_instance: object, attribute: "Attribute[Any]", value: Sequence[str]) -> None:
    """Refuse patterns that can't match any cgroup."""
    for each in value:
        if not each.strip("/") or not each.isprintable() or ".." in PurePosixPath(each).parts:
            allowed = "must be a path of a cgroup such as 'system.slice/*.service', without '..'"
            raise AttributeValueError(attribute.name, repr(each), allowed)


@frozen
class CgroupPatterns:
    """Cgroups that match one of some patterns.

    Patterns are paths in a hierarchy, such as ``system.slice/*.service``, with or without a leading
    slash, or absolute ones. ``*``, ``?`` and ``[a-z]`` stay in one level; ``**`` is any number of
    levels. A cgroup that several hierarchies have is that of the first: version 2 before version 1.

    Attributes:
        include: What cgroups have to be like.
        exclude: What is left out of these, with all below.
        mounted: The hierarchies.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    mounted: tuple[Hierarchy, ...] = ()

    @classmethod
    def of_machine(cls, include: Sequence[str], exclude: Sequence[str] = ()) -> "CgroupPatterns":
        """Return patterns for the hierarchies of this machine.

        Raises:
            TargetError: None is mounted.
        """
        mounted = hierarchies()
        if not mounted:
            reason = "no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup"
            raise TargetError(f"cgroup '{include[0]}'", reason)
        return cls(tuple(include), tuple(exclude), tuple(mounted))

    def __str__(self) -> str:
        return ", ".join(self.include)

    def find(self, report: Callable[[OSError], None]) -> Mapping[str, Path]:
        """Return the directories of all cgroups that match now, by their paths in the hierarchy.

        Args:
            report: Called with why a directory can't be read.
        """
        found: dict[str, Path] = {}
        for root in self.mounted:
            for pattern in self.include:
                for directory in _matching(root.mount, _parts(pattern, root), report):
                    name = f"/{directory.relative_to(root.mount)}"
                    if name not in found and not self.excludes(directory):
                        found[name] = directory
        return found

    def excludes(self, directory: Path) -> bool:
        """Return whether a cgroup is left out, itself or as one below another."""
        for root in self.mounted if self.exclude else ():
            if directory.is_relative_to(root.mount):
                parts = directory.relative_to(root.mount).parts
                patterns = [_parts(each, root) for each in self.exclude]
                return any(
                    _is_like(parts[:length], pattern)
                    for pattern in patterns
                    if pattern
                    for length in range(1, len(parts) + 1)
                )
        return False


def _parts(pattern: str, root: Hierarchy) -> tuple[str, ...]:
    """Return the levels of a pattern in a hierarchy; none if it is about another one."""
    path = PurePosixPath(pattern)

    if path.is_relative_to(root.mount):
        return path.relative_to(root.mount).parts
    return PurePosixPath(pattern.strip("/")).parts


def _is_like(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    first, rest = pattern[0], pattern[1:]
    if first == _ANY_LEVELS:
        return any(_is_like(parts[skipped:], rest) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], first) and _is_like(parts[1:], rest)


def _matching(
    directory: Path, pattern: Sequence[str], report: Callable[[OSError], None]
) -> Iterator[Path]:
    """Return the cgroups below a directory that match a pattern."""
    if not pattern:
        if (directory / "cgroup.procs").exists():
            yield directory
        return
    first, rest = pattern[0], pattern[1:]
    if first == _ANY_LEVELS:
        yield from _matching(directory, rest, report)
        for child in children(directory, report):
            yield from _matching(child, pattern, report)
    elif _MAGIC.isdisjoint(first):
        if (directory / first).is_dir():
            yield from _matching(directory / first, rest, report)
    else:
        for child in children(directory, report):
            if fnmatchcase(child.name, first):
                yield from _matching(child, rest, report)


def children(directory: Path, report: Callable[[OSError], None]) -> list[Path]:
    """Return the directories in a directory; none if it can't be read, which is reported."""
    try:
        # A directory has a link from itself, one from above, and one from each below; file systems
        # that don't count those say 1. Dozens of files needn't be looked at for nothing.
        if os.stat(directory).st_nlink == _LINKS_WITHOUT_CHILDREN:
            return []
        with os.scandir(directory) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        report(error)
        return []
