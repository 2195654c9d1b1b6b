"""Regions: address ranges whose pages are assumed to have the same access frequency, as columns.

The worker of a context owns its `Regions` tables and changes them while it monitors. Other
threads read the frozen columns of a snapshot (`damon_core.memory.snapshot`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_core.attributes import RegionLimits
from damon_core.errors import AttributeValueError
from damon_core.memory.idle import IDLE_SPANS, UNKNOWN
from damon_core.memory.kinds import KindColumns

#: Columns of addresses, sizes and ages. Signed, so that differences are exact and never wrap.
IntColumn = npt.NDArray[np.int64]
#: Columns of counters. Fractions are allowed: a backend that reads whole mappings adds shares.
FloatColumn = npt.NDArray[np.float64]

#: The smallest page size among the architectures with DAMON; borders are multiples of it.
PAGE_SIZE_BYTES = 4096


class Range(NamedTuple):
    """A half-open range of addresses, `start` included, `end` not."""

    start: int
    end: int


class Regions:
    """A sorted table of disjoint half-open address ranges with their counters.

    Attributes:
        start: First address of each region.
        end: First address after each region.
        nr_accesses: Number of checks in the current aggregation that saw an access to the region.
        last_nr_accesses: The same for the previous aggregation.
        nr_checks: Number of checks in the current aggregation that had an answer for the region;
            counted by policies, which check single pages; 0 elsewhere.
        age: Number of aggregations for which the region's access frequency has stayed similar.
        idle_us: Microseconds without an access, up to the last aggregation.
        resident_bytes: Bytes of the region that are in memory; its size where the primitive
            doesn't know better.
        touched_bytes: Bytes of the region that were accessed at least once since the current
            aggregation began; None where the backend can't know, as when it checks single pages.
        idle_10s_bytes: Bytes of the region that haven't been accessed for at least 10 seconds, as
            last measured; -1 where that isn't known, None if it isn't of any region.
        idle_1m_bytes: The same for a minute.
        idle_10m_bytes: The same for ten minutes.
        kinds: Bytes of each region by kind of memory (`damon_core.kind_columns`) at the end of the
            aggregation; None where they aren't known. Regions that are cut or joined don't inherit
            them: a primitive that knows them sets them in `describe_regions` or the check before.

    All columns have the same length. Their elements may be assigned; to change the regions
    themselves, make a new table (`cover` keeps the counters).

    Args:
        start: First addresses, ascending.
        end: First addresses after each; above its start, at most the next start.

    Raises:
        AttributeValueError: The ranges aren't sorted, disjoint and non-empty.
    """

    __slots__ = (
        "age",
        "end",
        "idle_1m_bytes",
        "idle_10m_bytes",
        "idle_10s_bytes",
        "idle_us",
        "kinds",
        "last_nr_accesses",
        "nr_accesses",
        "nr_checks",
        "resident_bytes",
        "start",
        "touched_bytes",
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
        self.touched_bytes: IntColumn | None = None
        self.idle_10s_bytes: IntColumn | None = None
        self.idle_1m_bytes: IntColumn | None = None
        self.idle_10m_bytes: IntColumn | None = None
        self.kinds: KindColumns | None = None

    @classmethod
    def evenly(cls, ranges: Iterable[Range], limits: RegionLimits) -> "Regions":
        """Return ranges cut into about `limits.min_regions` page-aligned pieces of equal size.

        Each range is at least one piece, and the remaining pieces are shared by size. So there
        are at most `limits.min_regions` pieces, or one for each range if there are more ranges.
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

    def random_pages(self, rng: "np.random.Generator") -> IntColumn:
        """Return the address of one uniformly random page of each region.

        Any page of a region of any size can be drawn. The random number of Linux up to 7.1 is
        32 bits wide and misses most of a region of 4 GiB and more.
        """
        pages = self.size_bytes // PAGE_SIZE_BYTES
        # Below 2**53 pages the product never rounds up to the number of pages.
        return self.start + (rng.random(len(self)) * pages).astype(np.int64) * PAGE_SIZE_BYTES

    def holding(self, addresses: IntColumn) -> IntColumn:
        """Return the index of the region that contains each address, -1 if there is none."""
        if not len(self):
            return np.full(len(addresses), -1, dtype=np.int64)
        index = np.searchsorted(self.start, addresses, side="right") - 1
        index[addresses >= self.end[index]] = -1
        return index

    def cover(self, ranges: Sequence[Range], limits: RegionLimits) -> "Regions":
        """Return a table that covers exactly `ranges`, with the counters of the regions it keeps.

        A region that lies in a range, wholly or in part, keeps its counters for that part. Each
        gap in a range becomes one fresh region (Linux's rule for an update of the virtual address
        ranges). A range without any known region is cut evenly.
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
        """Return a table of the given ranges; a range that starts where a region does keeps it.

        For primitives whose regions are given, such as mappings: a region with the same start is
        the same region, grown or shrunk, and keeps its counters.
        """
        fresh = Regions(start, end)
        if not len(self):
            return fresh
        index = np.searchsorted(self.start, fresh.start)
        index[index == len(self)] = 0
        return self._inherit(fresh, np.where(self.start[index] == fresh.start, index, -1))

    def _inherit(self, fresh: "Regions", origin: IntColumn) -> "Regions":
        """Return `fresh` with the counters of the regions at indices `origin` (-1: none)."""
        if not len(self):
            return fresh
        known = origin >= 0
        for name in ("nr_accesses", "last_nr_accesses", "nr_checks", "age", "idle_us"):
            setattr(fresh, name, np.where(known, getattr(self, name)[origin], 0))
        whole = known & (fresh.size_bytes == self.size_bytes[origin])
        fresh.resident_bytes[whole] = self.resident_bytes[origin[whole]]
        if self.touched_bytes is not None:
            fresh.touched_bytes = np.where(whole, self.touched_bytes[origin], 0)
        for name, column in self._idle_columns().items():
            setattr(fresh, name, np.where(whole, column[origin], UNKNOWN))
        return fresh

    def _idle_columns(self) -> dict[str, IntColumn]:
        """Return the columns of bytes idle for the spans that are known."""
        columns = {span.column: getattr(self, span.column) for span in IDLE_SPANS}
        return {name: column for name, column in columns.items() if column is not None}

    def cut_at(self, addresses: IntColumn) -> "Regions":
        """Return a table with regions cut at addresses inside them; parts inherit all counters.

        Addresses at a region's border, or outside all regions, change nothing.
        """
        inside = self.holding(addresses)
        start = np.sort(np.concatenate((self.start, addresses[inside >= 0])))
        start = start[np.diff(start, prepend=-1) > 0]
        origin = np.searchsorted(self.start, start, side="right") - 1
        end = np.minimum(np.append(start[1:], self.end[-1:]), self.end[origin])
        return self._inherit(Regions(start, end), origin)

    def joined(self, first: IntColumn) -> "Regions":
        """Return a table with runs of touching regions joined.

        nr_accesses and ages become means weighted by size, ages rounded down. Idle times and
        nr_checks become the minimum of the run.

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
        if self.touched_bytes is not None:
            joined.touched_bytes = np.add.reduceat(self.touched_bytes, first)
        for name, column in self._idle_columns().items():
            known = np.minimum.reduceat(column, first) != UNKNOWN
            setattr(joined, name, np.where(known, np.add.reduceat(column, first), UNKNOWN))
        return joined

    def grow_older(self, elapsed_us: int, threshold: float | None = None) -> None:
        """Increase ages and idle times by one aggregation of `elapsed_us` microseconds.

        An access frequency that changed by more than the threshold resets the age to 0; an access
        resets the idle time to 0.

        Args:
            elapsed_us: How long the aggregation took.
            threshold: In accesses; by default a tenth of the largest nr_accesses of this table.
        """
        if threshold is None:
            # Linux rounds down: the same for whole numbers, but not for shares.
            threshold = float(self.nr_accesses.max(initial=0)) / 10
        changed = np.abs(self.nr_accesses - self.last_nr_accesses) > threshold
        self.age += 1
        self.age[changed] = 0
        self.idle_us += elapsed_us
        accessed = self.nr_accesses > 0
        if self.touched_bytes is not None:
            accessed |= self.touched_bytes > 0
        self.idle_us[accessed] = 0

    def reset_aggregated(self) -> None:
        """Set the counters to 0 for the next aggregation, keeping nr_accesses as the last ones."""
        self.last_nr_accesses = self.nr_accesses
        self.nr_accesses = np.zeros(len(self))
        self.nr_checks = np.zeros(len(self), dtype=np.int64)
        if self.touched_bytes is not None:
            self.touched_bytes = np.zeros(len(self), dtype=np.int64)

    def rescale_accesses(self, old_checks: int, new_checks: int) -> None:
        """Convert the previous aggregation's counters to another number of checks."""
        self.last_nr_accesses = self.last_nr_accesses * new_checks / old_checks

    def rescale_counters(self, old_checks: int, new_checks: int) -> None:
        """Convert the counters of this and the previous aggregation to another number of checks."""
        self.rescale_accesses(old_checks, new_checks)
        scaled = self.nr_accesses * (new_checks / old_checks)
        self.nr_accesses = np.minimum(scaled, float(new_checks))

    def rescale_age(self, old_aggregation_us: int, new_aggregation_us: int) -> None:
        """Convert ages, which count aggregations, to a new aggregation interval."""
        self.age = self.age * old_aggregation_us // new_aggregation_us
