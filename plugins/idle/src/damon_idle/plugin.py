"""The hook of damon-idle: it registers the backend `idle`."""

from collections.abc import Callable, Sequence

from damon_core import Backend, Costs, Finding, PageSampling, TargetForecast, hookimpl
from damon_idle.helper import probe_helper
from damon_idle.opening import probe_frames, probe_marks
from damon_idle.options import IdleOptions
from damon_idle.physical import PhysicalIdle
from damon_idle.processes import ProcessIdle

_SUMMARY = "idle page tracking: single pages; needs root and CONFIG_IDLE_PAGE_TRACKING"


def probe() -> Sequence[Finding]:
    """Report whether this kernel and user have what the backend needs."""
    return (*probe_marks(), probe_frames())


def probe_for_processes() -> Sequence[Finding]:
    """Report the same, and what checks the pages of processes."""
    return (*probe(), probe_helper())


def forecast(_targets: Sequence[TargetForecast]) -> Costs:
    """Return what is known of the cost, which isn't that of an aggregation."""
    return Costs(
        sampling=PageSampling,
        note="a check takes some 0.1ms and a few microseconds a region, whatever the size of the "
        "memory; intervals grow with the number of regions",
    )


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register `idle` for processes and for physical memory."""
    register(
        Backend(
            "idle",
            ProcessIdle,
            IdleOptions,
            _SUMMARY,
            probe=probe_for_processes,
            forecast=forecast,
            serves=("vaddr", "cgroup"),
            preference=10,
        )
    )
    register(
        Backend(
            "idle",
            PhysicalIdle,
            summary=_SUMMARY,
            probe=probe,
            serves=("paddr",),
            preference=10,
        )
    )
