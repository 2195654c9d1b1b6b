"""What a process is known by: its name, program, user, unit, container and pod, as labels.

This is the one place that makes them. Packages that know more add to them in `label_targets`.
"""

import contextlib
import os
import pwd
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from damon_vaddr.placement import cgroup_of, placement
from damon_vaddr.pods import PodNames
from damon_vaddr.processes import Process
from damon_vaddr.procfs import living_thread, name_of, printable

#: The labels of processes, and what they mean.
LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pid": "its pid",
        "comm": "its name",
        "exe": "the path of its program",
        "user": "the name of its user, or the number where it has none",
        "cgroup": "the path of its cgroup; on version 1 the memory controller's",
        "unit": "its unit of the system's systemd, such as redis.service",
        "user_unit": "its unit of its user's systemd",
        "container": "the id of its container",
        "runtime": "what runs that: docker, containerd, cri-o or podman",
        "pod_uid": "the uid of its Kubernetes pod",
        "namespace": "the namespace of that pod",
        "pod": "the name of that pod",
        "container_name": "what Kubernetes calls the container",
    }
)

#: The label that names the group of a process, which is what outputs add up by default.
GROUP: Final = "group"
#: What `group_by` is where there are no groups.
NO_GROUP: Final = "none"


class Identities:
    """Makes the labels of processes, those of `LABELS`.

    What isn't known, or may not be read, is left out.

    Args:
        pods: Where names of pods are from.
    """

    def __init__(self, pods: PodNames | None = None) -> None:
        self._pods = pods or PodNames()
        self._users: dict[int, str] = {}

    def labels(self, process: Process) -> Mapping[str, str]:
        """Return the labels of a process.

        Raises:
            ProcessLookupError: It has ended.
            OSError: Its name can't be read.
        """
        labels = self.labels_of_pid(process.pid)
        if process.ended():  # so these may be another's
            raise ProcessLookupError(process.pid)
        return labels

    def labels_of_pid(self, pid: int) -> Mapping[str, str]:
        """Return the labels of the process that has a pid now.

        Raises:
            ProcessLookupError: There is none.
            OSError: Its name can't be read.
        """
        thread = living_thread(pid)
        if thread is None:
            raise ProcessLookupError(pid)
        folder = f"/proc/{pid}/task/{thread}"
        where = placement(_cgroup(folder))
        name = self._pods.find(where.pod_uid, where.container)
        labels = {
            "pid": str(pid),
            "comm": name_of(pid),
            "exe": _exe(folder),
            "user": self._user(folder),
            "cgroup": where.cgroup,
            "unit": where.unit,
            "user_unit": where.user_unit,
            "container": where.container,
            "runtime": where.runtime,
            "pod_uid": where.pod_uid,
            "namespace": name.namespace,
            "pod": name.pod,
            "container_name": name.container,
        }
        return {label: printable(value) for label, value in labels.items() if value}

    def _user(self, folder: str) -> str:
        with contextlib.suppress(OSError):
            uid = os.stat(folder).st_uid
            if uid not in self._users:
                self._users[uid] = _user_name(uid)
            return self._users[uid]
        return ""


def _cgroup(folder: str) -> str:
    with contextlib.suppress(OSError), open(f"{folder}/cgroup", "rb") as file:
        return cgroup_of(os.fsdecode(file.read()))
    return ""


def _exe(folder: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"{folder}/exe")
    return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
