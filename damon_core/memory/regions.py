"""Regions: address ranges whose pages are assumed to be accessed alike, held as columns.

A `Regions` table is owned by the worker of its context and changes while it monitors; what
other threads read are the frozen columns of a snapshot (`damon_core.memory.snapshot`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_core.attributes import RegionLimits
from damon_core.errors import AttributeValueError

#: Columns of addresses, sizes and ages. Signed, so that differences are exact and never wrap.
IntColumn = npt.NDArray[np.int64]
#: Columns of counters. Fractions are allowed: a backend that sees whole mappings adds shares.
FloatColumn = npt.NDArray[np.float64]

#: The smallest page of the architectures that Linux runs DAMON on; borders are multiples of it.
PAGE_SIZE_BYTES = 4096


class Range(NamedTuple):
    """A half-open range of addresses, `start` included, `end` not."""

    start: int
    end: int


class Regions:
    """A sorted table of disjoint half-open address ranges with their counters.

    Attributes:
        start: First address of each region.
        end: First address behind each region.
        nr_accesses: In how many checks of the running aggregation each region was accessed.
        last_nr_accesses: The same of the previous aggregation.
        nr_checks: How many checks of the running aggregation told whether each region was
            accessed; counted by the policies of adaptive targets, 0 elsewhere.
        age: For how many aggregations each region's access frequency has stayed alike.
        idle_us: For how many microseconds, up to the last aggregation, no access was seen.
        resident_bytes: How many bytes of each region are in memory; its size where the
            primitive doesn't know better.

    All columns have one length. Assign to their elements freely; to change the regions
    themselves, make a new table (`cover` keeps the counters).

    Args:
        start: First addresses, ascending.
        end: First addresses behind; each above its start, none above the next start.

    Raises:
        AttributeValueError: The ranges aren't sorted, disjoint and non-empty.
    """

    __slots__ = (
        "age",
        "end",
        "idle_us",
        "last_nr_accesses",
        "nr_accesses",
        "nr_checks",
        "resident_bytes",
        "start",
    )

    def __init__(self, start: npt.ArrayLike = (), end: npt.ArrayLike = ()) -> None:
        self.start: IntColumn = np.array(start, dtype=np.int64)
        self.end: IntColumn = np.array(end, dtype=np.int64)
        if self.start.shape != self.end.shape or self.start.ndim != 1:
            raise AttributeValueError(
                "regions", f"{self.start.shape} and {self.end.shape}", "start and end must match"
            )
        if (self.start >= self.end).any() or (self.end[:-1] > self.start[1:]).any():
            raise AttributeValueError("regions", "ranges", "must be sorted, disjoint and not empty")
        self.nr_accesses: FloatColumn = np.zeros(len(self.start))
        self.last_nr_accesses: FloatColumn = np.zeros(len(self.start))
        self.nr_checks: IntColumn = np.zeros(len(self.start), dtype=np.int64)
        self.age: IntColumn = np.zeros(len(self.start), dtype=np.int64)
        self.idle_us: IntColumn = np.zeros(len(self.start), dtype=np.int64)
        self.resident_bytes: IntColumn = self.end - self.start

    @classmethod
    def evenly(cls, ranges: Iterable[Range], limits: RegionLimits) -> "Regions":
        """Cut ranges into about `limits.min_regions` page-aligned pieces of even size.

        Each range is one piece, and gets its share, by size, of the pieces that are left; so
        there are never more than `limits.min_regions`, unless there are more ranges.
        """
        ranges = list(ranges)
        total = sum(end - start for start, end in ranges) or 1
        spare = max(0, limits.min_regions - len(ranges))
        starts: list[int] = []
        ends: list[int] = []
        for start, end in ranges:
            pages = (end - start) // PAGE_SIZE_BYTES
            pieces = max(1, min(1 + spare * (end - start) // total, pages))
            cuts = [start + pages * piece // pieces * PAGE_SIZE_BYTES for piece in range(pieces)]
            starts += cuts
            ends += [*cuts[1:], end]
        return cls(starts, ends)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def size_bytes(self) -> IntColumn:
        """Bytes of address space of each region."""
        return self.end - self.start

    def random_pages(self, rng: np.random.Generator) -> IntColumn:
        """Return the address of one uniformly random page of each region.

        Drawn from the whole of a region of any size; the kernel's draw is 32 bits wide and
        misses most of a region of 4 GiB and more.
        """
        pages = self.size_bytes // PAGE_SIZE_BYTES
        # Below 2**53 pages the product never rounds up to the number of pages.
        return self.start + (rng.random(len(self)) * pages).astype(np.int64) * PAGE_SIZE_BYTES

    def holding(self, addresses: IntColumn) -> IntColumn:
        """Return the index of the region that holds each address, -1 where none does."""
        if not len(self):
            return np.full(len(addresses), -1, dtype=np.int64)
        index = np.searchsorted(self.start, addresses, side="right") - 1
        index[addresses >= self.end[index]] = -1
        return index

    def cover(self, ranges: Sequence[Range], limits: RegionLimits) -> "Regions":
        """Return a table that covers exactly `ranges` and keeps what is known of them.

        A region that still lies in a range, wholly or in part, keeps its counters on that part;
        the holes are filled with fresh regions, one each (Linux's rule for an update of the
        virtual address ranges). A range that nothing is known of is cut evenly.
        """
        starts: list[int] = []
        ends: list[int] = []
        origin: list[int] = []

        def add(start: int, end: int, index: int) -> None:
            starts.append(start)
            ends.append(end)
            origin.append(index)

        total = sum(end - start for start, end in ranges)
        for low, high in ranges:
            first = int(np.searchsorted(self.end, low, side="right"))
            last = int(np.searchsorted(self.start, high, side="left"))
            if first >= last:
                share = max(1, limits.min_regions * (high - low) // max(total, 1))
                fresh = Regions.evenly([Range(low, high)], RegionLimits(share, share))
                for start, end in zip(fresh.start.tolist(), fresh.end.tolist(), strict=True):
                    add(start, end, -1)
                continue
            position = low
            for index in range(first, last):
                start = max(int(self.start[index]), low)
                end = min(int(self.end[index]), high)
                if start > position:
                    add(position, start, -1)
                add(start, end, index)
                position = end
            if position < high:
                add(position, high, -1)
        return self._inherit(Regions(starts, ends), np.array(origin, dtype=np.int64))

    def matching(self, start: npt.ArrayLike, end: npt.ArrayLike) -> "Regions":
        """Return a table of the given ranges; those that are regions here keep their counters.

        For primitives whose regions are given from outside, as mappings are: a region that
        begins where one of this table begins is the same, grown or shrunk.
        """
        fresh = Regions(start, end)
        if not len(self):
            return fresh
        index = np.searchsorted(self.start, fresh.start)
        index[index == len(self)] = 0
        return self._inherit(fresh, np.where(self.start[index] == fresh.start, index, -1))

    def _inherit(self, fresh: "Regions", origin: IntColumn) -> "Regions":
        """Give `fresh` the counters of the regions of this table that `origin` names (-1: none)."""
        if not len(self):
            return fresh
        known = origin >= 0
        for name in ("nr_accesses", "last_nr_accesses", "nr_checks", "age", "idle_us"):
            setattr(fresh, name, np.where(known, getattr(self, name)[origin], 0))
        whole = known & (fresh.size_bytes == self.size_bytes[origin])
        fresh.resident_bytes[whole] = self.resident_bytes[origin[whole]]
        return fresh

    def cut_at(self, addresses: IntColumn) -> "Regions":
        """Return a table with regions cut at addresses inside them; parts inherit all counters.

        Addresses at borders of regions, or outside, change nothing.
        """
        inside = self.holding(addresses)
        start = np.sort(np.concatenate((self.start, addresses[inside >= 0])))
        start = start[np.diff(start, prepend=-1) > 0]
        origin = np.searchsorted(self.start, start, side="right") - 1
        end = np.minimum(np.append(start[1:], self.end[-1:]), self.end[origin])
        return self._inherit(Regions(start, end), origin)

    def joined(self, first: IntColumn) -> "Regions":
        """Return a table with runs of touching regions joined.

        nr_accesses become means weighted by size, and so do ages, rounded down; idle times and
        nr_checks become the least of the run.

        Args:
            first: The index of the first region of each run, ascending, beginning with 0.
        """
        last = np.append(first[1:], len(self)) - 1
        joined = Regions(self.start[first], self.end[last])
        size = self.size_bytes
        whole = np.add.reduceat(size, first)
        for name in ("nr_accesses", "last_nr_accesses"):
            setattr(joined, name, np.add.reduceat(getattr(self, name) * size, first) / whole)
        joined.age = (np.add.reduceat(self.age * size.astype(float), first) / whole).astype(
            np.int64
        )
        joined.idle_us = np.minimum.reduceat(self.idle_us, first)
        joined.nr_checks = np.minimum.reduceat(self.nr_checks, first)
        joined.resident_bytes = np.add.reduceat(self.resident_bytes, first)
        return joined

    def grow_older(self, elapsed_us: int, threshold: float | None = None) -> None:
        """Age by one aggregation of `elapsed_us` microseconds.

        A frequency that moved by more than the threshold starts anew at age 0; idle time starts
        anew with any access.

        Args:
            elapsed_us: How long the aggregation took.
            threshold: In accesses; by default a tenth of the largest nr_accesses of this table.
        """
        if threshold is None:
            # Not rounded down: that is the same for whole numbers, but not for shares.
            threshold = float(self.nr_accesses.max(initial=0)) / 10
        changed = np.abs(self.nr_accesses - self.last_nr_accesses) > threshold
        self.age += 1
        self.age[changed] = 0
        self.idle_us += elapsed_us
        self.idle_us[self.nr_accesses > 0] = 0

    def reset_aggregated(self) -> None:
        """Clear the counters for the next aggregation and remember the old ones."""
        self.last_nr_accesses = self.nr_accesses
        self.nr_accesses = np.zeros(len(self))
        self.nr_checks = np.zeros(len(self), dtype=np.int64)

    def rescale_accesses(self, old_checks: int, new_checks: int) -> None:
        """Express the previous aggregation's counters in another number of checks."""
        self.last_nr_accesses = self.last_nr_accesses * new_checks / old_checks

    def rescale_age(self, old_aggregation_us: int, new_aggregation_us: int) -> None:
        """Express ages, which count aggregations, in a new aggregation interval."""
        self.age = self.age * old_aggregation_us // new_aggregation_us
