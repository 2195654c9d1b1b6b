"""Sampling of what adds up by itself: when it is looked at, and what comes of it."""

import pytest

from damon_core import (
    AccumulatingSampling,
    Context,
    HookContext,
    Intervals,
    KernelPolicy,
    Regions,
    Target,
    VirtualClock,
    hookimpl,
)
from damon_core.testing import Recorder, run, run_virtual

MIB = 1 << 20


class AddsUp:
    """One region of 4 MiB; a quarter of it is accessed all the time, half of it at some time."""

    sampling = AccumulatingSampling

    def __init__(self, ends_after: int = 1_000) -> None:
        self.prepared_us: list[int] = []
        self.looked_us: list[int] = []
        self._ends_after = ends_after
        self._looks = 0

    @hookimpl
    def init(self, context: HookContext) -> None:
        context.targets.append(Target("memory", Regions([0], [4 * MIB])))

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        return context.clock.now_us() < self._ends_after * 1_000

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        self.prepared_us.append(context.clock.now_us())

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        self.looked_us.append(context.clock.now_us())
        regions = context.targets[0].regions
        if not self._looks:
            regions.nr_accesses += 0.25
        self._looks += 1
        regions.touched_bytes = regions.size_bytes // 2

    @hookimpl
    def reset_aggregated(self) -> None:
        self._looks = 0


def test_an_aggregation_has_two_looks() -> None:
    """One a sampling interval after it began, one at its end."""
    memory = AddsUp()
    run_virtual(memory, aggregations=2)
    assert memory.looked_us == [5_000, 100_000, 105_000, 200_000]


def test_the_primitive_prepares_before_each_look() -> None:
    """The order of hooks is that of every way of sampling."""
    memory = AddsUp()
    run_virtual(memory, aggregations=1)
    assert memory.prepared_us == [0, 5_000]


def test_the_first_look_stands_for_all_checks() -> None:
    """A quarter of the pages accessed in one interval are a quarter of 20 checks."""
    recorder = Recorder()
    run_virtual(AddsUp(), recorder, aggregations=2)
    assert [s.max_nr_accesses for s in recorder.snapshots] == [20, 20]
    assert [s.nr_accesses.tolist() for s in recorder.snapshots] == [[5.0], [5.0]]


@pytest.mark.parametrize("checks", [1, 2, 5, 20, 50])
def test_the_working_set_is_what_was_touched(checks: int) -> None:
    """However many checks an aggregation has."""
    recorder = Recorder()
    intervals = Intervals(100_000 // checks, 100_000, 1_000_000)
    run_virtual(AddsUp(), recorder, aggregations=2, intervals=intervals)
    assert [s.working_set_bytes() for s in recorder.snapshots] == [2 * MIB] * 2
    assert [s.idle_bytes() for s in recorder.snapshots] == [2 * MIB] * 2


def test_an_aggregation_of_one_check_has_one_look() -> None:
    """Its first look is at its end."""
    memory = AddsUp()
    run_virtual(memory, aggregations=2, intervals=Intervals(100_000, 100_000, 100_000))
    assert memory.looked_us == [100_000, 200_000]


def test_what_was_touched_is_not_idle() -> None:
    """Also where the first look saw nothing."""

    class SeenLate(AddsUp):
        @hookimpl
        def check_accesses(self, context: HookContext) -> None:
            context.targets[0].regions.touched_bytes = context.targets[0].regions.size_bytes // 2

    recorder = Recorder()
    run_virtual(SeenLate(), recorder, aggregations=2)
    assert [s.idle_us.tolist() for s in recorder.snapshots] == [[0], [0]]


def test_what_was_touched_was_accessed_once_at_least() -> None:
    """Half of the pages in one interval, where the first look fell into a pause."""

    class SeenLate(AddsUp):
        @hookimpl
        def check_accesses(self, context: HookContext) -> None:
            regions = context.targets[0].regions
            regions.touched_bytes = regions.size_bytes // 2

    recorder = Recorder()
    run_virtual(SeenLate(), recorder, aggregations=1)
    assert recorder.snapshots[0].nr_accesses.tolist() == [0.5]


def test_the_end_of_the_target_is_noticed_within_an_aggregation() -> None:
    """However long the aggregation is."""
    memory = AddsUp(ends_after=300)
    intervals = Intervals(5_000, 60_000_000, 60_000_000)
    context = Context(memory, intervals=intervals, clock=VirtualClock())
    run(context)
    assert context.clock.now_us() == 305_000
    assert memory.looked_us == [5_000]


def test_budgets_make_aggregations_longer_and_leave_the_sampling_interval() -> None:
    """A look keeps its meaning; there are fewer aggregations."""
    sampling = AccumulatingSampling(KernelPolicy())
    assert sampling.stretched(Intervals(), 3.5) == Intervals(5_000, 350_000, 1_000_000)


def test_an_aggregation_that_begins_late_is_looked_at_as_long() -> None:
    """Slow callbacks put off the clearing: both looks keep their distance from it."""
    memory = AddsUp()

    def slow(context: HookContext) -> None:
        assert isinstance(context.clock, VirtualClock)
        context.clock.advance(250_000)

    run_virtual(memory, Recorder(after_aggregation=slow), aggregations=2)
    assert memory.prepared_us == [0, 5_000, 350_000, 355_000]
    assert memory.looked_us == [5_000, 100_000, 355_000, 450_000]
