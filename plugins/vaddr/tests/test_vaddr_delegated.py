"""Backends with delegated sampling: what the primitive passes to them and takes from them."""

import subprocess
from collections.abc import Collection, Sequence

import numpy as np
from damon_vaddr import FirstRanges, PidSource, ProcessMemory, ProcessTarget

from damon_core import (
    Context,
    DelegatedSampling,
    HookContext,
    Intervals,
    RegionLimits,
    Regions,
    VirtualClock,
    hookimpl,
    start,
)

_INTERVALS = Intervals(sampling_us=10_000, aggregation_us=100_000, update_us=300_000)


class Elsewhere:
    """A backend that reports all memory as accessed in half of the checks; it can lose targets.

    Attributes:
        prepared: The number of targets, intervals and limits of each `prepare`.
    """

    sampling = DelegatedSampling
    layout = FirstRanges()
    sees_all_users = False

    def __init__(self) -> None:
        self.prepared: list[tuple[int, Intervals, RegionLimits]] = []
        self.events: list[str] = []
        self.lose = False

    def add(self, target: ProcessTarget) -> None:
        self.events.append(f"add {target.name}")

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        self.prepared.append((len(targets), context.intervals, context.limits))
        lost, self.lose = self.lose, False
        return targets if lost else ()

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext
    ) -> Collection[ProcessTarget]:
        for target in targets:
            regions = target.regions
            target.regions = Regions(regions.start[:1], regions.end[-1:])
            target.regions.nr_accesses[:] = 5
            target.regions.age[:] = 7
            target.regions.idle_us[:] = 9
        return ()

    def forget(self, target: ProcessTarget) -> None:
        self.events.append(f"forget {target.name}")

    def close(self) -> None:
        self.events.append("close")


class StopAfter:
    """A callback that stops after a number of aggregations and commits changes in each."""

    def __init__(self, aggregations: int, changed: Intervals | None = None) -> None:
        self._left = aggregations
        self._changed = changed

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        if self._changed is not None:
            context.commit(intervals=self._changed, limits=RegionLimits(20, 30))
        self._left -= 1
        return self._left == 0


def _run(pid: int, backend: Elsewhere, callback: StopAfter) -> Context:
    primitive = ProcessMemory(PidSource([pid]), backend)
    context = Context(primitive, [callback], intervals=_INTERVALS, clock=VirtualClock())
    start(context)
    assert context.wait(60)
    assert context.error is None
    return context


def test_regions_are_those_of_the_backend(sleeper: "subprocess.Popen[str]") -> None:
    """So are their counters; the primitive sets their resident bytes."""
    backend = Elsewhere()
    context = _run(sleeper.pid, backend, StopAfter(4))
    assert context.snapshot is not None
    (target,) = context.snapshot.targets
    assert len(target) == 1
    assert (target.nr_accesses[0], target.age[0], target.idle_us[0]) == (5, 7, 9)
    assert target.max_nr_accesses == _INTERVALS.checks
    assert 1 << 20 < target.total_bytes < int(target.size_bytes.sum())
    assert context.stats.aggregations == 4
    assert backend.events[-1] == "close"


def test_changes_are_passed_on(sleeper: "subprocess.Popen[str]") -> None:
    """From the next aggregation on, the backend is given the new intervals and limits."""
    changed = Intervals(20_000, 200_000, 300_000)
    backend = Elsewhere()
    _run(sleeper.pid, backend, StopAfter(3, changed))
    assert backend.prepared == [
        (1, _INTERVALS, RegionLimits()),
        (1, changed, RegionLimits(20, 30)),
        (1, changed, RegionLimits(20, 30)),
    ]


def test_a_process_with_new_memory_is_a_new_target(
    sleeper: "subprocess.Popen[str]",
) -> None:
    """A target that the backend reports as gone is added again if its process still runs."""
    backend = Elsewhere()
    backend.lose = True
    context = _run(sleeper.pid, backend, StopAfter(2))
    name = context.targets[0].name
    assert backend.events == [f"add {name}", f"forget {name}", f"add {name}", "close"]
    assert np.all(context.targets[0].regions.start > 0)
