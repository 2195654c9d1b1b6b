"""Intervals kept within CPU budgets: of a worker, of a group, with what others charge."""

import heapq
import math
import time
from itertools import pairwise

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import (
    AccumulatingSampling,
    AttributeValueError,
    Context,
    DelegatedSampling,
    Intervals,
    PageSampling,
    SystemClock,
    VirtualClock,
    hookimpl,
    start,
    stop,
)
from damon_core.loop.budget import BudgetKeeper
from damon_core.loop.pacing import Pace
from damon_core.loop.sharing import SharedBudget
from damon_core.loop.tolls import TollKeeper
from damon_core.memory.target import Toll
from damon_core.policies.kernel import KernelPolicy
from tests.loop.work import SECOND, Act, Taking, Work, run, spent


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
