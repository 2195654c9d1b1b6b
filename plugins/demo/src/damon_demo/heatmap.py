"""Heat maps as text: time across, addresses up, in colours or in shades of characters."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.text import Text

from damon_core import Snapshot, format_size
from damon_core.cli import block_lines, heat_key, shade_lines

#: As in `damon_core.cli`, the highest address first.
Grid = npt.NDArray[np.float64]


class Band(Protocol):
    """A range of addresses that is shown under a name."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102


def heat_grid(
    snapshots: Sequence[Snapshot], bands: Sequence[Band], columns: int, rows_per_band: int
) -> Grid:
    """Return the mean access frequency of every cell, by bytes and by time.

    Args:
        snapshots: At least one, in order of time.
        bands: What to show, the lowest address first; what lies between is left out.
        columns: Pieces that the time from first to last is cut into.
        rows_per_band: Pieces that each band is cut into.
    """
    ends_us = np.array([snapshot.time_us for snapshot in snapshots], dtype=np.float64)
    begins_us = ends_us - [snapshot.elapsed_us for snapshot in snapshots]
    time_edges = np.linspace(begins_us[0], ends_us[-1], columns + 1)
    in_column = _overlap(begins_us, ends_us, time_edges)
    rows = []
    for band in reversed(bands):
        edges = np.linspace(band.start, band.end, rows_per_band + 1)
        heat = np.array([_heat_of(snapshot, edges) for snapshot in snapshots])
        rows.append(_mean(heat, in_column)[:, ::-1].T)
    return np.concatenate(rows)


def _heat_of(snapshot: Snapshot, edges: Grid) -> Grid:
    """Return the mean frequency between each two of the addresses `edges`."""
    overlap = _overlap(snapshot.start.astype(np.float64), snapshot.end.astype(np.float64), edges)
    return _mean(snapshot.frequency[:, np.newaxis], overlap)[:, 0]


def _overlap(begins: Grid, ends: Grid, edges: Grid) -> Grid:
    """Return how much of each range (column) lies between each two of `edges` (row)."""
    low = np.maximum(begins[np.newaxis, :], edges[:-1, np.newaxis])
    high = np.minimum(ends[np.newaxis, :], edges[1:, np.newaxis])
    overlap: Grid = np.maximum(high - low, 0.0)
    return overlap


def _mean(values: Grid, weights: Grid) -> Grid:
    """Return the weighted means of each column of `values`, leaving out what is NaN."""
    known = ~np.isnan(values)
    total = weights @ np.where(known, values, 0.0)
    weight = weights @ known.astype(np.float64)
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def heat_map(
    snapshots: Sequence[Snapshot],
    bands: Sequence[Band],
    *,
    width: int = 80,
    lines_per_band: int = 2,
    colour: bool = False,
    marks: Sequence[tuple[int, str]] = (),
) -> list[Text]:
    """Return the lines of a heat map with its labels, scale of time and key.

    Args:
        snapshots: At least one, in order of time.
        bands: What to show, the lowest address first; what lies between is left out.
        width: Characters of a line at most.
        lines_per_band: Lines of each band; from 2 on its first address is shown too.
        colour: Colours instead of shades of characters.
        marks: Moments (Unix microseconds) and what to write above them.
    """
    names = max(len(band.name) for band in bands)
    sizes = [format_size(band.end - band.start) for band in bands]
    label = max(names + 2 + max(len(size) for size in sizes), 13) + 1
    columns = max(width - label, 10)
    begin_us = snapshots[0].time_us - snapshots[0].elapsed_us
    span_us = snapshots[-1].time_us - begin_us
    if colour:
        grid = heat_grid(snapshots, bands, columns, 2 * lines_per_band)
        lines = block_lines(grid)
    else:
        lines = [
            Text(line) for line in shade_lines(heat_grid(snapshots, bands, columns, lines_per_band))
        ]
    result = []
    if marks:
        ruler = [(round((time_us - begin_us) / span_us * columns), text) for time_us, text in marks]
        result.append(Text(" " * label + _ruler(ruler, columns)))
    for index, line in enumerate(lines):
        band_index, line_index = divmod(index, lines_per_band)
        band, size = bands[-1 - band_index], sizes[-1 - band_index]
        if line_index == 0:
            left = f"{band.name:<{label - 2 - len(size)}} {size} "
        elif line_index == lines_per_band - 1:
            left = f" {band.start:012x}".ljust(label)
        else:
            left = " " * label
        result.append(Text(left) + line)
    step_s = _time_step_s(span_us / 1e6, columns)
    count = int(span_us / 1e6 / step_s) + 1
    ticks = [
        (round(i * step_s * 1e6 / span_us * columns), f"{i * step_s:g}s") for i in range(count)
    ]
    result.append(Text(" " * label + _ruler(ticks, columns)))
    result.append(Text(" " * label) + heat_key(colour))
    return result


def _time_step_s(span_s: float, columns: int) -> float:
    """Return the round number of seconds at which labels have room."""
    least = span_s * 10 / columns
    step = 0.1
    while step < least:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    return step


def _ruler(ticks: Sequence[tuple[int, str]], columns: int) -> str:
    """Return a line with texts at their columns; what has no room is left out."""
    line = ""
    for column, text in ticks:
        if (column == 0 or column > len(line)) and 0 <= column <= columns - len(text):
            line = line.ljust(column) + text
    return line
