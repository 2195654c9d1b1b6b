"""The mounted cgroup hierarchies, of version 2 or 1, and the directory of a cgroup in them."""

import errno
import os
from pathlib import Path

import psutil
from attrs import frozen

from damon_core import TargetError

_VERSIONS = {"cgroup2": 2, "cgroup": 1}


@frozen
class Hierarchy:
    """A mounted cgroup hierarchy.

    Attributes:
        mount: The directory where it is mounted.
        version: 2 or 1.
    """

    mount: Path
    version: int


def hierarchies() -> list[Hierarchy]:
    """Return the mounted cgroup hierarchies: first version 2, then version 1 in order of mounts."""
    found = {
        mount.mountpoint: Hierarchy(Path(mount.mountpoint), _VERSIONS[mount.fstype])
        for mount in psutil.disk_partitions(all=True)
        if mount.fstype in _VERSIONS
    }
    return sorted(found.values(), key=lambda hierarchy: -hierarchy.version)


def _can_be(path: str) -> bool:
    """Return whether a file can have this path; the system refuses to look for others."""
    try:
        os.lstat(path)
    except (ValueError, UnicodeEncodeError):  # a byte 0, or half a character
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def find_cgroup(path: str, mounted: list[Hierarchy] | None = None) -> Path:
    """Return the directory of a cgroup.

    Args:
        path: An absolute path, or a path in a hierarchy, with or without a leading slash, as
            systemd and `/proc/PID/cgroup` show it: ``system.slice/redis.service``.
        mounted: The hierarchies to search; those of this machine by default.

    Raises:
        TargetError: The path doesn't exist or isn't a cgroup.
    """
    label = f"cgroup '{path}'"
    roots = hierarchies() if mounted is None else mounted
    if not roots:
        raise TargetError(label, "no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")
    below = path.strip("/")
    candidates = [root.mount / below for root in roots]
    if Path(path).is_absolute():
        candidates.insert(0, Path(path))
    for candidate in candidates if _can_be(path) else ():
        # Resolved, because /sys/fs/cgroup/cpu may be a link to the mount, and paths may have dots.
        directory = candidate.resolve()
        inside = any(directory.is_relative_to(root.mount) for root in roots)
        if inside and (directory / "cgroup.procs").is_file():
            return directory
    exists = _can_be(path) and Path(path).is_absolute() and Path(path).exists()
    if exists:
        reason = "not a cgroup: it isn't a directory in a cgroup hierarchy"
    else:
        reason = "there is no such cgroup"
    # Version 1 has ten and more.
    more = f" and {len(roots) - 2} more" if len(roots) > 2 else ""
    mounts = ", ".join(str(root.mount) for root in roots[:2]) + more
    raise TargetError(
        label,
        f"{reason}; looked in {mounts}; see /proc/PID/cgroup for the cgroup of a process",
        may_come=not exists,
    )
