"""The source of processes that follows the members of cgroups."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from damon_vaddr import Process, ProcessTable, Rule, Selector, is_shortage

from damon_cgroup.hierarchy import Hierarchy, hierarchies
from damon_cgroup.members import UNSEEN, domain_of, has_children, read_members
from damon_cgroup.patterns import CgroupPatterns, children
from damon_core import TargetError

logger = logging.getLogger(__name__)

#: How many cgroups that were removed are remembered, to say that they are back.
_REMEMBERED = 1_000


@frozen
class _Followed:
    """A cgroup that is there.

    Attributes:
        directory: Its directory.
        inode: The number of that: another cgroup of the same path has another one.
    """

    directory: Path
    inode: int


class CgroupSource:
    """All processes of a cgroup, or of those that match patterns; there may be none in between.

    Cgroups are known by their paths: one that is removed and made again is the same.

    Args:
        cgroups: The cgroup's directory, or patterns.
        descendants: Whether processes of the cgroups below are monitored as well.
        wait: Whether to wait, when all are removed, until there is one again, as when a service
            restarts; otherwise that is the end.
        rule: Which of the processes are monitored; all by default. With a rule or patterns this
            program itself is not.
        mounted: The mounted hierarchies, if they are known already.

    Raises:
        TargetError: /proc belongs to another pid namespace.
    """

    def __init__(
        self,
        cgroups: Path | CgroupPatterns,
        descendants: bool = False,
        wait: bool = True,
        rule: Rule | None = None,
        mounted: Sequence[Hierarchy] | None = None,
    ) -> None:
        self._cgroups = cgroups
        self._descendants = descendants
        self._wait = wait
        self._selector = None if rule is None or rule.is_empty else Selector(rule)
        self._table = ProcessTable()
        self._followed: dict[str, _Followed] = {}
        self._removed: dict[str, None] = {}
        # A cgroup that was named has been there.
        self._has_found = isinstance(cgroups, Path)
        self._has_begun = False
        self._unseen = 0
        # The cgroup of each member, by its pid.
        self._cgroup_of: dict[int, Path] = {}
        if isinstance(cgroups, CgroupPatterns):
            mounted = cgroups.mounted
        self._roots = hierarchies() if mounted is None else mounted
        self._said: set[str] = set()

    @property
    def has_more(self) -> bool:
        """Whether some processes are to come with the next updates, as there are many."""
        return self._table.has_more

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many can't be monitored, or can't be asked, by the words of `REASONS`."""
        asked = Counter() if self._selector is None else self._selector.left_out
        return self._table.left_out + asked + Counter(other_namespace=self._unseen)

    def start(self) -> None:
        """Check that the cgroup exists and may be read.

        Raises:
            TargetError: The cgroup was removed, unless it is waited for, or may not be read.
        """
        self._said.clear()
        self._followed.clear()
        self._removed.clear()
        self._has_begun = False
        if isinstance(self._cgroups, Path):
            self._check(self._cgroups)
        else:
            self._has_found = False
            if self._selector is not None:
                self._selector.clear()
            if not self._find():
                logger.warning("no cgroup matches %s yet", self._cgroups)

    def _check(self, directory: Path) -> None:
        label = f"cgroup '{directory}'"
        if self.finished():
            raise TargetError(label, "it has been removed")
        try:
            read_members(directory)
        except OSError as error:
            raise TargetError(label, f"its members can't be read: {error.strerror}") from error
        if domain := domain_of(directory):
            logger.info(
                "%s is threaded: its memory belongs to cgroup '%s'; the processes of its threads "
                "are monitored",
                label,
                domain,
            )
        if not self._members([directory]):
            below = has_children(directory) and not self._descendants
            logger.warning(
                "%s has no processes now%s",
                label,
                "; those of cgroups below it count only with descendants = true" if below else "",
            )

    def processes(self) -> Collection[Process]:
        """Return the current members.

        Raises:
            OSError: Too many files are open.
        """
        self._follow()
        before = self._cgroup_of
        pids = self._members([each.directory for each in self._followed.values()])
        for process in self._table:
            # In another cgroup it is another target, as it is known by that.
            if process.pid not in pids or pids[process.pid] != before.get(process.pid):
                self._table.drop(process)
        new = {pid for pid in pids if pid not in self._table}
        if self._selector is not None:
            new = self._selector.select(new)
        elif not isinstance(self._cgroups, Path):
            new.discard(os.getpid())
        self._table.add_all(new)
        self._cgroup_of = pids
        return list(self._table)

    def count(self) -> int:
        """Return how many members there are now, whatever the rule selects."""
        return len(self._members(self._find().values()))

    def labels(self, process: Process) -> Mapping[str, str]:
        """Return the cgroup in which a process was found, as its label.

        Version 1 may have it in another one by another hierarchy.
        """
        directory = self._cgroup_of.get(process.pid)
        return {} if directory is None else {"cgroup": self._name(directory)}

    def _name(self, directory: Path) -> str:
        """Return the path of a cgroup in its hierarchy."""
        for root in self._roots:
            if directory.is_relative_to(root.mount):
                return f"/{directory.relative_to(root.mount)}".removesuffix("/.")
        return str(directory)

    def take_ended(self) -> Collection[Process]:
        """Return the members that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Return whether all cgroups were removed, and aren't waited for."""
        if self._wait or not self._has_found:
            return False
        is_there = any(os.path.isdir(each.directory) for each in self._followed.values())
        return not is_there and not self._find()

    def close(self) -> None:
        """Close the processes."""
        self._table.close()

    def _find(self) -> Mapping[str, Path]:
        """Return the directories of the cgroups that are there, by what they are called."""
        if isinstance(self._cgroups, Path):
            return {str(self._cgroups): self._cgroups} if self._cgroups.is_dir() else {}
        return self._cgroups.find(self._warn)

    def _follow(self) -> None:
        """Follow which cgroups there are; log which come and go."""
        found: dict[str, _Followed] = {}
        for name, directory in self._find().items():
            try:
                found[name] = _Followed(directory, directory.stat().st_ino)
            except OSError:  # removed meanwhile
                continue
        for name in self._followed.keys() - found.keys():
            waits = ": waiting until it is back" if self._wait else ""
            logger.info("cgroup '%s' was removed%s", name, waits)
            self._removed[name] = None
            if len(self._removed) > _REMEMBERED:
                del self._removed[next(iter(self._removed))]
        for name, followed in found.items():
            before = self._followed.get(name)
            if before is not None and before.inode != followed.inode:
                logger.info("cgroup '%s' was removed, and is back", name)
            elif before is None and name in self._removed:
                del self._removed[name]
                logger.info("cgroup '%s' is back", name)
            elif before is None and self._has_begun:
                logger.info("cgroup '%s' is there", name)
        if not self._has_begun:
            self._log_beginning(found)
        self._followed, self._has_begun = found, True
        self._has_found |= bool(found)

    def _log_beginning(self, found: Collection[str]) -> None:
        if not isinstance(self._cgroups, Path):
            if found:
                logger.info("%d cgroups match %s", len(found), self._cgroups)
        elif not found:
            self._removed[str(self._cgroups)] = None
            logger.info("cgroup '%s' was removed: waiting until it is back", self._cgroups)

    def _members(self, directories: Collection[Path]) -> dict[int, Path]:
        """Return the pids of the members, and with `descendants` of those below; and where.

        What can't be read is left out, with a warning.
        """
        found: dict[int, Path] = {}
        self._unseen = 0
        for directory in self._directories(directories):
            try:
                pids = read_members(directory)
            except OSError as error:
                self._warn(error)
                continue
            self._unseen += pids.count(UNSEEN)
            found.update(dict.fromkeys(pids, directory))
        found.pop(UNSEEN, None)
        if self._unseen:
            self._say(
                "unseen",
                f"{self._unseen} of the members of cgroup '{self._cgroups}' are not monitored: "
                "they can't be seen from here, as they belong to another pid namespace or are "
                "hidden",
            )
        return found

    def _directories(self, directories: Collection[Path]) -> Iterator[Path]:
        """Return directories, and with `descendants` those below that aren't left out."""
        left = list(directories)
        seen: set[Path] = set()
        while left:
            directory = left.pop()
            if directory in seen:
                continue
            seen.add(directory)
            yield directory
            if self._descendants:
                left += [
                    each for each in children(directory, self._warn) if not self._excludes(each)
                ]

    def _excludes(self, directory: Path) -> bool:
        return isinstance(self._cgroups, CgroupPatterns) and self._cgroups.excludes(directory)

    def _warn(self, error: OSError) -> None:
        """Warn of what can't be read; a cgroup that was removed in the meantime is no failure."""
        if is_shortage(error):
            raise error
        if not isinstance(error, FileNotFoundError):
            path = str(error.filename)
            self._say(path, f"the processes in {path} are not monitored: {error.strerror}")

    def _say(self, about: str, text: str) -> None:
        """Log a warning, once in each run about the same thing."""
        if about not in self._said:
            self._said.add(about)
            logger.warning("%s", text)
