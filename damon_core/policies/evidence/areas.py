"""Areas: the policy's current estimate of one target's regions, with their access rates."""

from functools import cached_property

import numpy as np
from attrs import evolve, frozen

from damon_core.memory.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn, Regions
from damon_core.memory.samples import BoolColumn
from damon_core.policies.evidence.statistics import ragged

#: The rate of an area with fewer checks than this is reported lower than measured, as if this
#: part of a check had been average.
_FEW_CHECKS = 20.0
_DOUBT = 0.5


@frozen(eq=False)
class Areas:
    """A sorted table of disjoint half-open address ranges; never changed, only replaced.

    Attributes:
        start: First address of each area.
        end: First address after each area.
        rate: The share of checks that saw an access, 0 without any check.
        weight: The total weight of the checks that the rate is from.
    """

    start: IntColumn
    end: IntColumn
    rate: FloatColumn
    weight: FloatColumn

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
        """The rate, closer to a half the fewer checks it is from."""
        return (self.rate * self.weight + 0.5) / (self.weight + 1)

    @property
    def reported_rate(self) -> FloatColumn:
        """The rate to report: lower than measured where it is from few checks.

        A few checks of a lukewarm area can all see an access by chance. Half a check of the mean
        rate of all areas is added to them, so that such an area isn't reported as hot.
        """
        mean = float(self.rate @ self.size_bytes) / max(self.total_bytes, 1)
        few = (self.weight > 0) & (self.weight < _FEW_CHECKS)
        above = np.maximum(self.rate - mean, 0) * few
        reported: FloatColumn = self.rate - above * (_DOUBT / (self.weight + _DOUBT))
        return reported

    def holding(self, addresses: IntColumn) -> IntColumn:
        """Return the index of the area that contains each address, -1 if there is none."""
        return holding(self.start, self.end, addresses)

    def ranges(self) -> tuple[IntColumn, IntColumn]:
        """Return starts and ends of the ranges that touching areas form."""
        return ranges_of(self.start, self.end)

    def covering(self, start: IntColumn, end: IntColumn, limit_bytes: int) -> "Areas":
        """Return areas that cover exactly the given ranges, with the rates of those kept.

        New parts are cut evenly, into pieces of at most `limit_bytes`.
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
        return Areas(start, end, self.rate[origin], self.weight[origin])

    def with_borders(self, left: IntColumn, addresses: IntColumn) -> "Areas":
        """Return areas with the ends of the areas `left` moved to the addresses."""
        start, end = self.start.copy(), self.end.copy()
        start[left + 1] = end[left] = addresses
        return evolve(self, start=start, end=end)

    def joined(self, first: IntColumn) -> "Areas":
        """Return areas with those of `first` joined to the next ones, but never three at once.

        Rates become means weighted by checks, or by size without any. Of a run of joins every
        second one is done.
        """
        join = np.zeros(len(self) - 1, dtype=np.bool_)
        join[first] = True
        follows = np.concatenate(([False], join[:-1]))
        run_start = np.maximum.accumulate(np.where(join & ~follows, np.arange(len(join)), 0))
        left = (join & ((np.arange(len(join)) - run_start) & 1 == 0)).nonzero()[0]
        right = left + 1
        rate, weight, end = self.rate.copy(), self.weight.copy(), self.end.copy()
        end[left] = end[right]
        weight[left] += weight[right]
        unknown = weight[left] == 0
        part = np.where(unknown, self.size_bytes[left], self.weight[left])
        total = np.where(unknown, end[left] - self.start[left], weight[left])
        rate[left] = rate[right] + (rate[left] - rate[right]) * (part / total)
        kept = np.ones(len(self), dtype=np.bool_)
        kept[right] = False
        return Areas(self.start[kept], end[kept], rate[kept], weight[kept])

    def _inherited(self, start: IntColumn, end: IntColumn, origin: IntColumn) -> "Areas":
        """Return the given areas with the rates of this table's areas at `origin` (-1: none)."""
        known = origin >= 0
        rate, weight = np.zeros(len(start)), np.zeros(len(start))
        rate[known] = self.rate[origin[known]]
        weight[known] = self.weight[origin[known]]
        return Areas(start, end, rate, weight)


def holding(start: IntColumn, end: IntColumn, addresses: IntColumn) -> IntColumn:
    """Return the index of the range that contains each address, -1 if there is none."""
    if not len(start):
        return np.full(len(addresses), -1, dtype=np.int64)
    index = np.searchsorted(start, addresses, side="right") - 1
    index[addresses >= end[index]] = -1
    return index


def ranges_of(start: IntColumn, end: IntColumn) -> tuple[IntColumn, IntColumn]:
    """Return starts and ends of the ranges that sorted pieces form, some of which touch."""
    apart = end[:-1] != start[1:]
    first = np.concatenate((np.ones(min(len(start), 1), dtype=np.bool_), apart))
    last = np.concatenate((apart, np.ones(min(len(start), 1), dtype=np.bool_)))
    return start[first], end[last]


def regions_of(areas: Areas, before: Regions, checks: int) -> Regions:
    """Return the areas as a table of regions, with their rates as nr_accesses out of `checks`.

    Age, idle time and last nr_accesses are those of the region of `before` that contains the
    middle of the area.
    """
    regions = Regions(areas.start, areas.end)
    regions.nr_accesses = np.minimum(areas.reported_rate * checks, checks)
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
