"""The heat map's grid: addresses folded into rows, aggregations into columns of time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from damon_core import PAGE_SIZE_BYTES, TargetSnapshot
from damon_top.history import Frame, Piece

Addresses = npt.NDArray[np.int64]
Grid = npt.NDArray[np.float64]


def row_edges(target: TargetSnapshot, rows: int) -> Addresses:
    """Return the addresses between which each row of a picture lies, the lowest first.

    Every row has the same number of resident bytes: what is not mapped, or mapped and never
    touched, takes no room. There are fewer rows than asked for if there are fewer pages, and
    none if nothing is resident.
    """
    there = target.resident_bytes > 0
    start, end = target.start[there], target.end[there]
    filled = np.concatenate([[0], np.cumsum(target.resident_bytes[there])])
    rows = min(rows, -(-int(filled[-1]) // PAGE_SIZE_BYTES))
    if rows < 1:
        return np.zeros(0, np.int64)
    wanted = np.linspace(0.0, float(filled[-1]), rows, endpoint=False)
    index = np.searchsorted(filled, wanted, side="right") - 1
    share = (wanted - filled[index]) / np.diff(filled)[index]
    pages = np.rint((end - start)[index] * share / PAGE_SIZE_BYTES).astype(np.int64)
    return np.append(start[index] + pages * PAGE_SIZE_BYTES, end[-1])


def still_fit(target: TargetSnapshot, edges: Addresses) -> bool:
    """Return whether rows still have about as many resident bytes each, and nearly all together.

    Then a picture may keep them, and stands still where memory only comes and goes a little.
    """
    total = target.total_bytes
    if not total or len(edges) < 2:
        return False
    there = np.diff(np.interp(edges, _borders(target), _steps(target.resident_bytes)))
    even = total / len(there)
    return bool(
        there.sum() > 0.98 * total and there.min() > 0.5 * even and there.max() < 1.5 * even
    )


def heat_of(piece: Piece, edges: Addresses) -> Grid:
    """Return the mean access frequency of each row by resident bytes; NaN where there are none."""
    if not len(piece.start):
        return np.full(max(len(edges) - 1, 0), np.nan)
    borders = _borders(piece)
    there = np.interp(edges, borders, _steps(piece.resident_bytes))
    accessed = np.interp(edges, borders, _steps(piece.resident_bytes * piece.frequency))
    amount = np.diff(there)
    heat: Grid = np.full(len(amount), np.nan)
    np.divide(np.diff(accessed), amount, out=heat, where=amount > 0)
    return heat


def _borders(regions: Piece | TargetSnapshot) -> Addresses:
    return np.column_stack([regions.start, regions.end]).ravel()


def _steps(amounts: npt.NDArray[Any]) -> Grid:
    """Return how much lies below the start and the end of each region."""
    sums = np.cumsum(amounts, dtype=np.float64)
    return np.column_stack([np.concatenate([[0.0], sums[:-1]]), sums]).ravel()


class HeatGrid:
    """The heat of one target on one grid of addresses, each aggregation looked at once.

    Args:
        target: Whose addresses.
        edges: From `row_edges`.
    """

    def __init__(self, target: str, edges: Addresses) -> None:
        self.target = target
        self.edges = edges
        self._heats: dict[int, Grid] = {}  # by the end of the aggregation

    def draw(self, frames: Sequence[Frame], *, now_us: int, columns: int, column_us: int) -> Grid:
        """Return the heat of each row, the highest address first, in each column of time.

        Args:
            frames: What is remembered, the oldest first.
            now_us: A time in the last column.
            columns: How many columns at most; there are fewer if less is remembered.
            column_us: The time that a column stands for. Columns begin at multiples of it, so
                that a picture that scrolls doesn't change otherwise.
        """
        first = now_us // column_us - columns + 1
        known, self._heats = self._heats, {}
        cells: list[int] = []
        heats: list[Grid] = []
        for frame in frames:
            # An aggregation longer than a column fills all columns that it reaches into, and
            # the newest is what is known of the time since.
            whole = frame.whole
            end_us = now_us if frame is frames[-1] else whole.end_us - 1
            reached = range(
                max(whole.begin_us // column_us - first, 0),
                min(end_us // column_us - first, columns - 1) + 1,
            )
            if not reached or (piece := frame.of(self.target)) is None:
                continue
            heat = known.get(whole.end_us)
            if heat is None:
                heat = heat_of(piece, self.edges)
            self._heats[whole.end_us] = heat
            cells += reached
            heats += [heat] * len(reached)
        if not cells:
            return np.zeros((max(len(self.edges) - 1, 0), 0))
        return _means(np.array(cells), np.array(heats), columns)[min(cells) :].T[::-1]


def _means(cells: npt.NDArray[np.int64], heats: Grid, columns: int) -> Grid:
    """Return the mean heats of each column, leaving out what wasn't seen."""
    seen = ~np.isnan(heats)
    counts = np.zeros((columns, heats.shape[1]))
    np.add.at(counts, cells, seen)
    totals = np.zeros_like(counts)
    np.add.at(totals, cells, np.where(seen, heats, 0.0))
    means: Grid = np.full_like(counts, np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return means
