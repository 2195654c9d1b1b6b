"""What a run is expected to come to: the governor of intervals, asked about costs beforehand."""

import math

from attrs import evolve, frozen

from damon_core.attributes import (
    DEFAULT_CPU_BUDGET,
    DEFAULT_MAX_SLOWDOWN,
    DEFAULT_MAX_STALENESS_US,
    DEFAULT_MAX_STALL_US,
    Intervals,
)
from damon_core.contract.forecast import Costs
from damon_core.loop.budget import BudgetKeeper
from damon_core.loop.pacing import Pace
from damon_core.loop.sharing import SharedBudget
from damon_core.loop.tolls import TollKeeper
from damon_core.memory.target import Toll
from damon_core.policies.evidence import EvidencePolicy
from damon_core.validators import check, positive, share

#: After as many aggregations, or checks, intervals have settled.
_AGGREGATIONS = 30
_CHECKS = 10_000
#: CPU time of the loop itself: of an iteration, and of the end of an aggregation.
_ITERATION_US = 100
_END_US = 500


@frozen(kw_only=True)
class Limits:
    """What monitoring may cost, as the arguments of `Context` say it; None for no limit.

    Raises:
        AttributeValueError: A value is out of range.
    """

    cpu_budget: float | None = DEFAULT_CPU_BUDGET
    max_slowdown: float | None = DEFAULT_MAX_SLOWDOWN
    max_stall_us: int | None = DEFAULT_MAX_STALL_US
    max_staleness_us: int = DEFAULT_MAX_STALENESS_US

    @property
    def spare_us(self) -> float:
        """The CPU time that may be spent while values get as old as they may."""
        return (self.cpu_budget or math.inf) * self.max_staleness_us

    def __attrs_post_init__(self) -> None:
        for name, validator in (
            ("cpu_budget", share),
            ("max_slowdown", share),
            ("max_stall_us", positive),
            ("max_staleness_us", positive),
        ):
            if (value := getattr(self, name)) is not None:
                check(validator, name, value)


@frozen(kw_only=True)
class Expected:
    """What is expected of a run once its intervals have settled.

    Attributes:
        intervals: The intervals in force.
        limit: Which limit stretches them, an argument of `Context`; empty if none does.
        cpu_share: The share of one processor that the worker uses.
        epoch_us: How long it is from one clearing to the next, where that is longer than an
            aggregation; 0 where it isn't.
        slowdown: The share of its time that a target loses.
        longest_stall_us: The longest time for which a target's memory map is locked.
    """

    intervals: Intervals
    limit: str
    cpu_share: float
    epoch_us: int = 0
    slowdown: float
    longest_stall_us: int


def expect(costs: Costs, intervals: Intervals, limits: Limits) -> Expected:
    """Return what is expected of a run with such costs.

    Args:
        costs: The costs, `check_us` among them.
        intervals: The configured intervals.
        limits: The limits that stretch them.
    """
    sampling = costs.sampling(EvidencePolicy())
    check_us = round((costs.check_us or 0.0) + _ITERATION_US)
    pace = Pace(
        intervals,
        None,
        BudgetKeeper(limits.cpu_budget or math.inf, SharedBudget(math.inf), sampling),
        TollKeeper(limits.max_slowdown or math.inf, limits.max_stall_us or math.inf),
        sampling,
    )
    pace.begun(costs.begin_us)
    aggregations = elapsed_us = since_update_us = epoch_us = 0
    toll = costs.toll
    if costs.opening_us:
        pace.opened(costs.opening_us)
    for _ in range(_CHECKS):
        in_force = pace.wanted
        step_us = sampling.step_us(in_force)
        elapsed_us += step_us
        since_update_us += step_us
        pace.checked(check_us, in_force)
        if elapsed_us >= in_force.aggregation_us:
            pace.aggregated(None, _END_US, elapsed_us, toll)
            aggregations += 1
            epoch_us += elapsed_us
            elapsed_us = 0
            if costs.opening_us:
                toll = Toll()
                if epoch_us >= pace.epoch_us:
                    pace.opened(costs.opening_us)
                    toll, epoch_us = costs.toll, 0
        if since_update_us >= in_force.update_us:
            pace.updated(costs.update_us)
            since_update_us = 0
        if aggregations == _AGGREGATIONS:
            break
    settled = pace.wanted
    every_us = settled.aggregation_us
    if costs.opening_us:
        every_us = max(every_us, round(pace.epoch_us))
    cpu_share = (
        check_us / sampling.step_us(settled)
        + costs.opening_us / every_us
        + _END_US / settled.aggregation_us
        + costs.update_us / settled.update_us
    )
    return Expected(
        intervals=settled,
        limit=pace.limit,
        cpu_share=cpu_share,
        epoch_us=every_us if every_us > settled.aggregation_us else 0,
        slowdown=costs.toll.cpu_us / every_us,
        longest_stall_us=costs.toll.longest_us,
    )


def expect_idle(costs: Costs, intervals: Intervals, limits: Limits) -> Expected:
    """Return what is expected of a run whose targets access next to nothing meanwhile."""
    return expect(evolve(costs, toll=evolve(costs.toll, cpu_us=0)), intervals, limits)
