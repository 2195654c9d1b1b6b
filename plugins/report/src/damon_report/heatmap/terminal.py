"""Heat maps on a terminal: coloured half blocks, or shades of characters."""

from collections.abc import Sequence

import numpy as np
from damon_cli.heat import block_lines, heat_key, shade_lines
from rich.text import Text

from damon_core import format_size
from damon_report.heatmap.folding import FloatGrid
from damon_report.heatmap.grid import Heat
from damon_report.heatmap.layout import Band, Room
from damon_report.heatmap.scales import mean, shown
from damon_report.naming import base_name, printable, shortened
from damon_report.timeline import coarser, sparkline
from damon_report.times import time_ticks
from damon_report.words import Words

#: Characters before the heat.
_LABEL, _LEAST_HEAT = 30, 20
_CHARACTERS_PER_TICK = 10
#: Characters of an address of a process.
_ADDRESS = 12


def label_width(width: int) -> int:
    """Return the characters for names and sizes in a line of `width` characters."""
    return min(_LABEL, max(width - _LEAST_HEAT, 0), max(width // 3, _ADDRESS + 2))


def room(height: int, colour: bool) -> Room:
    """Return the room for bands in this number of lines."""
    return Room(max(height, 2), 1, 1, rows=2 if colour else 1, bands=max(height // 2, 2))


def lines(
    heat: Heat,
    *,
    label: int,
    colour: bool,
    words: Words = Words(),  # noqa: B008  # frozen
    marks: Sequence[tuple[int, str]] = (),
) -> list[Text]:
    """Return the lines of a heat map with its labels and its scale of time.

    Args:
        heat: The cells; a column is a character wide.
        label: Number of characters before the heat.
        colour: Whether to use colours instead of characters.
        words: What accesses are called.
        marks: Moments (Unix microseconds) with texts to write above them.
    """
    result = []
    if marks:
        places = [(_column(time_us - heat.begin_us, heat), text) for time_us, text in marks]
        result.append(Text(" " * label + _ruler(places, heat.columns)))
    row = 0
    for group in heat.layout.groups:
        rows = sum(band.rows for band in group.bands)
        if group.name:
            result.append(_heading(group.name, heat, row, rows, label=label, words=words))
        for band in group.bands:
            cells = shown(heat.frequency[:, row : row + band.rows]).T
            left = _labels(band, label)
            result += [
                Text(before) + line
                for before, line in zip(left, _cells(cells, band.height, colour), strict=True)
            ]
            row += band.rows
    ticks = time_ticks(heat.span_us, max(heat.columns // _CHARACTERS_PER_TICK, 2))
    places = [(_column(us, heat), text) for us, text in ticks]
    result.append(Text(" " * label + _ruler(places, heat.columns)))
    return result


def key(heat: Heat, colour: bool) -> Text:
    """Return the line that explains the colours or shades."""
    line = heat_key(colour) + Text(", halfway: in 25%")
    if np.isnan(heat.frequency).any():
        line.append(", grey: no data" if colour else ", ?: no data")
    return line


def working_set_line(
    heat: Heat,
    *,
    label: int,
    ascii_only: bool,
    words: Words = Words(),  # noqa: B008  # frozen
) -> Text:
    """Return a line with the working set over time, and its largest size."""
    sizes = heat.working_set_bytes()
    largest = float(np.nanmax(sizes, initial=0.0))
    before = f"{words.working_set} <= {format_size(largest)} "
    if len(before) > label:
        before = f"<= {format_size(largest)} "
    return Text(f"{before:<{label}}") + sparkline(
        coarser(sizes, heat.columns), ascii_only=ascii_only
    )


def _column(us: int, heat: Heat) -> int:
    return round(max(us, 0) / heat.span_us * heat.columns)


def _cells(cells: FloatGrid, height: int, colour: bool) -> list[Text]:
    """Return the lines of a band, with rows of cells repeated to fill its height."""
    count = 2 * height if colour else height
    stretched = cells[np.arange(count) * len(cells) // count]
    return block_lines(stretched) if colour else [Text(line) for line in shade_lines(stretched)]


def _labels(band: Band, label: int) -> list[str]:
    """Return the label before each line of a band: its name, and the most that was in memory."""
    size = format_size(band.resident_bytes)
    name = shortened(printable(base_name(band.name)), max(label - len(size) - 2, 1))
    first = f"{name:<{max(label - 1 - len(size), 0)}}{size} "
    if band.height == 1:
        return [first]
    address = f" {band.parts[0].start:0{_ADDRESS}x}" if len(band.parts) == 1 else ""
    return [first, *[" " * label] * (band.height - 2), f"{address:<{label}}"]


def _heading(name: str, heat: Heat, row: int, rows: int, *, label: int, words: Words) -> Text:
    hot, total = mean(heat.working_set_bytes(row, rows)), mean(heat.total_bytes(row, rows))
    sizes = f"{words.working_set} {format_size(hot)} of {format_size(total)}"
    width = label + heat.columns
    left = shortened(printable(name), max(width - len(sizes) - 2, 8))
    return Text.assemble((left, "bold"), f"{sizes:>{max(width - len(left), 0)}}")


def _ruler(ticks: Sequence[tuple[int, str]], columns: int) -> str:
    """Return a line with texts at their columns; texts without room are left out."""
    line = ""
    for column, text in ticks:
        if (column == 0 or column > len(line)) and 0 <= column <= columns - len(text):
            line = line.ljust(column) + text
    return line
