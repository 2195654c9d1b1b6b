"""A heat map as numbers: the mean of every cell by bytes and by time, in one pass."""

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
    region_sums,
)
from damon_report.heatmap.layout import Layout
from damon_report.heatmap.places import TargetKey


@frozen(eq=False)
class Heat:
    """The cells of a heat map: a row for each piece of time, a column for each row of the layout.

    Attributes:
        layout: What its rows are, from the top.
        begin_us: When the first piece of time begins, Unix microseconds.
        end_us: When the last one ends.
        frequency: In which share of the checks the bytes of each cell were accessed, on average
            over bytes and time; NaN where nothing was seen.
        resident_bytes: How much of each cell was in memory, on average over what was recorded of
            its time; NaN where nothing was recorded.
        touched_bytes: How much of that was accessed in an aggregation, on average.
    """

    layout: Layout
    begin_us: int
    end_us: int
    frequency: FloatGrid = field(repr=False)
    resident_bytes: FloatGrid = field(repr=False)
    touched_bytes: FloatGrid = field(repr=False)

    @property
    def columns(self) -> int:
        """How many pieces of time there are."""
        return len(self.frequency)

    @property
    def span_us(self) -> int:
        """How long all of it is."""
        return self.end_us - self.begin_us

    def working_set_bytes(self, first_row: int = 0, rows: int | None = None) -> FloatGrid:
        """Return the bytes accessed in an aggregation, at each time; NaN where none was recorded.

        Args:
            first_row: Of these rows of the layout only.
            rows: How many of them; None for all that follow.
        """
        return _sum(self.touched_bytes, first_row, rows)

    def total_bytes(self, first_row: int = 0, rows: int | None = None) -> FloatGrid:
        """Return the bytes in memory, likewise."""
        return _sum(self.resident_bytes, first_row, rows)


def _sum(cells: FloatGrid, first_row: int, rows: int | None) -> FloatGrid:
    chosen = cells[:, first_row : None if rows is None else first_row + rows]
    # A target that wasn't there then has nothing; where nothing was recorded, nothing is known.
    total: FloatGrid = np.where(np.isnan(chosen).all(axis=1), np.nan, np.nansum(chosen, axis=1))
    return total


@define(eq=False)
class _TargetRows:
    """Where the addresses of a target are in the layout.

    Attributes:
        addresses: All borders of ranges, ascending.
        starts: Which of them is the first of each range.
        ends: Which of them is the first behind it.
        rows: In which row of the layout it is.
        folding: What is mapped.
        mapped: How much of that lies below each of `addresses`.
    """

    addresses: IntColumn
    starts: IntColumn
    ends: IntColumn
    rows: IntColumn
    folding: Folding
    mapped: IntColumn

    @classmethod
    def of(cls, pieces: list[tuple[int, int, int]]) -> "_TargetRows":
        rows, starts, ends = np.array(pieces, np.int64).T
        addresses, places = np.unique(np.concatenate((starts, ends)), return_inverse=True)
        nothing = Folding(())
        return cls(
            addresses,
            places[: len(starts)],
            places[len(starts) :],
            rows,
            nothing,
            nothing.mapped_below(addresses),
        )

    def held(self, target: TargetSnapshot) -> FloatGrid:
        """Return what each of the ranges holds now."""
        if target.areas is not self.folding.areas:
            self.folding = Folding(target.areas)
            self.mapped = self.folding.mapped_below(self.addresses)
        below = region_sums(target, self.folding, self.addresses, self.mapped)
        held: FloatGrid = below.take(self.ends, axis=1) - below.take(self.starts, axis=1)
        return held


class Grid:
    """Adds aggregations up to a heat map; memory depends on the number of cells only.

    Args:
        layout: What is shown.
        begin_us: When the first column begins, Unix microseconds.
        end_us: When the last one ends.
        columns: Into how many pieces the time is cut.
    """

    def __init__(self, layout: Layout, begin_us: int, end_us: int, columns: int) -> None:
        self._layout = layout
        span_us = end_us - begin_us
        self._borders = np.array(
            [begin_us + span_us * column // columns for column in range(columns + 1)], np.int64
        )
        # Of each cell, times microseconds.
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
        """Add an aggregation; what isn't in the layout or the time is left out."""
        number = self._contexts.get(snapshot.context)
        if number is None:
            return
        begin_us = snapshot.time_us - max(snapshot.elapsed_us, 1)
        ended_us = self._ended_us.get(snapshot.context, begin_us)
        if begin_us - ended_us < snapshot.elapsed_us and ended_us < snapshot.time_us:
            # Aggregations follow one another but for the monitor's own work between them.
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
            held = place.held(target)
            for kind in range(SUMS):
                sums[kind] += np.bincount(place.rows, held[kind], rows)
        return sums

    def heat(self) -> Heat:
        """Return the means of what was added."""
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
    """Return the heat map of aggregations that are there already, or are read one by one."""
    grid = Grid(layout, begin_us, end_us, columns)
    for snapshot in snapshots:
        grid.add(snapshot)
    return grid.heat()
