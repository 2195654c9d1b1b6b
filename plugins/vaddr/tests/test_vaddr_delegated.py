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
)
from damon_core.testing import Recorder, run_virtual

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


def _run(pid: int, backend: Elsewhere, aggregations: int, *callbacks: object) -> Context:
    primitive = ProcessMemory(PidSource([pid]), backend)
    return run_virtual(primitive, *callbacks, aggregations=aggregations, intervals=_INTERVALS)


def test_regions_are_those_of_the_backend(sleeper: "subprocess.Popen[str]") -> None:
    """So are their counters; the primitive sets their resident bytes."""
    backend = Elsewhere()
    context = _run(sleeper.pid, backend, 4)
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
    commit = Recorder(
        after_aggregation=lambda context: context.commit(
            intervals=changed, limits=RegionLimits(20, 30)
        )
    )
    _run(sleeper.pid, backend, 3, commit)
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
    context = _run(sleeper.pid, backend, 2)
    name = context.targets[0].name
    assert backend.events == [f"add {name}", f"forget {name}", f"add {name}", "close"]
    assert np.all(context.targets[0].regions.start > 0)
