"""Forgetting: which remembered checks the new ones contradict."""

import numpy as np

from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.statistics import log_likelihood, log_odds, ragged, rising_runs
from damon_core.regions import FloatColumn, IntColumn
from damon_core.samples import BoolColumn

#: Twice the log likelihood gained at which a whole area counts as changed.
_AREA_CHANGE_RATIO = 12.0
#: The log odds at which a run of new checks contradicts the old ones: two surprising checks
#: side by side.
_RUN_CHANGE_SCORE = 6.5
#: A change that is looked for in cold areas is to at least this rate.
_CHANGED_RATE = 0.35


def still_believed(
    areas: Areas, pool: Pool, addresses: IntColumn, hits: FloatColumn, spread: BoolColumn
) -> BoolColumn:
    """Return which checks of the pool the new ones leave standing.

    Args:
        areas: What was believed; every check is in one of them.
        pool: The old checks.
        addresses: The pages of the new checks, ascending.
        hits: 1 where they saw an access, 0 elsewhere.
        spread: Which of them were spread evenly within their areas.
    """
    old = pool.bounds(areas)
    changed = _changed(areas, pool, old, addresses[spread], hits[spread])
    believed = np.repeat(~changed, np.diff(old))
    first_new = np.append(np.searchsorted(addresses, areas.start), len(addresses))
    area = np.repeat(np.arange(len(areas)), np.diff(first_new))
    for direction in (1, -1):
        miss, extra = log_odds(areas.smoothed_rate, direction, _CHANGED_RATE)
        first, last = rising_runs(miss[area] + hits * extra[area], area, _RUN_CHANGE_SCORE)
        # Only what lies inside the run: outside, the old checks may be right as they were, and
        # forgetting them would widen the gap in which a border is looked for.
        begin = np.searchsorted(pool.addresses, addresses[first])
        stop = np.searchsorted(pool.addresses, addresses[last] + 1)
        total, hit = pool.sums(begin, stop)
        differs = (direction * (2 * hit - total) < 0) & (stop > begin)
        begin, stop = begin[differs], stop[differs]
        believed[ragged(begin, stop - begin)] = False
    return believed


def _changed(
    areas: Areas, pool: Pool, old: IntColumn, addresses: IntColumn, hits: FloatColumn
) -> BoolColumn:
    """Return which areas differ as a whole from before.

    Only new checks that were spread evenly count: those at borders and around hits lie where
    an area is least like itself.
    """
    new = np.append(np.searchsorted(addresses, areas.start), len(addresses))
    new_total = np.diff(new).astype(np.float64)
    new_hits = np.diff(np.concatenate(([0.0], np.cumsum(hits)))[new])
    old_total, old_hits = pool.sums(old[:-1], old[1:])
    gain = 2 * (
        log_likelihood(new_hits, new_total)
        + log_likelihood(old_hits, old_total)
        - log_likelihood(new_hits + old_hits, new_total + old_total)
    )
    changed: BoolColumn = gain > _AREA_CHANGE_RATIO
    return changed
