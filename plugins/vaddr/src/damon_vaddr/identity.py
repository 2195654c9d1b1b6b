"""What a process is known by: its name, program, user, unit, container and pod, as labels.

This is the one place that makes them. Packages that know more add to them in `label_targets`.
"""

import contextlib
import os
import pwd
from collections.abc import Mapping

from damon_vaddr.placement import cgroup_of, placement
from damon_vaddr.pods import PodNames
from damon_vaddr.processes import Process, printable


class Identities:
    """Makes the labels of processes.

    ========== ==================================================================
    pid        its pid
    comm       its name
    exe        the path of its program
    user       the name of its user, or the number where it has none
    cgroup     the path of its cgroup, on version 1 of the memory controller's
    unit       its unit of the system's systemd
    user_unit  its unit of its user's systemd
    container  the id of its container
    runtime    what runs that: docker, containerd, cri-o or podman
    pod_uid    the uid of its Kubernetes pod
    namespace  the namespace of that pod
    pod        the name of that pod
    container_name  what Kubernetes calls the container
    ========== ==================================================================

    What isn't known, or may not be read, is left out.
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
        where = placement(self._cgroup(process))
        name = self._pods.find(where.pod_uid, where.container)
        labels = {
            "pid": str(process.pid),
            "comm": process.name(),
            "exe": self._exe(process),
            "user": self._user(process),
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

    @staticmethod
    def _cgroup(process: Process) -> str:
        with contextlib.suppress(OSError), open(process.open_file("cgroup"), "rb") as file:
            return cgroup_of(os.fsdecode(file.read()))
        return ""

    @staticmethod
    def _exe(process: Process) -> str:
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{process.thread()}/exe")
        return ""

    def _user(self, process: Process) -> str:
        with contextlib.suppress(OSError):
            uid = os.stat(f"/proc/{process.pid}").st_uid
            if uid not in self._users:
                self._users[uid] = _user_name(uid)
            return self._users[uid]
        return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
