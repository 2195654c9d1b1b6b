"""The members of a cgroup, as its files list them."""

import errno
import os
from pathlib import Path

from damon_vaddr import thread_group

#: How a member is listed that this pid namespace can't see.
UNSEEN = 0


def read_members(directory: Path) -> list[int]:
    """Return the pids of a cgroup's members; `UNSEEN` for each that can't be seen from here.

    A threaded cgroup of version 2 has threads as members: these are the processes of its threads.
    A cgroup that was removed has none.

    Raises:
        OSError: They can't be read.
    """
    try:
        return _numbers(directory / "cgroup.procs")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        if error.errno != errno.EOPNOTSUPP:
            raise
    return [thread_group(thread) or UNSEEN for thread in _numbers(directory / "cgroup.threads")]


def domain_of(directory: Path) -> Path | None:
    """Return the cgroup that the memory of a threaded cgroup belongs to; None for other cgroups."""
    for path in (directory, *directory.parents):
        try:
            kind = (path / "cgroup.type").read_text("ascii", "replace").strip()
        except OSError:  # version 1, or the root, which is always a domain
            return None if path == directory else path
        if kind != "threaded":
            return None if path == directory else path
    return None


def _numbers(path: Path) -> list[int]:
    with open(path, "rb") as file:
        return list(map(int, file))


def has_children(directory: Path) -> bool:
    """Return whether there are cgroups below a cgroup."""
    try:
        with os.scandir(directory) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return False
