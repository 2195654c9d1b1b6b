"""Memory cgroups: their hierarchy, and their paths by the inode numbers of `/proc/kpagecgroup`."""

import os
import time
from pathlib import Path

import psutil

from damon_core import TargetError

#: The name for cgroups that can't be seen from here, as from inside a container.
UNKNOWN = "(unknown)"
#: The time between two walks is at least this many times the duration of the first.
_PAUSE = 100


def memory_hierarchy() -> Path | None:
    """Return the mount of the hierarchy with the memory controller; None if there is none.

    This is the hierarchy of version 1 with that controller, if there is one, or that of version 2.
    """
    mounts = psutil.disk_partitions(all=True)
    version_1 = (
        mount.mountpoint
        for mount in mounts
        if mount.fstype == "cgroup" and "memory" in mount.opts.split(",")
    )
    version_2 = (mount.mountpoint for mount in mounts if mount.fstype == "cgroup2")
    found = next(version_1, None) or next(version_2, None)
    return None if found is None else Path(found)


def find_memory_cgroup(path: str, mount: Path | None = None) -> tuple[str, Path]:
    """Return the path of a memory cgroup in its hierarchy, and its directory.

    Args:
        path: The directory, or the path in the hierarchy with or without a leading slash.
        mount: The directory of the hierarchy; `memory_hierarchy` by default.

    Raises:
        TargetError: The cgroup doesn't exist.
    """
    label = f"memory cgroup '{path}'"
    mount = mount or memory_hierarchy()
    if mount is None:
        raise TargetError(label, "no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")
    given = Path(path)
    directory = given if given.is_relative_to(mount) else mount / path.lstrip("/")
    if ".." in directory.parts or not (directory / "cgroup.procs").is_file():
        raise TargetError(label, f"there is no such cgroup below {mount}")
    return str(Path("/") / directory.relative_to(mount)), directory


class CgroupNames:
    """Paths of cgroups in their hierarchy, by inode number.

    An unknown number makes it walk the hierarchy, but only once between two calls of `refresh`,
    and for at most a hundredth of the time. Numbers are never reused, so names stay valid.

    Args:
        mount: The mount of the hierarchy; None if it isn't mounted.
    """

    def __init__(self, mount: Path | None) -> None:
        self._mount = mount
        self._names: dict[int, str] = {}
        self._may_walk = True
        self._not_before = 0.0

    def refresh(self) -> None:
        """Allow another walk, unless the last one was too recent."""
        self._may_walk = time.monotonic() >= self._not_before

    def __getitem__(self, inode: int) -> str:
        if inode not in self._names and self._may_walk and self._mount is not None:
            self._may_walk = False
            begun = time.monotonic()
            self._names = _walk(self._mount)
            self._not_before = begun + _PAUSE * (time.monotonic() - begun)
        return self._names.get(inode, UNKNOWN)


def _walk(mount: Path) -> dict[int, str]:
    names = {}
    for directory, _, _ in os.walk(mount):
        path = directory[len(str(mount)) :] or "/"
        try:
            inode = os.stat(directory).st_ino
        except OSError:  # removed in the meantime
            continue
        # Names may have any bytes; those that aren't UTF-8 couldn't be written as text.
        names[inode] = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return names
