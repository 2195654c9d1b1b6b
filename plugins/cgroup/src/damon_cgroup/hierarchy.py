"""Where a cgroup is: version 2 or 1, by absolute path or as other programs name it."""

import re
from pathlib import Path

from attrs import frozen

from damon_core import TargetError

_ESCAPE = re.compile(r"\\([0-7]{3})")


@frozen
class Hierarchy:
    """A mounted cgroup hierarchy.

    Attributes:
        mount: Where it is mounted.
        version: 2 or 1.
    """

    mount: Path
    version: int


def hierarchies(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Hierarchy]:
    """Return the mounted cgroup hierarchies, version 2 first, those of version 1 as mounted."""
    found: dict[Path, Hierarchy] = {}
    for line in mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # ID PARENT DEVICE ROOT MOUNT OPTIONS [TAG…] - TYPE SOURCE SUPER-OPTIONS
        mount, _, filesystem = line.partition(" - ")
        version = {"cgroup2": 2, "cgroup": 1}.get(filesystem.split(" ")[0])
        if version is not None:
            path = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), mount.split(" ")[4]))
            found[path] = Hierarchy(path, version)
    return sorted(found.values(), key=lambda hierarchy: -hierarchy.version)


def find_cgroup(path: str, mounted: list[Hierarchy] | None = None) -> Path:
    """Return the directory of a cgroup.

    Args:
        path: An absolute path, or one below the root of a hierarchy, with or without a slash in
            front, as `/proc/PID/cgroup` and systemd tell it: ``system.slice/redis.service``.
        mounted: The hierarchies to look in; those of this machine by default.

    Raises:
        TargetError: There is no such cgroup, or the path isn't one.
    """
    label = f"cgroup '{path}'"
    roots = hierarchies() if mounted is None else mounted
    if not roots:
        raise TargetError(label, "no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")
    below = path.strip("/")
    candidates = [root.mount / below for root in roots]
    if Path(path).is_absolute():
        candidates.insert(0, Path(path))
    for candidate in candidates:
        # Without dots and links: /sys/fs/cgroup/cpu may be a link to where it is mounted.
        place = candidate.resolve()
        inside = any(place.is_relative_to(root.mount) for root in roots)
        if inside and (place / "cgroup.procs").is_file():
            return place
    if Path(path).is_absolute() and Path(path).exists():
        reason = "this is not a cgroup: it isn't a directory of a cgroup hierarchy"
    else:
        reason = "there is no such cgroup"
    places = ", ".join(str(root.mount) for root in roots)
    raise TargetError(label, f"{reason}; looked in {places}; /proc/PID/cgroup tells a process's")
