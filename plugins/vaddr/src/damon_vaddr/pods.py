"""The names of Kubernetes pods and containers, from folders of the node's kubelet.

The kubelet keeps logs by ``namespace_pod_uid/container`` in /var/log/pods, and links to them by
``pod_namespace_container-id.log`` in /var/log/containers. So no API server has to be asked.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

_POD = re.compile(r"(?P<namespace>[^_]+)_(?P<pod>[^_]+)_(?P<key>[^_]+)")
_CONTAINER = re.compile(
    r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>.+)-(?P<key>[0-9a-f]{64})\.log"
)


class PodName(NamedTuple):
    """What Kubernetes calls a container; empty where it isn't known.

    Attributes:
        namespace: The namespace of its pod.
        pod: The name of its pod.
        container: The name of the container in its pod.
    """

    namespace: str = ""
    pod: str = ""
    container: str = ""


class PodNames:
    """Finds names of pods and containers. A folder is read again when it has changed.

    Args:
        logs: The folder of logs.
    """

    def __init__(self, logs: Path = Path("/var/log")) -> None:
        self._pods = _Folder(logs / "pods", _POD)
        self._containers = _Folder(logs / "containers", _CONTAINER)

    def find(self, pod_uid: str, container: str) -> PodName:
        """Return the names that belong to the uid of a pod and the id of a container."""
        if not pod_uid:
            return PodName()
        return self._containers.find(container) or self._pods.find(pod_uid) or PodName()


class _Folder:
    """Names by a key, out of the names of entries of a folder."""

    def __init__(self, path: Path, pattern: re.Pattern[str]) -> None:
        self._path, self._pattern = path, pattern
        self._changed = 0
        self._names: dict[str, PodName] = {}

    def find(self, key: str) -> PodName | None:
        if key not in self._names:
            self._read()
        return self._names.get(key)

    def _read(self) -> None:
        try:
            changed = os.stat(self._path).st_mtime_ns
            if changed == self._changed:
                return
            entries = os.listdir(self._path)
        except OSError:  # this isn't a node, or its folders may not be read
            return
        self._changed = changed
        found = filter(None, map(self._pattern.fullmatch, entries))
        self._names = {
            each["key"]: PodName(
                each["namespace"], each["pod"], each.groupdict().get("container") or ""
            )
            for each in found
        }
