"""The processes of a cgroup, as they come and go."""

import os
from collections.abc import Collection
from pathlib import Path

from damon_vaddr import Process, ProcessTable

from damon_core import TargetError


def members(directory: Path, descendants: bool) -> set[int]:
    """Return the pids in a cgroup, and with `descendants` in those below it.

    A cgroup that goes away meanwhile has none.
    """
    places = [str(directory)]
    if descendants:
        places = [place for place, _, _ in os.walk(directory)]
    pids: set[int] = set()
    for place in places:
        try:
            with open(os.path.join(place, "cgroup.procs"), "rb") as file:
                pids.update(map(int, file))
        except OSError:
            # Gone, or a threaded cgroup, whose processes are listed in the one above it.
            continue
    pids.discard(0)  # members that this pid namespace can't see
    return pids


class CgroupSource:
    """All processes of a cgroup; the end is the end of the cgroup, an empty one is waited for.

    Args:
        directory: The cgroup's directory.
        descendants: Take in the cgroups below it.
    """

    def __init__(self, directory: Path, descendants: bool = False) -> None:
        self._directory = directory
        self._descendants = descendants
        self._table = ProcessTable()

    def start(self) -> None:
        """Begin.

        Raises:
            TargetError: The cgroup was removed.
        """
        if self.finished():
            raise TargetError(f"cgroup '{self._directory}'", "it has been removed")

    def processes(self) -> Collection[Process]:
        """Return the members of now."""
        pids = members(self._directory, self._descendants)
        for process in self._table:
            if process.pid not in pids:
                self._table.drop(process)
        for pid in sorted(pids):
            self._table.add(pid)
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        """Return those that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Tell whether the cgroup is gone."""
        return not self._directory.is_dir()

    def close(self) -> None:
        """Let go of the processes."""
        self._table.close()
