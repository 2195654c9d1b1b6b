"""The hook of damon-paddr: it registers the primitive `paddr`."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from damon_core import (
    PAGE_SIZE_BYTES,
    Backend,
    Finding,
    PluginError,
    Primitive,
    TargetError,
    format_size,
    hookimpl,
    make_backend,
)
from damon_paddr.backend import CgroupBackend, PhysicalBackend
from damon_paddr.cgroups import find_memory_cgroup, memory_hierarchy
from damon_paddr.machine import MachineMemory
from damon_paddr.options import PaddrOptions
from damon_paddr.primitive import PhysicalMemory
from damon_paddr.ranges import size_bytes


def make_paddr(options: PaddrOptions, backends: Mapping[str, Backend]) -> PhysicalMemory:
    """Make the primitive.

    Raises:
        TargetError: The memory or the cgroup doesn't exist, or the kernel hides addresses from
            this user.
        PluginError: The backend doesn't exist, doesn't work on this machine, or can't monitor a
            single cgroup.
        ConfigError: An option of the backend is wrong.
    """
    if (finding := _page_size()) and not finding.works:
        raise TargetError("physical memory", finding.detail)
    backend = cast(PhysicalBackend, make_backend("paddr", options.backend, backends))
    try:
        memory = MachineMemory(options.wanted, options.node)
        memory.check()
        if options.cgroup is not None:
            _watch_cgroup(backend, options.cgroup)
    except BaseException:
        backend.close()
        raise
    return PhysicalMemory(memory, backend, kinds=options.kinds)


def _watch_cgroup(backend: PhysicalBackend, name: str) -> None:
    if not isinstance(backend, CgroupBackend):
        reason = "option cgroup needs a backend that can monitor one cgroup, such as 'kernel'"
        raise PluginError("paddr", reason)
    backend.watch_cgroup(*find_memory_cgroup(name))


def _page_size() -> Finding:
    size = os.sysconf("SC_PAGE_SIZE")
    works = size == PAGE_SIZE_BYTES
    detail = "" if works else f"this kernel has pages of {format_size(size)}; only 4 KiB works"
    return Finding("pages of 4 KiB", works, detail)


def _addresses() -> Sequence[Finding]:
    name, nodes_name = "addresses in /proc/iomem", "NUMA nodes with memory"
    try:
        nodes = MachineMemory().nodes()
    except TargetError:
        return (Finding(name, False, "they are hidden: run as root"),)
    found = ", ".join(
        f"node{node} {format_size(size_bytes(ranges))}" for node, ranges in nodes.items()
    )
    return (Finding(name, True), Finding(nodes_name, bool(nodes), found))


def _charges() -> Finding:
    name = "/proc/kpagecgroup"
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        detail = (
            "owners are not reported: the kernel needs CONFIG_MEMCG and CONFIG_PROC_PAGE_MONITOR"
        )
    except OSError as error:
        detail = f"owners are not reported: {error.strerror}: run as root"
    else:
        mount = memory_hierarchy()
        if mount is not None:
            return Finding(name, True, f"owners are reported, with names from {mount}")
        detail = "owners have no names: mount the cgroup hierarchy"
    return Finding(name, False, detail, required=False)


def probe() -> Sequence[Finding]:
    """Report the memory of the machine, and whether its owners can be read."""
    return (_page_size(), *_addresses(), _charges())


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register `paddr`."""
    register(
        Primitive(
            "paddr",
            make_paddr,
            PaddrOptions,
            "The physical memory of the machine, by NUMA node",
            probe=probe,
        )
    )
