"""Running contexts in the foreground, from the start to a signal or their end."""

import logging
import os
import signal
import termios
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

from damon_cli.events import SignalEvent
from damon_cli.garbage import searched_as_usual
from damon_core import (
    Context,
    DamonError,
    NotRunningError,
    PartError,
    StopTimeoutError,
    one_line,
    start,
)
from damon_core import stop as stop_contexts

__all__ = ["check_output", "closing_contexts", "run_contexts", "running_contexts"]

logger = logging.getLogger(__name__)

_TICK_S = 0.1
_LOCAL_FLAGS = 3  # their place in what tcgetattr returns


@contextmanager
def closing_contexts(contexts: Sequence[Context]) -> Generator[Sequence[Context], None, None]:
    """Close contexts when it is left, the last first; those that run are stopped before.

    One that can't be closed doesn't keep the others open. One that hangs is left alone after its
    `stop_timeout_us`, or after a signal that asks to stop.

    Yields:
        The contexts.

    Raises:
        DamonError: A context can't be stopped or closed, because a hook fails or hangs; logged
            where another error is raised.
    """
    try:
        yield contexts
    except BaseException:
        for line in _close_all(contexts):
            logger.error("%s", line)
        raise
    if lines := _close_all(contexts):
        raise DamonError(*lines)


def _close_all(contexts: Sequence[Context]) -> list[str]:
    """Stop and close contexts; return what fails or hangs, without what was reported before."""
    known = [context for context in contexts if isinstance(context.error, StopTimeoutError)]
    lines = []
    give_up = SignalEvent()
    with _on_stop_signals(lambda _: give_up.set()):
        _stop_all(contexts, give_up)
        for context in reversed(contexts):
            if not context.running:
                lines.append(_close(context, give_up))
            elif context not in known:
                lines.append(str(context.error))
    return [line for line in lines if line]


def _close(context: Context, give_up: threading.Event) -> str:
    """Close a context, in a thread so that a part that hangs can be left alone.

    Returns:
        What hangs or has failed; empty if nothing did.
    """
    failed = []

    def close() -> None:
        try:
            context.close()
        except BaseException as error:
            reason = one_line(error)
            text = f"context '{context.name}' can't be closed: {reason}"
            if context.error is None:
                failed.append(text)
            # The failure of a run was reported, and cleanup often fails again for its reason.
            logger.debug("%s", text, exc_info=error)

    thread = threading.Thread(target=close, name=f"close {context.name}", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # The machine has no thread left: then without.
        close()
        return "".join(failed)
    began_s = time.monotonic()
    while thread.is_alive() and not give_up.is_set():
        limit_us = context.stop_timeout_us
        if limit_us is not None and time.monotonic() - began_s >= limit_us / 1e6:
            break
        thread.join(_TICK_S)
    if thread.is_alive():
        return f"context '{context.name}' can't be closed: {context.place}"
    return "".join(failed)


def _stop_all(contexts: Sequence[Context], give_up: threading.Event) -> None:
    """Stop those of the contexts that run; one that hangs has that as its `error`."""
    with suppress(NotRunningError, StopTimeoutError):
        stop_contexts(*contexts, give_up=give_up)


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
    stop_event = SignalEvent()
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
    contexts: Sequence[Context],
    stop: Callable[[], None],
    cpu_budget: float | None = None,
    *,
    begin: Callable[[], None] | None = None,
    on_reload: Callable[[], object] | None = None,
) -> Generator[set[Context], None, None]:
    """Run contexts as one group while inside; stop them in order when it is left.

    Garbage is searched for as Python does by itself, but nothing that was there before.

    The calling thread gives up the capabilities that the contexts needed only to start, so they
    can't be started again; unless `begin` starts them, which may do so later, too.

    Args:
        contexts: The contexts, not running; others may be added later.
        stop: Called by the handler of SIGINT, SIGTERM and, unless it is ignored, SIGHUP (when
            entered in the main thread); it has to bring about the end, without a lock that the main
            thread may hold. A second signal ends the
            waiting for hooks that hang. A Ctrl-C that reaches a command that is monitored, too,
            lets it end by itself; it doesn't count as the first signal.
        cpu_budget: The share of one processor for all together, as `damon_core.start` has it.
        begin: Starts them, in another way than as one group.
        on_reload: Called by the handler of SIGHUP, which then doesn't ask for the end.

    Yields:
        The contexts whose failure was reported already; add those that you report.

    Raises:
        DamonError: The first context that failed, failed; raised after all have ended. It is what
            the context failed with, or says so in one line. Other failures that weren't reported
            yet are logged. A context that doesn't stop has failed.
    """
    reported: set[Context] = set()
    stopping = _Stopping(stop, contexts)
    give_up = stopping.give_up
    with searched_as_usual(), _on_stop_signals(stopping.handle, on_reload):
        try:
            if begin is None:
                start(*contexts, cpu_budget=cpu_budget)
                for context in contexts:
                    context.drop_startup_capabilities()
            else:
                begin()
            yield reported
        except BaseException:
            _stop_all(contexts, give_up)
            for context in contexts:
                if isinstance(context.error, StopTimeoutError):
                    logger.error("%s", context.error)
            raise
        if stopping.interrupted.is_set():
            stopping.let_commands_end()
        _stop_all(contexts, give_up)
    failed = [context for context in contexts if context.error is not None]
    for context in failed[1:]:
        if context not in reported:
            logger.error("%s", _failure(context))
    if failed:
        if isinstance(failed[0].error, DamonError) and not isinstance(failed[0].error, PartError):
            raise failed[0].error
        raise DamonError(f"{_failure(failed[0])} (damon --verbose shows where)") from failed[
            0
        ].error


def check_output(contexts: Sequence[Context]) -> None:
    """See whether callbacks of contexts that have ended could do all that they were to.

    Raises:
        DamonError: Some couldn't: a line for each.
    """
    lines = []
    for context in contexts:
        for name, stats in context.stats.callbacks.items():
            if stats.failures:
                times = "once" if stats.failures == 1 else f"{stats.failures} times"
                end = " and was switched off" if stats.switched_off else ""
                lines.append(
                    f"the output of callback '{name}' of context '{context.name}' isn't complete: "
                    f"it failed {times}{end}; the last time: {stats.last_error}"
                )
    if lines:
        raise DamonError(*lines)


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
    if isinstance(error, StopTimeoutError):
        return error.message
    reason = one_line(error)
    return f"context '{context.name}' failed: {reason}"


class _Stopping:
    """What signals have asked for while contexts run.

    Args:
        stop: Called at every signal.
        contexts: The contexts.

    Attributes:
        interrupted: Ctrl-C has reached commands that contexts monitor: they end by themselves.
        asked: The contexts are to stop.
        give_up: Hooks that hang aren't waited for any longer.
    """

    def __init__(self, stop: Callable[[], None], contexts: Sequence[Context]) -> None:
        self.interrupted = SignalEvent()
        self.asked = SignalEvent()
        self.give_up = SignalEvent()
        self._stop = stop
        self._contexts = contexts

    def handle(self, number: int) -> None:
        """Take note of a signal."""
        if self.asked.is_set():
            self.give_up.set()
        elif not self.interrupted.is_set() and number == signal.SIGINT and self._reaches_commands():
            self.interrupted.set()
        else:
            self.asked.set()
        self._stop()

    def let_commands_end(self) -> None:
        """Stop the contexts without a command, and wait for the commands to end by themselves."""
        left = [context for context in self._contexts if context.ends_on_interrupt]
        for context in self._contexts:
            if context not in left:
                with suppress(NotRunningError):
                    context.request_stop()
        if left and not self.asked.is_set():
            logger.warning("waiting for the command to end; Ctrl-C again ends it")
        while any(context.running and context.ends_on_interrupt for context in left):
            if self.asked.wait(_TICK_S):
                break

    def _reaches_commands(self) -> bool:
        """Return whether a SIGINT was typed, and so goes to commands, too.

        Others, as of kill, go to this program alone.
        """
        return _in_foreground() and any(context.ends_on_interrupt for context in self._contexts)


def _in_foreground() -> bool:
    """Return whether Ctrl-C at the terminal is a signal, and goes to this program."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A view that takes whole keys has no signal of it.
        is_signal = bool(termios.tcgetattr(terminal)[_LOCAL_FLAGS] & termios.ISIG)
        return is_signal and os.tcgetpgrp(terminal) == os.getpgrp()
    except (OSError, termios.error):
        return False
    finally:
        os.close(terminal)


@contextmanager
def _on_stop_signals(
    handle: Callable[[int], None], on_reload: Callable[[], object] | None = None
) -> Generator[None, None, None]:
    """Turn signals that ask to stop, or to read the configuration again, into calls."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda each, _: handle(each))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    if on_reload is not None:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda _number, _frame: on_reload())
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda each, _: handle(each))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
