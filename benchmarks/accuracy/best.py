"""The best regions: what a limited number of regions can say, by the truth itself.

This is the fair bound where there are more areas than max_regions: an oracle that knows all borders
reports more regions than a policy may.
"""

import numpy as np

from benchmarks.accuracy.truth import AreaTruth, Estimate, Floats, Ints, PageTruth, Truth
from damon_core import PAGE_SIZE_BYTES

_SEED = 1


def best_regions(truth: Truth, most: int) -> Estimate | None:
    """Return at most `most` regions with their true means; None if all areas fit.

    Regions are made by joining areas: always those neighbours that add the least to the squared
    error, until few enough are left.
    """
    borders, rate = _areas(truth)
    if len(rate) <= most:
        return None
    return Estimate(*joined(borders, rate, most))


def joined(borders: Ints, rate: Floats, most: int) -> tuple[Ints, Floats]:
    """Return borders and mean rates of areas joined until at most `most` are left.

    Args:
        borders: The start of each area in bytes, and the end of the last.
        rate: The rate of each area.
        most: The number of areas to leave.
    """
    rng = np.random.default_rng(_SEED)
    size = np.diff(borders).astype(np.float64)
    start = borders[:-1]
    while len(rate) > most:
        loss = size[:-1] * size[1:] / (size[:-1] + size[1:]) * np.diff(rate) ** 2
        # The least losses that don't adjoin each other, at random among equal ones.
        order = np.lexsort((rng.random(len(loss)), loss))
        rank = np.empty(len(loss) + 2, dtype=np.int64)
        rank[0] = rank[-1] = len(loss)
        rank[1 + order] = np.arange(len(loss))
        is_least = (rank[1:-1] < rank[:-2]) & (rank[1:-1] < rank[2:])
        surplus = len(rate) - most
        # Only some at a time: joined areas have other losses.
        first = order[is_least[order]][: max(1, surplus // 4)]
        whole = size[first] + size[first + 1]
        rate[first] += (rate[first + 1] - rate[first]) * size[first + 1] / whole
        size[first] = whole
        kept = np.ones(len(rate), dtype=np.bool_)
        kept[first + 1] = False
        start, size, rate = start[kept], size[kept], rate[kept]
    return np.append(start, borders[-1]), rate


def _areas(truth: Truth) -> tuple[Ints, Floats]:
    """Return the borders and rates of the truth's areas, neighbours of equal rates joined."""
    if isinstance(truth, PageTruth):
        borders = np.arange(len(truth.page_rates) + 1, dtype=np.int64) * PAGE_SIZE_BYTES
        rate = truth.page_rates
    else:
        assert isinstance(truth, AreaTruth)
        borders, rate = truth.borders, truth.rate
    first = np.flatnonzero(np.append(True, rate[1:] != rate[:-1]))
    return np.append(borders[first], borders[-1]), rate[first].astype(np.float64)
