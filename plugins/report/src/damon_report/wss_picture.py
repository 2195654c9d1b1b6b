"""The picture of ``damon report wss``: working set and idle memory over time."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from damon_core import format_size
from damon_report.figures import short_duration
from damon_report.naming import FloatColumn, base_name, printable, shortened
from damon_report.panels import COLOURS, Panels, Style, legend_beside, middle_s
from damon_report.record import Record
from damon_report.words import Words
from damon_report.working_sets import Series

#: Maximum number of layers, for the largest parts; the others are drawn as one layer.
_MOST = 7
_CONTEXTS = 4
#: Maximum characters of a name.
_NAME = 28
#: No layers are drawn if the largest together are less than this share of the working set.
_NOTABLE = 0.2


def draw(record: Record, found: Iterable[Series], path: Path, *, dark: bool) -> None:
    """Draw working sets to a file; a new one is for its owner alone.

    Raises:
        InputError: The file can't be written.
    """
    wholes = sorted((each for each in found if not each.name), key=lambda each: -each.byte_time)
    drawn, words = wholes[:_CONTEXTS], Words.of(record.info)
    panels = Panels([3, 2] * len(drawn), 5 * len(drawn), dark=dark)
    for whole, upper, lower in zip(drawn, panels.axes[::2], panels.axes[1::2], strict=True):
        members = [each for each in found if each.context == whole.context and each.name]
        middle = middle_s(whole.working_set, record)
        _draw_working_set(upper, middle, whole, members, panels.style)
        upper.set_ylabel(words.working_set)
        _draw_memory(lower, middle, whole, words, panels.style)
        if len(drawn) > 1:
            panels.title(upper, printable(whole.context))
    begin_us, end_us = record.span_us()
    left_out = f", the largest {len(drawn)} of {len(wholes)} contexts" if wholes[_CONTEXTS:] else ""
    what = f"{_what(record, found)}: {words.working_set} over {short_duration(end_us - begin_us)}"
    panels.save(record, what + left_out, path)


def _what(record: Record, found: Iterable[Series]) -> str:
    names = sorted({each.name for each in found if each.name})
    what = printable(names[0]) if len(names) == 1 else Path(record.paths[-1]).name
    return f"{what} on {record.info.host}" if record.info.host else what


def _draw_working_set(
    panel: Axes, middle: FloatColumn, whole: Series, members: Sequence[Series], style: Style
) -> None:
    """Draw the working set; stacked by its parts if there are several."""
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
        layers = panel.stackplot(middle, means, colors=COLOURS, linewidth=0)
        # The upper layer first, as in the picture.
        legend_beside(panel, layers[::-1], names[::-1])
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


def _mark(panel: Axes, size: float, text: str, style: Style) -> None:
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


def _draw_memory(
    panel: Axes, middle: FloatColumn, whole: Series, words: Words, style: Style
) -> None:
    """Draw the idle memory and all memory."""
    panel.fill_between(middle, whole.idle.mean, color=style.idle, linewidth=0, label=words.idle)
    panel.plot(middle, whole.total.mean, color=style.front, linewidth=1.2, label="all memory")
    legend_beside(panel)
    panel.set_ylabel(words.idle)
