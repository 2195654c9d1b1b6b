"""One run of a context, from `init` to `cleanup`, and its timing."""

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from damon_core.attributes import Attributes, Intervals, IntervalsGoal, RegionLimits
from damon_core.clock import Grid
from damon_core.contract.context import HookContext
from damon_core.contract.sampling import Sampling
from damon_core.errors import DamonError, PartError
from damon_core.loop.isolation import ContextHooks
from damon_core.loop.pacing import Pace
from damon_core.loop.results import wrong_regions, wrong_samples, wrong_targets
from damon_core.loop.rotation import Rotation
from damon_core.loop.watch import Call, WatchedPart
from damon_core.memory.snapshot import Snapshot, take_snapshot
from damon_core.memory.target import Target, Toll
from damon_core.stats import Stats
from damon_core.units import format_duration

logger = logging.getLogger(__name__)

#: Calls that don't come at each check: hooks, and methods of a policy.
_ONCE_A_RUN = frozenset({"init", "before_start", "begin", "set_limits"})
_ONCE_AN_AGGREGATION = frozenset(
    {
        "describe_regions",
        "label_targets",
        "after_aggregation",
        "reset_aggregated",
        "aggregate",
        "adapt",
    }
)


class Kdamond:
    """One run of a context. All state of the run is here; a restart begins with a new one.

    Args:
        context: What hooks are given.
        hooks: The hook calls of the context.
        sampling: The way of sampling.
        pace: The intervals that are wanted.
        rotation: Which targets an aggregation looks at; None where it is always all of them.
        configured: Returns the attributes that were last configured.
        labels: Labels of every target.
        late_after_us: Returns from which age on values count as late, in microseconds.
        has_more_targets: Returns whether the next updates add targets that are there already.
        spent_elsewhere_us: Returns the CPU time that others have spent on sampling for the
            context, in microseconds.
        on_init: Called in the thread of the run once the targets are there.

    Attributes:
        watch: Which call is going on.
        snapshot: The last complete aggregation, None before the first.
        error: What ended the run, None if nothing failed.
        intervals: The intervals in force.
        limits: The region limits in force.
    """

    def __init__(
        self,
        context: HookContext,
        hooks: ContextHooks,
        *,
        sampling: Sampling,
        pace: Pace,
        rotation: Rotation | None,
        configured: Callable[[], Attributes],
        labels: Mapping[str, str],
        late_after_us: Callable[[], int],
        has_more_targets: Callable[[], bool],
        spent_elsewhere_us: Callable[[], int],
        on_init: Callable[[], None],
    ) -> None:
        self.watch = hooks.watch
        self.snapshot: Snapshot | None = None
        self.error: BaseException | None = None
        self.intervals: Intervals = pace.wanted
        self._configured = configured
        self._attributes = configured()  # those that are in force
        self.limits: RegionLimits = self._attributes.limits
        self._pace = pace
        self._rotation = rotation
        self._rarer_said = 0
        self._last_checks = 1
        # When the values of each target were measured, and how many targets have none.
        self._measured_us: Sequence[int] = ()
        self._without_values = 0
        self._late_after_us = late_after_us
        self._sampling = sampling
        self._context = context
        self._hooks = hooks
        self._clock = context.clock
        self._has_more_targets = has_more_targets
        self._spent_elsewhere_us = spent_elsewhere_us
        self._on_init = on_init
        self._stop_requested = False
        self._wake = threading.Event()
        self._named: set[tuple[WatchedPart, str]] = set()  # that took long
        self._missed = 0  # checks, up to the last that was made
        self._samples = self._aggregations = self._updates = 0
        self._cpu_start_us = self._cpu_us = 0
        self._charging = threading.Lock()
        self._charged_us = 0  # by other threads
        self._charged_before_us = 0  # at the last aggregation
        self._checks = 0  # of the running aggregation
        self._own_labels = labels
        # As they were when last complete; None before the first aggregation.
        self._labels: dict[Target, Mapping[str, str]] | None = None
        self._tolls: dict[Target, Toll] = {}  # at the last aggregation
        self._since_us: dict[Target, int] = {}  # when each was added
        self._ended_us: int | None = None
        self._target_cpu_us = 0
        self._slowdown_before = 0.0  # of the last targets, when all had ended
        self._longest_stall_us = 0

    @property
    def goal(self) -> IntervalsGoal | None:
        """What intervals are tuned to, for what samples; None if they aren't tuned."""
        return self._pace.goal

    def stop(self) -> None:
        """Ask the run to end, and end its sleep."""
        self._stop_requested = True
        self._wake.set()

    def charge(self, cpu_us: int) -> None:
        """Count CPU time that another thread has spent for the run; from any thread."""
        with self._charging:
            self._charged_us += cpu_us

    def charge_making(self, cpu_us: int) -> None:
        """Count CPU time that it took to make the context; others have begun later for it."""
        with self._charging:
            self._charged_us += cpu_us
            self._charged_before_us += cpu_us

    def stats(self) -> Stats:
        """Return the counts of this run so far."""
        return Stats(
            samples=self._samples,
            missed_samples=self._sampling.missed_checks,
            aggregations=self._aggregations,
            updates=self._updates,
            cpu_us=self._cpu_us + self._charged_us,
            target_cpu_us=self._target_cpu_us,
            slowdown=self._slowdown(),
            longest_stall_us=self._longest_stall_us,
            staleness_us=self._staleness_us(),
            resting=self._rotation.rarer if self._rotation is not None else 0,
            late=self._late(),
            callbacks=self._hooks.callback_stats(),
        )

    def run(self) -> None:
        """Run from `init` to `cleanup`, whatever fails in between."""
        try:
            self._cpu_start_us = self._all_cpu_us()
            self._await_turn()
            self._sampling.begin(self.limits)
            self._hooks.call("init", self._context)
            self._on_init()
            self._ask("before_start")
            self._pace.begun(self._spent_us())
            self._monitor()
            self._name_long_calls()
        except BaseException as error:
            self._fail(self._blamed(error))
        self._ended_us = self._clock.now_us()
        for end in (self._before_terminate, self._cleanup, self._spent_us, self._pace.end):
            try:
                end()
            except BaseException as error:
                self._fail(error)

    def _await_turn(self) -> None:
        """Wait until the budget of the group allows one more context to begin."""
        while not self._stop_requested:
            now_us = self._clock.now_us()
            if (due_us := self._pace.turn(now_us)) <= now_us:
                break
            self._clock.wait_until(due_us, self._wake)

    def _staleness_us(self) -> int:
        """Return how old the oldest value is."""
        now_us = self._now_us()
        return max(now_us - min(self._measured_us, default=now_us), 0)

    def _late(self) -> int:
        """Return how many targets have values that are too old, or none."""
        limit_us = self._now_us() - self._late_after_us()
        return self._without_values + sum(each < limit_us for each in self._measured_us)

    def _now_us(self) -> int:
        """Return the time, or that of the end."""
        return self._clock.now_us() if self._ended_us is None else self._ended_us

    def _before_terminate(self) -> None:
        self._hooks.call("before_terminate", self._context)

    def _cleanup(self) -> None:
        self._hooks.call("cleanup", self._context)

    def _fail(self, error: BaseException) -> None:
        logger.error("context '%s' failed: %s", self._context.name, error, exc_info=error)
        if self.error is None:
            self.error = error

    def _blamed(self, error: BaseException) -> BaseException:
        """Return an error that names who is to blame: a policy fails over impossible results."""
        primitive = str(self._hooks.primitive)
        if isinstance(error, PartError):
            if error.part == primitive:
                return error
        elif isinstance(error, DamonError):
            return error
        targets = self._context.targets
        if reason := wrong_targets(targets) or wrong_samples(targets):
            blamed = PartError(primitive, "", reason)
            blamed.__cause__ = error
            return blamed
        return error

    def _refuse(self, reason: str, hook: str = "") -> None:
        """End the run if the primitive's results are wrong for a reason."""
        if reason:
            raise PartError(str(self._hooks.primitive), hook, reason)

    def _ask(self, callback: str) -> None:
        """Call the callbacks of one name; a true result of any asks to stop."""
        if any(self._hooks.call(callback, self._context)):
            if not self._stop_requested:
                who, name = self.watch.answered.get(True), self._context.name
                logger.info("context '%s' stops: %s asks for it in %s", name, who, callback)
            self._stop_requested = True

    def _target_valid(self) -> bool:
        valid = all(self._hooks.call("target_valid", self._context))
        if not valid:
            who, name = self.watch.answered.get(False), self._context.name
            # The usual end of a primitive's targets is nothing to report.
            level = logging.DEBUG if who is None or who.kind == "primitive" else logging.INFO
            logger.log(level, "context '%s' stops: %s says so in target_valid", name, who)
        return valid

    def _name_long_calls(self) -> None:
        """Log calls since the last check that took longer than their interval, each once a run."""
        missed = self._sampling.missed_checks - self._missed
        for call, took_us in self.watch.long:
            interval, interval_us = self._interval_of(call)
            if took_us <= interval_us or (call.part, call.hook) in self._named:
                continue
            self._named.add((call.part, call.hook))
            lost = min(missed, took_us // self.intervals.sampling_us)
            cost = f", longer than the {interval} interval ({format_duration(interval_us)})"
            if lost:
                cost = f": {lost} check{'' if lost == 1 else 's'} missed"
            # What delayed nothing, as on a busy machine, isn't worth a warning.
            logger.log(
                logging.WARNING if lost else logging.INFO,
                "context '%s': %s took %s in %s%s",
                self._context.name,
                call.part,
                format_duration(took_us, 2),
                call.hook,
                cost,
            )
        self.watch.long.clear()

    def _interval_of(self, call: Call) -> tuple[str, float]:
        """Return the name and the length of the interval in which a call comes once."""
        if call.hook in _ONCE_A_RUN:
            return "", math.inf
        if call.hook in _ONCE_AN_AGGREGATION:
            return "aggregation", self.intervals.aggregation_us
        if call.hook == "update":
            return "update", self.intervals.update_us
        step_us = self._sampling.step_us(self.intervals)
        # Where something else samples, an iteration takes an aggregation.
        return "sampling" if step_us < self.intervals.aggregation_us else "aggregation", step_us

    def _spent_us(self) -> int:
        """Return the processor time since the last call, kernel time included."""
        # An account of others that goes back costs nothing less.
        before_us = self._cpu_us
        self._cpu_us = max(self._all_cpu_us() - self._cpu_start_us, before_us)
        return self._cpu_us - before_us

    def _all_cpu_us(self) -> int:
        return self._clock.cpu_us() + self._spent_elsewhere_us()

    def _monitor(self) -> None:
        """Iterate until a stop is requested or the target is invalid."""
        context, sampling = self._context, self._sampling
        grid = Grid(self._clock, self._wake)
        aggregated_us = updated_us = grid.due_us
        self._plan()
        while not self._stop_requested and self._target_valid():
            self._apply_changes()
            sampling.choose(context.targets)
            self._hooks.call("prepare_access_checks", context)
            if sampling.opening:
                self._pace.opened(self._spent_us())
            self._ask("after_sampling")
            while not sampling.rest(grid, self.intervals):
                if self._stop_requested or not self._target_valid():
                    return
            if self.watch.long:
                self._name_long_calls()
            self._missed = sampling.missed_checks
            self._hooks.call("check_accesses", context)
            self._refuse(wrong_samples(context.targets), "check_accesses")
            checks = sampling.observe(context.targets, grid, self.intervals)
            self._samples += checks
            self._checks += checks
            if sampling.opening:
                self._pace.opened(self._spent_us())
            else:
                self._pace.checked(self._spent_us(), self.intervals)

            if sampling.is_complete(aggregated_us, grid, self.intervals):
                self._aggregate(grid.due_us - aggregated_us)
                aggregated_us = grid.due_us
            if grid.due_us - updated_us >= self.intervals.update_us:
                before = len(context.targets)
                self._hooks.call("update", context)
                if self._rotation is not None:
                    self._rotation.admit(context.targets)
                else:
                    self._pace.grown(before, len(context.targets))
                self._updates += 1
                updated_us = grid.due_us
                self._pace.updated(self._spent_us())

    def _aggregate(self, elapsed_us: int) -> None:
        context, sampling = self._context, self._sampling
        looked_at = [each for each in context.targets if not each.resting]
        sampling.aggregate(looked_at, self._checks, elapsed_us, self.intervals)
        self._hooks.call("describe_regions", context)
        self._refuse(wrong_targets(context.targets))
        self._label_targets()
        targets, age_us = self._measured()
        snapshot = take_snapshot(
            targets,
            context=context.name,
            number=self._aggregations + 1,
            time_us=self._clock.unix_us(),
            elapsed_us=elapsed_us,
            intervals=self.intervals,
            max_nr_accesses=self._checks,
            stale_us=age_us,
        )
        if (reason := wrong_regions(snapshot)) and sampling.policy_name:
            raise PartError(f"policy '{sampling.policy_name}'", "aggregate", reason)
        self._refuse(reason)
        self._aggregations += 1
        self.snapshot = snapshot
        self._ask("after_aggregation")
        self._hooks.call("reset_aggregated", context)
        for target in context.targets:
            if self._rotation is None:
                target.regions.reset_aggregated()
            target.page_map = None
        sampling.adapt(context.targets)
        self._last_checks, self._checks = self._checks, 0
        total_bytes = snapshot.total_bytes
        seen = snapshot.accessed_bytes() / total_bytes if total_bytes else None
        charged_us = self._charged_us
        self._pace.charged(charged_us - self._charged_before_us, elapsed_us)
        self._charged_before_us = charged_us
        self._pace.aggregated(seen, self._spent_us(), elapsed_us, self._take_toll(elapsed_us))
        if self._aggregations == 1:
            self._pace.has_result(self._cpu_us)
        self._plan()

    def _plan(self) -> None:
        """Choose the targets that the next aggregation looks at; only those begin anew."""
        rotation, targets = self._rotation, self._context.targets
        if rotation is None:
            return
        now_us, pace = self._clock.now_us(), self._pace
        known = len(rotation.known(targets))
        is_beginning = known < len(targets) or self._has_more_targets()
        pace.set_memory(len(targets), is_beginning=is_beginning)
        rotation.plan(targets, pace.part, pace.wanted.aggregation_us, now_us)
        pace.looks_at(rotation.part)
        for target in targets:
            if not target.resting:
                target.regions.reset_aggregated()
        if not is_beginning:
            self._say_rarer(rotation)

    def _say_rarer(self, rotation: Rotation) -> None:
        """Log that targets are looked at less often than they should be; again if twice as many."""
        rarer = rotation.rarer
        if rarer >= max(2 * self._rarer_said, 1):
            self._rarer_said = rarer
            targets = len(self._context.targets)
            notice = self._pace.rotation_notice(rarer, targets, rotation.rarest)
            logger.warning("context '%s': %s", self._context.name, notice)

    def _measured(self) -> tuple[Sequence[Target], Callable[[Target], int]]:
        """Return the targets that have values, and how old these are.

        Values of targets that rest stay, in relation to the checks of this aggregation.
        """
        targets, now_us = self._context.targets, self._clock.now_us()
        if self._rotation is None:
            self._measured_us = (now_us,) * len(targets) or (now_us,)
            return targets, lambda _: 0
        rotation = self._rotation
        rotation.looked(targets, now_us)
        for target in targets:
            if target.resting:
                target.regions.rescale_counters(self._last_checks, self._checks)
        known = rotation.known(targets)
        self._measured_us = tuple(now_us - rotation.age_us(each, now_us) for each in known) or (
            now_us,
        )
        self._without_values = len(targets) - len(known)
        return known, lambda target: rotation.age_us(target, now_us)

    def _label_targets(self) -> None:
        """Complete the labels of targets that are new, or whose labels the primitive changed."""
        targets, known = self._context.targets, self._labels
        if known is not None and all(known.get(each) is each.labels for each in targets):
            return
        self._hooks.call("label_targets", self._context)
        for target in targets:
            if known is None or known.get(target) is not target.labels:
                target.labels = {**target.labels, **self._own_labels}
        self._labels = {each: each.labels for each in targets}

    def _take_toll(self, elapsed_us: int) -> Toll:
        """Return what the aggregation has cost the target that it cost most."""
        targets = self._context.targets
        if not targets and self._tolls:  # They have ended: what they lost stays known.
            self._slowdown_before = self._slowdown()
        before, self._tolls = self._tolls, {}
        began_us = self._clock.now_us() - elapsed_us
        self._since_us = {each: self._since_us.get(each, began_us) for each in targets}
        most = Toll()
        for target in targets:
            known = before.get(target)
            if target.toll is not known:  # Of many targets most may rest.
                added = target.toll.since(known or Toll())
                self._target_cpu_us += added.cpu_us
                most = most.at_least(added)
                target.toll = target.toll.settled()
            self._tolls[target] = target.toll
        self._longest_stall_us = max(self._longest_stall_us, most.longest_us)
        return most

    def _slowdown(self) -> float:
        """Return the share of its time that a target has lost, of the one that lost most."""
        now_us = self._now_us()
        since_us, tolls = self._since_us, self._tolls
        return max(
            (
                target.toll.cpu_us / max(now_us - added_us, 1)
                for target, added_us in since_us.items()
                if target in tolls
            ),
            default=self._slowdown_before,
        )

    def _apply_changes(self) -> None:
        """Put changed intervals and limits in force: one step, between two iterations."""
        attributes = self._configured()
        if attributes is not self._attributes:
            before, self._attributes = self._attributes, attributes
            if attributes.intervals != before.intervals:
                self._pace.change(attributes.intervals)
            if attributes.limits != self.limits:
                self.limits = attributes.limits
                self._sampling.set_limits(attributes.limits)
        wanted = self._pace.wanted
        if wanted == self.intervals and not self._pace.notices.is_owed:
            return
        memory_bytes = self.snapshot.total_bytes if self.snapshot is not None else 0
        if notice := self._pace.notice(memory_bytes, self._clock.now_us()):
            logger.warning("context '%s': %s", self._context.name, notice)
        if wanted == self.intervals:
            return
        for target in self._context.targets:
            target.regions.rescale_age(self.intervals.aggregation_us, wanted.aggregation_us)
        self.intervals = wanted
