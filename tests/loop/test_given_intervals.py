"""Intervals that a primitive is given by what samples for it, and columns that it doesn't know."""

import logging

import pytest

from damon_core import (
    Context,
    DelegatedSampling,
    HookContext,
    Intervals,
    IntervalsGoal,
    PluginError,
    RecordInfo,
    Regions,
    Target,
    VirtualClock,
    hookimpl,
)
from damon_core.testing import run
from damon_core.testing.parts import StopAfter

GIVEN = Intervals(50_000, 1_000_000, 2_000_000)


class Elsewhere:
    """Memory that something else samples, with intervals of its own."""

    name = "elsewhere"
    sampling = DelegatedSampling
    unknown_columns = ("resident_bytes",)

    def __init__(self, given: Intervals | None = GIVEN) -> None:
        self.given_intervals = given

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Make the only target."""
        context.targets.append(Target("all", Regions([0], [1 << 20])))


def context(primitive: Elsewhere, stop_after: int = 2, **attributes: object) -> Context:
    """Return a context on virtual time that ends by itself."""
    parts = [StopAfter(stop_after)]
    return Context(primitive, parts, clock=VirtualClock(), **attributes)  # type: ignore[arg-type]


def test_they_count_instead_of_those_configured() -> None:
    """Before it runs, while it does, and in its snapshots."""
    one = context(Elsewhere(), intervals=Intervals())
    assert one.intervals == GIVEN
    run(one)
    assert one.snapshot is not None
    assert one.snapshot.intervals == GIVEN
    assert one.snapshot.elapsed_us == GIVEN.aggregation_us
    assert one.snapshot.max_nr_accesses == GIVEN.checks


def test_that_is_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    """Aggregations that are longer than configured aren't long for want of CPU time."""
    with caplog.at_level(logging.INFO):
        run(context(Elsewhere()))
    assert "one aggregation every" not in caplog.text


def test_those_configured_count_as_long_as_none_are_given() -> None:
    """As for a kernel thread whose intervals can't be read."""
    configured = Intervals(10_000, 200_000, 400_000)
    one = context(Elsewhere(None), intervals=configured)
    run(one)
    assert one.snapshot is not None
    assert one.snapshot.intervals == configured


def test_a_change_comes_into_force_with_the_next_iteration() -> None:
    """What samples may tune them."""
    primitive = Elsewhere()
    tuned = Intervals(100_000, 2_000_000, 2_000_000)

    class Tuning:
        @hookimpl
        def after_aggregation(self) -> None:
            primitive.given_intervals = tuned

    one = Context(primitive, [Tuning(), StopAfter(2)], clock=VirtualClock())
    run(one)
    assert one.snapshot is not None
    assert one.snapshot.intervals == tuned


def test_no_goal_tunes_them() -> None:
    """Nothing is accessed, so that a goal would make them longer."""
    one = context(Elsewhere(), stop_after=8, goal=IntervalsGoal(aggregations=1))
    run(one)
    assert one.snapshot is not None
    assert one.snapshot.intervals == GIVEN


def test_what_is_no_intervals_is_refused() -> None:
    """The message names the primitive and what it has."""
    primitive = Elsewhere()
    primitive.given_intervals = 5_000  # type: ignore[assignment]
    with pytest.raises(PluginError, match="'given_intervals' must be Intervals, not 5000"):
        run(context(primitive))


def test_a_record_says_what_the_primitive_does_not_know() -> None:
    """As of a record whose format doesn't keep it."""
    assert RecordInfo.here([context(Elsewhere())]).filled_in == ("resident_bytes",)
