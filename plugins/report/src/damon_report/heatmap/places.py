"""The named places of every target over the whole time of a record, and their heat."""

import itertools
from collections.abc import Iterator

import numpy as np
from attrs import define, field, frozen

from damon_core import Area, Snapshot, TargetSnapshot
from damon_report.heatmap.folding import (
    COVERED,
    HEAT,
    RESIDENT,
    TOUCHED,
    FloatGrid,
    Folding,
    region_sums,
)

#: Number of moments of a record at which the heat of places is measured.
_MOMENTS = 2_000
#: Maximum number of places of a target; beyond it, neighbours with the same name are joined.
_MOST_PLACES = 20_000


@frozen
class TargetKey:
    """The key of a target in a record."""

    context: str
    target: str


@frozen
class Place:
    """A range of addresses that had one name for most of the time that it was mapped.

    Attributes:
        start: The first address.
        end: The first address after the range.
        name: The name; empty if unknown.
        accessed_bytes: The bytes accessed in a sampling interval, summed over the measured
            moments, to compare the heat of places.
        touched_bytes: Likewise the bytes accessed in an aggregation.
        resident_bytes: The most bytes that were in memory at a measured moment; the size of the
            range if that isn't known.
    """

    start: int
    end: int
    name: str
    accessed_bytes: float = 0.0
    touched_bytes: float = 0.0
    resident_bytes: float = field()

    @resident_bytes.default
    def _size(self) -> float:
        return float(self.end - self.start)

    @property
    def size_bytes(self) -> int:
        """The bytes of address space."""
        return self.end - self.start


@define(eq=False)
class _Seen:
    """The areas of one target so far.

    Attributes:
        sums: Of each area the sums of `region_sums` over the measured moments; of `RESIDENT`
            the greatest.
        latest: The areas of the latest aggregation.
        folding: The same as columns.
        most: The number of areas beyond which neighbours are joined.
    """

    sums: dict[Area, FloatGrid] = field(factory=dict)
    latest: tuple[Area, ...] | None = None
    folding: Folding = field(factory=lambda: Folding(()))
    most: int = _MOST_PLACES

    def add(self, target: TargetSnapshot, measured: bool) -> None:
        areas = target.areas or _runs(target)
        if areas is not self.latest and areas != self.latest:
            # A place that exists only for a moment must not be missed.
            measured = True
            self.folding = Folding(target.areas)
        self.latest = areas
        if measured and areas:
            borders = np.array([(area.start, area.end) for area in areas], np.int64).ravel()
            below = region_sums(target, self.folding, borders, self.folding.mapped_below(borders))
            for area, sums in zip(areas, (below[:, 1::2] - below[:, ::2]).T, strict=True):
                before = self.sums.get(area)
                if before is not None:
                    most_resident = max(before[RESIDENT], sums[RESIDENT])
                    sums = sums + before  # noqa: PLW2901
                    sums[RESIDENT] = most_resident
                self.sums[area] = sums
            if len(self.sums) > self.most:
                self._join_neighbours()

    def _join_neighbours(self) -> None:
        """Halve the number of places: join pairs of neighbours with the same name."""
        joined: dict[Area, FloatGrid] = {}
        last: Area | None = None
        for area in sorted(self.sums):
            sums = self.sums[area]
            if last is not None and last.name == area.name:
                sums = sums + joined.pop(last)
                area = Area(last.start, max(last.end, area.end), area.name)  # noqa: PLW2901
                last = None
            else:
                last = area
            joined[area] = joined.get(area, 0) + sums
        self.sums = joined
        # If names alternate, nothing can be joined: don't try again at once.
        self.most = max(self.most, 2 * len(joined))


class Survey:
    """Collects the places of all targets from the aggregations of a record.

    Args:
        span_us: The length of the record, to spread the moments at which heat is measured.
    """

    def __init__(self, span_us: int) -> None:
        self._step_us = span_us // _MOMENTS
        self._next_us: dict[str, int] = {}
        self._seen: dict[TargetKey, _Seen] = {}
        self.aggregations = 0

    def add(self, snapshot: Snapshot) -> None:
        """Add an aggregation."""
        self.aggregations += 1
        measured = snapshot.time_us >= self._next_us.get(snapshot.context, 0)
        if measured:
            self._next_us[snapshot.context] = snapshot.time_us + self._step_us
        for target in snapshot.targets:
            key = TargetKey(snapshot.context, target.name)
            self._seen.setdefault(key, _Seen()).add(target, measured)

    def places(self) -> dict[TargetKey, list[Place]]:
        """Return the places of every target with at least one, ascending and disjoint."""
        found = {key: list(_settled(seen.sums)) for key, seen in self._seen.items()}
        return {key: places for key, places in found.items() if places}


def _runs(target: TargetSnapshot) -> tuple[Area, ...]:
    """Return the ranges that regions cover, adjacent regions joined, without names."""
    if not len(target.start):
        return ()
    gaps = np.flatnonzero(target.start[1:] != target.end[:-1])
    starts = target.start[np.concatenate(([0], gaps + 1))]
    ends = target.end[np.concatenate((gaps, [-1]))]
    return tuple(
        Area(start, end, "") for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def _settled(sums: dict[Area, FloatGrid]) -> Iterator[Place]:
    """Yield disjoint places; of overlapping areas the longest seen gives the name."""
    place: Place | None = None
    for start, end, areas in _segments([area for area in sums if sums[area][COVERED] > 0]):
        shares = np.array([(end - start) / (area.end - area.start) for area in areas])
        here = np.array([sums[area] for area in areas]) * shares[:, np.newaxis]
        name = areas[int(here[:, COVERED].argmax())].name
        accessed, touched = float(here[:, HEAT].sum()), float(here[:, TOUCHED].sum())
        # Those of a region are spread evenly over it, which may give some of its areas too many.
        resident = min(float(here[:, RESIDENT].max()), float(end - start))
        if place is not None and place.end == start and place.name == name:
            start = place.start  # noqa: PLW2901
            accessed += place.accessed_bytes
            touched += place.touched_bytes
            resident += place.resident_bytes
            place = Place(start, end, name, accessed, touched, resident)
            continue
        if place is not None:
            yield place
        place = Place(start, end, name, accessed, touched, resident)
    if place is not None:
        yield place


def _segments(areas: list[Area]) -> Iterator[tuple[int, int, list[Area]]]:
    """Yield the ranges between two borders, each with the areas that contain it."""
    waiting = sorted(areas, reverse=True)
    active: list[Area] = []
    borders = sorted({border for area in areas for border in (area.start, area.end)})
    for start, end in itertools.pairwise(borders):
        active = [area for area in active if area.end > start]
        while waiting and waiting[-1].start == start:
            active.append(waiting.pop())
        if active:
            yield start, end, active
