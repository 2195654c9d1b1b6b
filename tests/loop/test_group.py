"""Starting and stopping groups: EBUSY, EPERM, and who may run beside whom."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from damon_core import BusyError, Context, DamonError, NotRunningError, start, stop

if TYPE_CHECKING:
    from tests.conftest import Stage


def held(stage: Stage, name: str) -> Context:
    """Return a context that, once started, runs until it is stopped."""
    return stage.context(stage.part(name), name=name, hold_at=1)


def test_an_exclusive_group_is_refused_while_an_exclusive_one_runs(stage: Stage) -> None:
    """By default start is process-wide exclusive: EBUSY, and nothing is started."""
    a, b, c = (held(stage, name) for name in "abc")
    start(a)
    with pytest.raises(BusyError) as caught:
        start(b, c)
    assert (caught.value.errno, caught.value.contexts) == (errno.EBUSY, ("a",))
    assert (b.running, c.running) == (False, False)
    stop(a)
    assert {event[0] for event in stage.events if event != "sleep"} == {"a"}


def test_an_exclusive_group_is_refused_while_any_other_runs(stage: Stage) -> None:
    """Who wants to be alone must be."""
    a, b = held(stage, "a"), held(stage, "b")
    start(a, exclusive=False)
    with pytest.raises(BusyError):
        start(b)
    stop(a)


def test_a_sharing_group_is_refused_while_an_exclusive_one_runs(stage: Stage) -> None:
    """Who is alone stays alone."""
    a, b = held(stage, "a"), held(stage, "b")
    start(a)
    with pytest.raises(BusyError):
        start(b, exclusive=False)
    stop(a)


def test_sharing_groups_run_side_by_side(stage: Stage) -> None:
    """Groups started with exclusive=False come and go independently."""
    a, b = held(stage, "a"), held(stage, "b")
    start(a, exclusive=False)
    start(b, exclusive=False)
    assert (a.running, b.running) == (True, True)
    stop(a)
    assert (a.running, b.running) == (False, True)
    start(a, exclusive=False)
    stop(b, a)


def test_an_exclusive_group_may_start_once_all_others_ended(stage: Stage) -> None:
    """EBUSY ends with the last running context, not the first."""
    a, b, c = (held(stage, name) for name in "abc")
    start(a, b)
    stop(a)
    with pytest.raises(BusyError) as caught:
        start(c)
    assert caught.value.contexts == ("b",)
    stop(b)
    start(c)
    stop(c)


def test_who_sees_a_context_gone_can_start_the_next(stage: Stage) -> None:
    """`running` turns false together with the process-wide state, never before it."""
    context = stage.context(stage.part(before_start=lambda _: True))
    for _ in range(100):
        start(context)
        while context.running:
            pass
    assert context.wait(30)


def test_contexts_of_a_group_run_in_threads_of_their_own(stage: Stage) -> None:
    """Each context has one worker, named after the field's word for it."""
    workers: dict[str, set[str]] = {"a": set(), "b": set()}

    def note(context: Context) -> bool:
        workers[context.name].add(threading.current_thread().name)
        return True

    a, b = (
        stage.context(stage.part(init=note, after_sampling=note, cleanup=note), name=name)
        for name in "ab"
    )
    start(a, b)
    assert a.wait(30)
    assert b.wait(30)
    assert workers == {"a": {"kdamond.0"}, "b": {"kdamond.1"}}


def test_stop_refuses_a_context_that_is_not_running(stage: Stage) -> None:
    """EPERM, which names the context."""
    with pytest.raises(NotRunningError) as caught:
        stop(held(stage, "a"))
    assert (caught.value.errno, caught.value.contexts) == (errno.EPERM, ("a",))


def test_stop_stops_all_others_of_one_that_is_not_running(stage: Stage) -> None:
    """A context that has ended by itself doesn't keep the others running."""
    a, b, c = (held(stage, name) for name in "abc")
    start(a, c)
    with pytest.raises(NotRunningError) as caught:
        stop(a, b, c)
    assert caught.value.contexts == ("b",)
    assert (a.running, c.running) == (False, False)


def test_stop_twice_is_refused(stage: Stage) -> None:
    """A stopped context isn't running any more."""
    context = held(stage, "a")
    start(context)
    stop(context)
    with pytest.raises(NotRunningError):
        stop(context)


def test_stop_from_the_own_worker_is_refused(stage: Stage) -> None:
    """A callback that stops its own context gets an error instead of a deadlock."""
    caught: list[DamonError] = []

    def stop_myself(context: Context) -> bool:
        try:
            stop(context)
        except DamonError as error:
            caught.append(error)
        return True

    stage.run(stage.context(stage.part(after_sampling=stop_myself)))
    assert [str(error) for error in caught] == [
        "context 'context' can't wait for itself: return a true value from the callback, or "
        "call context.request_stop()"
    ]


def test_one_context_may_stop_another(stage: Stage) -> None:
    """A worker can wait for the worker of another context."""
    a = held(stage, "a")

    def stop_a(_: Context) -> bool:
        stop(a)
        return True

    b = stage.context(stage.part("b", after_sampling=stop_a), name="b")
    start(a, b)
    assert a.wait(30)
    assert b.wait(30)
    assert (a.error, b.error) == (None, None)


def test_start_needs_a_thread(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread the context isn't running, and the error says why."""

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    context = held(stage, "a")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(DamonError, match="context 'a': no thread for it: can't start new"):
            start(context)
    assert not context.running
    start(context)
    stop(context)


PROGRAM_THAT_FORGETS_TO_STOP = """
from damon_core import Context, Intervals, hookimpl, start

class Primitive:
    @hookimpl
    def init(self):
        print("init")
    @hookimpl
    def cleanup(self):
        print("cleanup")

class Callback:
    @hookimpl
    def before_terminate(self):
        print("before_terminate")

hour_us = 3_600_000_000
start(Context(Primitive(), [Callback()], intervals=Intervals(hour_us, hour_us, hour_us)))
"""


def test_a_program_that_forgets_to_stop_ends_in_order() -> None:
    """At exit running contexts are stopped, each with before_terminate and cleanup."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM_THAT_FORGETS_TO_STOP],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (
        0,
        ["init", "before_terminate", "cleanup"],
        "",
    )
