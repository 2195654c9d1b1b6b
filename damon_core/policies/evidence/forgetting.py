"""Forgetting: which checks of the pool the new ones contradict."""

import numpy as np

from damon_core.memory.regions import IntColumn
from damon_core.memory.samples import BoolColumn
from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.division import Division
from damon_core.policies.evidence.rounds import Results
from damon_core.policies.evidence.statistics import (
    counted,
    gain_of_two,
    log_odds,
    may_gain,
    ragged,
    rising_runs,
)

#: Twice the log likelihood gained at which a whole area counts as changed.
_AREA_CHANGE_RATIO = 12.0
#: The log odds at which a run of new checks contradicts the old ones: two adjacent surprising
#: checks.
_RUN_CHANGE_SCORE = 6.5
_LEAST_RUN = 2
#: The least rate of a change searched for in cold areas.
_CHANGED_RATE = 0.35


def still_valid(division: Division, results: Results, new: IntColumn) -> BoolColumn:
    """Return whether each check of the pool is still valid: no new check contradicts it.

    Args:
        division: The areas so far, and the old checks.
        results: The new checks; each lies in an area.
        new: The position of the first new check of each area, and the end of the last area.
    """
    areas, pool, old = division.areas, division.pool, division.bound
    total = new[1:] - new[:-1]
    seen = counted(results.hits, new)
    valid = np.ones(len(pool), dtype=np.bool_)
    for area in _changed(areas, results, new, total, seen).tolist():
        valid[old[area] : old[area + 1]] = False
    first, last, direction = _contradictions(areas, results.hits, new, total, seen)
    if not len(first):
        return valid
    # Only checks inside the run: those outside may still be right, and forgetting them would
    # widen the gap in which the border is searched for.
    begin = pool.addresses.searchsorted(results.addresses[first])
    stop = pool.addresses.searchsorted(results.addresses[last], side="right")
    weight, hit = pool.sums(begin, stop)
    differs = (direction * (2 * hit - weight) < 0) & (stop > begin)
    begin, stop = begin[differs], stop[differs]
    valid[ragged(begin, stop - begin)] = False
    return valid


def _contradictions(
    areas: Areas, hits: BoolColumn, new: IntColumn, total: IntColumn, seen: IntColumn
) -> tuple[IntColumn, IntColumn, IntColumn]:
    """Return runs of new checks that contradict their area.

    Args:
        areas: The areas.
        hits: Whether each new check saw an access.
        new: The position of the first new check of each area, and the end of the last area.
        total: The number of new checks in each area.
        seen: The number of them that saw an access.

    Returns:
        The first and last check of each run; 1 for a run of more accesses, -1 for one of fewer.
    """
    # A hit adds at most the logarithm of 1 / rate, which is at most 1 / rate - 1; a miss likewise.
    # This excludes most areas without using logarithms.
    rate, missed = areas.smoothed_rate, total - seen
    odds = rate / (1 - rate)
    more = (seen > np.maximum(_RUN_CHANGE_SCORE * odds, _LEAST_RUN - 1)).nonzero()[0]
    fewer = (missed > np.maximum(_RUN_CHANGE_SCORE / odds, _LEAST_RUN - 1)).nonzero()[0]
    area = np.concatenate((more, fewer))
    if not len(area):
        return area, area, area
    direction = np.ones(len(area), dtype=np.int64)
    direction[len(more) :] = -1
    # A run's score is at most that of all checks that support it.
    miss, extra = log_odds(rate[area], direction, _CHANGED_RATE)
    most = np.where(direction > 0, seen[area] * (miss + extra), missed[area] * miss)
    able = (most > _RUN_CHANGE_SCORE).nonzero()[0]
    area = area[able]
    count = total[area]
    check = ragged(new[area], count)
    owner = able.repeat(count)
    first, last = rising_runs(miss[owner] + hits[check] * extra[owner], owner, _RUN_CHANGE_SCORE)
    return check[first], check[last], direction[owner[first]]


def _changed(
    areas: Areas, results: Results, new: IntColumn, total: IntColumn, seen: IntColumn
) -> IntColumn:
    """Return the areas that have changed as a whole.

    Only new checks chosen regardless of earlier results count: those at borders and around hits
    are at the least typical places of an area.
    """
    old_total, old_hit = areas.weight, areas.rate * areas.weight
    # Where all old and new checks are hits, or none is, nothing has changed.
    all_hits = seen + old_hit
    area = ((all_hits > 0) & (all_hits < total + old_total)).nonzero()[0]
    if not len(area):
        return area
    old_total, old_hit = old_total[area], old_hit[area]
    even = results.stands_for_bytes > 0
    evenly = counted(even, new)[area].astype(np.float64)
    hit = counted(results.hits & even, new)[area].astype(np.float64)
    may = may_gain(hit, evenly, old_hit, old_total, _AREA_CHANGE_RATIO).nonzero()[0]
    gain = gain_of_two(hit[may], evenly[may], old_hit[may], old_total[may])
    return area[may[gain > _AREA_CHANGE_RATIO]]
