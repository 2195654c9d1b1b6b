"""A monitoring context: what is monitored, how, and where results go."""

import contextlib
import logging
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

from attrs import evolve

from damon_core.attributes import (
    DEFAULT_CPU_BUDGET,
    DEFAULT_MAX_SLOWDOWN,
    DEFAULT_MAX_STALENESS_US,
    DEFAULT_MAX_STALL_US,
    DEFAULT_STOP_TIMEOUT_US,
    Attributes,
    Intervals,
    IntervalsGoal,
    RegionLimits,
)
from damon_core.clock import Clock, SystemClock
from damon_core.contract.context import HookContext
from damon_core.contract.measures import Measure
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.registration import part_name
from damon_core.contract.reloading import Reloader
from damon_core.contract.sampling import SamplingFactory
from damon_core.errors import DamonError, NotRunningError, PartError, PluginError, one_line
from damon_core.loop.budget import BudgetKeeper
from damon_core.loop.isolation import ContextHooks, OnFailure, WatchedPolicy
from damon_core.loop.kdamond import Kdamond
from damon_core.loop.pacing import Pace
from damon_core.loop.privileges import drop_capabilities
from damon_core.loop.rotation import Rotation
from damon_core.loop.sampling import RegionSampling
from damon_core.loop.sharing import SharedBudget
from damon_core.loop.tolls import TollKeeper
from damon_core.loop.worker import Worker
from damon_core.memory.labels import NO_LABELS, freeze_labels
from damon_core.memory.snapshot import Snapshot
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicy
from damon_core.stats import Stats
from damon_core.validators import at_least, check, positive, printable, share

logger = logging.getLogger(__name__)

#: Values are late that are older than they may be by this part of the time.
_LATE_PART = 4


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
        failure_limit: Failures in a row in one hook that switch a callback off, until it is tried
            again with success.
        policy: How regions are sampled, merged, split and aged, where single pages are checked.
        goal: Tune the intervals to this share of access events; None leaves them as they are.
        cpu_budget: The share of one processor that the worker may use, kernel time included:
            intervals are stretched to keep within it. None spends what it takes.
        max_slowdown: The share of its time that a target may lose, by the primitive's account:
            intervals are stretched likewise. None lets it lose what it takes.
        max_stall_us: How long a target's memory map may be locked at once, in microseconds. Where
            that takes longer, intervals are stretched until it is rare. None for no limit.
        max_staleness_us: How old values may get, in microseconds. Where the CPU budget needs longer
            aggregations, they look at some targets less often, the biggest first. An aggregation
            interval that is configured longer counts instead.
        stop_timeout_us: How long a single hook may take once the context was asked to stop, in
            microseconds; then nobody waits for it any longer. None waits for ever.
        labels: What every target is labelled with, besides what is known of it.
        on_failure: Called in the worker with each failure of a callback, besides its log and its
            count: a `PartError` whose cause is what the callback raised. Tests fail by it.

    Attributes:
        name: What results and messages call it.
        primitive_name: What the primitive is called: its `name`, or its class's.
        backend_name: The primitive's `backend_name`, for one that sees accesses through a backend.
        worker: The thread of its runs, which `damon_core.start` and `stop` use.

    Raises:
        PluginError: A part implements a hook that doesn't exist, or `sampling` fails.
        AttributeValueError: `failure_limit` is below 1, `cpu_budget` isn't a share, or `labels`
            can't be labels.
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
        max_slowdown: float | None = DEFAULT_MAX_SLOWDOWN,
        max_stall_us: int | None = DEFAULT_MAX_STALL_US,
        max_staleness_us: int = DEFAULT_MAX_STALENESS_US,
        stop_timeout_us: int | None = DEFAULT_STOP_TIMEOUT_US,
        labels: Mapping[str, str] = NO_LABELS,
        on_failure: OnFailure | None = None,
    ) -> None:
        check(at_least(1), "failure_limit", failure_limit)
        if cpu_budget is not None:
            check(share, "cpu_budget", cpu_budget)
        if max_slowdown is not None:
            check(share, "max_slowdown", max_slowdown)
        if max_stall_us is not None:
            check(positive, "max_stall_us", max_stall_us)
        check(positive, "max_staleness_us", max_staleness_us)
        if stop_timeout_us is not None:
            check(positive, "stop_timeout_us", stop_timeout_us)
        check(printable, "name", name)
        self.name = name
        self.reloader: Reloader | None = None
        self._labels = freeze_labels(labels)
        self._targets: list[Target] = []
        # One object, so that the worker sees a change of both as one.
        self._attributes = Attributes(intervals or Intervals(), limits or RegionLimits())
        self._changing = threading.Lock()
        self._clock = clock or SystemClock()
        self._callbacks = tuple(callbacks)
        self._private: dict[int, dict[str, Any]] = {id(part): {} for part in self._callbacks}
        self._policy: RegionPolicy = policy or EvidencePolicy()
        for method in ("begin", "set_limits", "choose", "observe", "aggregate", "adapt"):
            if isinstance(self._policy, type) or not callable(getattr(self._policy, method, None)):
                reason = f"is no policy: '{method}' is missing, or it is a class"
                raise PluginError(part_name(self._policy), reason)
        self._goal = goal
        self._cpu_budget = cpu_budget
        self._max_slowdown = max_slowdown
        self._max_stall_us = max_stall_us
        self._max_staleness_us = max_staleness_us
        self._stop_timeout_us = stop_timeout_us
        self._unmeasured: set[int] = set()  # parts that failed to say what they know
        self.primitive_name = part_name(primitive)
        self.backend_name = str(getattr(primitive, "backend_name", ""))
        self._primitive = primitive
        self._policy_name = ""  # until the way of sampling is known
        self.worker = Worker(name, self._new_run, stop_timeout_us)
        self._make_sampling = _sampling_factory(primitive, self, policy)
        try:
            self._policy_name = self._make_sampling(self._policy).policy_name
        except (Exception, SystemExit) as error:
            reason = f"its attribute 'sampling' is no way of sampling: {one_line(error)}"
            raise PluginError(self.primitive_name, reason) from error
        self._hooks = ContextHooks(
            primitive,
            self._callbacks,
            context_name=name,
            failure_limit=failure_limit,
            clock=self._clock,
            on_failure=on_failure,
        )

    def __repr__(self) -> str:
        return f"<Context {self.name!r} {'running' if self.running else 'not running'}>"

    @property
    def targets(self) -> list[Target]:
        """The monitoring targets; built and changed by the primitive, in the worker.

        What is assigned, any sequence of targets, becomes a new list.
        """
        return self._targets

    @targets.setter
    def targets(self, targets: Iterable[Target]) -> None:
        self._targets = list(targets)

    # -- attributes ------------------------------------------------------------------

    @property
    def intervals(self) -> Intervals:
        """The intervals in force: while running they may be longer than those configured."""
        kdamond = self.worker.kdamond
        if self.running and kdamond is not None:
            return kdamond.intervals
        return self._configured().intervals

    @property
    def goal(self) -> IntervalsGoal | None:
        """What intervals are tuned to; None if they aren't tuned.

        While running its shortest sampling interval is one that the CPU budget allows.
        """
        kdamond = self.worker.kdamond
        if self.running and kdamond is not None:
            return kdamond.goal
        return self._goal if self._may_choose_intervals() else None

    @property
    def limits(self) -> RegionLimits:
        """The region limits in force."""
        kdamond = self.worker.kdamond
        return kdamond.limits if self.running and kdamond is not None else self._attributes.limits

    @property
    def cpu_budget(self) -> float | None:
        """The share of one processor that the worker may use; None for what it takes."""
        return self._cpu_budget

    @property
    def max_slowdown(self) -> float | None:
        """The share of its time that a target may lose; None for what it takes."""
        return self._max_slowdown

    @property
    def max_stall_us(self) -> int | None:
        """How long a target's memory map may be locked at once; None for no limit."""
        return self._max_stall_us

    @property
    def max_staleness_us(self) -> int:
        """How old values may get before targets are looked at in turns, in microseconds."""
        return self._max_staleness_us

    @property
    def late_after_us(self) -> int:
        """From which age on values count as late, in microseconds.

        That is `max_staleness_us`, or an aggregation interval that is configured longer, and a
        quarter of it: the next aggregation may be a little late itself.
        """
        most_us = max(self._max_staleness_us, self._attributes.intervals.aggregation_us)
        return most_us + most_us // _LATE_PART

    @property
    def policy_name(self) -> str:
        """What the policy is called: its `name`, or its class's; empty where it takes no part."""
        return self._policy_name

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
        with self._changing:
            before = self._attributes
            self._attributes = Attributes(intervals or before.intervals, limits or before.limits)

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
        return self.worker.running

    @property
    def ends_on_interrupt(self) -> bool:
        """Whether what is monitored ends by itself after Ctrl-C, as a command that runs."""
        return bool(getattr(self._primitive, "ends_on_interrupt", False))

    def drop_startup_capabilities(self) -> None:
        """Give up, in the calling thread and for good, what the primitive needs only to start.

        These are its `startup_capabilities`. The worker does so by itself once it has started. The
        other threads of a program are its own: it may call this when nothing is to be started again
        from them.
        """
        drop_capabilities(getattr(self._primitive, "startup_capabilities", ()))

    @property
    def snapshot(self) -> Snapshot | None:
        """The last complete aggregation of this or the last run; None before the first."""
        kdamond = self.worker.kdamond
        return kdamond.snapshot if kdamond is not None else None

    @property
    def stats(self) -> Stats:
        """Counts of this or the last run."""
        kdamond = self.worker.kdamond
        return kdamond.stats() if kdamond is not None else Stats()

    @property
    def unknown_columns(self) -> tuple[str, ...]:
        """The columns of results that the primitive doesn't know, by their names in `COLUMNS`.

        They have something else in their place, as `fill_in` says.
        """
        return tuple(getattr(self._primitive, "unknown_columns", ()))

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many of what should be monitored are left out now, by reason, such as unreadable.

        From any thread; empty if nothing is left out, or the primitive doesn't count.
        """
        found: Mapping[str, int] = getattr(self._primitive, "left_out", {})
        return {reason: count for reason, count in found.items() if count}

    @property
    def error(self) -> BaseException | None:
        """What ended this or the last run, None if it didn't fail."""
        kdamond = self.worker.kdamond
        return kdamond.error if kdamond is not None else None

    def measures(self) -> list[Measure]:
        """Return the numbers that the parts know of themselves; from any thread.

        A part that fails is logged once, and left out.
        """
        found: list[Measure] = []
        for part in (self._primitive, *self._callbacks, self.reloader):
            measures = getattr(part, "measures", None)
            if not callable(measures):
                continue
            try:
                found += measures(self)
            except Exception as error:
                if id(part) not in self._unmeasured:
                    self._unmeasured.add(id(part))
                    name, reason = part_name(part), one_line(error)
                    message = "context '%s': '%s' failed in measures: %s"
                    logger.error(message, self.name, name, reason, exc_info=error)
        return found

    def charge_cpu(self, cpu_us: int) -> None:
        """Count CPU time that another thread has spent for the context, in microseconds.

        It belongs to the cost of monitoring, like the worker's own: it is in `stats`, and comes out
        of the CPU budget. May be called from any thread; without effect while nothing runs.
        """
        kdamond = self.worker.kdamond
        if self.running and kdamond is not None:
            kdamond.charge(cpu_us)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the context isn't running.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Returns:
            Whether the context has ended.

        Raises:
            DamonError: Called from a hook of the context, which can't wait for itself.
        """
        return self.worker.wait(timeout)

    def request_stop(self) -> None:
        """Ask the context to stop, without waiting; from any thread, hooks included.

        Raises:
            NotRunningError: The context isn't running.
        """
        self.worker.request_stop()

    @property
    def place(self) -> str:
        """The hook that is going on, for messages; empty between hooks.

        For example "callback 'csv' has been in after_aggregation for 12s". From any thread.
        """
        return self._hooks.watch.place

    @property
    def hook_us(self) -> int:
        """How long the hook that is going on has taken so far, in microseconds; 0 between hooks."""
        return self._hooks.watch.call_us

    @property
    def stop_timeout_us(self) -> int | None:
        """How long a hook may take once the context is to stop or to be closed, in microseconds.

        It is what the context was given, or more while a hook of a part goes on that needs longer;
        None for no limit.
        """
        if self._stop_timeout_us is None:
            return None
        call = self._hooks.watch.call
        return max(self._stop_timeout_us, call.part.stop_timeout_us if call is not None else 0)

    def close(self) -> None:
        """Give back what the parts hold: the primitive's `cleanup`, then every part's `release`.

        A context is closed once it isn't needed any more. May be called more than once.

        Raises:
            BusyError: The context is running.
            PartError: A part failed in release, or the primitive in cleanup; all others are
                released all the same, and further failures are logged.
            DamonError: What the primitive's cleanup raised on purpose.
        """
        self.worker.refuse_while_running()
        try:
            self._hooks.call("cleanup", self)
        except BaseException:
            self._log_unreleased(self._hooks.release(self._policy))
            raise
        if failed := self._hooks.release(self._policy):
            self._log_unreleased(failed[1:])
            raise failed[0]

    def _log_unreleased(self, errors: Sequence[PartError]) -> None:
        """Report parts that failed in release, besides what is raised."""
        for error in errors:
            logger.error("context '%s': %s", self.name, error, exc_info=error)

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
        if (hanging := self.worker.wait_for_stop()) is not None:
            raise hanging
        self.close()

    # -- runs ------------------------------------------------------------------------

    def _new_run(self, shared_budget: SharedBudget) -> Kdamond:
        self._hooks.reset()
        self._targets.clear()
        sampling = self._make_sampling(WatchedPolicy(self._policy, self._hooks.watch))
        max_us = self._max_staleness_us
        budget = BudgetKeeper(self._cpu_budget or math.inf, shared_budget, sampling, max_us)
        tolls = TollKeeper(self._max_slowdown or math.inf, self._max_stall_us or math.inf)
        intervals = self._configured().intervals
        rotates = bool(getattr(self._primitive, "leaves_resting_targets_alone", False))
        pace = Pace(
            intervals,
            self._goal if self._may_choose_intervals() else None,
            budget,
            tolls,
            sampling,
            better_backends=self._better_backends,
            tuned_elsewhere=self._tuned_elsewhere,
            max_staleness_us=max_us,
            rotates=rotates,
        )
        return Kdamond(
            self,
            self._hooks,
            sampling=sampling,
            pace=pace,
            rotation=Rotation(max_us) if rotates else None,
            configured=self._configured,
            labels=self._labels,
            late_after_us=lambda: self.late_after_us,
            has_more_targets=self._has_more_targets,
            spent_elsewhere_us=self._spent_elsewhere_us,
            on_init=self.drop_startup_capabilities,
        )

    def _better_backends(self) -> Sequence[str]:
        return tuple(getattr(self._primitive, "better_backends", ()))

    def _may_choose_intervals(self) -> bool:
        """Return whether the intervals are those configured, and not the primitive's."""
        return not hasattr(self._primitive, "given_intervals")

    def _configured(self) -> Attributes:
        """Return the attributes that were last configured, with intervals that are given.

        Raises:
            PluginError: The primitive gives something else.
        """
        attributes = self._attributes
        given = getattr(self._primitive, "given_intervals", None)
        if given is None or given == attributes.intervals:
            return attributes
        if not isinstance(given, Intervals):
            reason = f"its attribute 'given_intervals' must be Intervals, not {given!r}"
            raise PluginError(self.primitive_name, reason)
        return evolve(attributes, intervals=given)

    def _tuned_elsewhere(self) -> Intervals | None:
        """Return the intervals to which what samples has tuned itself; None if it doesn't.

        Raises:
            PluginError: The primitive has something else.
        """
        tuned = getattr(self._primitive, "tuned_intervals", None)
        if tuned is not None and not isinstance(tuned, Intervals):
            reason = f"its attribute 'tuned_intervals' must be Intervals, not {tuned!r}"
            raise PluginError(self.primitive_name, reason)
        return tuned

    def _has_more_targets(self) -> bool:
        return bool(getattr(self._primitive, "has_more_targets", False))

    def _spent_elsewhere_us(self) -> int:
        return int(getattr(self._primitive, "spent_elsewhere_us", 0))


def _sampling_factory(
    primitive: object, context: HookContext, policy: RegionPolicy | None
) -> SamplingFactory:
    """Return the way in which a primitive wants to be sampled.

    Raises:
        DamonError: What its `choose_sampling` raised on purpose.
        PluginError: That failed otherwise, or its way of sampling is something else.
    """
    origin, choose = "attribute 'sampling'", getattr(primitive, "choose_sampling", None)
    if choose is None:
        factory = getattr(primitive, "sampling", RegionSampling)
    else:
        origin = "method 'choose_sampling'"
        try:
            factory = choose(context, policy)
        except DamonError:
            raise
        except (Exception, SystemExit) as error:
            reason = f"its {origin} fails: {one_line(error)}"
            raise PluginError(part_name(primitive), reason) from error
    if not callable(factory):
        what = "be" if choose is None else "return"
        raise PluginError(
            part_name(primitive),
            f"its {origin} must {what} a way of sampling such as PageSampling, not {factory!r}",
        )
    return cast(SamplingFactory, factory)
