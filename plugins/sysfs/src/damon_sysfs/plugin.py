"""The hook of damon-sysfs: it registers the backend `kernel`."""

from collections.abc import Callable

from damon_core import Backend, hookimpl
from damon_sysfs.features import probe
from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register `kernel` for processes and for physical memory."""
    for factory, serves in ((KernelProcesses, ("vaddr", "cgroup")), (KernelMemory, ("paddr",))):
        register(
            Backend(
                "kernel",
                factory,
                summary="the kernel's DAMON samples; needs root and CONFIG_DAMON_SYSFS",
                probe=probe,
                serves=serves,
                preference=20,
            )
        )
