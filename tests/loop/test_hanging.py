"""Hooks that hang or take long: they are named, and nobody waits for them for ever."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from damon_core import (
    Context,
    DamonError,
    DelegatedSampling,
    Intervals,
    Regions,
    StopTimeoutError,
    Target,
    VirtualClock,
    hookimpl,
    start,
    stop,
)
from damon_core.testing import Recorder, StopAfter, run_virtual
from damon_core.testing.parts import Act

if TYPE_CHECKING:
    from tests.conftest import Stage

AT_THE_END = ["before_terminate", "cleanup"]
BEFORE = [
    "init",
    "before_start",
    "target_valid",
    "prepare_access_checks",
    "after_sampling",
    "check_accesses",
    "describe_regions",
    "after_aggregation",
    "reset_aggregated",
    "update",
]
SLOW = "'slow' took"


class Hang:
    """What a hook does that hangs until the test is over.

    Attributes:
        began: Set once it hangs.
        over: Lets it go on.
    """

    def __init__(self) -> None:
        self.began, self.over = threading.Event(), threading.Event()

    def __call__(self, _: Context) -> None:
        self.began.set()
        self.over.wait(60)


@pytest.fixture
def hang() -> Iterator[Hang]:
    """What a hook does that hangs; all contexts have ended when the test is over."""
    hang = Hang()
    yield hang
    hang.over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("kdamond"):
            thread.join(30)


def hanging(
    hook: str, hang: Hang, kind: str = "callback", stop_timeout_us: int | None = 1
) -> Context:
    """Return a context with a part that hangs in a hook."""
    acts: dict[str, Act] = {hook: hang}
    part = Recorder(None, "x", **acts)
    parts = (part, []) if kind == "primitive" else (Recorder(), [part])
    return Context(
        *parts,
        name="a",
        clock=VirtualClock(),
        intervals=Intervals(5, 10, 20),
        stop_timeout_us=stop_timeout_us,
    )


@pytest.mark.parametrize("kind", ["primitive", "callback"])
@pytest.mark.parametrize("hook", [*BEFORE, *AT_THE_END])
def test_a_hook_that_hangs_is_named(hook: str, kind: str, hang: Hang) -> None:
    """`stop` comes back, and says which part hangs in which hook."""
    context = hanging(hook, hang, kind)
    start(context)
    assert hook in AT_THE_END or hang.began.wait(30)
    with pytest.raises(StopTimeoutError) as caught:
        stop(context)
    assert str(caught.value).startswith(
        f"context 'a' doesn't stop: {kind} 'x' has been in {hook} for "
    )


def test_what_hangs_is_the_error_of_its_context(hang: Hang) -> None:
    """Who looks at the context later sees it too."""
    context = hanging("after_aggregation", hang)
    start(context)
    assert hang.began.wait(30)
    with pytest.raises(StopTimeoutError) as caught:
        stop(context)
    assert context.error is caught.value


def test_other_contexts_stop(hang: Hang, stage: Stage) -> None:
    """All are asked first: one that hangs doesn't keep those behind it running."""
    context, other = hanging("after_aggregation", hang), stage.context(stage.part(), hold_at=1)
    start(context, other)
    assert hang.began.wait(30)
    with pytest.raises(StopTimeoutError):
        stop(context, other)
    assert not other.running
    assert stage.events[-2:] == ["before_terminate", "cleanup"]


def test_whoever_waits_can_give_up(hang: Hang) -> None:
    """Without a time limit `stop` waits until `give_up` is set."""
    context = hanging("after_aggregation", hang, stop_timeout_us=None)
    start(context)
    assert hang.began.wait(30)
    give_up = threading.Event()
    give_up.set()
    with pytest.raises(StopTimeoutError):
        stop(context, give_up=give_up)


def test_a_part_may_need_longer(hang: Hang) -> None:
    """Its attribute `stop_timeout_us` counts where it is longer than the context's."""
    part = Recorder(before_terminate=hang)
    part.stop_timeout_us = 60_000_000  # type: ignore[attr-defined]
    context = Context(Recorder(), [part], clock=VirtualClock(), stop_timeout_us=1)
    start(context)
    threading.Timer(0.2, hang.over.set).start()
    stop(context)
    assert context.error is None


def test_a_hook_that_comes_back_ends_its_context_in_order(hang: Hang) -> None:
    """Nobody waits for it any more, but its worker still cleans up."""
    context = hanging("after_aggregation", hang)
    part = context.callbacks[0]
    assert isinstance(part, Recorder)
    start(context)
    assert hang.began.wait(30)
    with pytest.raises(StopTimeoutError):
        stop(context)
    hang.over.set()
    assert context.wait(30)
    assert part.events[-2:] == ["x:before_terminate", "x:cleanup"]


def test_leaving_the_with_block_does_not_hang(hang: Hang) -> None:
    """It stops as `stop` does, and what hangs isn't closed."""
    context = hanging("after_aggregation", hang)
    part = context.callbacks[0]
    assert isinstance(part, Recorder)
    start(context)
    assert hang.began.wait(30)
    with pytest.raises(StopTimeoutError), context:
        pass
    assert "x:release" not in part.events


PROGRAM_THAT_HANGS = """
import time
from damon_core import Context, hookimpl, start

class Callback:
    name = "x"
    @hookimpl
    def before_terminate(self):
        print("before_terminate", flush=True)
        time.sleep(1000)

class Primitive:
    pass

start(Context(Primitive(), [Callback()], stop_timeout_us=1))
"""


def test_a_program_ends_though_a_hook_hangs() -> None:
    """At exit nobody waits for ever either."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM_THAT_HANGS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "before_terminate\n"
    assert "doesn't stop: callback 'x' has been in before_terminate for " in done.stderr


# -- hooks that take long ----------------------------------------------------------------


def slow(took_us: int, hook: str = "after_aggregation") -> Recorder:
    """Return a callback whose hook takes some time in each second aggregation."""

    def work(context: Context) -> None:
        assert isinstance(context.clock, VirtualClock)
        if context.stats.aggregations == 2 or hook == "update":
            context.clock.advance(took_us)

    acts: dict[str, Act] = {hook: work}
    return Recorder(None, "slow", **acts)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that name slow hooks."""
    return [line for line in caplog.messages if SLOW in line]


SECONDS = Intervals(100_000, 1_000_000, 2_000_000)


def test_a_hook_that_takes_longer_than_its_interval_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With what it cost."""
    run_virtual(Recorder(), slow(5_000_000), intervals=SECONDS, aggregations=3)
    assert lines(caplog) == [
        "context 'context': callback 'slow' took 5s in after_aggregation: 50 checks missed"
    ]


def test_a_slow_hook_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """A log that repeats itself isn't read."""
    part = slow(5_000_000, "after_sampling")
    run_virtual(Recorder(), part, intervals=SECONDS, aggregations=3)
    assert len(lines(caplog)) == 1


def test_a_hook_within_its_interval_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """An aggregation's hook may take longer than a sampling interval."""
    run_virtual(Recorder(), slow(900_000), intervals=SECONDS, aggregations=3)
    assert lines(caplog) == []


def test_an_update_may_take_an_update_interval(caplog: pytest.LogCaptureFixture) -> None:
    """It is slow only beyond that."""
    run_virtual(Recorder(), slow(1_900_000, "update"), intervals=SECONDS, aggregations=5)
    assert lines(caplog) == []


def test_shorter_delays_are_the_machines(caplog: pytest.LogCaptureFixture) -> None:
    """A tenth of a second is what a busy machine takes from any hook."""
    intervals = Intervals(1_000, 5_000, 10_000)
    run_virtual(Recorder(), slow(99_000), intervals=intervals, aggregations=3)
    assert lines(caplog) == []


class Elsewhere:
    """A primitive that something else samples for, whose first iteration takes 5 s to begin."""

    name = "slow"
    sampling = DelegatedSampling

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(Target("all", Regions([0], [1 << 20])))

    @hookimpl
    def prepare_access_checks(self, context: Context) -> None:
        assert isinstance(context.clock, VirtualClock)
        if not context.stats.aggregations:
            context.clock.advance(5_000_000)


def test_where_something_else_samples_an_iteration_takes_an_aggregation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So that is the interval which the message names; no check of it was missed."""
    with caplog.at_level(logging.INFO):
        run_virtual(Elsewhere(), intervals=SECONDS, aggregations=2)
    assert lines(caplog) == [
        "context 'context': primitive 'slow' took 5s in prepare_access_checks, longer than the "
        "aggregation interval (1s)"
    ]


# -- why a context stops -----------------------------------------------------------------


def test_a_callback_that_asks_to_stop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why monitoring is over."""
    caplog.set_level(logging.INFO)
    run_virtual(Recorder(), StopAfter(2))
    assert "context 'context' stops: callback 'stop-after' asks for it in after_aggregation" in (
        caplog.messages
    )


def test_a_callback_that_says_that_targets_are_invalid_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A callback may implement operations of primitives: their answers count as well."""
    caplog.set_level(logging.INFO)
    run_virtual(Recorder(), Recorder(name="x", target_valid=lambda _: False))
    assert "context 'context' stops: callback 'x' says so in target_valid" in caplog.messages


def test_a_stop_that_was_asked_for_is_nothing_to_report(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Who stops a context knows why."""
    caplog.set_level(logging.INFO)
    context = stage.context(stage.part(), hold_at=1)
    start(context)
    stop(context)
    assert [line for line in caplog.messages if "stops" in line] == []


def test_waiting_in_a_hook_is_refused(stage: Stage) -> None:
    """A context can't wait for its own end."""
    caught: list[str] = []

    def wait(context: Context) -> bool:
        try:
            context.wait()
        except DamonError as error:
            caught.append(str(error))
        return True

    stage.run(stage.context(stage.part(after_sampling=wait)))
    assert caught == [
        "context 'context' can't wait for itself: return a true value from the callback, or "
        "call context.request_stop()"
    ]
