"""The worker: one run of a context, from `init` to `cleanup`, and its timing."""

import logging
import threading
from typing import TYPE_CHECKING

from damon_core.attributes import Intervals, RegionLimits
from damon_core.contract.policy import RegionPolicy
from damon_core.loop.isolation import ContextHooks
from damon_core.loop.pacing import Pace
from damon_core.memory.snapshot import Snapshot, take_snapshot
from damon_core.memory.target import Target
from damon_core.stats import Stats

if TYPE_CHECKING:
    from damon_core.loop.context import Context

logger = logging.getLogger(__name__)


class Kdamond:
    """One run of a context. All state of the run is here; a restart begins with a new one.

    Attributes:
        snapshot: The last complete aggregation, None before the first.
        error: What ended the run, None if nothing failed.
        intervals: The intervals in force.
        limits: The region limits in force.
        pace: The intervals that are wanted.
    """

    def __init__(
        self, context: "Context", hooks: ContextHooks, policy: RegionPolicy, pace: Pace
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.error: BaseException | None = None
        self.intervals: Intervals = pace.wanted
        self._attributes = context._attributes  # those that are in force
        self.limits: RegionLimits = self._attributes[1]
        self.pace = pace
        self._samples_itself = context.samples_itself
        self._policy = policy
        self._context = context
        self._hooks = hooks
        self._clock = context.clock
        self._stop_requested = False
        self._wake = threading.Event()
        self._samples = self._missed = self._aggregations = self._updates = 0
        self._cpu_start_us = self._cpu_us = 0
        self._checks = 0  # of the running aggregation
        self._last_checks = 1  # of the previous one; before the first it scales only zeros

    def stop(self) -> None:
        """Ask the run to end, and end its sleep."""
        self._stop_requested = True
        self._wake.set()

    def stats(self) -> Stats:
        """Return the counts of this run so far."""
        return Stats(
            samples=self._samples,
            missed_samples=self._missed,
            aggregations=self._aggregations,
            updates=self._updates,
            cpu_us=self._cpu_us,
            callbacks=self._hooks.callback_stats(),
        )

    def run(self) -> None:
        """Run from `init` to `cleanup`, whatever fails in between."""
        self._cpu_start_us = self._all_cpu_us()
        try:
            self._policy.begin(self.limits)
            self._hooks.call("init", self._context)
            self._ask("before_start")
            self.pace.begun(self._spent_us())
            self._monitor()
        except BaseException as error:
            self._fail(error)
        for hook in ("before_terminate", "cleanup"):
            try:
                self._hooks.call(hook, self._context)
            except BaseException as error:
                self._fail(error)
        self.pace.end()
        self._spent_us()

    def _fail(self, error: BaseException) -> None:
        logger.error("context '%s' failed: %s", self._context.name, error, exc_info=error)
        if self.error is None:
            self.error = error

    def _ask(self, callback: str) -> None:
        """Call the callbacks of one name; a true result of any asks to stop."""
        if any(self._hooks.call(callback, self._context)):
            self._stop_requested = True

    def _target_valid(self) -> bool:
        return all(self._hooks.call("target_valid", self._context))

    def _spent_us(self) -> int:
        """Return the processor time since the last call, kernel time included."""
        before_us, self._cpu_us = self._cpu_us, self._all_cpu_us() - self._cpu_start_us
        return self._cpu_us - before_us

    def _all_cpu_us(self) -> int:
        return self._clock.cpu_us() + self._context._spent_elsewhere_us()

    def _monitor(self) -> None:
        """Iterate until a stop is requested or the target is invalid.

        Checks are due at points of a grid of sampling intervals that begins here. A late
        wake-up doesn't move the grid; points that have passed are counted and left out.
        """
        clock, context = self._clock, self._context
        due_us = aggregated_us = updated_us = clock.now_us()
        while not self._stop_requested and self._target_valid():
            self._apply_changes()
            step_us = self._step_us
            self._policy.choose(self._adaptive())
            self._hooks.call("prepare_access_checks", context)
            self._ask("after_sampling")

            due_us = self._skip_missed(due_us + step_us, clock.now_us() + 1)
            clock.wait_until(due_us, self._wake)
            now_us = clock.now_us()
            # The sleep ended early only if it was asked to: then the grid has no more use, and
            # what others sample isn't complete for as long as the sleep would have lasted.
            if self._samples_itself and now_us < due_us:
                break
            due_us = self._skip_missed(due_us, now_us - step_us + 1) if now_us >= due_us else now_us

            self._hooks.call("check_accesses", context)
            self._policy.observe(self._adaptive())
            checks = self.intervals.checks if self._samples_itself else 1
            self._samples += checks
            self._checks += checks
            if self._samples_itself:
                # Whoever samples has a clock of its own: the grid follows that.
                due_us = max(due_us, clock.now_us())
            else:
                self.pace.checked(self._spent_us(), self.intervals)

            if due_us - aggregated_us >= self.intervals.aggregation_us:
                self._aggregate(due_us - aggregated_us)
                aggregated_us = due_us
            if due_us - updated_us >= self.intervals.update_us:
                self._hooks.call("update", context)
                self._updates += 1
                updated_us = due_us
                self.pace.updated(self._spent_us())

    @property
    def _step_us(self) -> int:
        """The time from one wake-up to the next."""
        intervals = self.intervals
        return intervals.aggregation_us if self._samples_itself else intervals.sampling_us

    def _skip_missed(self, due_us: int, earliest_us: int) -> int:
        """Return the first point of the grid from `due_us` on that isn't before `earliest_us`."""
        if due_us >= earliest_us:
            return due_us
        missed = -((due_us - earliest_us) // self._step_us)
        # Checks that somebody else makes don't depend on when this loop wakes up.
        self._missed += 0 if self._samples_itself else missed
        return due_us + missed * self._step_us

    def _aggregate(self, elapsed_us: int) -> None:
        context = self._context
        if self._samples_itself:
            self._missed += max(elapsed_us // self.intervals.sampling_us - self._checks, 0)
        else:
            for target in context.targets:
                # Missed or stretched checks are no change of the access frequency.
                target.regions.rescale_accesses(self._last_checks, self._checks)
                if not target.adaptive:
                    target.regions.grow_older(elapsed_us)
        self._policy.aggregate(self._adaptive(), self._checks, elapsed_us)
        self._hooks.call("describe_regions", context)
        self._aggregations += 1
        self.snapshot = take_snapshot(
            context.targets,
            context=context.name,
            number=self._aggregations,
            time_us=self._clock.unix_us(),
            elapsed_us=elapsed_us,
            intervals=self.intervals,
            max_nr_accesses=self._checks,
        )
        self._ask("after_aggregation")
        self._hooks.call("reset_aggregated", context)
        for target in context.targets:
            target.regions.reset_aggregated()
        self._policy.adapt(self._adaptive())
        self._last_checks, self._checks = self._checks, 0
        total_bytes = self.snapshot.total_bytes
        seen = self.snapshot.accessed_bytes() / total_bytes if total_bytes else None
        self.pace.aggregated(seen, self._spent_us(), elapsed_us)

    def _adaptive(self) -> list[Target]:
        return [target for target in self._context.targets if target.adaptive]

    def _apply_changes(self) -> None:
        """Put changed intervals and limits in force: one step, between two iterations."""
        attributes = self._context._attributes
        if attributes is not self._attributes:
            (before, _), self._attributes = self._attributes, attributes
            intervals, limits = attributes
            if intervals != before:
                self.pace.change(intervals)
            if limits != self.limits:
                self.limits = limits
                self._policy.set_limits(limits)
        wanted = self.pace.wanted
        if wanted == self.intervals:
            return
        logger.info(
            "context '%s': sampling interval %d us, aggregation interval %d us",
            self._context.name,
            wanted.sampling_us,
            wanted.aggregation_us,
        )
        for target in self._context.targets:
            target.regions.rescale_age(self.intervals.aggregation_us, wanted.aggregation_us)
        self.intervals = wanted
