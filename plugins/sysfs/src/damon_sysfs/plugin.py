"""What damon-sysfs offers: the backend `kernel`."""

from collections.abc import Callable

from damon_core import Backend, hookimpl
from damon_sysfs.features import probe
from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Offer `kernel`."""
    for factory, serves in ((KernelProcesses, ("vaddr", "cgroup")), (KernelMemory, ("paddr",))):
        register(
            Backend(
                "kernel",
                factory,
                summary="the kernel's own DAMON samples; root and CONFIG_DAMON_SYSFS",
                probe=probe,
                serves=serves,
                preference=20,
            )
        )
