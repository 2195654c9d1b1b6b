"""Intervals kept within what targets may lose."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import (
    AccumulatingSampling,
    Context,
    Costs,
    Intervals,
    Limits,
    hookimpl,
)
from damon_core.loop.forecast import expect
from damon_core.loop.tolls import TollKeeper, allowed_share
from damon_core.memory.target import Toll
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual
from tests.loop.work import SECOND, Taking, run


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
