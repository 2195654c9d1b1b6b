"""The heat map's grid: addresses folded into rows, aggregations into columns of time."""

from collections.abc import Sequence

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


def heat_of(piece: Piece, edges: Addresses) -> Grid:
    """Return the mean access frequency of each row by resident bytes; NaN where there are none."""
    borders = np.column_stack([piece.start, piece.end]).ravel()
    there = np.interp(edges, borders, _steps(piece.resident_bytes))
    accessed = np.interp(edges, borders, _steps(piece.resident_bytes * piece.frequency))
    amount = np.diff(there)
    heat: Grid = np.full(len(amount), np.nan)
    np.divide(np.diff(accessed), amount, out=heat, where=amount > 0)
    return heat


def _steps(amounts: npt.NDArray[np.float32]) -> Grid:
    """Return how much lies below the start and the end of each region."""
    sums = np.cumsum(amounts, dtype=np.float64)
    return np.column_stack([np.concatenate([[0.0], sums[:-1]]), sums]).ravel()


def heat_grid(
    frames: Sequence[Frame],
    target: str,
    edges: Addresses,
    *,
    now_us: int,
    columns: int,
    column_us: int,
) -> Grid:
    """Return the heat of each row, the highest address first, in each column of time.

    Args:
        frames: What is remembered, the oldest first.
        target: Whose addresses.
        edges: From `row_edges`.
        now_us: A time in the last column.
        columns: How many columns at most; there are fewer if less is remembered.
        column_us: The time that a column stands for. Columns begin at multiples of it, so that
            a picture that scrolls doesn't change otherwise.
    """
    last = now_us // column_us
    newest = frames[-1] if frames else None
    cells: list[list[Grid]] = [[] for _ in range(columns)]
    for frame in frames:
        # An aggregation longer than a column fills all columns that it reaches into.
        begin = max(frame.whole.begin_us // column_us - last + columns - 1, 0)
        # And the newest is what is known of the time since.
        end_us = now_us if frame is newest else frame.whole.end_us - 1
        end = min(end_us // column_us - last + columns - 1, columns - 1)
        piece = frame.of(target) if begin <= end else None
        if piece is not None and len(piece.start):
            heat = heat_of(piece, edges)
            for column in range(begin, end + 1):
                cells[column].append(heat)
    first = next((column for column in range(columns) if cells[column]), columns)
    nothing = np.full(max(len(edges) - 1, 0), np.nan)
    grid = [_mean(cell) if cell else nothing for cell in cells[first:]]
    return np.array(grid).reshape(len(grid), len(nothing)).T[::-1]


def _mean(heats: Sequence[Grid]) -> Grid:
    """Return the mean of each row, leaving out what wasn't seen."""
    values = np.array(heats)
    seen = ~np.isnan(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    mean: Grid = np.full(len(total), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean
