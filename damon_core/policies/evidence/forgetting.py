"""Forgetting: which remembered checks the new ones contradict."""

import numpy as np

from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.statistics import (
    gain_of_two,
    log_odds,
    ragged,
    rising_runs,
    running_sum,
)
from damon_core.regions import IntColumn
from damon_core.samples import BoolColumn

#: Twice the log likelihood gained at which a whole area counts as changed.
_AREA_CHANGE_RATIO = 12.0
#: The log odds at which a run of new checks contradicts the old ones: two surprising checks
#: side by side.
_RUN_CHANGE_SCORE = 6.5
_LEAST_RUN = 2
#: A change that is looked for in cold areas is to at least this rate.
_CHANGED_RATE = 0.35
#: A rate this near to 0 or 1 is that.
_NEARLY = 1e-9


def still_believed(
    areas: Areas, pool: Pool, addresses: IntColumn, hits: BoolColumn, spread: BoolColumn
) -> BoolColumn:
    """Return which checks of the pool the new ones leave standing.

    Args:
        areas: What was believed; every check is in one of them.
        pool: The old checks.
        addresses: The pages of the new checks, ascending.
        hits: Whether they saw an access.
        spread: Which of them were spread evenly within their areas.
    """
    old = pool.bounds(areas)
    new = np.append(np.searchsorted(addresses, areas.start), len(addresses))
    believed = np.ones(len(pool), dtype=np.bool_)
    for area in _changed(pool, old, new, hits, spread).tolist():
        believed[old[area] : old[area + 1]] = False
    first, last, direction = _contradictions(areas, new, hits)
    # Only what lies inside the run: outside, the old checks may be right as they were, and
    # forgetting them would widen the gap in which a border is looked for.
    begin = np.searchsorted(pool.addresses, addresses[first])
    stop = np.searchsorted(pool.addresses, addresses[last], side="right")
    weight, seen = pool.sums(begin, stop)
    differs = (direction * (2 * seen - weight) < 0) & (stop > begin)
    begin, stop = begin[differs], stop[differs]
    believed[ragged(begin, stop - begin)] = False
    return believed


def _contradictions(
    areas: Areas, new: IntColumn, hits: BoolColumn
) -> tuple[IntColumn, IntColumn, IntColumn]:
    """Return runs of new checks that contradict their area.

    Args:
        areas: The areas.
        new: The position of the first new check of each, and the end of the last.
        hits: Whether the new checks saw an access.

    Returns:
        The first and last check of each run; 1 where it tells of more accesses, -1 of fewer.
    """
    total = new[1:] - new[:-1]
    before = running_sum(hits)[new]
    hit = before[1:] - before[:-1]
    # A run can't tell more than all checks that speak for it: most areas are done with here.
    more = (hit >= _LEAST_RUN).nonzero()[0]
    fewer = (total - hit >= _LEAST_RUN).nonzero()[0]
    area = np.concatenate((more, fewer))
    direction = np.ones(len(area), dtype=np.int64)
    direction[len(more) :] = -1
    miss, extra = log_odds(areas.smoothed_rate[area], direction, _CHANGED_RATE)
    most = np.where(direction > 0, hit[area] * (miss + extra), (total - hit)[area] * miss)
    able = (most > _RUN_CHANGE_SCORE).nonzero()[0]
    area = area[able]
    count = total[area]
    check = ragged(new[area], count)
    owner = np.repeat(able, count)
    first, last = rising_runs(miss[owner] + hits[check] * extra[owner], owner, _RUN_CHANGE_SCORE)
    return check[first], check[last], direction[owner[first]]


def _changed(
    pool: Pool, old: IntColumn, new: IntColumn, hits: BoolColumn, spread: BoolColumn
) -> IntColumn:
    """Return which areas differ as a whole from before.

    Only new checks that were spread evenly count: those at borders and around hits lie where
    an area is least like itself.
    """
    total, hit = running_sum(spread)[new], running_sum(hits & spread)[new]
    total, hit = total[1:] - total[:-1], hit[1:] - hit[:-1]
    old_total, old_hit = pool.sums(old[:-1], old[1:])
    # Where all are hits, or none is, nothing has changed.
    all_hits = hit + old_hit
    alike = (all_hits < _NEARLY) | (all_hits > total + old_total - _NEARLY)
    area = (~alike & (total > 0)).nonzero()[0]
    gain = gain_of_two(
        hit[area].astype(np.float64), total[area].astype(np.float64), old_hit[area], old_total[area]
    )
    return area[gain > _AREA_CHANGE_RATIO]
