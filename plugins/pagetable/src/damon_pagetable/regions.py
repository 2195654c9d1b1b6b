"""The best cut of all pages of a process into regions.

Neighbouring pages with the same period are a run, and runs are merged into regions: always the
neighbours that are most alike, until there are few enough. What a merge costs is what it adds to
the sum over all pages of the squared distance between a page's period (a logarithm, see `PageMap`)
and its region's mean. A hole between two runs, memory that isn't there, costs as much a page as a
distance of 1. Regions begin and end with memory that is there.

All merges that are the cheapest on both sides are made at once, so a million pages take a number of
steps that grows with its logarithm, each on columns.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable.machine import ENTRIES
from damon_pagetable.pages import BLOCK_BYTES, PAGE_BYTES, PageMap
from damon_pagetable.tables import IntColumn

_FloatColumn = npt.NDArray[np.float64]

#: A merge that costs less is always made: as much as two pages with periods of 1 ms and 16 ms.
_NOISE = 8.0
#: With more runs than this, those of small cells are merged first.
_MOST_RUNS = 1 << 15
#: Regions stay where they are while they cost at most this much more than the best ones.
_STABLE = 1.25


class Runs(NamedTuple):
    """Runs of pages that are in memory.

    Attributes:
        start: The address of each.
        end: The first address after each.
        pages: How many of its pages are in memory: all, unless runs were merged.
        sums: The sum of their periods.
    """

    start: IntColumn
    end: IntColumn
    pages: IntColumn
    sums: _FloatColumn

    @classmethod
    def of(cls, known: PageMap) -> "Runs":
        """Return the runs of pages with the same period."""
        flat = known.codes.reshape(-1)
        if not len(flat):
            nothing: IntColumn = np.zeros(0, dtype=np.int64)
            return cls(nothing, nothing, nothing, np.zeros(0))
        begins = np.empty(len(flat), dtype=np.bool_)
        begins[0] = True
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        holes = (np.flatnonzero(np.diff(known.blocks) != BLOCK_BYTES) + 1) * ENTRIES
        begins[holes] = True
        first = np.flatnonzero(begins)
        period = known.code_periods[flat[first]]
        other = np.append(True, period[1:] != period[:-1])  # Several codes have one period.
        other[np.searchsorted(first, holes)] = True
        first, period = first[other], period[other]
        pages = np.diff(first, append=len(flat))
        there = period > 0
        first, pages, period = first[there], pages[there], period[there]
        start = known.blocks[first // ENTRIES] + first % ENTRIES * PAGE_BYTES
        return cls(start, start + pages * PAGE_BYTES, pages, pages * period.astype(np.float64))

    def coarse(self) -> "Runs":
        """Return these runs, or if they are very many, fewer: those of small cells are merged.

        A cell that has no more than two keeps its border where it is.
        """
        if len(self.start) <= _MOST_RUNS:
            return self
        cell_pages = 1 << (8 * len(self.start) // _MOST_RUNS).bit_length()
        cell = self.start // (cell_pages * PAGE_BYTES)
        begins = np.append(True, np.diff(cell) != 0)
        count = np.diff(np.append(np.flatnonzero(begins), len(cell)))
        begins |= count.repeat(count) <= 2
        return self.merged(np.flatnonzero(begins))

    def split_at(self, addresses: IntColumn) -> "Runs":
        """Return these runs, with those in which some ascending addresses are split there."""
        if not len(self.start):
            return self
        index = np.searchsorted(self.start, addresses, side="right") - 1
        inside = (index >= 0) & (addresses > self.start[index]) & (addresses < self.end[index])
        addresses, index = addresses[inside], index[inside]
        if not len(addresses):
            return self
        origin = np.insert(np.arange(len(self.start)), index + 1, index)
        start = np.insert(self.start, index + 1, addresses)
        end = self.end[origin]
        end[:-1] = np.minimum(end[:-1], start[1:])
        share = (end - start) / (self.end - self.start)[origin]
        pages = np.maximum(np.rint(self.pages[origin] * share), 1).astype(np.int64)
        return Runs(start, end, pages, self.sums[origin] / self.pages[origin] * pages)

    def merged(self, first: IntColumn) -> "Runs":
        """Return runs of runs.

        Args:
            first: The index of the first of each, ascending, beginning with 0.
        """
        last = np.append(first[1:], len(self.start)) - 1
        return Runs(
            self.start[first],
            self.end[last],
            np.add.reduceat(self.pages, first),
            np.add.reduceat(self.sums, first),
        )

    def costs(self) -> _FloatColumn:
        """Return what it costs to merge each with the next."""
        mean = self.sums / self.pages
        left, right = self.pages[:-1], self.pages[1:]
        distance = mean[1:] - mean[:-1]
        hole = (self.start[1:] - self.end[:-1]) // PAGE_BYTES
        cost: _FloatColumn = distance * distance * (left * right / (left + right)) + hole
        return cost


def cut(runs: Runs, limit: int) -> IntColumn:
    """Return the best cut into at most `limit` regions: the starts of the regions, ascending."""
    limit = max(limit, 1)
    while len(runs.start) > 1:
        cost = runs.costs()
        surplus = len(runs.start) - limit
        allowed = _NOISE
        if surplus > 0:
            # No more than that at once: costs grow as runs do.
            cheapest = float(np.partition(cost, surplus - 1)[surplus - 1])
            allowed = max(allowed, cheapest)
        merges = cost <= allowed
        merges[1:] &= cost[1:] < cost[:-1]
        merges[:-1] &= cost[:-1] <= cost[1:]
        if not merges.any():
            break
        if surplus > 0 and np.count_nonzero(merges & (cost > _NOISE)) > surplus:
            most = float(np.partition(cost[merges], surplus - 1)[surplus - 1])
            merges &= cost <= max(most, _NOISE)
        runs = runs.merged(np.append(0, np.flatnonzero(~merges) + 1))
    return runs.start


def is_as_good(runs: Runs, old: IntColumn, new: IntColumn) -> bool:
    """Return whether the regions that begin at `old` are nearly as good as those of `new`.

    Both are starts of regions, and the first of both are at most the first run's start.
    """
    if not len(runs.start) or not len(old):
        return False
    return _spread(runs, old) <= _STABLE * _spread(runs, new) + _NOISE


def _spread(runs: Runs, starts: IntColumn) -> float:
    """Return what regions cost: the sum of squared distances from their means, and the holes."""
    runs = runs.split_at(starts)
    row = np.maximum(np.searchsorted(starts, runs.start, side="right") - 1, 0)
    pages = np.bincount(row, runs.pages, len(starts))
    mean = np.bincount(row, runs.sums, len(starts)) / np.maximum(pages, 1)
    distance = runs.sums / runs.pages - mean[row]
    inside = row[1:] == row[:-1]
    holes = (runs.start[1:] - runs.end[:-1])[inside].sum() // PAGE_BYTES
    return float((distance * distance * runs.pages).sum()) + float(holes)
