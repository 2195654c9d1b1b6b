"""What damon-cgroup offers: the primitive `cgroup`."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from attrs import field, frozen
from damon_vaddr import ProcessBackend, ProcessMemory, probe_processes

from damon_cgroup.hierarchy import find_cgroup, hierarchies
from damon_cgroup.source import CgroupSource
from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Finding,
    Primitive,
    hookimpl,
    make_backend,
)


@frozen
class CgroupOptions:
    """The options of `cgroup`."""

    path: str = field(
        metadata={"help": "the cgroup: an absolute path, or one like 'system.slice/redis.service'"}
    )
    descendants: bool = field(
        default=False, metadata={"help": "take in the processes of the cgroups below it"}
    )
    backend: BackendOption = field(
        default=AUTO, metadata={"help": "how accesses are seen; 'auto' takes the best that works"}
    )


def make_cgroup(options: CgroupOptions, backends: Mapping[str, Backend]) -> ProcessMemory:
    """Make the primitive.

    Raises:
        TargetError: There is no such cgroup.
        PluginError: The backend doesn't exist or doesn't work here.
        ConfigError: An option of the backend is wrong.
    """
    source = CgroupSource(find_cgroup(options.path), options.descendants)
    backend = make_backend("cgroup", options.backend, backends)
    return ProcessMemory(source, cast(ProcessBackend, backend), name="cgroup")


def probe() -> Sequence[Finding]:
    """Tell where cgroups are, and whose processes can be monitored."""
    places = ", ".join(f"{found.mount} (v{found.version})" for found in hierarchies())
    return (
        Finding("a mounted cgroup hierarchy", bool(places), places or "mount one"),
        *probe_processes(),
    )


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Offer `cgroup`."""
    register(
        Primitive(
            "cgroup", make_cgroup, CgroupOptions, "The memory of a cgroup's processes", probe=probe
        )
    )
