"""The hooks of damon-sysfs: they register the backend `kernel` and the primitive `kdamond`."""

from collections.abc import Callable, Mapping, Sequence

from damon_core import (
    Backend,
    Costs,
    DelegatedSampling,
    NoOptions,
    Primitive,
    TargetForecast,
    hookimpl,
)
from damon_sysfs.choosing import ChosenByContext
from damon_sysfs.features import probe, probe_running
from damon_sysfs.observing import RunningKdamonds
from damon_sysfs.options import KdamondOptions, KernelOptions
from damon_sysfs.pages import KernelPages
from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses


def make_processes(options: KernelOptions) -> KernelProcesses | KernelPages:
    """Make the backend of processes."""
    if options.checks == "auto":
        return ChosenByContext()
    return KernelPages() if options.checks == "pages" else KernelProcesses()


def forecast(_targets: Sequence[TargetForecast]) -> Costs:
    """Return what is known of the cost, which isn't that of an aggregation."""
    return Costs(
        sampling=DelegatedSampling,
        note="the kernel samples a page a region, whatever the size of the memory, or pages that "
        "the policy chooses, of one process where the CPU budget allows; intervals grow with the "
        "number of regions",
    )


def make_kdamond(options: KdamondOptions, _backends: Mapping[str, Backend]) -> RunningKdamonds:
    """Make the primitive.

    Raises:
        TargetError: No such kdamond runs, and it isn't to be waited for.
        PluginError: Tracing, by which results come, isn't there for this user.
    """
    running = RunningKdamonds(options.which, waits=options.when_gone == "wait")
    running.find_tracing()  # What is missing is said before a start.
    return running


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register `kdamond`."""
    register(
        Primitive(
            "kdamond",
            make_kdamond,
            KdamondOptions,
            "What a kernel DAMON finds that runs already, such as DAMON_STAT",
            probe=probe_running,
        )
    )


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register `kernel` for processes and for physical memory."""
    for factory, options, serves in (
        (make_processes, KernelOptions, ("vaddr", "cgroup")),
        (KernelMemory, NoOptions, ("paddr",)),
    ):
        register(
            Backend(
                "kernel",
                factory,
                options,
                summary="the kernel's DAMON samples; needs root and CONFIG_DAMON_SYSFS",
                probe=probe,
                forecast=forecast,
                serves=serves,
                preference=20,
            )
        )
