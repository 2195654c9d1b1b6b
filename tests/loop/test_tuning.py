"""Intervals tuned to a goal."""

import math

import pytest

from damon_core import (
    AttributeValueError,
    Context,
    Intervals,
    IntervalsGoal,
    Regions,
    hookimpl,
)
from damon_core.loop.tuning import GoalTuner
from tests.loop.work import SECOND, Work, proportional, run, spent


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
