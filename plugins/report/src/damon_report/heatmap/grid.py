"""A heat map as numbers: the mean of every cell over bytes and time, in one pass."""

from collections.abc import Iterable
from typing import cast

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import Snapshot, TargetSnapshot
from damon_report.heatmap.folding import (
    COVERED,
    HEAT,
    RESIDENT,
    SUMS,
    TOUCHED,
    FloatGrid,
    Folding,
    IntColumn,
    mapped_areas,
    region_sums,
)
from damon_report.heatmap.layout import Layout
from damon_report.heatmap.places import TargetKey


@frozen(eq=False)
class Heat:
    """The cells of a heat map.

    The arrays have one row for each piece of time, and one column for each row of the layout.

    Attributes:
        layout: The layout, whose rows go from the top to the bottom.
        begin_us: When the first piece of time begins, Unix microseconds.
        end_us: When the last one ends.
        frequency: Share of the checks that found the bytes of each cell accessed, mean over bytes
            and time; NaN without a region.
        resident_bytes: Resident bytes of each cell, mean over the recorded part of its time; NaN
            if nothing was recorded.
        touched_bytes: Resident bytes that were accessed in an aggregation, likewise.
    """

    layout: Layout
    begin_us: int
    end_us: int
    frequency: FloatGrid = field(repr=False)
    resident_bytes: FloatGrid = field(repr=False)
    touched_bytes: FloatGrid = field(repr=False)

    @property
    def columns(self) -> int:
        """The number of pieces of time."""
        return len(self.frequency)

    @property
    def span_us(self) -> int:
        """The time from begin to end in microseconds."""
        return self.end_us - self.begin_us

    def working_set_bytes(self, first_row: int = 0, rows: int | None = None) -> FloatGrid:
        """Return the mean working set at each piece of time, in bytes; NaN if not recorded.

        Args:
            first_row: The first row of the layout that counts.
            rows: The number of rows; None for all that follow.
        """
        return _sum(self.touched_bytes, first_row, rows)

    def total_bytes(self, first_row: int = 0, rows: int | None = None) -> FloatGrid:
        """Return the mean resident bytes at each piece of time; NaN if not recorded.

        Args:
            first_row: The first row of the layout that counts.
            rows: The number of rows; None for all that follow.
        """
        return _sum(self.resident_bytes, first_row, rows)


def _sum(cells: FloatGrid, first_row: int, rows: int | None) -> FloatGrid:
    chosen = cells[:, first_row : None if rows is None else first_row + rows]
    # A target that didn't exist then counts as 0; only if nothing was recorded, the sum is NaN.
    total: FloatGrid = np.where(np.isnan(chosen).all(axis=1), np.nan, np.nansum(chosen, axis=1))
    return total


@define(eq=False)
class _TargetRows:
    """The ranges of a target's addresses in the layout.

    Attributes:
        addresses: All borders of ranges, ascending.
        starts: The index in `addresses` of each range's start.
        ends: The index in `addresses` of each range's end.
        rows: The row of the layout that each range belongs to.
        named: The target's areas.
        folding: All that is mapped, also what has no name yet.
        mapped: The mapped bytes below each of `addresses`.
    """

    addresses: IntColumn
    starts: IntColumn
    ends: IntColumn
    rows: IntColumn
    named: Folding
    folding: Folding
    mapped: IntColumn

    @classmethod
    def of(cls, pieces: list[tuple[int, int, int]]) -> "_TargetRows":
        rows, starts, ends = np.array(pieces, np.int64).T
        addresses, places = np.unique(np.concatenate((starts, ends)), return_inverse=True)
        no_areas = Folding(())
        return cls(
            addresses,
            places[: len(starts)],
            places[len(starts) :],
            rows,
            no_areas,
            no_areas,
            no_areas.mapped_below(addresses),
        )

    def sums(self, target: TargetSnapshot) -> FloatGrid:
        """Return the sums over each range, one row for each kind of sum."""
        if target.areas is not self.named.areas:
            self.named = Folding(target.areas)
        areas = mapped_areas(target, self.named) if target.areas else ()
        if areas is not self.folding.areas:
            self.folding = self.named if areas is self.named.areas else Folding(areas)
            self.mapped = self.folding.mapped_below(self.addresses)
        below = region_sums(target, self.folding, self.addresses, self.mapped)
        sums: FloatGrid = below.take(self.ends, axis=1) - below.take(self.starts, axis=1)
        return sums


class Grid:
    """Adds up aggregations to a heat map, in memory that depends only on the number of cells.

    Args:
        layout: The layout of the heat map.
        begin_us: When the first column begins, Unix microseconds.
        end_us: When the last one ends.
        columns: The number of equal pieces of time.
    """

    def __init__(self, layout: Layout, begin_us: int, end_us: int, columns: int) -> None:
        self._layout = layout
        span_us = end_us - begin_us
        self._borders = np.array(
            [begin_us + span_us * column // columns for column in range(columns + 1)], np.int64
        )
        # The sums of each cell, times microseconds.
        self._sums = np.zeros((columns, SUMS, layout.rows))
        pieces: dict[TargetKey, list[tuple[int, int, int]]] = {}
        self._contexts: dict[str, int] = {}
        self._ended_us: dict[str, int] = {}
        row_context = np.zeros(layout.rows, np.int64)
        first = 0
        for band in layout.bands:
            for row, part in band.pieces():
                shown = first + band.rows - 1 - row
                pieces.setdefault(part.key, []).append((shown, part.start, part.end))
                number = self._contexts.setdefault(part.key.context, len(self._contexts))
                row_context[shown] = number
            first += band.rows
        self._row_context = row_context
        self._recorded_us = np.zeros((columns, len(self._contexts)))
        self._targets = {key: _TargetRows.of(each) for key, each in pieces.items()}

    def add(self, snapshot: Snapshot) -> None:
        """Add an aggregation; memory and time outside of the heat map are left out."""
        number = self._contexts.get(snapshot.context)
        if number is None:
            return
        begin_us = snapshot.time_us - max(snapshot.elapsed_us, 1)
        ended_us = self._ended_us.get(snapshot.context, begin_us)
        if begin_us - ended_us < snapshot.elapsed_us and ended_us < snapshot.time_us:
            # A short gap between aggregations is the monitor's own work: it counts as covered.
            begin_us = ended_us
        self._ended_us[snapshot.context] = snapshot.time_us
        first = max(int(self._borders.searchsorted(begin_us, side="right")) - 1, 0)
        last = int(self._borders.searchsorted(snapshot.time_us, side="left"))
        borders = self._borders[first : last + 1].clip(begin_us, snapshot.time_us)
        share_us = np.diff(borders)
        if not len(share_us):
            return
        columns = slice(first, first + len(share_us))
        self._recorded_us[columns, number] += share_us
        sums = self._row_sums(snapshot)
        self._sums[columns] += share_us[:, np.newaxis, np.newaxis] * sums

    def _row_sums(self, snapshot: Snapshot) -> FloatGrid:
        rows = self._layout.rows
        sums = np.zeros((SUMS, rows))
        for target in snapshot.targets:
            place = self._targets.get(TargetKey(snapshot.context, target.name))
            if place is None:
                continue
            per_range = place.sums(target)
            for kind in range(SUMS):
                sums[kind] += np.bincount(place.rows, per_range[kind], rows)
        return sums

    def heat(self) -> Heat:
        """Return the means over the added aggregations."""
        recorded_us = self._recorded_us[:, self._row_context]
        covered = self._sums[:, COVERED]
        known = recorded_us > 0
        return Heat(
            self._layout,
            int(self._borders[0]),
            int(self._borders[-1]),
            frequency=_divided(self._sums[:, HEAT], covered, covered > 0),
            resident_bytes=_divided(self._sums[:, RESIDENT], recorded_us, known),
            touched_bytes=_divided(self._sums[:, TOUCHED], recorded_us, known),
        )


def _divided(sums: FloatGrid, by: FloatGrid, where: npt.NDArray[np.bool_]) -> FloatGrid:
    unknown = np.full_like(sums, np.nan)
    return cast(FloatGrid, np.divide(sums, by, out=unknown, where=where))


def heat_of(
    snapshots: Iterable[Snapshot], layout: Layout, begin_us: int, end_us: int, columns: int
) -> Heat:
    """Return the heat map of aggregations, which may be read one by one."""
    grid = Grid(layout, begin_us, end_us, columns)
    for snapshot in snapshots:
        grid.add(snapshot)
    return grid.heat()
