"""The order of events in the life of a context, each time as one whole list."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from damon_core import BusyError, Context, start, stop

if TYPE_CHECKING:
    from tests.conftest import Stage

BEGIN = ["init", "before_start"]
ITERATION = ["target_valid", "prepare_access_checks", "after_sampling", "sleep", "check_accesses"]
AGGREGATION = ["describe_regions", "after_aggregation", "reset_aggregated"]
#: Targets are labelled once, while they stay.
FIRST = ["describe_regions", "label_targets", "after_aggregation", "reset_aggregated"]
END = ["before_terminate", "cleanup"]


def test_normal_run(stage: Stage) -> None:
    """Four iterations with two aggregations and an update, from init to cleanup."""
    events = stage.events
    part = stage.part(update=lambda context: context.request_stop())
    stage.run(stage.context(part))
    assert events == [
        "init",
        "before_start",
        "target_valid",
        "prepare_access_checks",
        "after_sampling",
        "sleep",
        "check_accesses",
        "target_valid",
        "prepare_access_checks",
        "after_sampling",
        "sleep",
        "check_accesses",
        "describe_regions",
        "label_targets",
        "after_aggregation",
        "reset_aggregated",
        "target_valid",
        "prepare_access_checks",
        "after_sampling",
        "sleep",
        "check_accesses",
        "target_valid",
        "prepare_access_checks",
        "after_sampling",
        "sleep",
        "check_accesses",
        "describe_regions",
        "after_aggregation",
        "reset_aggregated",
        "update",
        "before_terminate",
        "cleanup",
    ]


def test_before_start_asks_to_stop(stage: Stage) -> None:
    """The loop is skipped, not even the target is looked at; the end is as always."""
    events = stage.events
    part = stage.part(before_start=lambda _: True)
    stage.run(stage.context(part))
    assert events == BEGIN + END


def test_after_sampling_asks_to_stop(stage: Stage) -> None:
    """The iteration under way completes, aggregation included."""
    events = stage.events
    part = stage.part(after_sampling=lambda _: events.count("after_sampling") == 2)
    stage.run(stage.context(part))
    assert events == BEGIN + ITERATION + ITERATION + FIRST + END


def test_after_aggregation_asks_to_stop(stage: Stage) -> None:
    """The iteration under way completes: counters are reset and the update is made."""
    events = stage.events
    part = stage.part(after_aggregation=lambda _: events.count("after_aggregation") == 2)
    stage.run(stage.context(part))
    twice = ITERATION + ITERATION + FIRST + ITERATION + ITERATION + AGGREGATION
    assert events == BEGIN + twice + ["update"] + END


def test_before_terminate_asks_to_stop(stage: Stage) -> None:
    """What before_terminate answers changes nothing any more."""
    events = stage.events
    part = stage.part(
        target_valid=lambda _: events.count("target_valid") < 2,
        before_terminate=lambda _: True,
    )
    context = stage.context(part)
    stage.run(context)
    assert (events, context.error) == (BEGIN + ITERATION + ["target_valid"] + END, None)


def test_target_becomes_invalid(stage: Stage) -> None:
    """An invalid target ends the monitoring at the head of the iteration."""
    events = stage.events
    part = stage.part(target_valid=lambda _: events.count("target_valid") < 4)
    stage.run(stage.context(part))
    assert events == (BEGIN + ITERATION + ITERATION + FIRST + ITERATION + ["target_valid"] + END)


def test_target_is_invalid_from_the_start(stage: Stage) -> None:
    """A target that is invalid at once is never checked."""
    events = stage.events
    part = stage.part(target_valid=lambda _: False)
    stage.run(stage.context(part))
    assert events == [*BEGIN, "target_valid", *END]


def test_stop_from_outside(stage: Stage) -> None:
    """stop() cuts the sleep short, and the iteration under way completes."""
    events = stage.events
    context = stage.context(stage.part(), hold_at=4)
    start(context)
    stage.until_held(context)
    stop(context)
    # The fourth check comes too early for the second aggregation.
    assert events == (BEGIN + ITERATION + ITERATION + FIRST + ITERATION + ITERATION + END)


def test_stop_from_outside_before_the_loop(stage: Stage) -> None:
    """A stop that comes during init lets before_start run, and skips the loop."""
    events = stage.events
    in_init, go_on = threading.Event(), threading.Event()

    def wait_in_init(_: Context) -> None:
        in_init.set()
        assert go_on.wait(30)

    context = stage.context(stage.part(init=wait_in_init))
    start(context)
    assert in_init.wait(30)
    context.request_stop()
    go_on.set()
    assert context.wait(30)
    assert events == BEGIN + END


def test_restart_after_stop(stage: Stage) -> None:
    """A stopped context starts again from init, and the first run leaves no trace in it."""
    events = stage.events
    part = stage.part(after_aggregation=lambda _: True)
    context = stage.context(part)
    one_run = BEGIN + ITERATION + ITERATION + FIRST + END
    stage.run(context)
    first = context.stats
    stage.run(context)
    assert events == one_run + one_run
    assert context.stats == first


def test_group_whose_second_context_fails_to_start(stage: Stage) -> None:
    """start(a, a) fails at the second a; the first is stopped."""
    context = stage.context(stage.part(), hold_at=3, name="a")
    with pytest.raises(BusyError, match="'a' is already running"):
        start(context, context)
    assert not context.running
    assert stage.events[-2:] == END


def test_group_with_a_context_that_runs_already(stage: Stage) -> None:
    """start(a, b, c) while b runs: a is stopped, b isn't disturbed, c is never started."""
    a, b, c = (stage.context(stage.part(name), name=name, hold_at=2) for name in "abc")
    start(b, exclusive=False)
    with pytest.raises(BusyError, match="'b' is already running"):
        start(a, b, c, exclusive=False)
    stage.until_held(b)
    assert (a.running, b.running, c.running) == (False, True, False)
    stop(b)
    seen = {name: [e[2:] for e in stage.events if e.startswith(f"{name}:")] for name in "abc"}
    one_run = [hook for hook in BEGIN + ITERATION + ITERATION + END if hook != "sleep"]
    assert (seen["a"][-2:], seen["b"], seen["c"]) == (END, one_run, [])


def test_parts_of_a_context_take_turns(stage: Stage) -> None:
    """In each hook the primitive comes first, then the callbacks in the order given."""
    events = stage.events
    parts = [stage.part(name, after_sampling=lambda _: True) for name in "pxy"]
    stage.run(stage.context(*parts))
    assert events == [
        note
        for hook in BEGIN + ITERATION + END
        for note in (["sleep"] if hook == "sleep" else [f"{name}:{hook}" for name in "pxy"])
    ]


@pytest.mark.parametrize("hook", ["before_start", "after_sampling", "after_aggregation"])
def test_one_of_several_callbacks_is_enough_to_stop(hook: str, stage: Stage) -> None:
    """A true answer of any callback stops, whatever the others answer, and all are asked."""
    events = stage.events
    callbacks = [
        stage.part("no", **{hook: lambda _: False}),
        stage.part("yes", **{hook: lambda _: True}),
        stage.part("silent"),
    ]
    stage.run(stage.context(object(), *callbacks))
    asked = [event for event in events if event.endswith(hook)]
    assert asked == [f"no:{hook}", f"yes:{hook}", f"silent:{hook}"]


def test_every_operation_and_callback_is_optional(stage: Stage) -> None:
    """A context of parts without any hook monitors nothing until it is stopped."""
    events = stage.events
    context = stage.context(object(), object(), hold_at=3)
    start(context)
    stage.until_held(context)
    stop(context)
    assert (events, context.stats.samples, context.error) == (["sleep"] * 3, 3, None)
