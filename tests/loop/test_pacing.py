"""Pacing: intervals tuned to a goal, kept within CPU budgets, changed while running."""

import heapq
import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import (
    AccumulatingSampling,
    AttributeValueError,
    Context,
    Costs,
    DelegatedSampling,
    Intervals,
    IntervalsGoal,
    Limits,
    PageSampling,
    RegionLimits,
    Regions,
    RegionSampling,
    SamplingFactory,
    Snapshot,
    SystemClock,
    Target,
    VirtualClock,
    hookimpl,
    start,
    stop,
)
from damon_core.loop.budget import BudgetKeeper
from damon_core.loop.forecast import expect
from damon_core.loop.pacing import Pace
from damon_core.loop.sharing import SharedBudget
from damon_core.loop.tolls import TollKeeper, allowed_share
from damon_core.loop.tuning import GoalTuner
from damon_core.memory.target import Toll
from damon_core.policies.kernel import KernelPolicy
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual
from tests.cpu_clock import CpuClock

SECOND = 1_000_000


class EvenRegions(RegionSampling):
    """Whole regions, with intervals that are stretched evenly, as for single pages."""

    needed_factor = PageSampling.needed_factor
    stretched = PageSampling.stretched


class Work:
    """A primitive whose operations have given costs, with regions accessed as given.

    Args:
        check_us: What a check costs; a function of its number, or always the same.
        aggregate_us: What the end of an aggregation costs.
        update_us: What an update costs.
        init_us: What it costs to begin.
        share: The share of the checks that see an access, at a sampling interval.
        checks: How many checks to make.
        until_us: How long to go on, if longer.
        most_checks: After how many checks to end nevertheless.
    """

    sampling: SamplingFactory = EvenRegions

    def __init__(
        self,
        check_us: int | Callable[[int], int] = 0,
        *,
        aggregate_us: int = 0,
        update_us: int = 0,
        init_us: int = 0,
        share: Callable[[int], float] = lambda _: 0.0,
        checks: int = 100,
        until_us: int = 0,
        most_checks: int = 1_000_000,
    ) -> None:
        self.check_us = check_us
        self.aggregate_us, self.update_us, self.init_us = aggregate_us, update_us, init_us
        self.share, self.checks, self.until_us = share, checks, until_us
        self.most_checks = most_checks
        self.snapshots: list[Snapshot] = []
        self.checked_us: list[int] = []
        self.updated_us: list[int] = []

    @staticmethod
    def _work(context: Context, us: int) -> None:
        assert isinstance(context.clock, CpuClock)
        context.clock.work(us)

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(Target("work", Regions([0], [1 << 30])))
        self._work(context, self.init_us)

    @hookimpl
    def target_valid(self, context: Context) -> bool:
        checks = len(self.checked_us)
        return checks < self.checks or (
            context.clock.now_us() < self.until_us and checks < self.most_checks
        )

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        cost_us = self.check_us
        self._work(context, cost_us if isinstance(cost_us, int) else cost_us(len(self.checked_us)))
        self.checked_us.append(context.clock.now_us())
        context.targets[0].regions.nr_accesses += self.share(context.intervals.sampling_us)

    @hookimpl
    def reset_aggregated(self, context: Context) -> None:
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)
        self._work(context, self.aggregate_us)

    @hookimpl
    def update(self, context: Context) -> None:
        self.updated_us.append(context.clock.now_us())
        self._work(context, self.update_us)


def run(
    work: Work,
    *callbacks: object,
    intervals: Intervals | None = None,
    goal: IntervalsGoal | None = None,
    cpu_budget: float | None = 0.02,
    group_budget: float | None = None,
) -> Context:
    """Run some work until it is done."""
    context = Context(
        work,
        callbacks,
        intervals=intervals,
        clock=CpuClock(),
        goal=goal,
        cpu_budget=cpu_budget,
    )
    start(context, cpu_budget=group_budget)
    assert context.wait(60)
    assert context.error is None
    return context


def spent(context: Context) -> float:
    """Return the share of a processor that a run has spent."""
    return context.stats.cpu_us / context.clock.now_us()


class Act:
    """A callback that acts after the check of each number given."""

    def __init__(self, actions: dict[int, Callable[[Context], object]]) -> None:
        self._actions = actions

    @hookimpl
    def after_sampling(self, context: Context) -> None:
        action = self._actions.get(context.stats.samples)
        if action is not None:
            action(context)


# -- a goal ----------------------------------------------------------------------------


def proportional(sampling_us: int) -> float:
    """Return a share of accesses that grows with the interval: 1 % at 5 ms, all from 500 ms on."""
    return min(1.0, sampling_us / 500_000)


class TestGoal:
    def test_the_goal_is_reached(self) -> None:
        """4 % are seen at 20 ms: doubled twice, each time after 3 aggregations, then kept."""
        work = Work(share=proportional, checks=20 * 12)
        run(work, goal=IntervalsGoal())
        sampling = [snapshot.intervals.sampling_us for snapshot in work.snapshots]
        assert sampling == [5_000] * 3 + [10_000] * 3 + [20_000] * 6

    def test_the_ratio_is_kept(self) -> None:
        """Aggregations have 20 checks whatever the interval, also where it isn't round."""
        work = Work(share=proportional, checks=20 * 60)
        run(work, goal=IntervalsGoal(access_share=0.0777, aggregations=1))
        assert len({snapshot.intervals for snapshot in work.snapshots}) > 3
        assert {s.max_nr_accesses for s in work.snapshots} == {20}
        assert {s.intervals.aggregation_us / s.intervals.sampling_us for s in work.snapshots} == {
            20.0
        }

    @pytest.mark.parametrize(
        ("share", "goal", "expected"),
        [
            (0.0, IntervalsGoal(aggregations=1, max_sampling_us=18_000), [5, 10, 18, 18]),
            (1.0, IntervalsGoal(aggregations=1, min_sampling_us=2_000), [5, 2.5, 2, 2]),
            (0.04, IntervalsGoal(aggregations=1), [5, 5, 5, 5]),
            (0.0425, IntervalsGoal(aggregations=1), [5, 5, 5, 5]),
            (0.05, IntervalsGoal(aggregations=1, min_sampling_us=1), [5, 4, 3.2, 2.56]),
        ],
    )
    def test_steps(self, share: float, goal: IntervalsGoal, expected: list[float]) -> None:
        """At most a factor of 2 at once, within the bounds, and no steps below a tenth."""
        work = Work(share=lambda _: share, checks=80)
        run(work, goal=goal)
        sampling = [snapshot.intervals.sampling_us / 1_000 for snapshot in work.snapshots]
        assert sampling == expected

    @pytest.mark.parametrize(
        ("sampling_us", "begins_us"), [(1_000, 5_000), (30_000, 20_000), (8_000, 8_000)]
    )
    def test_it_begins_within_the_bounds(self, sampling_us: int, begins_us: int) -> None:
        """The configured interval is moved into the bounds, with the same number of checks."""
        work = Work(share=lambda _: 0.04, checks=20)
        intervals = Intervals(sampling_us, 20 * sampling_us, SECOND)
        run(work, intervals=intervals, goal=IntervalsGoal(max_sampling_us=20_000))
        assert work.snapshots[0].intervals == Intervals(begins_us, 20 * begins_us, SECOND)

    def test_the_mean_counts(self) -> None:
        """Over 3 aggregations of which one sees 12 % and two none the goal is just met."""
        tuner = GoalTuner(IntervalsGoal())
        assert [tuner.tuned(5_000, share) for share in (0.12, 0.0, 0.0, 0.12)] == [5_000] * 4

    def test_each_step_is_measured_anew(self) -> None:
        """After a step the aggregations before it count no more."""
        tuner = GoalTuner(IntervalsGoal(aggregations=2))
        assert [tuner.tuned(5_000, share) for share in (0.0, 0.0)] == [5_000, 10_000]
        assert [tuner.tuned(10_000, share) for share in (0.04, 0.04)] == [10_000, 10_000]

    def test_nothing_to_access_is_no_reason(self) -> None:
        """While a target has no memory the intervals stay."""

        class Empty(Work):
            @hookimpl
            def check_accesses(self, context: Context) -> None:
                context.targets[0].regions = Regions()
                self.checked_us.append(context.clock.now_us())

        work = Empty(checks=200)
        run(work, goal=IntervalsGoal(aggregations=1))
        assert {s.intervals for s in work.snapshots} == {Intervals()}

    def test_ages_are_rescaled(self) -> None:
        """Ages count aggregations: 2 of 100 ms are 1 of 200 ms when the interval doubles."""
        work = Work(share=lambda _: 0.0, checks=100)
        run(work, goal=IntervalsGoal(max_sampling_us=10_000))
        assert [int(s.age[0]) for s in work.snapshots] == [1, 2, 3, 2, 3]

    def test_the_budget_comes_first(self) -> None:
        """A goal that wants 5 ms doesn't get them where a check costs 1 ms of 2 %."""
        work = Work(check_us=1_000, share=lambda _: 1.0, checks=400)
        context = run(work, intervals=Intervals(20_000, 400_000, SECOND), goal=IntervalsGoal())
        assert 50_000 <= work.snapshots[-1].intervals.sampling_us <= 75_000
        assert spent(context) <= 0.022

    @pytest.mark.parametrize(
        "values",
        [
            {"access_share": 0.0},
            {"access_share": 1.1},
            {"access_share": math.nan},
            {"aggregations": 0},
            {"min_sampling_us": 0},
            {"max_sampling_us": 4_999},
        ],
    )
    def test_values_out_of_range(self, values: dict[str, float]) -> None:
        """A goal that can't be is refused with the name of the value."""
        with pytest.raises(AttributeValueError, match=f"^{next(iter(values))} is "):
            IntervalsGoal(**values)  # type: ignore[arg-type]


# -- the budget ------------------------------------------------------------------------


@frozen(kw_only=True)
class Expense:
    """What a context costs, its intervals and its budget."""

    check_us: int
    aggregate_us: int
    update_us: int
    sampling_us: int
    checks_an_aggregation: int
    budget: float

    def keep_the_budget(self) -> None:
        """Check that a run keeps to 1.1 times the budget, but for what couldn't be foreseen.

        That is the first check, the first end of an aggregation and the first update; and within
        an aggregation it may be ahead by a second's spending, in the first one by 50 ms.
        """
        first_us = self.check_us + self.aggregate_us + self.update_us
        work = Work(
            self.check_us,
            aggregate_us=self.aggregate_us,
            update_us=self.update_us,
            checks=200,
            until_us=round(40 * first_us / self.budget),
            most_checks=3_000,
        )
        aggregation_us = self.sampling_us * self.checks_an_aggregation
        intervals = Intervals(self.sampling_us, aggregation_us, max(SECOND, self.sampling_us))
        context = run(work, intervals=intervals, cpu_budget=self.budget)
        checks = work.snapshots[0].max_nr_accesses if work.snapshots else context.stats.samples
        allowed_us = 1.1 * self.budget * (context.clock.now_us() + SECOND) + first_us
        assert context.stats.cpu_us <= allowed_us + min(50_000, self.check_us * checks)


EXPENSES = st.builds(
    Expense,
    check_us=st.integers(0, 20).map(lambda power: round(10 ** (power * 0.3))),
    aggregate_us=st.integers(0, 20).map(lambda power: round(10 ** (power * 0.3))),
    update_us=st.sampled_from([0, 1, 1_000, 50_000, SECOND]),
    sampling_us=st.sampled_from([100, 5_000, 250_000]),
    checks_an_aggregation=st.sampled_from([1, 7, 20, 1_000]),
    budget=st.sampled_from([0.001, 0.02, 0.3, 1.0]),
)


class TestBudget:
    def test_what_fits_is_left_alone(self) -> None:
        """1.8 % of a processor leave the configured intervals as they are."""
        work = Work(check_us=80, aggregate_us=200, checks=200)
        run(work)
        assert {snapshot.intervals for snapshot in work.snapshots} == {Intervals()}

    def test_more_stretches_the_intervals(self) -> None:
        """A check of 1 ms can be made every 50 ms with 2 %; a little more room is left."""
        work = Work(check_us=1_000, checks=1_000)
        context = run(work)
        assert 50_000 <= context.stats.cpu_us / 1_000 * 50 <= context.clock.now_us()
        last = work.snapshots[-1].intervals
        assert 50_000 <= last.sampling_us <= 60_000
        assert last.aggregation_us == 20 * last.sampling_us
        assert last.update_us == SECOND

    def test_the_snapshot_tells_the_intervals_in_force(self) -> None:
        """Aggregations last as long as their intervals say, and have the checks that fit."""
        work = Work(check_us=1_000, checks=400)
        run(work)
        for snapshot in work.snapshots[3:]:
            assert snapshot.elapsed_us == pytest.approx(snapshot.intervals.aggregation_us, rel=0.06)
            assert 19 <= snapshot.max_nr_accesses <= 21

    def test_it_settles(self) -> None:
        """Constant costs lead to constant intervals."""
        work = Work(check_us=700, aggregate_us=3_000, update_us=500, checks=2_000)
        run(work)
        assert (
            len({snapshot.intervals for snapshot in work.snapshots[len(work.snapshots) // 2 :]})
            == 1
        )

    def test_shrinks_back_when_there_is_room(self) -> None:
        """When checks cost less the intervals shrink, and are those configured at the end."""
        work = Work(check_us=lambda number: 2_000 if number < 200 else 50, checks=1_000)
        run(work)
        sampling = [snapshot.intervals.sampling_us for snapshot in work.snapshots]
        assert max(sampling) >= 100_000
        assert sampling[-1] == 5_000

    def test_varying_costs_do_not_swing_the_intervals(self) -> None:
        """Checks of 0.8 or 1.2 ms in turn have settled intervals."""
        work = Work(check_us=lambda number: 800 + number % 3 * 200, checks=2_000)
        context = run(work)
        assert len({s.intervals for s in work.snapshots[50:]}) == 1
        assert spent(context) <= 0.021

    def test_ages_grow_while_costs_vary(self) -> None:
        """Intervals don't change so often that ages, rounded down each time, stay low."""
        work = Work(check_us=lambda number: 800 + number % 3 * 200, checks=2_000)
        run(work)
        assert work.snapshots[-1].age[0] > 50

    def test_a_very_expensive_check_is_felt_at_once(self) -> None:
        """A second for the first check: the second one comes when 2 % allow it."""
        work = Work(check_us=SECOND, checks=2)
        run(work, intervals=Intervals(5_000, 100_000, SECOND))
        assert work.checked_us[1] - work.checked_us[0] >= 50 * SECOND

    def test_a_long_aggregation_is_not_waited_for(self) -> None:
        """With an hour for an aggregation, checks of 20 ms each 50 ms don't go on for an hour."""
        hour = 3_600 * SECOND
        work = Work(check_us=20_000, until_us=2 * hour)
        context = run(work, intervals=Intervals(50_000, hour, hour))
        assert spent(context) <= 0.021

    def test_a_long_aggregation_that_costs_little_too_much(self) -> None:
        """3 % instead of 2 are noticed after some seconds of an aggregation of an hour."""
        hour = 3_600 * SECOND
        work = Work(check_us=1_500, until_us=hour // 10)
        context = run(work, intervals=Intervals(50_000, hour, hour))
        assert context.stats.aggregations == 0
        assert spent(context) <= 0.02

    def test_a_first_check_that_warms_up_is_forgotten(self) -> None:
        """A first check of 20 ms before ones of 0.05: the configured interval is soon back."""
        work = Work(check_us=lambda number: 50 if number else 20_000, until_us=20 * SECOND)
        context = run(work)
        assert context.clock.now_us() >= 20 * SECOND
        times = [s.time_us - VirtualClock().unix_us() for s in work.snapshots]
        stretched = [t for t, s in zip(times, work.snapshots, strict=True)
                     if s.intervals != Intervals()]  # fmt: skip
        assert max(stretched) <= 8 * SECOND

    def test_a_rise_of_the_cost_is_felt_within_the_aggregation(self) -> None:
        """When checks suddenly cost a hundred times as much, it isn't for a whole aggregation."""
        work = Work(check_us=lambda number: 50 if number < 1_010 else 5_000, checks=1_100)
        run(work)
        after = [b - a for a, b in pairwise(work.checked_us[1_015:])]
        assert min(after) >= 4 * 5_000

    def test_one_slow_check_changes_nothing_for_long(self) -> None:
        """A single check that costs ten times as much passes by."""
        work = Work(check_us=lambda number: 500 if number == 500 else 50, checks=2_000)
        run(work)
        assert {snapshot.intervals for snapshot in work.snapshots} == {Intervals()}

    def test_updates_are_put_off(self) -> None:
        """Updates of 100 ms never take more than half of the budget; they come each 10 s."""
        work = Work(update_us=100_000, until_us=300 * SECOND)
        context = run(work, intervals=Intervals(100_000, SECOND, SECOND))
        gaps = [b - a for a, b in pairwise(work.updated_us[3:])]
        assert 9 * SECOND <= min(gaps) <= max(gaps) <= 12 * SECOND
        assert spent(context) <= 0.02 * 1.1

    def test_updates_leave_sampling_alone(self) -> None:
        """Where only updates are expensive, checks are made as configured."""
        work = Work(check_us=10, update_us=100_000, until_us=30 * SECOND)
        run(work)
        assert work.snapshots[-1].intervals.sampling_us == 5_000

    def test_an_update_is_no_surprise(self) -> None:
        """Updates that fit into the budget with everything else stretch nothing when they come."""
        work = Work(check_us=55, update_us=8_000, until_us=30 * SECOND)
        run(work)
        assert {snapshot.intervals for snapshot in work.snapshots} == {Intervals()}

    def test_expensive_callbacks_count(self) -> None:
        """What the end of an aggregation costs stretches the intervals, too."""
        work = Work(aggregate_us=50_000, until_us=300 * SECOND)
        context = run(work)
        assert 2_500_000 <= work.snapshots[-1].intervals.aggregation_us <= 3_000_000
        assert spent(context) <= 0.022

    def test_the_beginning_is_paid_back(self) -> None:
        """What init costs is part of what a run spends."""
        work = Work(check_us=1_000, init_us=200_000, until_us=120 * SECOND)
        assert spent(run(work)) <= 0.02

    def test_a_suspended_machine_gives_no_credit(self) -> None:
        """An hour asleep doesn't allow an hour's spending afterwards."""
        work = Work(check_us=1_000, checks=600)

        def suspend(context: Context) -> None:
            assert isinstance(context.clock, VirtualClock)
            context.clock.advance(3_600 * SECOND)

        run(work, Act({300: suspend}))
        after_us = work.checked_us[599] - work.checked_us[310]
        assert 289 * 1_000 / after_us <= 0.022

    def test_none_spends_what_it_takes(self) -> None:
        """Without a budget the intervals stay, whatever it costs."""
        work = Work(check_us=4_000, aggregate_us=500, checks=100)
        context = run(work, cpu_budget=None)
        assert {snapshot.intervals for snapshot in work.snapshots} == {Intervals()}
        assert spent(context) > 0.5

    def test_the_groups_budget_holds_for_contexts_without_one(self) -> None:
        """A group's budget is for all its workers."""
        work = Work(check_us=4_000, checks=600)
        context = run(work, cpu_budget=None, group_budget=0.05)
        assert spent(context) <= 0.05 * 1.1

    def test_what_sampling_costs_others_counts(self) -> None:
        """Somebody else's processor time is the context's own: 20 checks of 1 ms each time."""

        class Elsewhere(Work):
            sampling = DelegatedSampling

            @property
            def spent_elsewhere_us(self) -> int:
                return 5_000_000 + 20_000 * len(self.checked_us)

        work = Elsewhere(checks=30)
        context = run(work)
        assert context.stats.cpu_us == 20_000 * 30
        assert spent(context) <= 0.022
        assert context.stats.samples == 20 * 30

    def test_a_restart_begins_anew(self) -> None:
        """A second run begins with the configured intervals."""
        work = Work(check_us=1_000, checks=100)
        context = run(work)
        work.checked_us.clear()
        begin_us = context.clock.now_us()
        start(context)
        assert context.wait(60)
        assert work.checked_us[0] - begin_us == 5_000 + 1_000

    @pytest.mark.parametrize("budget", [0.0, -1.0, 1.01, math.nan])
    def test_no_budget(self, budget: float) -> None:
        """A context's budget is a share of one processor."""
        with pytest.raises(AttributeValueError, match=r"^cpu_budget is .*above 0 and at most 1"):
            Context(object(), cpu_budget=budget)

    @pytest.mark.parametrize("budget", [0.0, -1.0, math.nan])
    def test_no_group_budget(self, budget: float) -> None:
        """A group's budget may be more than one processor, but not nothing; nothing starts."""
        context = Context(object())
        with pytest.raises(AttributeValueError, match=r"^cpu_budget is .*must be above 0$"):
            start(context, cpu_budget=budget)
        assert not context.running

    @settings(max_examples=6)
    @given(EXPENSES)
    def test_it_is_kept_whatever_things_cost(self, expense: Expense) -> None:
        """In the long run no more than 1.1 times the budget, but for what couldn't be foreseen."""
        expense.keep_the_budget()

    @pytest.mark.slow
    @settings(max_examples=150)
    @given(EXPENSES)
    def test_it_is_kept_whatever_many_things_cost(self, expense: Expense) -> None:
        """The same of many costs."""
        expense.keep_the_budget()

    @settings(max_examples=5)
    @given(
        costs=st.lists(st.sampled_from([10, 100, 1_000, 10_000]), min_size=2, max_size=8),
        length=st.sampled_from([1, 3, 20, 45]),
    )
    def test_it_is_kept_while_costs_change(self, costs: list[int], length: int) -> None:
        """Costs that change all the time are kept to 1.2 times the budget, by paying back."""
        work = Work(lambda number: costs[number // length % len(costs)], checks=1_500)
        context = run(work)
        assert context.stats.cpu_us <= 1.2 * 0.02 * context.clock.now_us() + max(costs)


class TestAccumulating:
    def test_the_first_aggregation_is_as_short_as_configured(self) -> None:
        """Though each of its two looks takes half a second: the first result comes soon."""
        work = Taking(500_000, Toll(), checks=4)
        run(work)
        first, second = work.snapshots
        assert first.elapsed_us <= 100_000 + 2 * 500_000
        assert first.intervals == Intervals()
        assert second.elapsed_us >= 50 * SECOND

    def test_what_the_first_aggregation_took_is_paid_back(self) -> None:
        """In ten minutes, looks of half a second take 2 % of the time."""
        work = Taking(500_000, Toll(), checks=0)
        work.until_us = 600 * SECOND
        assert spent(run(work)) <= 0.02

    def test_updates_are_no_more_than_there_are_looks(self) -> None:
        """Updates of 100 ms beside looks of 200: there is one with each, every 15 seconds."""
        work = Taking(200_000, Toll(), checks=60)
        work.update_us = 100_000
        context = run(work)
        assert work.snapshots[-1].intervals.aggregation_us <= 1.5 * 30 * SECOND
        assert spent(context) <= 0.022


class Scraped:
    """A callback for which another thread spends CPU time after each aggregation."""

    def __init__(self, share: float) -> None:
        self.share = share

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        assert context.snapshot is not None
        context.charge_cpu(round(self.share * context.snapshot.elapsed_us))


class TestCharges:
    def test_they_are_in_the_statistics(self) -> None:
        """What another thread spends for a context counts as its CPU time."""
        alone, work = Work(check_us=100), Work(check_us=100)
        difference = run(work, Scraped(0.01)).stats.cpu_us - run(alone).stats.cpu_us
        assert difference == sum(round(0.01 * each.elapsed_us) for each in work.snapshots)

    @pytest.mark.slow
    def test_they_come_out_of_the_budget(self) -> None:
        """A context whose scrapes cost a quarter of its budget leaves them that."""
        context = run(Work(check_us=1_000, until_us=3600 * SECOND), Scraped(0.005))
        assert 0.015 <= spent(context) <= 0.022

    @pytest.mark.slow
    def test_they_stop_no_monitoring(self) -> None:
        """Scrapes that cost more than the whole budget leave the worker most of it."""
        work = Work(check_us=1_000, until_us=3600 * SECOND)
        run(work, Scraped(0.5))
        assert len(work.checked_us) * 1_000 >= 0.012 * 3600 * SECOND


class TestGroup:
    def test_cheap_ones_have_what_they_need(self) -> None:
        """One that costs much doesn't slow down those that cost little."""
        shared = SharedBudget(0.02)
        assert shared.allowance(1, 0.001) == pytest.approx(0.02)
        assert shared.allowance(2, 0.02) == pytest.approx(0.019)
        assert shared.allowance(1, 0.001) >= 0.001
        assert shared.allowance(3, 0.02) == pytest.approx(0.0095)
        assert shared.allowance(2, 0.02) == pytest.approx(0.0095)

    def test_who_leaves_leaves_its_part(self) -> None:
        """The budget of a context that has ended is the others' again."""
        shared = SharedBudget(0.02)
        shared.allowance(1, 0.02)
        assert shared.allowance(2, 0.02) == pytest.approx(0.01)
        shared.leave(1)
        assert shared.allowance(2, 0.02) == pytest.approx(0.02)

    @given(
        budget=st.floats(0.001, 4.0),
        demands=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8),
    )
    def test_never_more_than_there_is(self, budget: float, demands: list[float]) -> None:
        """What all may spend of what they demand is at most the budget; nothing is wasted."""
        shared = SharedBudget(budget)
        for member, demand in enumerate(demands):
            shared.allowance(member, demand)
        spent = [
            min(demand, shared.allowance(member, demand)) for member, demand in enumerate(demands)
        ]
        assert sum(spent) == pytest.approx(min(budget, sum(demands)), abs=1e-9)

    def test_a_group_keeps_its_budget(self) -> None:
        """Three workers that would each spend their 2 % spend 2 % together."""
        spent_us, _ = together([1_000, 1_000, 3_000], until_us=600 * SECOND)
        assert sum(spent_us) <= 0.02 * 1.1 * 600 * SECOND
        assert min(spent_us) >= 0.005 * 600 * SECOND

    def test_a_cheap_neighbour_is_not_slowed(self) -> None:
        """Beside one that costs a thousand times as much, the cheap one keeps its intervals."""
        spent_us, in_force = together([10, 10_000], until_us=600 * SECOND)
        assert in_force[0] == Intervals()
        assert sum(spent_us) <= 0.02 * 1.1 * 600 * SECOND

    def test_what_one_leaves_another_takes(self) -> None:
        """When a worker has ended, the other's intervals shrink."""
        _, in_force = together([1_000, 1_000], until_us=600 * SECOND)
        _, alone = together([1_000, 1_000], until_us=600 * SECOND, first_ends_us=100 * SECOND)
        assert 100_000 <= in_force[1].sampling_us <= 120_000
        assert 50_000 <= alone[1].sampling_us <= 60_000


def together(
    costs_us: list[int], until_us: int, first_ends_us: int | None = None
) -> tuple[list[int], list[Intervals]]:
    """Let workers whose checks cost so much run side by side, with 2 % for each and for all.

    Returns:
        What each has spent, and the intervals in force at the end.
    """
    shared = SharedBudget(0.02)
    sampling = PageSampling(KernelPolicy())
    paces = [
        Pace(
            Intervals(),
            None,
            BudgetKeeper(0.02, shared, sampling),
            TollKeeper(math.inf, math.inf),
            sampling,
        )
        for _ in costs_us
    ]
    in_force = [pace.wanted for pace in paces]
    aggregated_us, spent_us = [0] * len(paces), [0] * len(paces)
    due = [(intervals.sampling_us, worker) for worker, intervals in enumerate(in_force)]
    while due:
        now_us, worker = heapq.heappop(due)
        pace, cost_us = paces[worker], costs_us[worker]
        spent_us[worker] += cost_us
        pace.checked(cost_us, in_force[worker])
        if now_us - aggregated_us[worker] >= in_force[worker].aggregation_us:
            pace.aggregated(None, 0, now_us - aggregated_us[worker], Toll())
            aggregated_us[worker] = now_us
        in_force[worker] = pace.wanted
        next_us = now_us + pace.wanted.sampling_us
        if next_us <= (first_ends_us if worker == 0 and first_ends_us else until_us):
            heapq.heappush(due, (next_us, worker))
        else:
            pace.end()
    return spent_us, in_force


@pytest.mark.parametrize(("after", "longer"), [(30, 1), (200, 10)])
def test_many_new_targets_make_looks_dearer_at_once(after: int, longer: int) -> None:
    """Ten times as many take ten times as long; a few may be small."""
    sampling = AccumulatingSampling(KernelPolicy())
    budget = BudgetKeeper(0.02, SharedBudget(0.02), sampling)
    pace = Pace(Intervals(), None, budget, TollKeeper(math.inf, math.inf), sampling)
    for _ in range(20):
        for _ in range(2):
            pace.checked(20_000, pace.wanted)
        pace.aggregated(None, 0, pace.wanted.aggregation_us, Toll())
    before_us = pace.wanted.aggregation_us
    pace.grown(20, after)
    assert pace.wanted.aggregation_us == pytest.approx(longer * before_us, rel=0.2)


# -- what targets lose -----------------------------------------------------------------


class Taking(Work):
    """What adds up is looked at twice; each aggregation costs the target the same."""

    sampling = AccumulatingSampling

    def __init__(self, check_us: int, toll: Toll, checks: int) -> None:
        super().__init__(check_us, checks=checks)
        self._toll = toll

    @hookimpl
    def describe_regions(self, context: Context) -> None:
        target = context.targets[0]
        target.toll = Toll(
            target.toll.cpu_us + self._toll.cpu_us,
            target.toll.held_us + self._toll.held_us,
            self._toll.longest_us,
        )


class Leaving(Taking):
    """Its target ends in the second aggregation."""

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        if context.snapshot is None:
            super().check_accesses(context)
        else:
            context.targets = []
            self.checked_us.append(context.clock.now_us())

    @hookimpl
    def describe_regions(self, context: Context) -> None:
        if context.targets:
            super().describe_regions(context)


class TestTolls:
    @pytest.mark.parametrize(
        ("toll", "least_us"),
        [(Toll(500_000), 50 * SECOND), (Toll(0, 60_000, 100_000), 60 * SECOND)],
    )
    def test_a_surprise_of_the_budget_is_no_cost_of_the_target(
        self, toll: Toll, least_us: int
    ) -> None:
        """The first aggregation was short, whatever the budget wants of the next one."""
        work = Taking(40_000, toll, checks=12)  # the second look is more than was allowed
        run(work)
        assert least_us <= work.snapshots[-1].intervals.aggregation_us <= 1.5 * least_us

    def test_the_slowdown_is_that_of_the_target_that_lost_most(self) -> None:
        """2 ms and 5 ms of each 100 ms; stalls are the longest of any."""
        context = run_virtual(
            ScriptedMemory(
                {name: [ScriptedRegion(0, 4096)] for name in "ab"},
                checks=60,
                tolls={"a": Toll(2_000, 30), "b": Toll(5_000, 10)},
            ),
            max_slowdown=None,
        )
        stats = context.stats
        assert (stats.slowdown, stats.longest_stall_us) == (0.05, 30)
        assert stats.target_cpu_us == 7_000 * stats.aggregations

    def test_the_slowdown_falls_while_nothing_is_lost(self) -> None:
        """10 ms of the first 100; at the first look after that it is 105."""
        work = Taking(0, Toll(10_000), checks=3)
        assert run(work).stats.slowdown == pytest.approx(10 / 105)

    def test_the_slowdown_of_targets_that_have_ended_stays(self) -> None:
        """10 ms of the 100 ms of the first aggregation, and of the time until that was seen."""
        stats = run(Leaving(0, Toll(10_000), checks=12)).stats
        assert stats.aggregations > 1
        assert 0.001 < stats.slowdown < 0.1

    def test_looks_that_take_longer_than_the_interval(self) -> None:
        """The first aggregation takes twice its interval, and costs what any other does."""
        work = Taking(200_000, Toll(0, 60_000, 100_000), checks=4)
        run(work, cpu_budget=None)
        assert work.snapshots[0].elapsed_us >= 200_000
        assert 60 * SECOND <= work.snapshots[1].intervals.aggregation_us <= 90 * SECOND

    @pytest.mark.parametrize(
        ("check_us", "toll"),
        [(300, Toll()), (20_000, Toll()), (2_000, Toll(80_000)), (9_000, Toll(0, 60_000, 55_000))],
    )
    def test_it_comes_as_foretold(self, check_us: int, toll: Toll) -> None:
        """What is expected of costs is what a run with them does."""
        work = Taking(check_us, toll, checks=60)
        run(work)
        costs = Costs(sampling=AccumulatingSampling, check_us=check_us, toll=toll)
        expected = expect(costs, Intervals(), Limits()).intervals.aggregation_us
        came = work.snapshots[-1].intervals.aggregation_us
        assert expected / 1.25 <= came <= expected * 1.25

    @pytest.mark.parametrize(
        ("cost", "said"),
        [
            ((60_000, Toll()), "9.86s instead of 100ms: 1.0 GiB at 2 % of a processor;"),
            ((100, Toll(60_000)), "6.9s instead of 100ms: 1.0 GiB at 1 % of the target's time;"),
            (
                (100, Toll(0, 200_000, 83_000)),
                "2m38s instead of 100ms: a walk of 1.0 GiB holds the target up for 83ms, more than "
                "max_stall (50ms), so it is to be rare; another backend may be better,",
            ),
        ],
    )
    def test_the_first_interval_is_announced(
        self, cost: tuple[int, Toll], said: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once: how long, how much memory, why, and what would change it."""
        run(Taking(*cost, checks=8))
        (message,) = caplog.messages
        assert message.startswith(f"context 'context': one aggregation every {said} a higher ")

    def test_a_rise_counts_at_once_and_a_fall_slowly(self) -> None:
        """Of a second 20 ms are lost, then 40; and 20 again for some aggregations."""
        keeper = TollKeeper(0.01, math.inf)
        factors = []
        for lost_us in (20_000, 40_000, *[20_000] * 10):
            keeper.aggregated(Toll(lost_us), SECOND, 1.0)
            factors.append(keeper.factor)
        assert factors[:3] == pytest.approx([2.3, 4.6, 4.6])
        assert 2.0 <= factors[-1] < 3.2

    @settings(max_examples=30)
    @given(costs_us=st.lists(st.integers(0, 200_000), min_size=2, max_size=4))
    def test_changing_costs_are_kept(self, costs_us: list[int]) -> None:
        """What targets lose in aggregations that differ is at most 1 %, but for the first."""
        keeper = TollKeeper(0.01, math.inf)
        lost_us = time_us = 0
        for number in range(200):
            factor = max(keeper.factor, 1.0)
            cost_us, elapsed_us = costs_us[number % len(costs_us)], round(100_000 * factor)
            if number >= len(costs_us):
                lost_us, time_us = lost_us + cost_us, time_us + elapsed_us
            keeper.aggregated(Toll(cost_us), elapsed_us, factor)
        assert lost_us <= 0.01 * time_us

    @given(st.integers(1, 10_000_000), st.integers(1, 1_000_000))
    def test_the_share_of_locked_time_falls_with_its_length(
        self, stall_us: int, max_us: int
    ) -> None:
        """Steadily, and never below a thousandth."""
        share = allowed_share(stall_us, max_us)
        assert 0.001 <= allowed_share(1.01 * stall_us, max_us) <= share
        assert share <= 1.021 * allowed_share(1.01 * stall_us, max_us)

    @pytest.mark.parametrize(
        ("stall_us", "share"),
        [(25_000, 0.016), (50_000, 0.004), (100_000, 0.001), (SECOND, 0.001)],
    )
    def test_shares_of_locked_time(self, stall_us: int, share: float) -> None:
        """A thousandth for twice max_stall and more; four times as much for half as long."""
        assert allowed_share(stall_us, 50_000) == pytest.approx(share)

    def test_one_long_stall_is_soon_forgotten(self) -> None:
        """One of 400 ms among such of 10: later aggregations are as long as before."""
        keeper = TollKeeper(math.inf, 50_000)
        for stall_us in (10_000, 400_000, *[10_000] * 30):
            keeper.aggregated(Toll(0, 3 * stall_us, stall_us), 30 * SECOND, 1.0)
        assert keeper.factor <= 1.0

    def test_the_longest_stall_is_that_of_the_aggregation(self) -> None:
        """One in an earlier one is in the statistics, and doesn't count for later intervals."""
        toll = Toll().with_held(9_000).settled()
        added = toll.with_held(2_000).since(toll)
        assert (added.longest_us, toll.with_held(2_000).longest_us) == (2_000, 9_000)

    @pytest.mark.parametrize(("stall_us", "named"), [(55_000, True), (15_000, False)])
    def test_better_backends_are_named_where_stalls_are_long(
        self, stall_us: int, named: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where the map is locked for too long, the message says what works here besides."""

        class Named(Taking):
            better_backends = ("fine", "good")

        run(Named(100, Toll(50_000, 60_000, stall_us), checks=6))
        (message,) = caplog.messages
        assert ("; another backend (fine, good) may be better, " in message) is named
        assert message.endswith("; a higher max_slowdown makes it shorter") is not named


# -- a request of the primitive --------------------------------------------------------


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


# -- changes while running -------------------------------------------------------------


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


# -- the machine's clock ---------------------------------------------------------------


class Busy:
    """A primitive that really works for 4 ms a check."""

    @hookimpl
    def check_accesses(self) -> None:
        until_s = time.thread_time() + 0.004
        while time.thread_time() < until_s:
            pass


@pytest.mark.slow
def test_a_real_worker_is_held_to_its_budget() -> None:
    """4 ms of work each 5 ms would be 80 %; with a budget of 10 % it is far less."""
    context = Context(Busy(), intervals=Intervals(), clock=SystemClock(), cpu_budget=0.1)
    begin_us = context.clock.now_us()
    start(context)
    time.sleep(3)
    stop(context)
    assert context.stats.samples >= 3
    assert context.stats.cpu_us / (context.clock.now_us() - begin_us) < 0.3
