"""Running contexts in the foreground, from the start to a signal or their end."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

from damon_core.context import Context
from damon_core.errors import NotRunningError
from damon_core.group import start

logger = logging.getLogger(__name__)

_TICK_S = 0.1


def run_contexts(
    contexts: Sequence[Context],
    for_us: int | None = None,
    tick: Callable[[], None] | None = None,
) -> None:
    """Start contexts as one group and stop them in order at the end.

    The end is when all have ended, the time is over, or SIGINT or SIGTERM comes (when called in
    the main thread). A context that fails doesn't end the others.

    Args:
        contexts: The contexts, not running.
        for_us: Microseconds after which to stop.
        tick: Called about ten times a second, for progress.

    Raises:
        BaseException: What the first context that failed failed with, after all have ended.
    """
    with _stop_signals() as stop_event:
        deadline = None if for_us is None else time.monotonic() + for_us / 1e6
        start(*contexts)
        told: set[str] = set()
        try:
            while any(context.running for context in contexts) and not stop_event.is_set():
                left = _TICK_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    break
                stop_event.wait(min(left, _TICK_S))
                _tell_failures(contexts, told)
                if tick is not None:
                    tick()
        finally:
            for context in contexts:
                with suppress(NotRunningError):
                    context.request_stop()
                context.wait()
    for context in contexts:
        if context.error is not None:
            raise context.error


def _tell_failures(contexts: Sequence[Context], told: set[str]) -> None:
    """Log a failure at once if others go on; the last one's is raised to the caller."""
    for context in contexts:
        if context.error is None or context.running or context.name in told:
            continue
        if any(other.running for other in contexts):
            told.add(context.name)
            logger.error("context '%s' failed: %s; others go on", context.name, context.error)


@contextmanager
def _stop_signals() -> Generator[threading.Event, None, None]:
    """Turn SIGINT and SIGTERM into an event while inside."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: event.set()) for number in signals]
    try:
        yield event
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
