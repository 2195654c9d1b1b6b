"""Intervals that what samples tunes by itself, to the context's goal."""

import pytest
from attrs import evolve

from damon_core import (
    Context,
    DelegatedSampling,
    HookContext,
    Intervals,
    IntervalsGoal,
    PluginError,
    Regions,
    Target,
    VirtualClock,
    hookimpl,
)
from damon_core.testing import run
from damon_core.testing.parts import StopAfter

CONFIGURED = Intervals(10_000, 200_000, 1_000_000)
GOAL = IntervalsGoal(aggregations=1, min_sampling_us=5_000, max_sampling_us=160_000)


class Elsewhere:
    """Memory that something else samples, each aggregation at twice the interval of the last.

    Nothing is accessed, so that the context would choose the longest interval.

    Args:
        first: The intervals of the first aggregation; None if it can't tune.
        cost_us: What an aggregation costs.
    """

    name = "elsewhere"
    sampling = DelegatedSampling

    def __init__(self, first: Intervals | None = CONFIGURED, cost_us: int = 0) -> None:
        self.tuned_intervals = first
        self.spent_elsewhere_us = 0
        self.goals: list[IntervalsGoal | None] = []
        self._cost_us = cost_us

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Make the only target."""
        context.targets.append(Target("all", Regions([0], [1 << 20])))

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        """Use a shortest interval that has become longer."""
        self.goals.append(context.goal)
        tuned, goal = self.tuned_intervals, context.goal
        if tuned is not None and goal is not None and tuned.sampling_us < goal.min_sampling_us:
            self.tuned_intervals = tuned.with_sampling(goal.min_sampling_us)

    @hookimpl
    def check_accesses(self) -> None:
        """Tune."""
        self.spent_elsewhere_us += self._cost_us
        if self.tuned_intervals is not None and self.tuned_intervals.sampling_us < 40_000:
            longer_us = 2 * self.tuned_intervals.sampling_us
            self.tuned_intervals = self.tuned_intervals.with_sampling(longer_us)


class Look:
    """Keeps the intervals of each snapshot."""

    def __init__(self) -> None:
        self.seen: list[Intervals] = []

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Keep them."""
        assert context.snapshot is not None
        self.seen.append(context.snapshot.intervals)


def intervals_of(primitive: Elsewhere, aggregations: int, **attributes: object) -> list[Intervals]:
    """Run a context; return the intervals of its aggregations."""
    look = Look()
    parts = [look, StopAfter(aggregations)]
    clock = VirtualClock()
    run(Context(primitive, parts, clock=clock, intervals=CONFIGURED, **attributes))  # type: ignore[arg-type]
    return look.seen


def test_a_snapshot_has_those_that_were_tuned_elsewhere() -> None:
    """The context doesn't tune, and what was tuned in an aggregation counts from the next on."""
    found = intervals_of(Elsewhere(), 4, goal=GOAL)
    assert [each.sampling_us for each in found] == [10_000, 20_000, 40_000, 40_000]
    assert {each.checks for each in found} == {CONFIGURED.checks}


def test_the_context_tunes_where_nobody_else_does() -> None:
    """As before."""
    assert intervals_of(Elsewhere(None), 8, goal=GOAL)[-1].sampling_us == 160_000


def test_what_samples_is_given_the_goal() -> None:
    """Without costs it is the configured one."""
    primitive = Elsewhere()
    intervals_of(primitive, 2, goal=GOAL)
    assert primitive.goals == [GOAL, GOAL]
    without = Elsewhere()
    intervals_of(without, 2)
    assert without.goals == [None, None]


def test_the_budget_gives_it_a_longer_shortest_interval() -> None:
    """5 ms of CPU time an aggregation of 20 checks, at 1 %: 25 ms and some headroom."""
    primitive = Elsewhere(cost_us=5_000)
    goal = evolve(GOAL, max_sampling_us=20_000)
    found = intervals_of(primitive, 6, goal=goal, cpu_budget=0.01)
    last = primitive.goals[-1]
    assert last is not None
    assert 25_000 <= last.min_sampling_us <= 60_000
    assert last.max_sampling_us >= last.min_sampling_us
    assert found[-1].sampling_us >= last.min_sampling_us


def test_a_goal_counts_for_nothing_without_one() -> None:
    """Intervals are those configured, whatever the primitive says."""
    assert intervals_of(Elsewhere(), 3) == [CONFIGURED] * 3


def test_what_is_no_intervals_is_refused() -> None:
    """The message names the primitive and what it has."""

    class Nothing(Elsewhere):
        @hookimpl
        def prepare_access_checks(self, context: HookContext) -> None:
            """Do nothing."""

        @hookimpl
        def check_accesses(self) -> None:
            """Do nothing."""

    wrong = Nothing()
    wrong.tuned_intervals = 5_000  # type: ignore[assignment]
    with pytest.raises(PluginError, match="'tuned_intervals' must be Intervals, not 5000"):
        intervals_of(wrong, 2, goal=GOAL)
