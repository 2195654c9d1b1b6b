"""The hook of damon-sysfs: it registers the backend `kernel`."""

from collections.abc import Callable, Sequence

from damon_core import Backend, Costs, DelegatedSampling, TargetForecast, hookimpl
from damon_sysfs.features import probe
from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses


def forecast(_targets: Sequence[TargetForecast]) -> Costs:
    """Return what is known of the cost, which isn't that of an aggregation."""
    return Costs(
        sampling=DelegatedSampling,
        note="the kernel samples a page a region, whatever the size of the memory; intervals grow "
        "with the number of regions",
    )


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
                forecast=forecast,
                serves=serves,
                preference=20,
            )
        )
