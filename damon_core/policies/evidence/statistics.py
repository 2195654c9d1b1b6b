"""The statistics of checks: likelihoods, runs, and searches within groups of a sorted column.

A group is a run of equal numbers in an ascending column, as the regions of sorted checks are.
"""

import numpy as np

from damon_core.regions import FloatColumn, IntColumn

#: Rates are kept off 0 and 1 where a logarithm is taken: one contrary check must not be able
#: to outweigh everything.
LEAST_RATE = 0.01
#: Makes 0 * log 0 what it is in the limit: 0.
_TINY = 1e-12


def log_likelihood(hits: FloatColumn, total: FloatColumn) -> FloatColumn:
    """Return the log likelihood of `hits` out of `total` checks at the best fitting rate."""
    misses = np.maximum(total - hits, 0.0)
    likelihood: FloatColumn = (
        hits * np.log(hits + _TINY)
        + misses * np.log(misses + _TINY)
        - total * np.log(total + _TINY)
    )
    return likelihood


def log_odds(
    rate: FloatColumn, direction: int, other_rate: float
) -> tuple[FloatColumn, FloatColumn]:
    """Return what single checks say for an area in a region that is unlike the region.

    The area is taken to be accessed three times as often as the region and at least at
    `other_rate` (direction 1), or as much less often (direction -1).

    Returns:
        The log odds that a miss gives, and what a hit adds to them.
    """
    own = np.clip(rate, LEAST_RATE, 1 - LEAST_RATE)
    if direction > 0:
        other = np.clip(np.maximum(3 * own, other_rate), 0, 1 - LEAST_RATE)
    else:
        other = np.clip(np.minimum(1 - 3 * (1 - own), 1 - other_rate), LEAST_RATE, 1)
    miss = np.log((1 - other) / (1 - own))
    return miss, np.log(other / own) - miss


def ragged(first: IntColumn, counts: IntColumn) -> IntColumn:
    """Return the numbers first[i] .. first[i] + counts[i] - 1, for all i in a row."""
    stop = np.cumsum(counts)
    return np.repeat(first - (stop - counts), counts) + np.arange(stop[-1] if len(stop) else 0)


def first_of_each(group: IntColumn) -> IntColumn:
    """Return the positions at which groups begin."""
    if not len(group):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))


def best_of_each(value: FloatColumn, group: IntColumn) -> IntColumn:
    """Return the position of the largest value of each group, the first of several."""
    first = first_of_each(group)
    if not len(first):
        return first
    size = np.diff(np.append(first, len(group)))
    best = np.flatnonzero(value == np.repeat(np.maximum.reduceat(value, first), size))
    return best[first_of_each(group[best])]


def rising_runs(
    score: FloatColumn, group: IntColumn, threshold: float
) -> tuple[IntColumn, IntColumn]:
    """Return the first and last positions of runs whose summed score exceeds the threshold.

    The running sum is followed from each new low to its highest point before the next low
    (the CUSUM chart). Groups never share a run.
    """
    none = np.zeros(0, dtype=np.int64)
    if not len(score):
        return none, none
    after = np.cumsum(score)
    before = after - score
    # Each group starts below everything of the one before it.
    drop = group * (2.0 * (after.max() - min(after.min(), 0.0)) + 1.0)
    after -= drop
    before -= drop
    low = np.minimum.accumulate(before)
    first = np.flatnonzero(before == low)
    peak = np.maximum.reduceat(after, first) - low[first]
    kept = np.flatnonzero(peak > threshold)
    if not len(kept):
        return none, none
    length = np.diff(np.append(first, len(score)))[kept]
    inside = ragged(first[kept], length)
    best = best_of_each(after[inside], np.repeat(np.arange(len(kept)), length))
    return first[kept], inside[best]
