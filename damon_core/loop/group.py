"""Starting and stopping contexts in groups; the only process-wide state is here."""

import atexit
import functools
import logging
import math
import threading
from collections.abc import Sequence

from damon_core.errors import BusyError, NotRunningError, StopTimeoutError
from damon_core.loop.context import Context
from damon_core.loop.sharing import SharedBudget
from damon_core.validators import above, check

logger = logging.getLogger(__name__)


class _RunningContexts:
    """The contexts that run in this process, and whether they run exclusively."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.contexts: list[Context] = []
        self.exclusive = False
        self._stops_at_exit = False

    def start(self, contexts: tuple[Context, ...], exclusive: bool, budget: SharedBudget) -> None:
        started: list[Context] = []
        try:
            self._start(contexts, exclusive, budget, started)
        except BaseException:
            # Nobody knows of half a group.
            for error in _stopped(started)[1]:
                logger.error("%s", error)
            raise

    def _start(
        self,
        contexts: tuple[Context, ...],
        exclusive: bool,
        budget: SharedBudget,
        started: list[Context],
    ) -> None:
        with self.lock:
            if self.contexts and (exclusive or self.exclusive):
                names = [context.name for context in self.contexts]
                raise BusyError(f"contexts are running already: {', '.join(names)}", names)
            if not self._stops_at_exit:
                atexit.register(self.stop_all)
                self._stops_at_exit = True
            self.exclusive = exclusive
            for context in contexts:
                context.worker.start(
                    f"kdamond.{len(self.contexts)}", budget, functools.partial(self._ended, context)
                )
                self.contexts.append(context)
                started.append(context)

    def _ended(self, context: Context) -> None:
        # Both at once: who sees the context gone can start the next group.
        with self.lock:
            self.contexts.remove(context)
            context.worker.ended()

    # Called at exit: its test is a program.
    def stop_all(self) -> None:  # pragma: no cover
        with self.lock:
            contexts = list(self.contexts)
        known = [context.error for context in contexts]
        for error in _stopped(contexts)[1]:
            if error not in known:
                logger.error("%s", error)


_running_contexts = _RunningContexts()


def start(
    *contexts: Context, exclusive: bool = True, cpu_budget: float | SharedBudget | None = None
) -> None:
    """Start a group of contexts, each in its own worker thread.

    Contexts start in order. The first that fails ends the call with its error; those that were
    started are stopped before.

    Args:
        contexts: The contexts of the group.
        exclusive: Run alone in this process. Groups started with False run side by side.
        cpu_budget: The share of one processor that the group may use, all workers together; by
            default the largest budget of its contexts. Contexts that need less than an equal part
            get what they need; the others share the rest equally. A `SharedBudget` may be given
            to several calls: it is that of all their contexts.

    Raises:
        BusyError: A context of an earlier start is still running and either that group or this
            one is exclusive (then nothing was started), or one of `contexts` is running already.
        AttributeValueError: `cpu_budget` isn't above 0.
        DamonError: No thread could be started.
    """
    if isinstance(cpu_budget, SharedBudget):
        _running_contexts.start(contexts, exclusive, cpu_budget)
        return
    if cpu_budget is not None:
        check(above(0), "cpu_budget", cpu_budget)
    else:
        budgets = [context.cpu_budget for context in contexts]
        # A context without a budget doesn't limit the group either.
        cpu_budget = max((budget or math.inf for budget in budgets), default=math.inf)
    _running_contexts.start(contexts, exclusive, SharedBudget(cpu_budget))


def stop(*contexts: Context, give_up: threading.Event | None = None) -> None:
    """Stop contexts: all are asked to stop, then each is waited for until its worker is gone.

    Args:
        contexts: The contexts.
        give_up: Set it, from any thread, to wait no longer: a hook that is going on has a second.

    Raises:
        StopTimeoutError: A hook takes longer than the `stop_timeout_us` of its context; raised
            once all others have stopped. Of several, the first; each is its context's `error`.
            The context still runs, in a thread that ends with the process at the latest.
        NotRunningError: Contexts weren't running; raised once all others have stopped.
        DamonError: Called from the worker of one of the contexts, which can't wait for itself.
    """
    for context in contexts:
        context.worker.refuse_in_run()
    idle, hanging = _stopped(contexts, give_up)
    if hanging:
        raise hanging[0]
    if idle:
        names = ", ".join(f"'{name}'" for name in idle)
        raise NotRunningError(
            f"context {names} is not running"
            if len(idle) == 1
            else f"contexts {names} are not running",
            idle,
        )


def _stopped(
    contexts: Sequence[Context], give_up: threading.Event | None = None
) -> tuple[list[str], list[StopTimeoutError]]:
    """Stop contexts; return the names of those that didn't run, and of which hooks hang."""
    idle = []
    for context in contexts:
        try:
            context.request_stop()
        except NotRunningError:  # It may have ended by itself.
            idle.append(context.name)
    waited = (context.worker.wait_for_stop(give_up) for context in contexts)
    return idle, [error for error in waited if error is not None]
