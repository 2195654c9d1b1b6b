"""The best cut of all pages of a process into regions.

Neighbouring pages with the same period are a run, and runs are merged into regions: always the
neighbours that are most alike, until there are few enough. What a merge costs is what it adds to
the sum over all pages of the squared distance between a page's period (a logarithm, see
`damon_core.PageMap`) and its region's mean. A hole between two runs, memory that isn't there, costs
as much a page as a distance of 1. Regions begin and end with memory that is there.

All merges that are the cheapest on both sides are made at once, so a million pages take a number of
steps that grows with its logarithm, each on columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import evolve

from damon_core import BLOCK_BYTES, PAGE_SIZE_BYTES, PageMap
from damon_pagetable.choosing import Cells
from damon_pagetable.machine import ENTRIES
from damon_pagetable.pages import ByteRows, chunks
from damon_pagetable.tables import IntColumn

_FloatColumn = npt.NDArray[np.float64]

#: A merge that costs less is always made: as much as two pages with periods of 1 ms and 16 ms.
_NOISE = 8.0
#: With more runs than this, those of small cells are merged first.
_MOST_RUNS = 1 << 15
#: The runs of this many blocks are found at once.
_PART = 256
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
    def of(cls, known: PageMap, cells: Cells | None = None) -> "Runs":
        """Return the runs of pages with the same period.

        If they are very many, they are fewer: those of small cells are merged, but a cell that has
        no more than two keeps its border where it is.

        Args:
            known: All pages.
            cells: What the blocks stand for, if some stand for others: all of the memory for which
                such blocks stand together is one run.
        """
        if cells is not None:
            return cls._of_cells(known, cells)
        count, cell_pages = len(known.blocks), 0
        runs = cls.joined(())
        parts = [runs]
        for rows in chunks(count, _PART):
            part = cls._of_part(known.blocks[rows], known.codes[rows].reshape(-1), known)
            parts.append(part.coarse(cell_pages))
            if sum(len(each.start) for each in parts) > _MOST_RUNS:
                runs = cls.joined(parts)
                while len(runs.start) > _MOST_RUNS // 2:
                    expected = len(runs.start) * count // min(rows.stop, count)
                    least = (8 * expected // _MOST_RUNS).bit_length()
                    cell_pages = max(2 * cell_pages, 1 << least)
                    runs = runs.coarse(cell_pages)
                parts = [runs]
        return cls.joined(parts)

    @classmethod
    def _of_cells(cls, known: PageMap, cells: Cells) -> "Runs":
        exact = cells.exact
        pages, sums = np.zeros((2, len(exact)))
        for rows in chunks(len(exact), _PART):
            codes = known.codes[rows]
            pages[rows] = np.count_nonzero(codes, axis=1)
            sums[rows] = known.code_periods[codes].sum(axis=1, dtype=np.int64)
        some = ~exact & (pages > 0)
        counts = np.rint(cells.weights * pages)[some].astype(np.int64)
        sums = (sums / np.maximum(pages, 1))[some] * counts
        runs = cls(cells.start[some], cells.end[some], counts, sums)
        if len(counts):  # Several blocks may stand for one cell.
            begins = np.append(True, runs.start[1:] != runs.start[:-1])
            runs = runs.merged(np.flatnonzero(begins))
        alone = evolve(known, blocks=known.blocks[exact], codes=known.codes[exact], weights=None)
        both = cls._one_after_the_other((runs, cls.of(alone)))
        order = np.argsort(both.start)
        return cls(both.start[order], both.end[order], both.pages[order], both.sums[order])

    @classmethod
    def joined(cls, parts: Sequence["Runs"]) -> "Runs":
        """Join runs; where one ends with what the next one begins with, they become one."""
        joined = cls._one_after_the_other(parts)
        mean = joined.sums / joined.pages
        new = (joined.start[1:] != joined.end[:-1]) | (mean[1:] != mean[:-1])
        return joined if new.all() else joined.merged(np.append(0, np.flatnonzero(new) + 1))

    @classmethod
    def _one_after_the_other(cls, parts: Sequence["Runs"]) -> "Runs":
        nothing: IntColumn = np.zeros(0, dtype=np.int64)
        return cls(
            np.concatenate((nothing, *(each.start for each in parts))),
            np.concatenate((nothing, *(each.end for each in parts))),
            np.concatenate((nothing, *(each.pages for each in parts))),
            np.concatenate((np.zeros(0), *(each.sums for each in parts))),
        )

    @classmethod
    def _of_part(cls, blocks: IntColumn, codes: ByteRows, known: PageMap) -> "Runs":
        """Return the runs of some blocks."""
        begins = np.empty(len(codes), dtype=np.bool_)
        begins[0] = True
        np.not_equal(codes[1:], codes[:-1], out=begins[1:])
        holes = (np.flatnonzero(np.diff(blocks) != BLOCK_BYTES) + 1) * ENTRIES
        begins[holes] = True
        first = np.flatnonzero(begins)
        period = known.code_periods[codes[first]]
        other = np.append(True, period[1:] != period[:-1])  # Several codes have one period.
        other[np.searchsorted(first, holes)] = True
        first, period = first[other], period[other]
        pages = np.diff(first, append=len(codes))
        there = period > 0
        first, pages, period = first[there], pages[there], period[there]
        start = blocks[first // ENTRIES] + first % ENTRIES * PAGE_SIZE_BYTES
        return cls(start, start + pages * PAGE_SIZE_BYTES, pages, pages * period.astype(np.float64))

    def coarse(self, cell_pages: int) -> "Runs":
        """Return these runs, those of each cell of some pages merged if it has more than two."""
        if not cell_pages or not len(self.start):
            return self
        cell = self.start // (cell_pages * PAGE_SIZE_BYTES)
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
        hole = (self.start[1:] - self.end[:-1]) // PAGE_SIZE_BYTES
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
    holes = (runs.start[1:] - runs.end[:-1])[inside].sum() // PAGE_SIZE_BYTES
    return float((distance * distance * runs.pages).sum()) + float(holes)
