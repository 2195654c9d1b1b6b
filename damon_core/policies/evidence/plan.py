"""The plan: at which pages the checks of an aggregation look."""

import numpy as np

from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.statistics import ragged
from damon_core.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn
from damon_core.samples import BoolColumn

#: Shares of the checks that follow up surprising hits, narrow down borders, and halve the
#: largest unseen gaps. The rest is spread over all areas. Other divisions did about as well.
_PROBE_SHARE = 0.25
_BORDER_SHARE = 0.25
_GAP_SHARE = 0.35
#: A floor for each area takes at most this part of the spread checks.
_FLOOR_SHARE = 0.4
#: Areas colder than this get their single hits followed up; in warmer ones hits don't surprise.
_COLD_RATE = 0.12
#: Probes around a hit, as parts of the way to the neighbouring checks: the near ones tell
#: whether the hit was in an area at all, the far ones how large it is.
_PROBE_PARTS = np.array([-0.45, -0.06, 0.06, 0.45])
#: Regular places would follow strides in the target: those of probes are moved at random by
#: up to this part, others by up to half of the width below, in parts of their distance.
_PROBE_JITTER = 0.1
_BORDER_JITTER = 0.5
_GAP_JITTER = 0.4
#: An area of which so many checks, and only such, told nothing isn't looked at out of doubt.
_HOPELESS = 3
#: Borders between rates closer than this aren't worth extra checks.
_LEAST_STEP = 0.05
#: Between rates further apart than this, a border lies between two checks.
_CERTAIN_STEP = 0.5
#: More checks than this in one gap are better spent after the next look.
_MOST_CHECKS_PER_BORDER = 8
#: The number of checks within which a border is uncertain: about 2 / (information per check).
_BORDER_SPREAD = 2.0
_MOST_BORDER_SPREAD = 32


def plan(
    areas: Areas,
    pool: Pool,
    found: IntColumn,
    checks: int,
    rng: np.random.Generator,
) -> tuple[IntColumn, BoolColumn]:
    """Choose the pages to check in an aggregation.

    Args:
        areas: What is believed; not empty.
        pool: The checks that it is believed from.
        found: Pages that were seen accessed in the last aggregation.
        checks: How many pages to choose.
        rng: The source of chance.

    Returns:
        The pages, ascending; and which of them were spread evenly within their areas.
    """
    aimed = np.concatenate(
        (
            _probes(areas, pool, found, int(checks * _PROBE_SHARE), rng),
            _at_borders(areas, pool, int(checks * _BORDER_SHARE), rng),
            _in_gaps(areas, pool, int(checks * _GAP_SHARE), rng),
        )
    )
    spread = spread_evenly(areas, pool, checks - len(aimed), rng)
    aimed -= aimed % PAGE_SIZE_BYTES
    pages = np.concatenate((aimed, spread))
    order = np.argsort(pages)
    return pages[order], order >= len(aimed)


def spread_evenly(areas: Areas, pool: Pool, checks: int, rng: np.random.Generator) -> IntColumn:
    """Choose pages evenly within areas: a floor for each, the rest by size and uncertainty.

    Where nothing was told of several pages, uncertainty is no reason to look.
    """
    count = len(areas)
    size = areas.size_bytes.astype(np.float64)
    rate = areas.smoothed_rate
    doubt = size * np.sqrt(rate * (1 - rate) / (areas.believed + 1))
    if len(pool.untold):
        bound = np.append(np.searchsorted(pool.untold, areas.start), len(pool.untold))
        doubt[(areas.believed == 0) & (bound[1:] - bound[:-1] >= _HOPELESS)] = 0
    floor = min(1.0, checks * _FLOOR_SHARE / count)
    rest = (checks - floor * count) / 2
    wanted = floor + rest * (doubt / max(doubt.sum(), 1e-9) + size / size.sum())
    # One random start turns fractions into whole numbers without bias.
    edges = np.floor(np.concatenate(([0.0], np.cumsum(wanted))) + rng.random())
    each = np.diff(edges).astype(np.int64)
    area = np.repeat(np.arange(count), each)
    place = (ragged(np.zeros(count, dtype=np.int64), each) + rng.random(len(area))) / each[area]
    pages = (size[area] * place).astype(np.int64) // PAGE_SIZE_BYTES
    return areas.start[area] + pages * PAGE_SIZE_BYTES


def _probes(
    areas: Areas, pool: Pool, found: IntColumn, most: int, rng: np.random.Generator
) -> IntColumn:
    """Look closer around hits in areas believed cold, in the coldest first."""
    area = areas.holding(found)
    surprising = (area >= 0) & (areas.rate[area] < _COLD_RATE) if len(areas) else area >= 0
    found, area = found[surprising], area[surprising]
    order = np.argsort(areas.rate[area], kind="stable")[: most // len(_PROBE_PARTS)]
    found, area = found[order], area[order]
    if not len(found) or not len(pool):
        return np.zeros(0, dtype=np.int64)
    before = np.searchsorted(pool.addresses, found, side="left") - 1
    behind = np.searchsorted(pool.addresses, found, side="right")
    last = len(pool) - 1
    low = np.where(before >= 0, pool.addresses[before], 0)
    low = np.maximum(low, areas.start[area])
    high = np.where(behind <= last, pool.addresses[np.minimum(behind, last)], areas.end[area])
    high = np.minimum(high, areas.end[area] - PAGE_SIZE_BYTES)
    part = np.tile(_PROBE_PARTS, (len(found), 1))
    part *= 1 + _jitter(part.size, 2 * _PROBE_JITTER, rng).reshape(part.shape)
    reach: IntColumn = np.where(part < 0, (found - low)[:, None], (high - found)[:, None])
    offsets: IntColumn = (part * reach).astype(np.int64).ravel()
    return np.repeat(found, len(_PROBE_PARTS)) + offsets


def _at_borders(areas: Areas, pool: Pool, most: int, rng: np.random.Generator) -> IntColumn:
    """Narrow down the borders, where most is at stake first.

    Between a hot and a cold area the place of the border is unknown between two checks;
    between similar rates it is unknown over more of them.
    """
    none = np.zeros(0, dtype=np.int64)
    if most < 1 or len(pool) < 2:
        return none
    left = areas.touching.nonzero()[0]
    step = np.abs(areas.rate[left] - areas.rate[left + 1])
    left, step = left[step > _LEAST_STEP], step[step > _LEAST_STEP]
    mean = (areas.rate[left] + areas.rate[left + 1]) / 2
    spread = np.minimum(_BORDER_SPREAD * mean * (1 - mean) / step**2, _MOST_BORDER_SPREAD)
    # A step from 0 to 1 has no spread at all, though its mean is a half.
    spread = np.where(step > _CERTAIN_STEP, 0, spread).astype(np.int64)
    position = np.searchsorted(pool.addresses, areas.end[left])
    low = pool.addresses[np.maximum(position - 1 - spread, 0)]
    low = np.maximum(low, areas.start[left])
    high = pool.addresses[np.minimum(position + spread, len(pool) - 1)]
    high = np.minimum(high, areas.end[left + 1])
    gap = high - low
    unsettled = (gap > PAGE_SIZE_BYTES).nonzero()[0]
    if not len(unsettled):
        return none
    if len(unsettled) > most:
        stake = (gap * step)[unsettled]
        unsettled = unsettled[np.argpartition(-stake, most - 1)[:most]]
    each = min(most // len(unsettled), _MOST_CHECKS_PER_BORDER)
    which = np.repeat(unsettled, each)
    part = np.tile(np.arange(each), len(unsettled)) + 0.5
    place = (part + _jitter(len(which), _BORDER_JITTER, rng)) / each
    pages: IntColumn = low[which] + (gap[which] * place).astype(np.int64)
    return pages


def _in_gaps(areas: Areas, pool: Pool, most: int, rng: np.random.Generator) -> IntColumn:
    """Halve the largest gaps between remembered checks, but not those where looking told nothing.

    Over a few aggregations this covers the target evenly, so that an area is found as soon as
    its size allows; independent draws need far longer.
    """
    gap = np.diff(pool.addresses)
    if len(gap) and len(pool.untold):
        around = np.searchsorted(pool.addresses, pool.untold) - 1
        gap[around[(around >= 0) & (around < len(gap))]] = 0
    most = min(most, len(gap) // 2)
    if most < 1:
        return np.zeros(0, dtype=np.int64)
    widest = np.argpartition(gap, len(gap) - most)[len(gap) - most :]
    place = 0.5 + _jitter(most, _GAP_JITTER, rng)
    addresses = pool.addresses[widest] + (gap[widest] * place).astype(np.int64)
    return addresses[areas.holding(addresses) >= 0]


def _jitter(count: int, width: float, rng: np.random.Generator) -> FloatColumn:
    """Draw uniformly from +- width / 2."""
    return (rng.random(count) - 0.5) * width
