"""The hook of damon-cgroup: it registers the primitive `cgroup`."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from attrs import field, frozen
from damon_vaddr import (
    ProcessBackend,
    ProcessForecast,
    ProcessMemory,
    forecast_processes,
    probe_processes,
)

from damon_cgroup.hierarchy import find_cgroup, hierarchies
from damon_cgroup.source import CgroupSource
from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Finding,
    Primitive,
    TargetError,
    hookimpl,
    make_backend,
    preferred_backends,
)


@frozen
class CgroupOptions:
    """The options of `cgroup`."""

    path: str = field(
        metadata={"help": "the cgroup: an absolute path, or one like 'system.slice/redis.service'"}
    )
    descendants: bool = field(
        default=False, metadata={"help": "monitor the processes of the cgroups below it as well"}
    )
    wait: bool = field(
        default=True,
        metadata={
            "help": "when the cgroup is removed, wait until it is back, as when its service "
            "restarts; false: that is the end"
        },
    )
    backend: BackendOption = field(
        default=AUTO,
        metadata={"help": "how accesses are detected; 'auto' is the best backend that works"},
    )


def make_cgroup(options: CgroupOptions, backends: Mapping[str, Backend]) -> ProcessMemory:
    """Make the primitive.

    Raises:
        TargetError: The cgroup doesn't exist.
        PluginError: The backend doesn't exist or doesn't work on this machine.
        ConfigError: An option of the backend is wrong.
    """
    try:
        directory = find_cgroup(options.path)
    except TargetError as error:
        # Without `wait` what isn't there is an end, at the beginning as well as later.
        may_come = error.may_come and options.wait
        raise TargetError(error.target, error.reason, may_come=may_come) from error
    source = CgroupSource(directory, options.descendants, options.wait)
    backend = make_backend("cgroup", options.backend, backends)
    better = preferred_backends("cgroup", options.backend, backends)
    return ProcessMemory(
        source, cast(ProcessBackend, backend), name="cgroup", better_backends=better
    )


def forecast_cgroup(options: CgroupOptions) -> Sequence[ProcessForecast]:
    """Return what is known of the processes that the cgroup has now.

    Raises:
        TargetError: The cgroup doesn't exist.
    """
    return forecast_processes(CgroupSource(find_cgroup(options.path), options.descendants))


def probe() -> Sequence[Finding]:
    """Report the mounted hierarchies, and whether processes of other users can be monitored."""
    mounts = ", ".join(f"{found.mount} (v{found.version})" for found in hierarchies())
    return (
        Finding("a mounted cgroup hierarchy", bool(mounts), mounts or "mount one"),
        *probe_processes(),
    )


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register `cgroup`."""
    register(
        Primitive(
            "cgroup",
            make_cgroup,
            CgroupOptions,
            "The memory of a cgroup's processes",
            probe=probe,
            forecast=forecast_cgroup,
        )
    )
