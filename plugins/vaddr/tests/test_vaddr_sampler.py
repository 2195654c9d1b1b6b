"""Backends that sample by themselves: what the primitive asks of them, and makes of the answer."""

import subprocess
from collections.abc import Collection, Sequence

import numpy as np
from damon_vaddr import PidSource, ProcessMemory, ProcessSampler, ProcessTarget

from damon_core import Context, Intervals, RegionLimits, Regions, VirtualClock, hookimpl, start

_INTERVALS = Intervals(sampling_us=10_000, aggregation_us=100_000, update_us=300_000)


class Sampling:
    """A sampler that finds all memory accessed in half of the checks, and can lose targets."""

    sees_all_users = False

    def __init__(self) -> None:
        self.steered: list[tuple[int, Intervals, RegionLimits]] = []
        self.events: list[str] = []
        self.lose = False

    def add(self, target: ProcessTarget) -> None:
        self.events.append(f"add {target.name}")

    def steer(
        self, targets: Sequence[ProcessTarget], intervals: Intervals, limits: RegionLimits
    ) -> Collection[ProcessTarget]:
        self.steered.append((len(targets), intervals, limits))
        lost, self.lose = self.lose, False
        return targets if lost else ()

    def collect(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
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
    """A callback that stops after some aggregations, and commits changes in the first."""

    def __init__(self, aggregations: int, changed: Intervals | None = None) -> None:
        self._left = aggregations
        self._changed = changed

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        if self._changed is not None:
            context.commit(intervals=self._changed, limits=RegionLimits(20, 30))
        self._left -= 1
        return self._left == 0


def _run(pid: int, sampler: Sampling, callback: StopAfter) -> Context:
    primitive = ProcessMemory(PidSource([pid]), sampler)
    context = Context(primitive, [callback], intervals=_INTERVALS, clock=VirtualClock())
    start(context)
    assert context.wait(60)
    assert context.error is None
    return context


def test_what_is_seen_is_told_as_it_is(sleeper: "subprocess.Popen[str]") -> None:
    """Regions and counters are the sampler's; what of them is mapped is told by the primitive."""
    sampler = Sampling()
    assert isinstance(sampler, ProcessSampler)
    context = _run(sleeper.pid, sampler, StopAfter(4))
    assert context.snapshot is not None
    (target,) = context.snapshot.targets
    assert len(target) == 1
    assert (target.nr_accesses[0], target.age[0], target.idle_us[0]) == (5, 7, 9)
    assert target.max_nr_accesses == _INTERVALS.checks
    assert 1 << 20 < target.total_bytes < int(target.size_bytes.sum())
    assert context.stats.aggregations == 4
    assert sampler.events[-1] == "close"


def test_changes_are_passed_on(sleeper: "subprocess.Popen[str]") -> None:
    """Intervals and limits, from the aggregation on that follows the change."""
    changed = Intervals(20_000, 200_000, 300_000)
    sampler = Sampling()
    _run(sleeper.pid, sampler, StopAfter(3, changed))
    assert sampler.steered == [
        (1, _INTERVALS, RegionLimits()),
        (1, changed, RegionLimits(20, 30)),
        (1, changed, RegionLimits(20, 30)),
    ]


def test_a_process_with_another_memory_is_another_target(
    sleeper: "subprocess.Popen[str]",
) -> None:
    """One that the sampler tells to be gone, but lives on."""
    sampler = Sampling()
    sampler.lose = True
    context = _run(sleeper.pid, sampler, StopAfter(2))
    name = context.targets[0].name
    assert sampler.events == [f"add {name}", f"forget {name}", f"add {name}", "close"]
    assert np.all(context.targets[0].regions.start > 0)
