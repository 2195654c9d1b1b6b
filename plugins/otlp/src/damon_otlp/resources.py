"""Whose metrics they are: resource attributes, by OpenTelemetry's semantic conventions."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Final

from opentelemetry.sdk.resources import Resource

from damon_core import TARGET
from damon_core.metrics import text

#: Labels of targets that the conventions have a name for. Other labels keep their own.
_CONVENTIONS: Final = {
    "pid": "process.pid",
    "exe": "process.executable.path",
    "comm": "process.title",
    "user": "process.owner",
    "cgroup": "process.linux.cgroup",
    "container": "container.id",
    "runtime": "container.runtime.name",
    "pod_uid": "k8s.pod.uid",
    "pod": "k8s.pod.name",
    "namespace": "k8s.namespace.name",
    "container_name": "k8s.container.name",
    TARGET: "damon.target",
}


def resource_of_host(service_name: str) -> Resource:
    """Return the resource of what monitors: its counts, and targets of which nothing is known.

    What OTEL_RESOURCE_ATTRIBUTES has is added.
    """
    host = platform.node()
    return Resource.create(
        {
            "service.name": service_name,
            "service.version": version("damon-core"),
            "service.instance.id": host,
            "host.name": host,
            "os.type": "linux",
        }
    )


def resource_of_group(
    host: Resource, context: str, labels: Mapping[str, str], known: Mapping[str, str] | None
) -> Resource:
    """Return the resource of a group of targets, such as a single one: what is known of it.

    Its instance id is its own: receivers that know resources by name and instance, such as
    Prometheus with ``target_info``, would take all targets of a host for one otherwise.

    Args:
        host: The resource of the host.
        context: What points call the context.
        labels: The labels by which the group is one.
        known: What else it is known by; None for all that have no group of their own.
    """
    attributes: dict[str, str | int] = {}
    if known is not None:
        attributes |= attributes_of({**known, **labels})
        attributes.pop(_CONVENTIONS[TARGET], None)
    if not attributes:
        return host
    if "exe" in (known or {}):
        attributes["process.executable.name"] = PurePosixPath((known or {})["exe"]).name
    pid = attributes.get("process.pid")
    if isinstance(pid, str) and pid.isdecimal():
        attributes["process.pid"] = int(pid)
    instance = "/".join((platform.node(), text(context), *labels.values()))
    return host.merge(Resource(attributes | {"service.instance.id": instance}))


def attributes_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels of targets as attributes, without those that are empty."""
    return {_CONVENTIONS.get(name, name): value for name, value in labels.items() if value}
