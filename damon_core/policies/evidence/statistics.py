"""The statistics of checks: likelihoods, runs, and searches within groups of a sorted column.

A group is a run of equal numbers in an ascending column, such as the areas of sorted checks.
"""

import numpy as np

from damon_core.memory.regions import FloatColumn, IntColumn
from damon_core.memory.samples import BoolColumn

#: Rates are kept this far from 0 and 1 before a logarithm: one contrary check must not outweigh
#: all others.
LEAST_RATE = 0.01
#: Makes 0 * log 0 equal to its limit, 0.
_TINY = 1e-12


def log_likelihood(hits: FloatColumn, total: FloatColumn) -> FloatColumn:
    """Return the log likelihood of `hits` out of `total` checks at the best fitting rate."""
    count = len(hits)
    # One column instead of three: most are so short that calls cost more than the arithmetic.
    each = np.concatenate((hits, np.maximum(total - hits, 0.0), total))
    each *= np.log(each + _TINY)
    likelihood: FloatColumn = each[:count] + each[count : 2 * count] - each[2 * count :]
    return likelihood


def gain_of_two(
    hits: FloatColumn, total: FloatColumn, other_hits: FloatColumn, other_total: FloatColumn
) -> FloatColumn:
    """Return twice the log likelihood gained by a separate rate for each of two groups."""
    count = len(hits)
    likelihood = log_likelihood(
        np.concatenate((hits, other_hits, hits + other_hits)),
        np.concatenate((total, other_total, total + other_total)),
    )
    gain: FloatColumn = 2 * (
        likelihood[:count] + likelihood[count : 2 * count] - likelihood[2 * count :]
    )
    return gain


def may_gain(
    hits: FloatColumn,
    total: FloatColumn,
    other_hits: FloatColumn,
    other_total: FloatColumn,
    least: float,
) -> BoolColumn:
    """Return whether `gain_of_two` may be more than `least`, without using logarithms.

    It is never more than twice Pearson's chi-squared, as the logarithm of x is at most x - 1.
    """
    all_hits, checks = hits + other_hits, total + other_total
    difference = hits * other_total - other_hits * total
    expected = total * other_total * all_hits * (checks - all_hits)
    may: BoolColumn = 2 * difference * difference * checks > least * expected
    return may


def log_odds(
    rate: FloatColumn, direction: IntColumn, least_change: float | FloatColumn
) -> tuple[FloatColumn, FloatColumn]:
    """Return the log odds, from a single check, for a different rate than an area's.

    The different rate is three times that of the area and at least `least_change`
    (direction 1); for direction -1 the same holds of the rates of misses.

    Returns:
        The log odds of a miss, and what a hit adds to them.
    """
    own = np.minimum(np.maximum(rate, LEAST_RATE), 1 - LEAST_RATE)
    up = np.minimum(np.maximum(3 * own, least_change), 1 - LEAST_RATE)
    down = np.maximum(np.minimum(3 * own - 2, 1 - least_change), LEAST_RATE)
    other = np.where(direction > 0, up, down)
    miss = np.log((1 - other) / (1 - own))
    return miss, np.log(other / own) - miss


def ragged(first: IntColumn, counts: IntColumn) -> IntColumn:
    """Return the numbers first[i] .. first[i] + counts[i] - 1, for all i one after the other."""
    stop: IntColumn = counts.cumsum()
    begin: IntColumn = first - (stop - counts)
    return begin.repeat(counts) + np.arange(stop[-1] if len(stop) else 0)


def bounds(column: IntColumn, start: IntColumn) -> IntColumn:
    """Return the positions in an ascending column at which values start, and its end."""
    bound = np.empty(len(start) + 1, dtype=np.int64)
    bound[:-1] = column.searchsorted(start)
    bound[-1] = len(column)
    return bound


def set_before(flags: BoolColumn, bound: IntColumn) -> IntColumn:
    """Return the number of flags set before each position of `bound`."""
    before = np.zeros(len(flags) + 1, dtype=np.int64)
    before[1:] = flags
    return before.cumsum()[bound]


def counted(flags: BoolColumn, bound: IntColumn) -> IntColumn:
    """Return the number of flags set from each position of `bound` up to before the next."""
    before = set_before(flags, bound)
    return before[1:] - before[:-1]


def largest(value: FloatColumn | IntColumn, count: int) -> IntColumn:
    """Return the positions of the `count` largest of more values, ascending; first of equals.

    Finding the smallest of them first is faster than partitioning positions.
    """
    least = np.partition(value, len(value) - count)[len(value) - count]
    found: IntColumn = (value >= least).nonzero()[0]
    if len(found) > count:
        equal = (value[found] == least).nonzero()[0]
        found = np.delete(found, equal[count - len(found) :])
    return found


def first_of_each(group: IntColumn) -> IntColumn:
    """Return the positions at which groups begin."""
    if not len(group):
        return np.zeros(0, dtype=np.int64)
    begins: IntColumn = np.concatenate(([True], group[1:] != group[:-1])).nonzero()[0]
    return begins


def best_of_each(value: FloatColumn, first: IntColumn) -> IntColumn:
    """Return the position of the largest value of each group, the first of equals.

    Args:
        value: The values; the first group begins at the first one.
        first: The positions at which the groups begin; none is empty.
    """
    if not len(first):
        return first
    size = np.empty(len(first), dtype=np.int64)
    np.subtract(first[1:], first[:-1], out=size[:-1])
    size[-1] = len(value) - first[-1]
    largest = (value == np.repeat(np.maximum.reduceat(value, first), size)).nonzero()[0]
    best: IntColumn = largest[np.searchsorted(largest, first)]
    return best


def rising_runs(
    score: FloatColumn, group: IntColumn, threshold: float
) -> tuple[IntColumn, IntColumn]:
    """Return the first and last positions of runs whose summed score exceeds the threshold.

    The running sum is followed from each new low to its highest point before the next low
    (the CUSUM chart). Groups never share a run.
    """
    if not len(score):
        none = np.zeros(0, dtype=np.int64)
        return none, none
    after = np.cumsum(score)
    before = after - score
    # Each group starts below everything of the one before it.
    drop = group * (2.0 * (after.max() - min(after.min(), 0.0)) + 1.0)
    after -= drop
    before -= drop
    first = (before == np.minimum.accumulate(before)).nonzero()[0]
    best = best_of_each(after, first)
    high = after[best] - before[first] > threshold
    return first[high], best[high]
