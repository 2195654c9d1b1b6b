"""Whose metrics they are: resource attributes, by OpenTelemetry's semantic conventions."""

import platform
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.sdk.resources import Resource

#: Labels of targets that the conventions have a name for. Other labels keep their own.
_CONVENTIONS = {
    "pid": "process.pid",
    "exe": "process.executable.path",
    "comm": "process.executable.name",
    "user": "process.owner",
    "cgroup": "process.linux.cgroup",
    "container": "container.id",
    "runtime": "container.runtime.name",
    "pod_uid": "k8s.pod.uid",
    "pod": "k8s.pod.name",
    "namespace": "k8s.namespace.name",
    "container_name": "k8s.container.name",
}


def resource_of_host(service_name: str) -> Resource:
    """Return the resource of what monitors: its counts, and targets without labels.

    What OTEL_RESOURCE_ATTRIBUTES has is added.
    """
    host = platform.node()
    return Resource.create(
        {
            "service.name": service_name,
            "service.version": version("damon-core"),
            "service.instance.id": host,
            "host.name": host,
        }
    )


def resource_of_target(
    host: Resource, context: str, target: str, labels: Mapping[str, str]
) -> Resource:
    """Return the resource of a target: what its labels say, on this host.

    Its instance id is its own: receivers that know resources by name and instance, such as
    Prometheus with ``target_info``, would take all targets of a host for one otherwise.
    """
    if not labels:
        return host
    instance = f"{platform.node()}/{context}/{target}"
    attributes: dict[str, str | int] = {"service.instance.id": text(instance)}
    for name, value in labels.items():
        is_pid = name == "pid" and value.isdecimal()
        attributes[_CONVENTIONS.get(name, name)] = int(value) if is_pid else text(value)
    return host.merge(Resource(attributes))


def text(name: str) -> str:
    """Return a name as it can be sent: what isn't Unicode becomes ``\\udc80``."""
    return name.encode(errors="backslashreplace").decode()
