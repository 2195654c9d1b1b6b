"""Backends with delegated sampling: what the primitive passes to them and takes from them."""

import os
import subprocess
from collections.abc import Collection, Sequence

import numpy as np
import pytest
from damon_vaddr import (
    CommandSource,
    FirstRanges,
    PidSource,
    ProcessMemory,
    ProcessSource,
    ProcessTarget,
)

from damon_core import (
    Context,
    DelegatedSampling,
    HookContext,
    Intervals,
    PageSampling,
    RegionLimits,
    RegionPolicy,
    Regions,
    SamplingFactory,
)
from damon_core.testing import Recorder, run_virtual

_INTERVALS = Intervals(sampling_us=10_000, aggregation_us=100_000, update_us=300_000)


class Elsewhere:
    """A backend that reports all memory as accessed in half of the checks; it can lose targets.

    Attributes:
        prepared: The number of targets, intervals and limits of each `prepare`.
    """

    sampling: SamplingFactory = DelegatedSampling
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


class Here(Elsewhere):
    """A backend that is given pages."""

    sampling = PageSampling


class Either(Elsewhere):
    """A backend that samples a single process by pages.

    Attributes:
        was_single: What it was told of each context.
    """

    def __init__(self) -> None:
        super().__init__()
        self.was_single: list[bool] = []

    def for_context(
        self, _context: HookContext, _policy: RegionPolicy | None, *, is_single: bool
    ) -> Elsewhere:
        self.was_single.append(is_single)
        return Here() if is_single else self


def test_a_backend_may_choose_its_way_for_a_context(sleeper: "subprocess.Popen[str]") -> None:
    """Another backend takes its place."""
    context = Context(ProcessMemory(PidSource([sleeper.pid]), Either()), max_slowdown=None)
    assert context.policy_name == "evidence"


def test_it_chooses_anew_for_another_context(sleeper: "subprocess.Popen[str]") -> None:
    """It is asked itself, not what it has returned."""
    backend = Either()
    primitive = ProcessMemory(PidSource([sleeper.pid]), backend)
    for _ in range(2):
        Context(primitive)
    assert backend.was_single == [True, True]


def sources(pid: int) -> list[tuple[ProcessSource, bool]]:
    """Return sources, and whether each has one process and never another."""
    return [
        (PidSource([pid, pid]), True),
        (PidSource([pid], descendants=True), False),
        (PidSource([pid, os.getpid()]), False),
        (CommandSource(["true"]), True),
        (CommandSource(["true"], descendants=True), False),
    ]


@pytest.mark.parametrize("number", range(5))
def test_it_is_told_whether_there_is_one_process(
    sleeper: "subprocess.Popen[str]", number: int
) -> None:
    """Neither another named one, nor descendants."""
    source, is_single = sources(sleeper.pid)[number]
    backend = Either()
    Context(ProcessMemory(source, backend))
    assert backend.was_single == [is_single]
