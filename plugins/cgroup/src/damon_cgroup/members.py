"""The members of a cgroup, as its files list them."""

import errno
import os
from pathlib import Path

from damon_vaddr import thread_group

#: How a member is listed that this pid namespace can't see.
UNSEEN = 0
#: How much is read at once.
_READ_BYTES = 1 << 16


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
    # There may be hundreds, and the file objects of Python take longer than the kernel.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = list(iter(lambda: os.read(descriptor, _READ_BYTES), b""))
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
    return list(map(int, b"".join(parts).split()))


def has_children(directory: Path) -> bool:
    """Return whether there are cgroups below a cgroup."""
    try:
        with os.scandir(directory) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return False
