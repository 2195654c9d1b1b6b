"""How far intervals are stretched for the CPU budget of the monitor."""

import math

from damon_core.attributes import Intervals
from damon_core.contract.sampling import Sampling
from damon_core.loop.sharing import SharedBudget
from damon_core.loop.stretching import (
    HEADROOM,
    ROOM,
    WEIGHT_AT_ONCE,
    raised,
    smoothed,
    stretched_to,
)

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
            self._recent_us = smoothed(self._recent_us, cpu_us, WEIGHT_AT_ONCE)
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
        self._update_cost_us = smoothed(self._update_cost_us, cpu_us)
        recent_us = self._recent_us
        self.fit(base, None if recent_us is None else recent_us / self.part)

    def charged(self, cpu_us: int, elapsed_us: int) -> None:
        """Add the CPU time that other threads have spent in an aggregation."""
        weight = elapsed_us / (elapsed_us + _CHARGES_OVER_US)
        self._charges = smoothed(self._charges, cpu_us / max(elapsed_us, 1), weight)

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
        mean_us = smoothed(self._check_us, self._checks_us / max(self._checks, 1) / self.part)
        self._check_us = max((self._recent_us or 0.0) / self.part, mean_us)
        self._aggregate_us = smoothed(self._aggregate_us, cpu_us)
        if self._opened_us:
            self._opening_us = raised(self._opening_us, self._opened_us)
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
            spare = 1 - HEADROOM * looks / self.allowed
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
        if needed > max(self.factor, 1.0) or needed < max(ROOM * self.factor, 1 / HEADROOM):
            self.factor = needed * HEADROOM
        if opening_us:
            aggregation_us = self._sampling.stretched(base, max(self.factor, 1.0)).aggregation_us
            looks = (cost_us + end_us) / aggregation_us
            left = max(left - looks, left * _LEFT_BY_LOOKS)
            self.epoch_us = HEADROOM * opening_us / left

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
        all_us = HEADROOM * cost_us * checks
        ends_us = end_us / (left * _MOST_FOR_ENDS)
        least_us = max(most_us, ends_us, (end_us + least_part * all_us) / left)
        part = (left * least_us - end_us) / all_us if all_us else 1.0
        return least_us, min(max(part, least_part), 1.0)

    def end(self) -> None:
        """Leave the group's budget to the others."""
        self._shared.leave(id(self))
