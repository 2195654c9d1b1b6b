"""How intervals are stretched, and running means: what the limits for budgets and targets share."""

from damon_core.attributes import Intervals
from damon_core.contract.sampling import Sampling

#: Intervals are stretched 15 % further than necessary, and shrink only when 70 % would do: costs
#: vary, and each change of an interval costs ages their precision.
HEADROOM = 1.15
ROOM = 0.7
#: The weight of an aggregation's costs in the running mean; and that of a check in an aggregation
#: that has overspent.
WEIGHT = 0.25
WEIGHT_AT_ONCE = 0.5


def stretched_to(sampling: Sampling, base: Intervals, aggregation_us: float) -> Intervals:
    """Return intervals with aggregations that are stretched to a length."""
    factor = max(aggregation_us / base.aggregation_us, 1.0)
    stretched = sampling.stretched(base, factor)
    if stretched.aggregation_us < aggregation_us:  # where checks become fewer at first
        stretched = sampling.stretched(base, max(aggregation_us / base.sampling_us, 1.0))
    return stretched


def smoothed(known: float | None, cost: float, weight: float = WEIGHT) -> float:
    """Return the running mean with one more cost; None: there was none before."""
    return cost if known is None else known + weight * (cost - known)


def raised(known: float | None, cost: float) -> float:
    """Return a mean that follows a rise at once, and a fall slowly."""
    return max(cost, smoothed(known, cost))
