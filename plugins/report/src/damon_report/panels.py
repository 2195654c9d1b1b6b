"""Panels of memory over time, one below the other: what pictures of reports have in common."""

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from damon_core import format_size
from damon_report.naming import FloatColumn
from damon_report.output import picture_file
from damon_report.record import Record
from damon_report.timeline import Timeline
from damon_report.times import local_time, time_ticks

_DPI = 150
_TIMES = 8

#: Paul Tol's "bright" and "muted" colours, distinguishable for colour-blind people too.
COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#ee8866",
    "#8c8c8c",
)


@frozen
class Style:
    """The colours of a picture."""

    back: str
    front: str
    dim: str
    grid: str
    used: str
    idle: str


_LIGHT = Style("#ffffff", "#1b1f24", "#667080", "#e4e7eb", "#c2410c", "#9db4cc")
_DARK = Style("#111418", "#e8eaed", "#98a2b0", "#2b313a", "#fb8c4a", "#4d6784")


class Panels:
    """A picture of panels with one axis of time.

    Args:
        ratios: The height of each panel, in relation to the others.
        inches: The height of all of them.
        dark: Whether to draw light on dark.

    Attributes:
        style: The colours.
        axes: The panels, from the top.
    """

    def __init__(self, ratios: Sequence[float], inches: float, *, dark: bool) -> None:
        self.style = _DARK if dark else _LIGHT
        self._figure = Figure(figsize=(10, 0.5 + inches), dpi=_DPI, facecolor=self.style.back)
        FigureCanvasAgg(self._figure)
        panels = self._figure.subplots(
            len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios
        )
        self.axes: list[Axes] = list(panels[:, 0])

    def title(self, panel: Axes, text: str) -> None:
        """Write a title above a panel."""
        panel.set_title(text, color=self.style.front, fontsize=11, loc="left")

    def save(self, record: Record, title: str, path: Path) -> None:
        """Write the picture to a file; a new one is for its owner alone.

        Raises:
            InputError: The file can't be written.
        """
        style, figure = self.style, self._figure
        for panel in self.axes:
            _dress(panel, style)
        begin_us, end_us = record.span_us()
        ticks = time_ticks(end_us - begin_us, _TIMES, begin_us - record.start_us)
        last = self.axes[-1]
        last.set_xticks([us / 1e6 for us, _ in ticks], [label for _, label in ticks])
        last.set_xlabel(
            f"since the start of the record, {local_time(record.start_us)}", color=style.dim
        )
        figure.suptitle(title, color=style.front, fontsize=13, x=0.01, ha="left")
        figure.set_layout_engine("constrained")
        figure.align_ylabels()
        with picture_file(path) as file:
            figure.savefig(file, format=path.suffix[1:], facecolor=style.back)


def middle_s(line: Timeline, record: Record) -> FloatColumn:
    """Return the middle of each piece of a line, in seconds since the start of the record."""
    seconds = (line.edges_us - record.start_us) / 1e6
    middle: FloatColumn = (seconds[:-1] + seconds[1:]) / 2
    return middle


def legend_beside(panel: Axes, *drawn: Sequence[object]) -> None:
    """Write a legend to the right of a panel: of all in it, or of what is given, and its names."""
    panel.legend(*drawn, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _size_ticks(greatest_bytes: float) -> list[int]:
    """Return a few sizes, round in binary units, up to the greatest."""
    unit = 1
    while greatest_bytes >= 1024 * unit:
        unit *= 1024
    steps = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    step = next((each * unit for each in steps if greatest_bytes / (each * unit) <= 6), unit)
    if step == unit and unit > 1 and greatest_bytes < 2 * unit:
        step = unit // 4
    return list(range(0, int(greatest_bytes) + 1, step))


def _dress(panel: Axes, style: Style) -> None:
    panel.set_facecolor(style.back)
    panel.set_ylim(bottom=0)
    panel.margins(x=0)
    panel.grid(axis="y", color=style.grid, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(colors=style.dim, labelcolor=style.dim, length=3)
    panel.yaxis.label.set_color(style.front)
    panel.yaxis.set_major_locator(FixedLocator(_size_ticks(panel.get_ylim()[1])))
    panel.yaxis.set_major_formatter(
        FuncFormatter(lambda size, _: format_size(size).replace(".0 ", " "))
    )
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(style.grid)
    legend = panel.get_legend()
    if legend is not None:
        legend.set_frame_on(False)
        for text in legend.get_texts():
            text.set_color(style.front)
            text.set_fontsize(9)
