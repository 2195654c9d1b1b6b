"""Running contexts in the foreground, from the start to a signal or their end."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

from damon_core import Context, DamonError, NotRunningError, one_line, start

__all__ = ["closing_contexts", "run_contexts", "running_contexts"]

logger = logging.getLogger(__name__)

_TICK_S = 0.1


@contextmanager
def closing_contexts(contexts: Sequence[Context]) -> Generator[Sequence[Context], None, None]:
    """Close contexts when it is left, the last first; those that run are stopped before.

    One that can't be closed doesn't keep the others open, and is logged.

    Yields:
        The contexts.
    """
    try:
        yield contexts
    finally:
        for context in reversed(contexts):
            with suppress(NotRunningError):
                context.request_stop()
            context.wait()
            try:
                context.close()
            except (Exception, SystemExit) as error:
                # The failure of a run was reported, and cleanup often fails again for its reason.
                level = logging.ERROR if context.error is None else logging.DEBUG
                text = "context '%s' can't be closed: %s"
                logger.log(level, text, context.name, one_line(error), exc_info=error)


def run_contexts(
    contexts: Sequence[Context],
    for_us: int | None = None,
    tick: Callable[[], None] | None = None,
    cpu_budget: float | None = None,
) -> None:
    """Start contexts as one group and stop them in order at the end.

    The end is when all have ended, the time is over, or a signal asks for it as in
    `running_contexts`. A context that fails doesn't end the others.

    Args:
        contexts: The contexts, not running.
        for_us: Microseconds after which to stop.
        tick: Called about ten times a second, for progress.
        cpu_budget: The share of one processor for all together, as `damon_core.start` has it.

    Raises:
        DamonError: The first context that failed, failed; raised after all have ended. It is what
            the context failed with, or says so in one line.
    """
    stop_event = threading.Event()
    deadline = None if for_us is None else time.monotonic() + for_us / 1e6
    with running_contexts(contexts, stop_event.set, cpu_budget) as reported:
        while any(context.running for context in contexts) and not stop_event.is_set():
            left = _TICK_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            stop_event.wait(min(left, _TICK_S))
            _report_failures(contexts, reported)
            if tick is not None:
                tick()


@contextmanager
def running_contexts(
    contexts: Sequence[Context], stop: Callable[[], None], cpu_budget: float | None = None
) -> Generator[set[Context], None, None]:
    """Run contexts as one group while inside; stop them in order when it is left.

    Args:
        contexts: The contexts, not running.
        stop: Called by the handler of SIGINT, SIGTERM and, unless it is ignored, SIGHUP (when
            entered in the main thread); it has to bring about the end.
        cpu_budget: The share of one processor for all together, as `damon_core.start` has it.

    Yields:
        The contexts whose failure was reported already; add those that you report.

    Raises:
        DamonError: The first context that failed, failed; raised after all have ended. It is what
            the context failed with, or says so in one line. Other failures that weren't reported
            yet are logged.
    """
    reported: set[Context] = set()
    with _on_stop_signals(stop):
        start(*contexts, cpu_budget=cpu_budget)
        try:
            yield reported
        finally:
            for context in contexts:
                with suppress(NotRunningError):
                    context.request_stop()
                context.wait()
    failed = [context for context in contexts if context.error is not None]
    for context in failed[1:]:
        if context not in reported:
            logger.error("%s", _failure(context))
    if failed:
        if isinstance(failed[0].error, DamonError):
            raise failed[0].error
        raise DamonError(f"{_failure(failed[0])} (damon --verbose shows where)") from failed[
            0
        ].error


def _report_failures(contexts: Sequence[Context], reported: set[Context]) -> None:
    """Log a failure at once if others go on; without others it is raised to the caller."""
    for context in contexts:
        if context.error is None or context.running or context in reported:
            continue
        if any(other.running for other in contexts):
            reported.add(context)
            logger.error("%s; others go on", _failure(context))


def _failure(context: Context) -> str:
    error = context.error
    assert error is not None
    reason = error.message if isinstance(error, DamonError) else one_line(error)
    return f"context '{context.name}' failed: {reason}"


@contextmanager
def _on_stop_signals(stop: Callable[[], None]) -> Generator[None, None, None]:
    """Turn signals that ask to stop into calls while inside."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
