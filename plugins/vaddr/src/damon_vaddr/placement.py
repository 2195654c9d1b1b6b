"""Whose a process is by its cgroup: which unit of systemd, which container, which pod.

Nothing but the path of the cgroup is needed: managers of services and of containers write into it
what they have made it for. The forms are those of systemd, docker, containerd, CRI-O, podman and
the kubelet, with both of their cgroup drivers (cgroupfs and systemd), on cgroup v1 and v2.
"""

import re

from attrs import frozen

_UNIT = re.compile(r".+\.(?:service|scope|socket|mount|swap)")
_USER_MANAGER = re.compile(r"user@\d+\.service")
#: The id of a container, as all runtimes make it.
_ID = r"(?P<id>[0-9a-f]{64})"
#: What runtimes put before an id, or before a colon, and what they are called.
_RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
}
_NAMED = re.compile(rf"(?:.*[:])?(?P<runtime>{'|'.join(_RUNTIMES)})[-:]{_ID}(?:\.scope)?")
_BARE = re.compile(_ID)
_POD = re.compile(
    r"(?:.*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice.*)?"
)


@frozen
class Placement:
    """What the path of a cgroup says; empty where it says nothing.

    Attributes:
        cgroup: The path, as ``/proc/PID/cgroup`` has it.
        unit: The unit of the system's systemd, such as ``redis.service``.
        user_unit: The unit of a user's systemd.
        container: The id of the container.
        runtime: What runs it: ``docker``, ``containerd``, ``cri-o`` or ``podman``; empty if only
            an id is known.
        pod_uid: The uid of the Kubernetes pod, with hyphens if it is a UUID; that of a static
            pod is a hash.
    """

    cgroup: str = ""
    unit: str = ""
    user_unit: str = ""
    container: str = ""
    runtime: str = ""
    pod_uid: str = ""


def placement(cgroup: str) -> Placement:
    """Return what the path of a cgroup says.

    Args:
        cgroup: A path such as ``/system.slice/redis.service``.
    """
    parts = cgroup.strip("/").split("/")
    unit, below = _unit(parts)
    user_unit = _unit(below)[0] if _USER_MANAGER.fullmatch(unit) else ""
    container, runtime = _container(parts)
    return Placement(cgroup, unit, user_unit, container, runtime, _pod_uid(parts))


def cgroup_of(text: str) -> str:
    """Return the path of a process's cgroup from its ``/proc/PID/cgroup``.

    With version 1 it is that of the memory controller, which may be another than those of other
    controllers; without it that of systemd. Hybrid machines have an empty hierarchy of version 2.
    """
    by_controllers = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            by_controllers[controller] = path.removesuffix(" (deleted)")
    for controller in ("memory", "", "name=systemd"):
        if by_controllers.get(controller, "/") != "/":
            return by_controllers[controller]
    return "/" if by_controllers else ""


def _unit(parts: list[str]) -> tuple[str, list[str]]:
    """Return the first unit that isn't a slice, and the parts below it."""
    for place, part in enumerate(parts):
        if part.endswith(".slice"):
            continue
        # systemd puts an underscore before names that cgroup files could have.
        name = part.removeprefix("_")
        return (name, parts[place + 1 :]) if _UNIT.fullmatch(name) else ("", [])
    return "", []


def _container(parts: list[str]) -> tuple[str, str]:
    """Return the id and the runtime of the innermost container."""
    for place in reversed(range(len(parts))):
        if found := _NAMED.fullmatch(parts[place]):
            return found["id"], _RUNTIMES[found["runtime"]]
        if found := _BARE.fullmatch(parts[place]):
            above = parts[place - 1] if place else ""
            return found["id"], _RUNTIMES.get(above, "")
    return "", ""


def _pod_uid(parts: list[str]) -> str:
    for part in reversed(parts):
        if found := _POD.fullmatch(part):
            return found["uid"].replace("_", "-")
    return ""
