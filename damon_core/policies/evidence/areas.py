"""Areas: the regions of one target as the policy believes them, with their rates."""

from functools import cached_property

import numpy as np
from attrs import evolve, frozen

from damon_core.memory.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn, Regions
from damon_core.memory.samples import BoolColumn
from damon_core.policies.evidence.statistics import ragged

#: An area that fewer checks than this tell of is told as less hot than they say, by this part of
#: a check.
_FEW_CHECKS = 20.0
_DOUBT = 0.5


@frozen(eq=False)
class Areas:
    """A sorted table of disjoint half-open address ranges; never changed, only replaced.

    Attributes:
        start: First address of each area.
        end: First address behind each area.
        rate: The share of checks that see an access, as far as is known; 0 where nothing is.
        believed: The weight of the checks that tell the rate.
    """

    start: IntColumn
    end: IntColumn
    rate: FloatColumn
    believed: FloatColumn

    @classmethod
    def none(cls) -> "Areas":
        """Return an empty table."""
        return cls(
            np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
        )

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def size_bytes(self) -> IntColumn:
        """Bytes of address space of each area."""
        return self.end - self.start

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of address space of all areas."""
        return int(self.size_bytes.sum())

    @cached_property
    def touching(self) -> BoolColumn:
        """Whether each area but the last touches the next one."""
        touching: BoolColumn = self.end[:-1] == self.start[1:]
        return touching

    @cached_property
    def smoothed_rate(self) -> FloatColumn:
        """The rate, drawn towards a half where few checks tell it."""
        return (self.rate * self.believed + 0.5) / (self.believed + 1)

    @property
    def told_rate(self) -> FloatColumn:
        """The rate, but lower where few checks tell it.

        By chance a few checks of a lukewarm area see an access each. As if one more half of a
        check had the mean rate of all areas, such an area isn't told as hot.
        """
        mean = float(self.rate @ self.size_bytes) / max(self.total_bytes, 1)
        few = (self.believed > 0) & (self.believed < _FEW_CHECKS)
        above = np.maximum(self.rate - mean, 0) * few
        told: FloatColumn = self.rate - above * (_DOUBT / (self.believed + _DOUBT))
        return told

    def holding(self, addresses: IntColumn) -> IntColumn:
        """Return the index of the area that holds each address, -1 where none does."""
        return holding(self.start, self.end, addresses)

    def ranges(self) -> tuple[IntColumn, IntColumn]:
        """Return starts and ends of the ranges that touching areas make up."""
        return ranges_of(self.start, self.end)

    def covering(self, start: IntColumn, end: IntColumn, limit_bytes: int) -> "Areas":
        """Return areas that cover exactly the given ranges, keeping what is known of them.

        What is new is cut evenly, into pieces of at most `limit_bytes`.
        """
        edges = np.unique(np.concatenate((self.start, self.end, start, end)))
        inside = holding(start, end, edges[:-1]) >= 0
        low, high = edges[:-1][inside], edges[1:][inside]
        origin = self.holding(low)
        pages = (high - low) // PAGE_SIZE_BYTES
        limit = limit_bytes // PAGE_SIZE_BYTES
        parts = np.where(origin < 0, -(-pages // limit), 1)
        piece = np.repeat(np.arange(len(low)), parts)
        part = ragged(np.zeros(len(low), dtype=np.int64), parts)
        pages, parts = pages[piece], parts[piece]
        return self._inherited(
            low[piece] + pages * part // parts * PAGE_SIZE_BYTES,
            low[piece] + pages * (part + 1) // parts * PAGE_SIZE_BYTES,
            origin[piece],
        )

    def cut_at(self, addresses: IntColumn) -> "Areas":
        """Return areas cut at addresses inside them, ascending; parts keep the rate."""
        together = np.concatenate((self.start, addresses))
        order = together.argsort(kind="stable")  # merges two ascending runs
        start = together[order]
        origin = (order < len(self)).cumsum() - 1
        end = self.end[origin]
        end[:-1] = np.minimum(end[:-1], start[1:])
        return Areas(start, end, self.rate[origin], self.believed[origin])

    def with_borders(self, left: IntColumn, addresses: IntColumn) -> "Areas":
        """Return areas with the borders behind the areas `left` moved to the addresses."""
        start, end = self.start.copy(), self.end.copy()
        start[left + 1] = end[left] = addresses
        return evolve(self, start=start, end=end)

    def joined(self, first: IntColumn) -> "Areas":
        """Return areas with those of `first` joined with the next ones, but never three at once.

        Rates become means weighted by the checks that tell them, or where none does by size. Of a
        run of joins every second one is done.
        """
        join = np.zeros(len(self) - 1, dtype=np.bool_)
        join[first] = True
        follows = np.concatenate(([False], join[:-1]))
        run_start = np.maximum.accumulate(np.where(join & ~follows, np.arange(len(join)), 0))
        left = (join & ((np.arange(len(join)) - run_start) & 1 == 0)).nonzero()[0]
        right = left + 1
        rate, believed, end = self.rate.copy(), self.believed.copy(), self.end.copy()
        end[left] = end[right]
        believed[left] += believed[right]
        untold = believed[left] == 0
        weight = np.where(untold, self.size_bytes[left], self.believed[left])
        total = np.where(untold, end[left] - self.start[left], believed[left])
        rate[left] = rate[right] + (rate[left] - rate[right]) * (weight / total)
        kept = np.ones(len(self), dtype=np.bool_)
        kept[right] = False
        return Areas(self.start[kept], end[kept], rate[kept], believed[kept])

    def _inherited(self, start: IntColumn, end: IntColumn, origin: IntColumn) -> "Areas":
        """Return the given areas with the rates of areas of this table (-1: nothing known)."""
        known = origin >= 0
        rate, believed = np.zeros(len(start)), np.zeros(len(start))
        rate[known] = self.rate[origin[known]]
        believed[known] = self.believed[origin[known]]
        return Areas(start, end, rate, believed)


def holding(start: IntColumn, end: IntColumn, addresses: IntColumn) -> IntColumn:
    """Return the index of the range that holds each address, -1 where none does."""
    if not len(start):
        return np.full(len(addresses), -1, dtype=np.int64)
    index = np.searchsorted(start, addresses, side="right") - 1
    index[addresses >= end[index]] = -1
    return index


def ranges_of(start: IntColumn, end: IntColumn) -> tuple[IntColumn, IntColumn]:
    """Return starts and ends of the ranges that sorted pieces, some of them touching, make up."""
    apart = end[:-1] != start[1:]
    first = np.concatenate((np.ones(min(len(start), 1), dtype=np.bool_), apart))
    last = np.concatenate((apart, np.ones(min(len(start), 1), dtype=np.bool_)))
    return start[first], end[last]


def regions_of(areas: Areas, before: Regions, checks: int) -> Regions:
    """Return the areas as a table of regions, with rates expressed in `checks`.

    Each takes age, idle time and last nr_accesses from the region before that its middle was in.
    """
    regions = Regions(areas.start, areas.end)
    regions.nr_accesses = np.minimum(areas.told_rate * checks, checks)
    known: IntColumn | slice = slice(None)
    source: IntColumn | slice = slice(None)
    if (
        len(areas) != len(before)
        or not ((areas.start == before.start) & (areas.end == before.end)).all()
    ):
        origin = before.holding(areas.start + areas.size_bytes // 2)
        known = (origin >= 0).nonzero()[0]
        source = origin[known]
    regions.last_nr_accesses[known] = before.last_nr_accesses[source]
    regions.age[known] = before.age[source]
    regions.idle_us[known] = before.idle_us[source]
    return regions
