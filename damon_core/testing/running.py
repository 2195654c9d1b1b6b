"""Running contexts to their end, and what happens beside a test."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from damon_core.clock import VirtualClock
from damon_core.errors import NotRunningError, PartError
from damon_core.loop.context import Context
from damon_core.loop.group import start, stop
from damon_core.testing.parts import StopAfter
from damon_core.testing.snapshots import Judge

T = TypeVar("T")


def run(
    *contexts: Context, exclusive: bool = True, check: bool = True, timeout_s: float = 60
) -> None:
    """Start contexts that end by themselves, and wait until they have.

    Args:
        contexts: The contexts of the group.
        exclusive: As in `damon_core.start`.
        check: Raise what ended a context, if that is a failure; otherwise `Context.error` has it.
        timeout_s: How long to wait for each, in seconds.

    Raises:
        AssertionError: One doesn't end; all are stopped.
        BaseException: What ended a context.
    """
    start(*contexts, exclusive=exclusive)
    late = [context for context in contexts if not context.wait(timeout_s)]
    for context in late:
        with contextlib.suppress(NotRunningError):  # it has ended meanwhile
            stop(context)
    if late:
        raise AssertionError(f"context '{late[0].name}' hasn't ended within {timeout_s} s")
    for context in contexts:
        if check and context.error is not None:
            raise context.error


def run_virtual(
    primitive: object,
    *callbacks: object,
    aggregations: int = 0,
    callbacks_may_fail: bool = False,
    **attributes: Any,
) -> Context:
    """Run a context on virtual time, for some aggregations or until its targets are invalid.

    Every snapshot is judged (`assert_possible`), so that a primitive or a policy whose results
    can't be shows itself in its tests. What a callback raises is raised here, too, after the end:
    an assertion in a hook fails its test.

    Args:
        primitive: The primitive.
        callbacks: The callbacks, called in this order.
        aggregations: The number of aggregations; 0 for no end but the primitive's.
        callbacks_may_fail: Don't raise what callbacks raised: the test is about that.
        attributes: Other arguments of `damon_core.Context`; `clock` is a new `VirtualClock` by
            default.

    Returns:
        The context, which has ended.

    Raises:
        AssertionError: It doesn't end, or a snapshot is impossible.
        BaseException: What ended it, if that is a failure, or the first that a callback raised.
    """
    judge = Judge()
    failures: list[PartError] = []
    attributes.setdefault("clock", VirtualClock())
    if not callbacks_may_fail:
        attributes.setdefault("on_failure", failures.append)
    ends = [StopAfter(aggregations)] if aggregations else []
    context = Context(primitive, [*callbacks, *ends, judge], **attributes)
    run(context)
    if failures and failures[0].__cause__ is not None:
        raise failures[0].__cause__
    if judge.found is not None:
        raise judge.found
    return context


def eventually(condition: Callable[[], T | None], timeout_s: float = 300) -> T:
    """Wait until a condition holds, and return its true value.

    It is looked at a hundred times a second, on the machine's clock.

    Args:
        condition: Returns something true once it holds.
        timeout_s: How long to wait, in seconds: far longer than it takes, as machines are busy or
            emulated.

    Raises:
        AssertionError: It doesn't hold in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"it hasn't come true within {timeout_s} s")
        time.sleep(0.01)
    return found


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def sleeping_program() -> Iterator[int]:
    """Start a program that sleeps, and end it afterwards.

    Yields:
        Its pid.
    """
    with subprocess.Popen(["sleep", "600"]) as program:
        try:
            yield program.pid
        finally:
            program.kill()
