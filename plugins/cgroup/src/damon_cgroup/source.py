"""The source of processes that follows the members of a cgroup."""

import os
from collections.abc import Collection
from pathlib import Path

from damon_vaddr import Process, ProcessTable

from damon_core import TargetError


def members(directory: Path, descendants: bool) -> set[int]:
    """Return the pids in a cgroup, and with `descendants` also those in the cgroups below it.

    A cgroup that is removed in the meantime has none.
    """
    directories = [str(directory)]
    if descendants:
        directories = [path for path, _, _ in os.walk(directory)]
    pids: set[int] = set()
    for path in directories:
        try:
            with open(os.path.join(path, "cgroup.procs"), "rb") as file:
                pids.update(map(int, file))
        except OSError:
            # It was removed, or is threaded: its processes are listed in the cgroup above it.
            continue
    pids.discard(0)  # members that this pid namespace can't see
    return pids


class CgroupSource:
    """All processes of a cgroup, until the cgroup is removed; it may be empty in between.

    Args:
        directory: The cgroup's directory.
        descendants: Whether processes of the cgroups below it are monitored as well.
    """

    def __init__(self, directory: Path, descendants: bool = False) -> None:
        self._directory = directory
        self._descendants = descendants
        self._table = ProcessTable()

    def start(self) -> None:
        """Check that the cgroup exists.

        Raises:
            TargetError: The cgroup was removed.
        """
        if self.finished():
            raise TargetError(f"cgroup '{self._directory}'", "it has been removed")

    def processes(self) -> Collection[Process]:
        """Return the current members."""
        pids = members(self._directory, self._descendants)
        for process in self._table:
            if process.pid not in pids:
                self._table.drop(process)
        for pid in sorted(pids):
            self._table.add(pid)
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        """Return the members that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Return whether the cgroup was removed."""
        return not self._directory.is_dir()

    def close(self) -> None:
        """Close the processes."""
        self._table.close()
