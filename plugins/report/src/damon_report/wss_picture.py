"""The picture of ``damon report wss``: working set and idle memory over time."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from damon_core import format_size
from damon_report.figures import short_duration
from damon_report.naming import FloatColumn, base_name, printable, shortened
from damon_report.output import picture_file
from damon_report.record import Record
from damon_report.times import local_time, time_ticks
from damon_report.working_sets import Series

_DPI = 150
#: Maximum number of layers, for the largest parts; the others are drawn as one layer.
_MOST = 7
_CONTEXTS = 4
#: Maximum characters of a name.
_NAME = 28
_TIMES = 8
#: No layers are drawn if the largest together are less than this share of the working set.
_NOTABLE = 0.2

#: Paul Tol's "bright" and "muted" colours, distinguishable for colour-blind people too.
_COLOURS = (
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
class _Style:
    back: str
    front: str
    dim: str
    grid: str
    used: str
    idle: str


_LIGHT = _Style("#ffffff", "#1b1f24", "#667080", "#e4e7eb", "#c2410c", "#9db4cc")
_DARK = _Style("#111418", "#e8eaed", "#98a2b0", "#2b313a", "#fb8c4a", "#4d6784")


def draw(record: Record, found: Iterable[Series], path: Path, *, dark: bool) -> None:
    """Draw working sets to a file; a new one is for its owner alone.

    Raises:
        InputError: The file can't be written.
    """
    style = _DARK if dark else _LIGHT
    wholes = sorted((each for each in found if not each.name), key=lambda each: -each.byte_time)
    drawn = wholes[:_CONTEXTS]
    figure = Figure(figsize=(10, 0.5 + 5 * len(drawn)), dpi=_DPI, facecolor=style.back)
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        2 * len(drawn), 1, sharex=True, squeeze=False, height_ratios=[3, 2] * len(drawn)
    )[:, 0]
    for whole, upper, lower in zip(drawn, panels[::2], panels[1::2], strict=True):
        members = [each for each in found if each.context == whole.context and each.name]
        seconds = (whole.working_set.edges_us - record.start_us) / 1e6
        _draw_working_set(upper, seconds, whole, members, style)
        _draw_memory(lower, seconds, whole, style)
        if len(drawn) > 1:
            upper.set_title(printable(whole.context), color=style.front, fontsize=11, loc="left")
    for panel in panels:
        _dress(panel, style)
    begin_us, end_us = record.span_us()
    ticks = time_ticks(end_us - begin_us, _TIMES, begin_us - record.start_us)
    panels[-1].set_xticks([us / 1e6 for us, _ in ticks], [label for _, label in ticks])
    panels[-1].set_xlabel(
        f"since the start of the record, {local_time(record.start_us)}", color=style.dim
    )
    left_out = f", the largest {len(drawn)} of {len(wholes)} contexts" if wholes[_CONTEXTS:] else ""
    figure.suptitle(
        f"{_what(record, found)}: working set over {short_duration(end_us - begin_us)}{left_out}",
        color=style.front,
        fontsize=13,
        x=0.01,
        ha="left",
    )
    figure.set_layout_engine("constrained")
    figure.align_ylabels()
    with picture_file(path) as file:
        figure.savefig(file, format=path.suffix[1:], facecolor=style.back)


def _what(record: Record, found: Iterable[Series]) -> str:
    names = sorted({each.name for each in found if each.name})
    what = printable(names[0]) if len(names) == 1 else Path(record.paths[-1]).name
    return f"{what} on {record.info.host}" if record.info.host else what


def _draw_working_set(
    panel: Axes, seconds: FloatColumn, whole: Series, members: Sequence[Series], style: _Style
) -> None:
    """Draw the working set; stacked by its parts if there are several."""
    middle = (seconds[:-1] + seconds[1:]) / 2
    used = whole.working_set
    ordered = sorted(members, key=lambda each: -each.byte_time)
    largest = sum(each.byte_time for each in ordered[:_MOST])
    # A few layers of hundreds of similar parts would show nothing.
    if len(ordered) > 1 and largest >= _NOTABLE * whole.byte_time:
        means = np.nan_to_num([each.working_set.mean for each in ordered])
        names = [shortened(printable(base_name(each.name)), _NAME) for each in ordered]
        if len(ordered) > _MOST + 1:
            means = np.concatenate((means[:_MOST], means[_MOST:].sum(axis=0)[np.newaxis]))
            names[_MOST:] = [f"{len(ordered) - _MOST} others"]
        layers = panel.stackplot(middle, means, colors=_COLOURS, linewidth=0)
        # The upper layer first, as in the picture.
        panel.legend(layers[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        panel.fill_between(
            middle, used.least, used.greatest, color=style.used, alpha=0.25, linewidth=0
        )
        panel.plot(middle, used.mean, color=style.used, linewidth=1.8)
        median, high = whole.sizes_bytes.percentiles([50, 95])
        texts = [f"95 %: {format_size(high)}", f"50 %: {format_size(median)}"]
        if high - median < 0.06 * whole.sizes_bytes.greatest:
            # Too close for two separate texts.
            texts = ["\n".join(texts), ""]
        for size, text in zip((high, median), texts, strict=True):
            _mark(panel, size, text, style)
    panel.set_ylabel("working set")


def _mark(panel: Axes, size: float, text: str, style: _Style) -> None:
    """Draw a line at a size, with a text at its right end."""
    panel.axhline(size, color=style.dim, linewidth=1, dashes=(4, 2))
    panel.annotate(
        text,
        (1.0, size),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=style.dim,
    )


def _draw_memory(panel: Axes, seconds: FloatColumn, whole: Series, style: _Style) -> None:
    """Draw the idle memory and all memory."""
    middle = (seconds[:-1] + seconds[1:]) / 2
    panel.fill_between(middle, whole.idle.mean, color=style.idle, linewidth=0, label="idle")
    panel.plot(middle, whole.total.mean, color=style.front, linewidth=1.2, label="all memory")
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panel.set_ylabel("idle")


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


def _dress(panel: Axes, style: _Style) -> None:
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
