"""The plan: which pages the checks of an aggregation look at."""

import numpy as np

from damon_core.memory.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn
from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.division import Division
from damon_core.policies.evidence.pool import NEW
from damon_core.policies.evidence.statistics import bounds, largest, ragged

#: Shares of the checks that follow up surprising hits, narrow down borders, and halve the
#: largest unchecked gaps. The rest is spread over all areas. Other shares did about as well.
_PROBE_SHARE = 0.25
_BORDER_SHARE = 0.25
_GAP_SHARE = 0.35
#: The minimum for each area takes at most this share of the spread checks.
_FLOOR_SHARE = 0.4
#: Single hits are followed up in areas colder than this; in warmer ones they are no surprise.
_COLD_RATE = 0.12
#: Probes around a hit, as parts of the distance to the neighbouring checks: the near ones show
#: whether there is a hot area, the far ones how large it is.
_PROBE_PARTS = np.array([-0.45, -0.06, 0.06, 0.45])
#: Regular places could coincide with strides in the target. Probes are moved at random by up to
#: this part of their distance, other checks by up to half of the widths below.
_PROBE_JITTER = 0.1
_BORDER_JITTER = 0.5
_GAP_JITTER = 0.4
#: After this many checks without an answer, and none with one, uncertainty no longer attracts
#: checks to an area.
_HOPELESS = 3
#: Borders between rates closer than this aren't worth extra checks.
_LEAST_STEP = 0.05
#: Between rates further apart than this, the border is certainly between two adjacent checks.
_CERTAIN_STEP = 0.5
#: More checks than this in one gap are better spent in the next aggregation.
_MOST_CHECKS_PER_BORDER = 8
#: The number of checks over which a border is uncertain: about 2 / (information per check).
_BORDER_SPREAD = 2.0
_MOST_BORDER_SPREAD = 32


def plan(
    division: Division, unknown: IntColumn, checks: int, rng: np.random.Generator
) -> tuple[IntColumn, FloatColumn]:
    """Return the pages to check in an aggregation.

    Args:
        division: The current areas, at least one, and the checks that they are from.
        unknown: Pages checked lately without an answer, ascending.
        checks: The number of pages to choose.
        rng: The random number generator.

    Returns:
        The pages, ascending; and how many bytes of its area each stands for: 0 if it was chosen
        because of earlier results, since such pages aren't typical of their area.
    """
    aimed = np.concatenate(
        (
            _probes(division, int(checks * _PROBE_SHARE), rng),
            _at_borders(division, int(checks * _BORDER_SHARE), rng),
        )
    )
    aimed = _page_of(aimed)
    gaps = _page_of(_in_gaps(division, unknown, int(checks * _GAP_SHARE), rng))
    spread, stands = spread_evenly(
        division.areas, gaps, unknown, checks - len(aimed) - len(gaps), rng
    )
    pages = np.concatenate((aimed, spread))
    # Most of them are in order already: a stable sort makes use of that.
    order = pages.argsort(kind="stable")
    return pages[order], np.concatenate((np.zeros(len(aimed)), stands))[order]


def spread_evenly(
    areas: Areas, gaps: IntColumn, unknown: IntColumn, checks: int, rng: np.random.Generator
) -> tuple[IntColumn, FloatColumn]:
    """Return pages spread evenly within areas, and how many bytes of its area each stands for.

    Each area gets a minimum, and the rest is shared by size and by uncertainty of the rate.
    Uncertainty doesn't count in areas where several checks had no answer. The bytes are those of
    the area for each check to be expected: so areas joined later count by their sizes, even if one
    had more checks.

    Args:
        areas: The areas.
        gaps: Pages already chosen between checks, ascending; they are returned first.
        unknown: Pages checked lately without an answer, ascending.
        checks: The number of pages to choose.
        rng: The random number generator.
    """
    count = len(areas)
    size = areas.size_bytes.astype(np.float64)
    rate = areas.smoothed_rate
    doubt = np.sqrt(rate * (1 - rate) / (areas.weight + 1))
    if len(unknown):
        bound = bounds(unknown, areas.start)
        doubt[(areas.weight == 0) & (bound[1:] - bound[:-1] >= _HOPELESS)] = 0
    floor = min(1.0, checks * _FLOOR_SHARE / count)
    rest = (checks - floor * count) / 2
    in_doubt = max(float(doubt @ size), 1e-9)
    wanted = floor + size * (doubt * (rest / in_doubt) + rest / areas.total_bytes)
    # One random start turns fractions into whole numbers without bias.
    stop = (wanted.cumsum() + rng.random()).astype(np.int64)
    each = stop.copy()
    each[1:] -= stop[:-1]
    area = np.arange(count).repeat(each)
    place = np.arange(len(area)) - (stop - each)[area] + rng.random(len(area))
    place *= (size / np.maximum(each, 1))[area]
    pages = areas.start[area] + _page_of(place.astype(np.int64))
    if len(gaps):
        bound = bounds(gaps, areas.start)
        in_gaps = bound[1:] - bound[:-1]
        wanted = wanted + in_gaps
        pages = np.concatenate((gaps, pages))
        area = np.concatenate((np.arange(count).repeat(in_gaps), area))
    return pages, size[area] / wanted[area]


def _probes(division: Division, most: int, rng: np.random.Generator) -> IntColumn:
    """Return pages near new hits in cold areas, in the coldest first."""
    areas, pool, bound = division.areas, division.pool, division.bound
    cold = ((areas.rate > 0) & (areas.rate < _COLD_RATE)).nonzero()[0]
    if not len(cold):
        return cold
    count = bound[cold + 1] - bound[cold]
    check, area = ragged(bound[cold], count), cold.repeat(count)
    new = (pool.evidence[check] == NEW).nonzero()[0]
    check, area = check[new], area[new]
    order = areas.rate[area].argsort(kind="stable")[: most // len(_PROBE_PARTS)]
    check, area = check[order], area[order]
    found = pool.addresses[check]
    first, last = bound[area], bound[area + 1] - 1
    low = np.where(check > first, pool.addresses[check - 1], areas.start[area])
    after = pool.addresses.take(check + 1, mode="clip")
    high = np.where(check < last, after, areas.end[area] - PAGE_SIZE_BYTES)
    part = _PROBE_PARTS * (1 + _jitter((len(found), len(_PROBE_PARTS)), 2 * _PROBE_JITTER, rng))
    reach = np.where(part < 0, (found - low)[:, None], (high - found)[:, None])
    pages: IntColumn = found[:, None] + (part * reach).astype(np.int64)
    return pages.ravel()


def _at_borders(division: Division, most: int, rng: np.random.Generator) -> IntColumn:
    """Return pages that narrow down the borders, the most important first.

    Importance is the size of the gap that the border may be in, times the step between the
    rates. Between a hot and a cold area the gap is between two checks; between similar rates it
    spans more checks.
    """
    none = np.zeros(0, dtype=np.int64)
    areas, addresses = division.areas, division.pool.addresses
    if most < 1 or len(addresses) < 2:
        return none
    rate, border = areas.rate, division.bound[1:-1]
    step = np.abs(rate[1:] - rate[:-1])
    # By how many checks beyond the nearest ones the border may be off.
    further = np.zeros(len(step), dtype=np.int64)
    soft = ((step <= _CERTAIN_STEP) & (step > _LEAST_STEP)).nonzero()[0]
    if len(soft):
        mean = (rate[soft] + rate[soft + 1]) / 2
        spread = _BORDER_SPREAD * mean * (1 - mean) / step[soft] ** 2
        further[soft] = np.minimum(spread, _MOST_BORDER_SPREAD)
    low = addresses.take(border - 1 - further, mode="clip")
    high = addresses.take(border + further, mode="clip")
    low = np.maximum(low, areas.start[:-1])
    gap = np.minimum(high, areas.end[1:]) - low
    stake = gap * step
    stake *= areas.touching & (step > _LEAST_STEP) & (gap > PAGE_SIZE_BYTES)
    unsettled = stake.nonzero()[0]
    if not len(unsettled):
        return none
    if len(unsettled) > most:
        unsettled = largest(stake, most)
    each = min(most // len(unsettled), _MOST_CHECKS_PER_BORDER)
    place = np.arange(0.5, each)[:, None] + _jitter((each, len(unsettled)), _BORDER_JITTER, rng)
    place *= gap[unsettled] / each
    pages: IntColumn = low[unsettled] + place.astype(np.int64)
    return pages.ravel()


def _in_gaps(
    division: Division, unknown: IntColumn, most: int, rng: np.random.Generator
) -> IntColumn:
    """Return pages that halve the largest gaps between the pool's checks.

    Gaps in which a check had no answer are left out. Over a few aggregations this covers the
    target evenly, so that an area is found as soon as its size allows; independent draws take
    far longer.
    """
    addresses = division.pool.addresses
    gap = addresses[1:] - addresses[:-1]
    if len(gap) and len(unknown):
        around = addresses.searchsorted(unknown) - 1
        gap[around[(around >= 0) & (around < len(gap))]] = 0
    most = min(most, len(gap) // 2)
    if most < 1:
        return np.zeros(0, dtype=np.int64)
    widest = largest(gap, most)
    place = 0.5 + _jitter((most,), _GAP_JITTER, rng)
    pages = addresses[widest] + (gap[widest] * place).astype(np.int64)
    if division.areas.touching.all():
        return pages
    return pages[division.areas.holding(pages) >= 0]


def _jitter(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> FloatColumn:
    """Return uniformly random numbers within +- width / 2."""
    return (rng.random(shape) - 0.5) * width


def _page_of(addresses: IntColumn) -> IntColumn:
    """Return the addresses rounded down to whole pages, whose size is a power of two."""
    pages: IntColumn = addresses & -PAGE_SIZE_BYTES
    return pages
