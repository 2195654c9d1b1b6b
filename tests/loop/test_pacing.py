"""Regions where intervals change: stretched ones, and those committed while running."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from damon_core import (
    Context,
    Intervals,
    IntervalsGoal,
    PageSampling,
    RegionLimits,
    RegionSampling,
    Target,
    start,
)
from damon_core.policies.kernel import KernelPolicy
from tests.cpu_clock import CpuClock
from tests.loop.work import SECOND, Act, Work, proportional, run, spent


class Pages(Work):
    """Looks at the pages that a policy chooses."""

    sampling = PageSampling


class WholeRegions(Work):
    """Looks at whole regions: the default way of sampling."""

    sampling = RegionSampling


class TestRegionSampling:
    def test_checks_become_fewer_while_aggregations_stay(self) -> None:
        """2 % of a processor, checks of 300 us: one every 15 ms, with some room."""
        work = WholeRegions(check_us=300, checks=400)
        context = run(work)
        last = work.snapshots[-1].intervals
        assert 15_000 <= last.sampling_us <= 15_000 / 0.7
        assert (last.aggregation_us, last.update_us) == (100_000, SECOND)
        assert spent(context) <= 0.022

    def test_aggregations_become_as_long_as_one_check_needs(self) -> None:
        """A check of 10 ms every half second: an aggregation has one."""
        work = WholeRegions(check_us=10_000, checks=400)
        context = run(work)
        last = work.snapshots[-1].intervals
        assert 500_000 <= last.sampling_us <= 500_000 / 0.7  # with room, it doesn't shrink
        assert last.aggregation_us == last.sampling_us
        assert spent(context) <= 0.022

    def test_the_end_of_an_aggregation_leaves_less_for_checks(self) -> None:
        """1 ms at the end of each 100 ms is half of 2 %: checks have the other half."""
        work = WholeRegions(check_us=300, aggregate_us=1_000, checks=2_000)
        context = run(work)
        last = work.snapshots[-1].intervals
        assert 30_000 <= last.sampling_us <= 30_000 / 0.7
        assert last.aggregation_us == 100_000
        assert spent(context) <= 0.022

    def test_a_goal_is_stretched_too(self) -> None:
        """The budget adds to the intervals that a goal has tuned."""
        work = WholeRegions(check_us=300, share=lambda _: 0.04, checks=200)
        run(work, intervals=Intervals(10_000, 50_000, SECOND), goal=IntervalsGoal(aggregations=1))
        last = work.snapshots[-1].intervals
        assert 15_000 <= last.sampling_us <= 15_000 / 0.7
        assert last.aggregation_us == 50_000


class Noting(KernelPolicy):
    """Notes the limits, and the intervals, that are in force whenever it chooses samples."""

    def __init__(self, context: list[Context]) -> None:
        super().__init__()
        self._context = context
        self.seen: list[tuple[int, int, int]] = []

    def begin(self, limits: RegionLimits) -> None:
        super().begin(limits)
        self.known = limits

    def set_limits(self, limits: RegionLimits) -> None:
        super().set_limits(limits)
        self.known = limits

    def choose(self, targets: Sequence[Target]) -> None:
        context = self._context[0]
        self.seen.append(
            (context.intervals.sampling_us, context.limits.max_regions, self.known.max_regions)
        )
        super().choose(targets)


def committing(**changes: Any) -> Callable[[Context], None]:
    """Return an action that commits changes."""
    return lambda context: context.commit(**changes)


class TestCommit:
    def test_both_come_into_force_at_once(self) -> None:
        """Intervals and limits committed in an iteration are both in force in the next one."""
        contexts: list[Context] = []
        policy = Noting(contexts)
        change = committing(intervals=Intervals(10_000, 50_000, SECOND), limits=RegionLimits(5, 50))
        context = Context(Pages(checks=4), [Act({1: change})], clock=CpuClock(), policy=policy)
        contexts.append(context)
        start(context)
        assert context.wait(30)
        assert policy.seen == [(5_000, 1_000, 1_000)] * 2 + [(10_000, 50, 50)] * 2

    def test_the_iteration_under_way_completes_as_it_began(self) -> None:
        """A change in an iteration moves the checks behind it only."""
        work = Work(checks=5)
        run(work, Act({1: committing(intervals=Intervals(20_000, 100_000, SECOND))}))
        assert work.checked_us == [5_000, 10_000, 30_000, 50_000, 70_000]

    def test_never_one_without_the_other(self) -> None:
        """Another thread that commits pairs all the time is never seen half-way."""
        contexts: list[Context] = []
        policy = Noting(contexts)
        work = Pages(checks=1_000)
        context = Context(work, clock=CpuClock(), policy=policy)
        contexts.append(context)
        start(context)
        pairs = {(5_000, 1_000, 1_000)}
        number = 0
        while context.running:
            number = number % 50 + 1
            context.commit(
                intervals=Intervals(1_000 * number, 100_000, SECOND),
                limits=RegionLimits(1, number),
            )
            pairs.add((1_000 * number, number, number))
        assert context.error is None
        assert set(policy.seen) <= pairs
        assert len(set(policy.seen)) > 1

    def test_ages_are_rescaled(self) -> None:
        """9 aggregations of 100 ms are 3 of 300 ms, and one comes to it."""
        work = Work(share=lambda _: 1.0, checks=202)
        run(work, Act({200: committing(intervals=Intervals(300_000, 300_000, SECOND))}))
        assert [int(s.age[0]) for s in work.snapshots] == [*range(10), 4]

    def test_a_change_of_intervals_is_no_change_of_accesses(self) -> None:
        """A region that is always hot grows older while its counters change their scale."""
        work = Work(share=lambda _: 1.0, checks=80)
        run(work, Act({39: committing(intervals=Intervals(10_000, 100_000, SECOND))}))
        assert [s.max_nr_accesses for s in work.snapshots] == [20, 20, 10, 10, 10, 10]
        assert [int(s.age[0]) for s in work.snapshots] == [0, 1, 2, 3, 4, 5]

    def test_limits_alone_leave_tuned_intervals(self) -> None:
        """New limits don't make a goal begin anew."""
        work = Work(share=proportional, checks=20 * 8)
        run(work, Act({20 * 7: committing(limits=RegionLimits(1, 5))}), goal=IntervalsGoal())
        assert work.snapshots[-1].intervals.sampling_us == 20_000

    def test_a_goal_tunes_on_from_committed_intervals(self) -> None:
        """Committed intervals are where tuning goes on, with their ratio."""
        work = Work(share=proportional, checks=20 * 3 + 10 * 3)
        change = committing(intervals=Intervals(30_000, 300_000, SECOND))
        run(work, Act({20 * 3 - 1: change}), goal=IntervalsGoal())
        assert [s.intervals.sampling_us for s in work.snapshots[3:]] == [30_000] * 3
        assert work.snapshots[-1].max_nr_accesses == 10

    def test_the_budget_holds_from_the_first_iteration_on(self) -> None:
        """A much shorter interval isn't tried out before the budget stretches it."""
        work = Work(check_us=1_000, checks=300)
        change = committing(intervals=Intervals(100, 2_000, SECOND))
        run(work, Act({100: change}), intervals=Intervals(100_000, 1_000_000, SECOND))
        gaps = [b - a for a, b in pairwise(work.checked_us[101:])]
        assert min(gaps) >= 50_000

    def test_they_stay_for_the_next_run(self) -> None:
        """What was committed while running is what the context has afterwards."""
        intervals, limits = Intervals(10_000, 50_000, SECOND), RegionLimits(5, 50)
        work = Work(checks=4)
        context = run(work, Act({1: committing(intervals=intervals, limits=limits)}))
        assert (context.intervals, context.limits) == (intervals, limits)

    def test_while_not_running(self) -> None:
        """Before a run it sets what the run begins with."""
        context = Context(object())
        context.commit(limits=RegionLimits(5, 50))
        assert (context.intervals, context.limits) == (Intervals(), RegionLimits(5, 50))
