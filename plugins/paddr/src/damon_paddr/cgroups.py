"""Which memory cgroup an inode number is: what `/proc/kpagecgroup` says of a page."""

import os
import time
from pathlib import Path

import psutil

from damon_core import TargetError

#: What stands for cgroups that can't be seen from here, as from inside a container.
UNKNOWN = "(unknown)"
#: A walk comes no sooner than this many times what the last one took.
_REST = 100


def memory_hierarchy() -> Path | None:
    """Return where the hierarchy with the memory controller is mounted, None if nowhere.

    If one of version 1 has the controller, it is that one; otherwise it is version 2.
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
    """Return a memory cgroup's path below the root of its hierarchy, and its directory.

    Args:
        path: Its directory, or that path, with or without a slash in front.
        mount: Where the hierarchy is; by default where it is mounted.

    Raises:
        TargetError: There is no such cgroup.
    """
    label = f"memory cgroup '{path}'"
    mount = mount or memory_hierarchy()
    if mount is None:
        raise TargetError(label, "no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")
    given = Path(path)
    place = given if given.is_relative_to(mount) else mount / path.lstrip("/")
    if ".." in place.parts or not (place / "cgroup.procs").is_file():
        raise TargetError(label, f"there is no such cgroup below {mount}")
    return str(Path("/") / place.relative_to(mount)), place


class CgroupNames:
    """Paths of cgroups below the mount of their hierarchy, by inode number.

    The hierarchy is walked when an unknown number turns up, but only once between two calls of
    `refresh`, and for at most a hundredth of the time. Numbers aren't used again, so names that
    are known stay right.

    Args:
        mount: Where the hierarchy is mounted; None if nowhere.
    """

    def __init__(self, mount: Path | None) -> None:
        self._mount = mount
        self._names: dict[int, str] = {}
        self._may_walk = True
        self._not_before = 0.0

    def refresh(self) -> None:
        """Allow another walk."""
        self._may_walk = time.monotonic() >= self._not_before

    def __getitem__(self, inode: int) -> str:
        if inode not in self._names and self._may_walk and self._mount is not None:
            self._may_walk = False
            begun = time.monotonic()
            self._names = _walk(self._mount)
            self._not_before = begun + _REST * (time.monotonic() - begun)
        return self._names.get(inode, UNKNOWN)


def _walk(mount: Path) -> dict[int, str]:
    names = {}
    for place, _, _ in os.walk(mount):
        path = place[len(str(mount)) :] or "/"
        try:
            inode = os.stat(place).st_ino
        except OSError:  # removed meanwhile
            continue
        # Names are any bytes; those that aren't text would stop whoever writes them.
        names[inode] = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return names
