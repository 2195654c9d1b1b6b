"""The source of processes that follows the members of a cgroup."""

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from damon_vaddr import Process, ProcessTable, is_shortage

from damon_cgroup.members import UNSEEN, domain_of, has_children, read_members
from damon_core import TargetError

logger = logging.getLogger(__name__)


class CgroupSource:
    """All processes of a cgroup; it may be empty in between.

    Args:
        directory: The cgroup's directory.
        descendants: Whether processes of the cgroups below it are monitored as well.
        wait: Whether to wait, when the cgroup is removed, until there is one with the same path
            again, as when a service restarts; otherwise its removal is the end.

    Raises:
        TargetError: /proc belongs to another pid namespace.
    """

    def __init__(self, directory: Path, descendants: bool = False, wait: bool = True) -> None:
        self._directory = directory
        self._descendants = descendants
        self._wait = wait
        self._table = ProcessTable()
        self._is_there = True
        self._said: set[str] = set()

    def start(self) -> None:
        """Check that the cgroup exists and may be read.

        Raises:
            TargetError: The cgroup was removed, unless it is waited for, or may not be read.
        """
        self._said.clear()
        label = f"cgroup '{self._directory}'"
        if self.finished():
            raise TargetError(label, "it has been removed")
        try:
            read_members(self._directory)
        except OSError as error:
            raise TargetError(label, f"its members can't be read: {error.strerror}") from error
        if domain := domain_of(self._directory):
            logger.info(
                "%s is threaded: its memory belongs to cgroup '%s'; the processes of its threads "
                "are monitored",
                label,
                domain,
            )
        if not self._members():
            below = has_children(self._directory) and not self._descendants
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
        was_there, self._is_there = self._is_there, os.path.isdir(self._directory)
        if was_there != self._is_there:
            state = "is back" if self._is_there else "was removed: waiting until it is back"
            logger.info("cgroup '%s' %s", self._directory, state)
        pids = self._members()
        for process in self._table:
            if process.pid not in pids:
                self._table.drop(process)
        self._table.add_all(pids)
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        """Return the members that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Return whether the cgroup was removed, and isn't waited for."""
        return not self._wait and not os.path.isdir(self._directory)

    def close(self) -> None:
        """Close the processes."""
        self._table.close()

    def _members(self) -> set[int]:
        """Return the pids of the members, and with `descendants` of those below.

        What can't be read is left out, with a warning.
        """
        found: list[int] = []
        for directory in self._directories():
            try:
                found += read_members(directory)
            except OSError as error:
                self._warn(error)
        if unseen := found.count(UNSEEN):
            self._say(
                "unseen",
                f"{unseen} of the members of cgroup '{self._directory}' are not monitored: they "
                "can't be seen from here, as they belong to another pid namespace or are hidden",
            )
        return set(found) - {UNSEEN}

    def _directories(self) -> Iterator[Path]:
        yield self._directory
        if self._descendants:
            for path, names, _ in os.walk(self._directory, onerror=self._warn):
                yield from (Path(path, name) for name in names)

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
