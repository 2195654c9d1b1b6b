"""The picture of ``damon report kinds``: kinds of memory in use and idle, over time."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from damon_core import SWAPPED
from damon_report.figures import percent, short_duration
from damon_report.groups import By
from damon_report.kinds_over_time import KindsSeries, kinds_over_time
from damon_report.naming import FloatColumn, base_name, printable, shortened
from damon_report.output import check_picture
from damon_report.panels import COLOURS, Panels, Style, legend_beside, middle_s
from damon_report.record import Record
from damon_report.timeline import Timeline
from damon_report.words import Words

_PIECES = 600
#: How many contexts or parts are drawn at most.
_PARTS = 4
_NAME = 60

#: The kinds of which all memory in use consists, with their colours.
_WHAT = {"anonymous": COLOURS[0], "shmem": COLOURS[2], "file": COLOURS[3]}
_UNKNOWN = "not known"
#: The others, which overlap with these; then come nodes.
_BESIDES = {"huge": COLOURS[1], "dirty": COLOURS[5], "locked": COLOURS[6]}
_NODES = (COLOURS[4], COLOURS[0], COLOURS[2], COLOURS[3])
#: How much of its colour what is idle has; the rest is that of the background.
_PALE = 0.4
#: Less than this share of the memory isn't drawn as a layer.
_NOTABLE = 0.001


def draw_kinds(record: Record, *, by: By, at_least_us: int, output: Path, dark: bool) -> None:
    """Draw the kinds of memory of a record, over time, to a picture.

    Args:
        record: The record.
        by: What has memory.
        at_least_us: For how long memory must have been idle to count as that; 0: for the
            aggregation.
        output: The picture, ``.png`` or ``.svg``; a new one is for its owner alone.
        dark: Whether to draw on black.

    Raises:
        InputError: The record doesn't know kinds, or the picture can't be written.
    """
    check_picture(output)
    drawn, count = kinds_over_time(record, by, at_least_us, pieces=_PIECES, most=_PARTS)
    panels = Panels([3, 2] * len(drawn), 5 * len(drawn), dark=dark)
    words = Words.of(record.info)
    idle = f"{words.idle} {short_duration(at_least_us)}" if at_least_us else words.idle
    for series, upper, lower in zip(drawn, panels.axes[::2], panels.axes[1::2], strict=True):
        middle = middle_s(series.total[""], record)
        _draw_memory(upper, middle, series, idle, panels.style)
        _draw_idle(lower, middle, series, panels.style)
        upper.set_ylabel("in memory")
        lower.set_ylabel(idle)
        if len(drawn) > 1:
            panels.title(upper, _title(series, by))
    begin_us, end_us = record.span_us()
    name = Path(record.paths[-1]).name
    what = f"{name} on {record.info.host}" if record.info.host else name
    left_out = f", the largest {len(drawn)} of {count}" if count > len(drawn) else ""
    span = short_duration(end_us - begin_us)
    panels.save(record, f"{what}: kinds of memory over {span}{left_out}", output)


def _title(series: KindsSeries, by: By) -> str:
    context, name = printable(series.last.context), printable(base_name(series.last.name))
    if by == "context":
        return context
    return f"{context}: {shortened(name, _NAME) or '(all)'}"


def _draw_memory(
    panel: Axes, middle: FloatColumn, series: KindsSeries, idle_name: str, style: Style
) -> None:
    """Draw what is in memory, in use below and idle above, by what it is; and what is swapped."""
    total, idle = _layers(series.total), _layers(series.idle)
    used = {kind: np.maximum(size - idle[kind], 0) for kind, size in total.items()}
    colours = {**_WHAT, _UNKNOWN: style.dim}
    shown = [kind for kind in total if _notable(total[kind], series)] or list(total)
    layers = [(f"{kind}, in use", used[kind], colours[kind]) for kind in shown]
    layers += [(f"{kind}, {idle_name}", idle[kind], _pale(colours[kind], style)) for kind in shown]
    swapped = _mean(series.total.get(SWAPPED))
    if swapped is not None and swapped.any():
        layers.append((SWAPPED, swapped, style.grid))
    names, sizes, faces = zip(*layers, strict=True)
    drawn = panel.stackplot(middle, np.array(sizes), colors=faces, linewidth=0)
    if names[-1] == SWAPPED:
        drawn[-1].set(hatch="///", edgecolor=style.dim)
    besides = {kind: kind for kind in _BESIDES}
    lines = _draw_lines(panel, middle, series.total, _BESIDES, besides)
    # The upper layer first, as in the picture.
    legend_beside(
        panel,
        [*drawn[::-1], *lines],
        [*names[::-1], *(str(line.get_label()) for line in lines)],
    )


def _layers(lines: dict[str, Timeline]) -> dict[str, FloatColumn]:
    """Return what all memory consists of, and what isn't known of it."""
    whole = _mean(lines[""])
    assert whole is not None
    known = {kind: _mean(lines.get(kind)) for kind in _WHAT}
    found = {kind: size for kind, size in known.items() if size is not None}
    rest: FloatColumn = np.maximum(whole - np.sum([*found.values(), 0 * whole], axis=0), 0)
    return {**found, _UNKNOWN: rest}


def _mean(line: Timeline | None) -> FloatColumn | None:
    """Return the means of a line; 0 where nothing is known."""
    return None if line is None else np.nan_to_num(line.mean)


def _notable(sizes: FloatColumn, series: KindsSeries) -> bool:
    whole = _mean(series.total[""])
    assert whole is not None
    return bool(sizes.sum() > _NOTABLE * whole.sum())


def _pale(colour: str, style: Style) -> str:
    front, back = to_rgb(colour), to_rgb(style.back)
    red, green, blue = (
        _PALE * of + (1 - _PALE) * behind for of, behind in zip(front, back, strict=True)
    )
    return to_hex((red, green, blue))


def _draw_idle(panel: Axes, middle: FloatColumn, series: KindsSeries, style: Style) -> None:
    """Draw all that is idle, and how much of it is of kinds that overlap."""
    panel.fill_between(middle, series.idle[""].mean, color=style.grid, linewidth=0, label="all")
    nodes = sorted(
        (kind for kind in series.idle if kind not in {"", *_WHAT, *_BESIDES}),
        key=lambda kind: (len(kind), kind),
    )
    # On a machine with one node all is on it.
    colours = {**_BESIDES, **dict(zip(nodes if len(nodes) > 1 else (), _NODES, strict=False))}
    idle = {each.kind: each.idle_bytes or 0 for each in series.last.kinds}
    names = {
        kind: f"{kind}, {percent(idle.get(kind, 0) / idle[''])} at the end" if idle[""] else kind
        for kind in colours
    }
    _draw_lines(panel, middle, series.idle, colours, names)
    legend_beside(panel)


def _draw_lines(
    panel: Axes,
    middle: FloatColumn,
    lines: Mapping[str, Timeline],
    colours: Mapping[str, str],
    names: Mapping[str, str],
) -> list[Line2D]:
    """Draw how much there is of kinds that overlap, if there is any."""
    drawn: list[Line2D] = []
    for number, kind in enumerate(each for each in colours if each in lines):
        mean = lines[kind].mean
        if np.nansum(mean):
            # Lines may lie on one another.
            dashes = (0, (4, number))
            drawn += panel.plot(
                middle, mean, color=colours[kind], linewidth=1.8, ls=dashes, label=names[kind]
            )
    return drawn
