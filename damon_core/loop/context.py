"""A monitoring context: what is monitored, how, and who is told."""

import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from damon_core.attributes import DEFAULT_CPU_BUDGET, Intervals, IntervalsGoal, RegionLimits
from damon_core.clock import Clock, SystemClock
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.registration import part_name
from damon_core.contract.release import release_parts
from damon_core.errors import BusyError, DamonError, NotRunningError
from damon_core.loop.isolation import ContextHooks
from damon_core.loop.kdamond import Kdamond
from damon_core.loop.pacing import BudgetKeeper, Pace, SharedBudget
from damon_core.memory.snapshot import Snapshot
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicy
from damon_core.stats import Stats
from damon_core.validators import at_least, check, share


class Context:
    """One primitive, any number of callbacks, and the attributes of their monitoring.

    A context is started by `damon_core.start` and has one worker thread ("kdamond") while it
    runs. As a context manager it stops and closes itself::

        with Context(primitive, callbacks=[callback]) as context:
            start(context)
            context.wait(10)

    Args:
        primitive: Any object with `hookimpl` methods of the primitive operations.
        callbacks: Any objects with `hookimpl` methods; called in this order.
        intervals: Sampling, aggregation and update interval.
        limits: Least and greatest number of regions.
        name: What results and messages call this context.
        clock: The time to run on; `VirtualClock` for tests.
        failure_limit: Failures in a row in one hook that switch a callback off.
        policy: How regions of adaptive targets are sampled, merged, split and aged.
        goal: Tune the intervals to this share of access events; None leaves them as they are.
        cpu_budget: The share of one processor that the worker may use, kernel time included:
            intervals are stretched to keep within it. None spends what it takes.

    Attributes:
        name: What results and messages call it.
        primitive_name: What the primitive is called: its `name`, or its class's.
        backend_name: The primitive's `backend_name`, for one that sees accesses through a backend.
        samples_itself: Whether accesses are sampled by the primitive's own means, so that the loop
            wakes only once an aggregation.
        targets: The monitoring targets; built and changed by the primitive, in the worker.

    Raises:
        PluginError: A part implements a hook that doesn't exist.
        AttributeValueError: `failure_limit` is below 1, or `cpu_budget` isn't a share.
    """

    def __init__(
        self,
        primitive: object,
        callbacks: Sequence[object] = (),
        *,
        intervals: Intervals | None = None,
        limits: RegionLimits | None = None,
        name: str = "context",
        clock: Clock | None = None,
        failure_limit: int = 10,
        policy: RegionPolicy | None = None,
        goal: IntervalsGoal | None = None,
        cpu_budget: float | None = DEFAULT_CPU_BUDGET,
    ) -> None:
        check(at_least(1), "failure_limit", failure_limit)
        if cpu_budget is not None:
            check(share, "cpu_budget", cpu_budget)
        self.name = name
        self.targets: list[Target] = []
        # One object, so that the worker sees a change of both as one.
        self._attributes = (intervals or Intervals(), limits or RegionLimits())
        self._clock = clock or SystemClock()
        self._callbacks = tuple(callbacks)
        self._private: dict[int, dict[str, Any]] = {id(part): {} for part in self._callbacks}
        self._policy: RegionPolicy = policy or EvidencePolicy()
        self._goal = goal
        self._cpu_budget = cpu_budget
        self.samples_itself = bool(getattr(primitive, "samples_itself", False))
        self.primitive_name = part_name(primitive)
        self.backend_name = str(getattr(primitive, "backend_name", ""))
        self._primitive = primitive
        self._hooks = ContextHooks(primitive, self._callbacks, failure_limit=failure_limit)
        # Guards only which worker there is; the worker's own fields are its own.
        self._lock = threading.Lock()
        self._kdamond: Kdamond | None = None
        self._thread: threading.Thread | None = None
        self._running = False

    def __repr__(self) -> str:
        return f"<Context {self.name!r} {'running' if self.running else 'not running'}>"

    # -- attributes ------------------------------------------------------------------

    @property
    def intervals(self) -> Intervals:
        """The intervals in force: while running they may be longer than those configured."""
        kdamond = self._kdamond
        return kdamond.intervals if self._running and kdamond is not None else self._attributes[0]

    @property
    def limits(self) -> RegionLimits:
        """The region limits in force."""
        kdamond = self._kdamond
        return kdamond.limits if self._running and kdamond is not None else self._attributes[1]

    @property
    def cpu_budget(self) -> float | None:
        """The share of one processor that the worker may use; None for what it takes."""
        return self._cpu_budget

    @property
    def policy_name(self) -> str:
        """What the policy is called: its `name`, or its class's; empty where it has no part."""
        return "" if self.samples_itself else part_name(self._policy)

    @property
    def callbacks(self) -> tuple[object, ...]:
        """The callbacks, in the order in which they are called."""
        return self._callbacks

    @property
    def clock(self) -> Clock:
        """The time that the context runs on."""
        return self._clock

    def commit(
        self, *, intervals: Intervals | None = None, limits: RegionLimits | None = None
    ) -> None:
        """Change intervals or limits, while running or not; from any thread.

        While running they come into force together, between two iterations; a sleep in progress
        is not shortened. What regions know is rescaled to the new intervals, and a goal tunes
        from them on. They stay for later runs.
        """
        with self._lock:
            before = self._attributes
            self._attributes = (intervals or before[0], limits or before[1])

    def stretch_sampling(self, sampling_us: int) -> None:
        """Ask, from a hook, for a sampling interval of at least `sampling_us` microseconds.

        For primitives that can check only so often, whatever the budget. It takes effect between
        two iterations, and the aggregation interval grows only where it would be shorter. The
        CPU budget, if it needs still longer intervals, stretches these further, aggregation
        included. 0 takes the request back.
        """
        if self._kdamond is not None:
            self._kdamond.pace.stretch(sampling_us)

    def private(self, callback: object) -> dict[str, Any]:
        """Return the private data that a callback keeps with this context.

        It lasts as long as the context; one callback object may serve several contexts.

        Raises:
            KeyError: The object isn't a callback of this context.
        """
        return self._private[id(callback)]

    # -- state -----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the context has a worker."""
        return self._running

    @property
    def snapshot(self) -> Snapshot | None:
        """The last complete aggregation of this or the last run; None before the first."""
        kdamond = self._kdamond
        return kdamond.snapshot if kdamond is not None else None

    @property
    def stats(self) -> Stats:
        """Counts of this or the last run."""
        kdamond = self._kdamond
        return kdamond.stats() if kdamond is not None else Stats()

    @property
    def error(self) -> BaseException | None:
        """What ended this or the last run, None if it didn't fail."""
        kdamond = self._kdamond
        return kdamond.error if kdamond is not None else None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the context isn't running.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Returns:
            Whether the context has ended.
        """
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def request_stop(self) -> None:
        """Ask the context to stop, without waiting; from any thread, hooks included.

        Raises:
            NotRunningError: The context isn't running.
        """
        with self._lock:
            if not self._running or self._kdamond is None:
                raise NotRunningError(f"context '{self.name}' is not running", [self.name])
            self._kdamond.stop()

    def close(self) -> None:
        """Give back what the parts hold: the primitive's `cleanup`, then every part's `release`.

        A context is closed once it isn't needed any more. May be called more than once.

        Raises:
            BusyError: The context is running.
            BaseException: What the primitive's cleanup raised; the parts are released all the same.
        """
        with self._lock:
            if self._running:
                raise BusyError(f"context '{self.name}' is running: stop it first", [self.name])
        try:
            self._hooks.call("cleanup", self)
        finally:
            release_parts([self._primitive, *self._callbacks, self._policy])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(NotRunningError):
            self.request_stop()
        self.wait()
        self.close()

    # -- for damon_core.loop.group ----------------------------------------------------------

    def _launch(
        self, thread_name: str, shared_budget: SharedBudget, on_end: Callable[["Context"], None]
    ) -> None:
        """Start the worker; `on_end` is called in it as the last thing of all."""
        with self._lock:
            if self._running:
                raise BusyError(f"context '{self.name}' is already running", [self.name])
            self._hooks.reset()
            self.targets.clear()
            budget = BudgetKeeper(self._cpu_budget or math.inf, shared_budget)
            pace = Pace(self._attributes[0], self._goal, budget)
            kdamond = Kdamond(self, self._hooks, self._policy, pace)

            def work() -> None:
                try:
                    kdamond.run()
                finally:
                    on_end(self)

            # A daemon, so that a program that forgets to stop can end: the group stops its
            # contexts at exit.
            thread = threading.Thread(target=work, name=thread_name, daemon=True)
            before = self._kdamond, self._thread
            self._kdamond, self._thread, self._running = kdamond, thread, True
            try:
                thread.start()
            except RuntimeError as error:
                (self._kdamond, self._thread), self._running = before, False
                raise DamonError(f"context '{self.name}': no thread for it: {error}") from error

    def _spent_elsewhere_us(self) -> int:
        return int(getattr(self._primitive, "spent_elsewhere_us", 0))

    def _gone(self) -> None:
        with self._lock:
            self._running = False

    def _is_current_thread(self) -> bool:
        return self._running and self._thread is threading.current_thread()
