"""The intervals in force: those configured, tuned to a goal, stretched to a CPU budget.

Everything here runs in the worker. It puts new intervals in force between two iterations and
rescales the counters of regions.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

from attrs import evolve

from damon_core.attributes import Intervals, IntervalsGoal
from damon_core.contract.sampling import Sampling
from damon_core.loop.notices import Notices
from damon_core.loop.sharing import SharedBudget
from damon_core.memory.target import Toll
from damon_core.units import format_duration, format_size

#: Intervals are stretched 15 % further than necessary, and shrink only when 70 % would do: costs
#: vary, and each change of an interval costs ages their precision.
_HEADROOM = 1.15
_ROOM = 0.7
#: The weight of an aggregation's costs in the running mean; and that of a check in an aggregation
#: that has overspent.
_WEIGHT = 0.25
_WEIGHT_AT_ONCE = 0.5
#: The greatest parts of the budget for updates, and for paying back what was overspent.
_MOST_FOR_UPDATES = 0.5
_MOST_FOR_DEBT = 0.3
#: The part that they have even where looks need the rest for values to be as old as they may be.
_FEWER_FOR_UPDATES = 0.2
#: The greatest part of the budget that is kept for what other threads spend, and the time over
#: which that is averaged: a scrape comes now and then, and is no reason to stretch at once.
_MOST_FOR_CHARGES = 0.3
_CHARGES_OVER_US = 60_000_000
#: The greatest part for ends of aggregations that look at a part of the memory.
_MOST_FOR_ENDS = 0.25
#: Overspending is paid back within this time, or within an aggregation if that is longer.
_PAID_BACK_IN_US = 1_000_000
#: The least part of the budget that the looks of an epoch leave to its opening.
_LEFT_BY_LOOKS = 0.2
#: How much CPU time the first aggregation may take, whatever the budget, if it has many checks.
_CREDIT_US = 50_000
#: The share of the time for which the map of a target is locked, where that takes twice as long at
#: once as it should, or longer.
_RARE = 0.001
#: The part of the budget that wake-ups may take in which nothing is looked at, and the CPU time of
#: one.
_FOR_WAKING = 0.03
_WAKING_US = 50
#: As long as some of the memory hasn't been looked at, aggregations with parts of it are shorter.
_BEGINNING_PARTS = 8
#: So many new targets make looks dearer at once; fewer may be small beside those that are there.
_MANY_NEW = 16
#: Goal tuning changes intervals by at most this factor at once, and leaves smaller changes out.
_MOST_TUNING = 2.0
_LEAST_TUNING = 1.1


class GoalTuner:
    """Finds the sampling interval that reaches an `IntervalsGoal`.

    Args:
        goal: The goal.
    """

    def __init__(self, goal: IntervalsGoal) -> None:
        self._goal = goal
        self._shares: deque[float] = deque(maxlen=goal.aggregations)

    def begin(self, sampling_us: int) -> int:
        """Return the sampling interval to begin with, and forget all aggregations."""
        self._shares.clear()
        return self._goal.within(sampling_us)

    def tuned(self, sampling_us: int, access_share: float) -> int:
        """Return the sampling interval for the next aggregation.

        Args:
            sampling_us: The one of the last aggregation.
            access_share: Access events of the last aggregation by possible ones.
        """
        self._shares.append(access_share)
        if len(self._shares) < self._goal.aggregations:
            return sampling_us
        mean = sum(self._shares) / len(self._shares)
        # Events grow about as the interval does: a page is more likely accessed in longer time.
        factor = self._goal.access_share / mean if mean > 0 else _MOST_TUNING
        factor = min(max(factor, 1 / _MOST_TUNING), _MOST_TUNING)
        tuned_us = self._goal.within(round(sampling_us * factor))
        if 1 / _LEAST_TUNING < tuned_us / sampling_us < _LEAST_TUNING:
            return sampling_us
        self._shares.clear()
        return tuned_us


class BudgetKeeper:
    """Finds how far intervals have to be stretched for a worker to stay within its CPU budgets.

    It measures what a check, the end of an aggregation and an update cost, and spaces them
    accordingly. Costs are means over several aggregations. But as soon as an aggregation has spent
    more than a whole one, or a second, may spend, the cost of its own checks counts at once: so an
    expensive first check, or a sudden rise of the cost, has an effect immediately. What was
    overspent until then is a debt that is paid back. The first aggregation of a run has a credit,
    unlimited where it has but two checks, so that the first result comes soon.

    Args:
        budget: Share of one processor for this context; `math.inf` for no limit.
        shared: The budget of its group.
        sampling: The way of sampling: it knows how intervals are stretched.
        max_staleness_us: How long an aggregation may be for its values not to get too old. Of the
            budget of the group a worker has what it needs for that before others have more.

    Attributes:
        factor: How far intervals are to be stretched, at least; up to 1 for not at all.
        part: Which part of all memory the running aggregation looks at; checks of all of it would
            cost more accordingly.
        is_beginning: Whether there is memory that was never looked at; then more may come.
        update_us: The least update interval: updates never take more than half of the budget, and
            the more they take the fewer checks are made.
        epoch_us: How long an epoch is to take, at least, for what it costs to open one.
        allowed: The share of one processor that this worker may use, of both budgets.
    """

    def __init__(
        self,
        budget: float,
        shared: SharedBudget,
        sampling: Sampling,
        max_staleness_us: float = math.inf,
    ) -> None:
        self.factor = 0.0
        self.part = 1.0
        self.is_beginning = False
        self._max_staleness_us = max_staleness_us
        self.update_us = 0
        self.allowed = budget
        self._budget = budget
        self._shared = shared
        self._sampling = sampling
        self._left = budget  # for checks and ends of aggregations; updates get the rest
        self._check_us: float | None = None
        self._aggregate_us: float | None = None
        self._update_cost_us: float | None = None
        self._opening_us: float | None = None
        self._charges = 0.0  # share of a processor that other threads spend
        self.epoch_us = 0.0
        self._debt_us = 0.0
        self._costs = 0.0, 0.0, budget  # a check, the end of an aggregation, the share for both
        # Of the running aggregation:
        self._checks = 0
        self._checks_us = 0
        self._opened_us = 0
        self._time_us = 0
        self._recent_us: float | None = None  # the cost of a check, once too much was spent

    def turn(self, now_us: int) -> int:
        """Return when the run may begin, as `SharedBudget.turn`."""
        return self._shared.turn(id(self), now_us)

    def begun(self, cpu_us: int) -> None:
        """Add the CPU time that the beginning of the run took."""
        self._debt_us += cpu_us

    def has_result(self, cpu_us: int) -> None:
        """Add the CPU time of the run up to its first result."""
        self._shared.has_begun(id(self), cpu_us)

    def opened(self, cpu_us: int) -> None:
        """Add CPU time that the opening of an epoch took: it is spread over the epoch."""
        self._opened_us += cpu_us

    def checked(self, cpu_us: int, base: Intervals, in_force: Intervals) -> bool:
        """Add the CPU time of a check; return whether the least intervals were recomputed.

        Args:
            cpu_us: Processor time, kernel time included, in microseconds.
            base: The intervals to stretch.
            in_force: The intervals in force.
        """
        self._checks += 1
        self._checks_us += cpu_us
        self._time_us += self._sampling.step_us(in_force)
        if self._recent_us is not None:
            self._recent_us = _smoothed(self._recent_us, cpu_us, _WEIGHT_AT_ONCE)
        elif self._checks_us > self._allowed_us(in_force):
            self._recent_us = self._checks_us / self._checks
        if self._recent_us is None:
            return False
        self.fit(base, self._recent_us / self.part)
        return True

    def _allowed_us(self, in_force: Intervals) -> float:
        """Return the CPU time that the checks of the running aggregation may have taken by now."""
        if self._aggregate_us is None:
            # Half of an aggregation of two checks is paid for when the first is made.
            if 2 * self._sampling.step_us(in_force) >= in_force.aggregation_us:
                return math.inf
            # The first checks of a run are expensive, because nothing is in the caches yet.
            return max(_CREDIT_US, self._left * (self._time_us + _PAID_BACK_IN_US))
        return self._left * (self._time_us + min(in_force.aggregation_us, _PAID_BACK_IN_US))

    def grown(self, factor: float, base: Intervals) -> None:
        """Take into account that looks will cost more by some factor from now on, and recompute."""
        if self._check_us is not None:
            self._check_us *= factor
        if self._aggregate_us is not None:
            self._aggregate_us *= factor
        if self._opening_us is not None:
            self._opening_us *= factor
        self.fit(base)

    def updated(self, cpu_us: int, base: Intervals) -> None:
        """Add the CPU time of an update, and recompute: the next may come soon."""
        self._update_cost_us = _smoothed(self._update_cost_us, cpu_us)
        recent_us = self._recent_us
        self.fit(base, None if recent_us is None else recent_us / self.part)

    def charged(self, cpu_us: int, elapsed_us: int) -> None:
        """Add the CPU time that other threads have spent in an aggregation."""
        weight = elapsed_us / (elapsed_us + _CHARGES_OVER_US)
        self._charges = _smoothed(self._charges, cpu_us / max(elapsed_us, 1), weight)

    def aggregated(self, cpu_us: int, elapsed_us: int, base: Intervals) -> None:
        """Add the CPU time of the end of an aggregation, and recompute.

        Args:
            cpu_us: Processor time since the last check, in microseconds.
            elapsed_us: How long the aggregation took.
            base: The intervals to stretch.
        """
        too_much_us = self._checks_us + cpu_us - self._left * elapsed_us
        self._debt_us = max(0.0, self._debt_us + too_much_us)
        # After a surprise earlier costs are too low, but the last ones may be too.
        mean_us = _smoothed(self._check_us, self._checks_us / max(self._checks, 1) / self.part)
        self._check_us = max((self._recent_us or 0.0) / self.part, mean_us)
        self._aggregate_us = _smoothed(self._aggregate_us, cpu_us)
        if self._opened_us:
            self._opening_us = _raised(self._opening_us, self._opened_us)
            self._opened_us = 0
        self._checks = self._checks_us = self._time_us = 0
        self._recent_us = None
        self.fit(base)

    def fit(self, base: Intervals, check_us: float | None = None) -> None:
        """Recompute the least intervals from the known costs.

        Args:
            base: The intervals to stretch.
            check_us: The cost of a check, if it isn't the mean up to the last aggregation.
        """
        cost_us = check_us if check_us is not None else self._check_us or 0.0
        end_us = self._aggregate_us or 0.0
        opening_us = self._opening_us or 0.0
        demand = (
            cost_us / self._sampling.step_us(base) + (end_us + opening_us) / base.aggregation_us
        )
        update_cost_us = self._update_cost_us or 0.0
        whole = min(self._budget, demand + update_cost_us / base.update_us + self._charges)
        ends_us = end_us + opening_us
        looks = self._least(base, cost_us, ends_us, 0.0) + self._charges
        least = self._least(base, cost_us, ends_us, update_cost_us) + self._charges
        self.allowed = min(self._budget, self._shared.allowance(id(self), whole, least))
        for_updates = _MOST_FOR_UPDATES
        if not self.is_beginning:
            spare = 1 - _HEADROOM * looks / self.allowed
            for_updates = min(max(spare, _FEWER_FOR_UPDATES), _MOST_FOR_UPDATES)
        self.update_us = math.ceil(update_cost_us / (self.allowed * for_updates))
        in_force = self._sampling.stretched(base, max(self.factor, 1.0))
        # An iteration has one update at most.
        every_us = max(base.update_us, self.update_us, self._sampling.step_us(in_force))
        left = self._left = (
            self.allowed
            - update_cost_us / every_us
            - min(self._charges, self.allowed * _MOST_FOR_CHARGES)
        )
        if check_us is None:
            # Within an aggregation only costs count; overspending is known at its end.
            payable_us = left * max(_PAID_BACK_IN_US, in_force.aggregation_us)
            left *= 1 - min(_MOST_FOR_DEBT, self._debt_us / payable_us)
        self._costs = cost_us, end_us, left
        needed = self._sampling.needed_factor(base, cost_us, end_us, left)
        most = self._sampling.most_aggregations
        if opening_us:
            least_us = cost_us + end_us + opening_us / most
            needed = max(needed, least_us / left / base.aggregation_us)
        if needed > max(self.factor, 1.0) or needed < max(_ROOM * self.factor, 1 / _HEADROOM):
            self.factor = needed * _HEADROOM
        if opening_us:
            aggregation_us = self._sampling.stretched(base, max(self.factor, 1.0)).aggregation_us
            looks = (cost_us + end_us) / aggregation_us
            left = max(left - looks, left * _LEFT_BY_LOOKS)
            self.epoch_us = _HEADROOM * opening_us / left

    def _least(
        self, base: Intervals, cost_us: float, end_us: float, update_cost_us: float
    ) -> float:
        """Return the share that aggregations and updates need that are as long as they may be."""
        most_us = max(self._max_staleness_us, base.aggregation_us)
        if math.isinf(most_us):
            return 0.0
        stretched = stretched_to(self._sampling, base, most_us)
        checks = cost_us / self._sampling.step_us(stretched)
        return checks + (end_us + update_cost_us) / stretched.aggregation_us

    def in_parts(self, base: Intervals, most_us: float, least_part: float) -> tuple[float, float]:
        """Return how long aggregations are that look at a part of the memory, and at which part.

        They are longer than `most_us` only where their ends alone would take a quarter of the
        budget, or the least part isn't affordable as often.

        Args:
            base: The intervals to stretch.
            most_us: How long aggregations are to be, if possible.
            least_part: The least part that one looks at.
        """
        cost_us, end_us, left = self._costs
        checks = most_us / self._sampling.step_us(stretched_to(self._sampling, base, most_us))
        all_us = _HEADROOM * cost_us * checks
        ends_us = end_us / (left * _MOST_FOR_ENDS)
        least_us = max(most_us, ends_us, (end_us + least_part * all_us) / left)
        part = (left * least_us - end_us) / all_us if all_us else 1.0
        return least_us, min(max(part, least_part), 1.0)

    def end(self) -> None:
        """Leave the group's budget to the others."""
        self._shared.leave(id(self))


def stretched_to(sampling: Sampling, base: Intervals, aggregation_us: float) -> Intervals:
    """Return intervals with aggregations that are stretched to a length."""
    factor = max(aggregation_us / base.aggregation_us, 1.0)
    stretched = sampling.stretched(base, factor)
    if stretched.aggregation_us < aggregation_us:  # where checks become fewer at first
        stretched = sampling.stretched(base, max(aggregation_us / base.sampling_us, 1.0))
    return stretched


class TollKeeper:
    """Finds how far intervals have to be stretched for targets to lose no more than they may.

    Attributes:
        max_slowdown: The share of its time that a target may lose; `math.inf` for no limit.
        max_stall_us: How long its memory map may be locked at once, but for rare exceptions;
            `math.inf` for no limit. `allowed_share` says how rare.
        factor: How far intervals are to be stretched, at least; up to 1 for not at all.
        stalls: Whether the reason is that the map is locked for too long.
        stall_us: The longest time for which it is locked in an aggregation, on average.
        epoch_us: How long an epoch is to take, at least, where it has many aggregations.
    """

    def __init__(self, max_slowdown: float, max_stall_us: float) -> None:
        self.factor = 0.0
        self.epoch_us = 0.0
        self.stalls = False
        self.stall_us = 0.0
        self.max_slowdown = max_slowdown
        self.max_stall_us = max_stall_us
        self._lost: float | None = None  # shares of the time, if nothing were stretched
        self._held: float | None = None
        # Of an epoch, on average, and of the running one.
        self._epoch: tuple[float, float] | None = None
        self._sums = (0, 0)

    def aggregated_in_epoch(self, toll: Toll, *, opened: bool) -> None:
        """Add what an aggregation has cost a target, in an epoch; `fit_epochs` comes after it.

        Args:
            toll: What it has cost.
            opened: Whether the aggregation was the first one of its epoch.
        """
        if opened:
            self.stall_us = _smoothed(self.stall_us or None, toll.longest_us)
            if any(self._sums):
                known = self._epoch or self._sums
                lost_us, held_us = (
                    _smoothed(before, now, _WEIGHT_AT_ONCE)
                    for before, now in zip(known, self._sums, strict=True)
                )
                self._epoch = lost_us, held_us
            self._sums = (0, 0)
        self._sums = self._sums[0] + toll.cpu_us, self._sums[1] + toll.held_us
        lost_us, held_us = map(max, self._sums, self._epoch or self._sums)
        needed_us = lost_us / self.max_slowdown
        rare_us = held_us / allowed_share(self.stall_us, self.max_stall_us)
        self.stalls = rare_us > needed_us
        self.epoch_us = _HEADROOM * max(needed_us, rare_us)

    def fit_epochs(self, most_us: int) -> None:
        """Stretch the intervals if epochs can't be as long as needed otherwise.

        Args:
            most_us: How long an epoch may take if the intervals aren't stretched.
        """
        self._stretch(self.epoch_us / _HEADROOM / most_us)

    def aggregated(self, toll: Toll, elapsed_us: int, in_force: float) -> None:
        """Add what an aggregation, stretched by the factor `in_force`, has cost a target."""
        self.stall_us = _smoothed(
            self.stall_us if self._held is not None else None, toll.longest_us
        )
        self._lost = _raised(self._lost, in_force * toll.cpu_us / elapsed_us)
        self._held = _raised(self._held, in_force * toll.held_us / elapsed_us)
        needed = self._lost / self.max_slowdown
        rare = self._held / allowed_share(self.stall_us, self.max_stall_us)
        self.stalls = rare > needed
        self._stretch(max(needed, rare))

    def _stretch(self, needed: float) -> None:
        if needed > max(self.factor, 1.0) or needed < max(_ROOM * self.factor, 1 / _HEADROOM):
            self.factor = needed * _HEADROOM


def allowed_share(stall_us: float, max_stall_us: float) -> float:
    """Return the share of the time for which a target's memory map may be locked.

    It falls with the square of the length of a stall, so that the mean square of what operations
    of the target wait stays the same: 1.6 % of the time for half of `max_stall_us` at once, 0.4 %
    for all of it, 0.1 % for twice as much. For longer stalls it stays at that: then no more than
    one of a thousand operations meets one.

    Args:
        stall_us: How long it is locked at once.
        max_stall_us: How long it may be.

    Returns:
        The share; 1 or more is no limit.
    """
    return _RARE * max(2 * max_stall_us / stall_us, 1.0) ** 2 if stall_us > 0 else math.inf


def _smoothed(known: float | None, cost: float, weight: float = _WEIGHT) -> float:
    return cost if known is None else known + weight * (cost - known)


def _raised(known: float | None, cost: float) -> float:
    """Return a mean that follows a rise at once, and a fall slowly."""
    return max(cost, _smoothed(known, cost))


class Pace:
    """The intervals that one run should use; its worker puts them in force between iterations.

    Args:
        intervals: Those configured.
        goal: Tune them to this share of access events; None leaves them.
        budget: Keeps the worker within its CPU budgets.
        tolls: Keeps what targets lose within its limits.
        sampling: The way of sampling: it knows how intervals are stretched.
        better_backends: Returns what works here and is preferred to the backend in use.
        tuned_elsewhere: Returns the intervals to which what samples has tuned itself; None if it
            doesn't: then they are tuned here.
        max_staleness_us: How long an aggregation should be at most: where the budget needs longer
            ones, and an aggregation may look at a part of the targets, it looks at fewer.
        rotates: Whether it may.

    Attributes:
        wanted: The intervals to put in force: those configured or tuned to the goal, stretched
            where the budget or the targets need longer ones.
        part: Which part of the memory an aggregation is to look at, of what there is.
        least_part: The least that it may be.
        is_beginning: Whether there is memory that was never looked at.
        notices: Which changes of the aggregation interval are said.
    """

    def __init__(
        self,
        intervals: Intervals,
        goal: IntervalsGoal | None,
        budget: BudgetKeeper,
        tolls: TollKeeper,
        sampling: Sampling,
        *,
        better_backends: Callable[[], Sequence[str]] = tuple,
        tuned_elsewhere: Callable[[], Intervals | None] = lambda: None,
        max_staleness_us: float = math.inf,
        rotates: bool = False,
    ) -> None:
        self.part = self.least_part = 1.0
        self.is_beginning = False
        self._max_staleness_us = max_staleness_us
        self._rotates = rotates
        self._better_backends = better_backends
        self._tolls = tolls
        self.notices = Notices()
        self._goal = goal
        self._tuner = GoalTuner(goal) if goal else None
        self._find_tuned = tuned_elsewhere
        self._tuned: Intervals | None = None  # elsewhere
        self._is_chosen = False  # whether these are longer than they would have to be
        self._budget = budget
        self._sampling = sampling
        self._has_epochs = sampling.most_aggregations > 1
        self._opened = False  # whether the running aggregation opened an epoch
        self.wanted = self._base = self._in_force = intervals
        self.change(intervals)

    def change(self, intervals: Intervals) -> None:
        """Replace the configured intervals."""
        self._configured = intervals
        self._tuned = None
        self._tuned_us = intervals.sampling_us
        if self._tuner is not None:
            self._tuned_us = self._tuner.begin(intervals.sampling_us)
        self._rebase()
        self._budget.fit(self._base)
        self._decide()

    def turn(self, now_us: int) -> int:
        """Return when the run may begin; it asks again then."""
        return self._budget.turn(now_us)

    def begun(self, cpu_us: int) -> None:
        """Add the CPU time that the beginning of the run took."""
        self._budget.begun(cpu_us)

    def has_result(self, cpu_us: int) -> None:
        """Add the CPU time of the run up to its first result."""
        self._budget.has_result(cpu_us)

    def set_memory(self, targets: int, *, is_beginning: bool) -> None:
        """Note how many targets there are, and whether some were never looked at.

        Args:
            targets: How many there are: an aggregation looks at one at least.
            is_beginning: Whether some were never looked at.
        """
        if (1 / max(targets, 1), is_beginning) != (self.least_part, self.is_beginning):
            self.least_part, self.is_beginning = 1 / max(targets, 1), is_beginning
            self._budget.is_beginning = is_beginning
            self._decide()

    def looks_at(self, part: float) -> None:
        """Note which part of the memory the next aggregation really looks at."""
        self._budget.part = part

    def opened(self, cpu_us: int) -> None:
        """Add CPU time that the opening of an epoch took."""
        self._opened = True
        self._budget.opened(cpu_us)

    def checked(self, cpu_us: int, in_force: Intervals) -> None:
        """Add the CPU time of a check that was made with the intervals in force."""
        self._in_force = in_force
        if self._budget.checked(cpu_us, self._base, in_force):
            self._decide()

    def charged(self, cpu_us: int, elapsed_us: int) -> None:
        """Add the CPU time that other threads have spent in an aggregation of some length."""
        self._budget.charged(cpu_us, elapsed_us)

    def aggregated(
        self, access_share: float | None, cpu_us: int, elapsed_us: int, toll: Toll
    ) -> None:
        """Take an aggregation into account.

        Args:
            access_share: Access events by possible ones; None if there was nothing to access.
            cpu_us: The CPU time of its end, microseconds.
            elapsed_us: How long it took.
            toll: What it has cost the target that it cost most.
        """
        if self._has_epochs:
            self._tolls.aggregated_in_epoch(toll, opened=self._opened)
            self._opened = False
        else:
            self._tolls.aggregated(toll, elapsed_us, self._stretched_by(elapsed_us))
        if self._tuner is not None:
            self._tuned = self._find_tuned()
            if self._tuned is not None:
                self._tuned_us = self._tuned.sampling_us
            elif access_share is not None:
                self._tuned_us = self._tuner.tuned(self._tuned_us, access_share)
            self._rebase()
        self._budget.aggregated(cpu_us, elapsed_us, self._base)
        if self._has_epochs:
            self._sampling.set_epoch(self.epoch_us)
            # How many aggregations an epoch has may depend on what it costs.
            self._budget.fit(self._base)
            self._tolls.fit_epochs(self._sampling.most_aggregations * self._base.aggregation_us)
        self._decide()

    def grown(self, before: int, after: int) -> None:
        """Take new targets into account, if they are many: looks at all of them will cost more.

        Args:
            before: How many there were.
            after: How many there are.
        """
        if before and after - before >= _MANY_NEW:
            self._budget.grown(after / before, self._base)
            if self._has_epochs:
                self._sampling.set_epoch(self.epoch_us)
            self._decide()

    def updated(self, cpu_us: int) -> None:
        """Add the CPU time of an update."""
        self._budget.updated(cpu_us, self._base)
        self._decide()

    def end(self) -> None:
        """Leave a shared budget to the others."""
        self._budget.end()

    def _rebase(self) -> None:
        """Compute the intervals as they would be without a budget.

        What samples and tunes itself is given the shortest that it may choose.
        """
        sampling_us = self._tuned_us
        if self._goal is not None and self._tuned is not None:
            sampling_us = self._goal.min_sampling_us
        self._base = self._configured.with_sampling(sampling_us)

    def _stretched_by(self, elapsed_us: int) -> float:
        """Return how far the intervals of an aggregation were stretched, if only by its work."""
        base = self._base
        return max(
            self._in_force.sampling_us / base.sampling_us, elapsed_us / base.aggregation_us, 1.0
        )

    @property
    def _factor(self) -> float:
        """How far intervals are stretched."""
        return max(self._budget.factor, self._tolls.factor, 1.0)

    @property
    def goal(self) -> IntervalsGoal | None:
        """What intervals are tuned to, with the shortest that the limits allow."""
        goal = self._goal
        if goal is None:
            return None
        factor = max(self._budget.factor, self._tolls.factor)
        least_us = max(math.ceil(self._base.sampling_us * factor), goal.min_sampling_us)
        most_us = max(goal.max_sampling_us, least_us)
        return evolve(goal, min_sampling_us=least_us, max_sampling_us=most_us)

    @property
    def epoch_us(self) -> float:
        """How long an epoch is to take, at least, where it has many aggregations."""
        return max(self._budget.epoch_us, self._tolls.epoch_us)

    @property
    def limit(self) -> str:
        """What stretches the intervals: an argument of `Context`; empty if nothing does."""
        if self._factor <= 1.0:
            return ""
        if self._budget.factor >= self._tolls.factor:
            return "cpu_budget"
        return "max_stall" if self._tolls.stalls else "max_slowdown"

    def notice(self, memory_bytes: int, now_us: int) -> str:
        """Return what users should know of a change of intervals; empty if it isn't notable now.

        Args:
            memory_bytes: How much memory is monitored; 0 if that isn't known.
            now_us: The time.
        """
        aggregation_us, configured_us = self.wanted.aggregation_us, self._base.aggregation_us
        if self._is_chosen:
            configured_us = aggregation_us
        if not self.notices.take(aggregation_us, configured_us, now_us):
            return ""
        if aggregation_us <= configured_us:
            return f"one aggregation every {format_duration(aggregation_us, 3)} again"
        memory = format_size(memory_bytes) if memory_bytes else "its memory"
        return (
            f"one aggregation every {format_duration(aggregation_us, 3)} instead of "
            f"{format_duration(configured_us, 3)}: {self._reason(memory)}"
        )

    def rotation_notice(self, rarer: int, targets: int, rarest: Sequence[tuple[str, float]]) -> str:
        """Return what users should know where targets are looked at in turns.

        Args:
            rarer: How many are looked at less often than they should be.
            targets: Of how many.
            rarest: Some of them, and how often, in microseconds.
        """
        most = format_duration(round(self._max_staleness_us), 3)
        named = ", ".join(f"{name} every {format_duration(round(us), 2)}" for name, us in rarest)
        return (
            f"{rarer} of {targets} targets, the biggest, are looked at less often than every "
            f"{most} (max_staleness), such as {named}: {self._reason('all of them')}"
        )

    def _reason(self, memory: str) -> str:
        """Return which limit stretches the intervals, and what would change that."""
        limit, tolls = self.limit, self._tolls
        advice = f"a higher {limit} makes it shorter"
        if limit == "cpu_budget":
            return f"{memory} at {100 * self._budget.allowed:.3g} % of a processor; {advice}"
        if limit == "max_slowdown":
            return f"{memory} at {100 * tolls.max_slowdown:.3g} % of the target's time; {advice}"
        stall_us, most_us = tolls.stall_us, tolls.max_stall_us
        most = format_duration(most_us, 3)
        found = f", more than max_stall ({most})" if stall_us > most_us else f" (max_stall: {most})"
        better = self._better_backends()
        works = f" ({', '.join(better)})" if better else ""
        return (
            f"a walk of {memory} holds the target up for {format_duration(stall_us, 3)}{found}, "
            f"so it is to be rare; another backend{works} may be better, {advice}"
        )

    def _decide(self) -> None:
        base, factor = self._base, self._factor
        self.part = 1.0
        if self._rotates:
            factor = self._rotated(factor)
        stretched, tuned = self._sampling.stretched(base, factor), self._tuned
        self._is_chosen = tuned is not None and tuned.sampling_us > stretched.sampling_us
        if tuned is not None and tuned.sampling_us >= stretched.sampling_us:
            stretched = tuned
        update_us = max(stretched.update_us, self._budget.update_us)
        self.wanted = evolve(stretched, update_us=update_us)
        self._sampling.set_longest_sleep(_WAKING_US / (_FOR_WAKING * self._budget.allowed))

    def _rotated(self, factor: float) -> float:
        """Return how far intervals are stretched if an aggregation looks at a part of the memory.

        Args:
            factor: How far they are if it looks at all of it.
        """
        most_us = self._max_staleness_us / (_BEGINNING_PARTS if self.is_beginning else 1)
        most = max(most_us / self._base.aggregation_us, self._tolls.factor, 1.0)
        if factor <= most:
            return factor
        longest_us, self.part = self._budget.in_parts(
            self._base, most * self._base.aggregation_us, self.least_part
        )
        return min(longest_us / self._base.aggregation_us, factor)
