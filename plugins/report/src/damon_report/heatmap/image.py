"""Heat maps as pictures, PNG or SVG, in a light and a dark style."""

from typing import IO, TYPE_CHECKING

import numpy as np
from attrs import frozen
from damon_cli.heat import heat_colour

from damon_core import format_size
from damon_report.heatmap.caption import Caption
from damon_report.heatmap.grid import Heat
from damon_report.heatmap.layout import Band, Group, Room
from damon_report.heatmap.scales import (
    GAMMA,
    TICKS,
    mean,
    shown,
)
from damon_report.naming import base_name, shortened
from damon_report.times import time_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: Pixels in an inch; sizes of texts are in points, 72 an inch.
_DPI = 160
_FONT = 7.0
_LINE = 17
#: Pixels at the sides of the heat: names and sizes, addresses.
_LEFT, _RIGHT = 330, 190
#: Pixels on the left for names.
_NAME = 205
_TOP, _BOTTOM, _BETWEEN, _WORKING_SET = 112, 84, 26, 110
_GAP = 5
#: Pixels above the name of a group that isn't the first, and below each.
_ABOVE, _BELOW = 10, 3


@frozen
class Style:
    """The colours of a picture."""

    background: str
    text: str
    faint: str
    not_seen: str
    line: str


LIGHT = Style("#ffffff", "#16181d", "#6a6f7a", "#e3e5ea", "#b5325a")
DARK = Style("#1f2129", "#eceef2", "#a3a8b4", "#3d414c", "#fb9b06")


def room(height: int) -> Room:
    """Return the room for bands in a picture with this maximum height in pixels."""
    heat = max(height - _TOP - _BOTTOM - _BETWEEN - _WORKING_SET, 4 * _LINE)
    # Few enough that half of the room is left for giving larger bands more height.
    bands = max(int(heat / (2 * _LINE + _GAP)), 2)
    return Room(heat - _GAP * bands, _LINE, _heading(first=False), bands=bands)


def _heading(first: bool) -> int:
    return _LINE + _BELOW + (0 if first else _ABOVE)


def columns(width: int) -> int:
    """Return the number of pieces of time in a picture with this width in pixels."""
    return max(width - _LEFT - _RIGHT, 50)


def draw(
    heat: Heat, caption: Caption, *, width: int, dark: bool, file: IO[bytes], kind: str
) -> None:
    """Draw a heat map with its working set below.

    Args:
        heat: The cells; of a layout made for `room`, with `columns` columns.
        caption: The caption above the heat map.
        width: Width in pixels; the height follows from the layout.
        dark: Whether to draw light on dark.
        file: The file to write to.
        kind: ``png`` or ``svg``.

    Raises:
        OSError: The file can't be written.
    """
    # Imported here: matplotlib takes long to import, and only pictures need it.
    from matplotlib import rc_context  # noqa: PLC0415

    style = DARK if dark else LIGHT
    with rc_context({"font.size": _FONT, "font.family": "DejaVu Sans", "svg.hashsalt": "damon"}):
        _figure(heat, caption, width, style).savefig(
            file,
            format=kind,
            dpi=_DPI,
            facecolor=style.background,
            metadata={"Date": None} if kind == "svg" else None,
        )


def _figure(heat: Heat, caption: Caption, width: int, style: Style) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415

    heat_height = _heat_height(heat)
    height = _TOP + heat_height + _BETWEEN + _WORKING_SET + _BOTTOM
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)

    def axes(top: float, size: float) -> "Axes":
        made = figure.add_axes(
            (
                _LEFT / width,
                1 - (top + size) / height,
                columns(width) / width,
                size / height,
            )
        )
        made.set_facecolor(style.background)
        made.set_xlim(0, heat.columns)
        for spine in made.spines.values():
            spine.set_visible(False)
        made.tick_params(colors=style.text, length=3, width=0.6, labelsize=_FONT)
        return made

    cells = axes(_TOP, heat_height)
    _draw_heat(cells, heat, heat_height, style)
    below = axes(_TOP + heat_height + _BETWEEN, _WORKING_SET)
    _draw_working_set(below, heat, columns(width), style)
    _write_caption(figure, caption, width, height, style)
    _draw_scale(figure, width, height, style)
    figure.text(
        _LEFT / width,
        10 / height,
        "Bands with more memory are higher, but not in proportion; how much it was at most is "
        "beside the names. Unmapped addresses between bands are left out."
        + (" Grey: no data." if np.isnan(heat.frequency).any() else ""),
        color=style.faint,
        fontsize=_FONT - 1,
        va="bottom",
    )
    return figure


def _colours() -> "Colormap":
    """Return the colours of a terminal's heat maps, interpolated."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415

    return LinearSegmentedColormap.from_list(
        "heat", [heat_colour(level / 9) for level in range(10)]
    )


def _gap(band: Band) -> int:
    """Return the pixels above a band."""
    return _GAP if band.folded else 1


def _heat_height(heat: Heat) -> int:
    height = 0
    for number, group in enumerate(heat.layout.groups):
        height += _heading(number == 0) if group.name else 0
        height += sum(band.height + _gap(band) for band in group.bands)
    return height


def _draw_heat(axes: "Axes", heat: Heat, height: float, style: Style) -> None:
    colours = _colours().with_extremes(bad=style.not_seen)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.tick_params(bottom=False, labelbottom=False)
    top = row = 0
    for number, group in enumerate(heat.layout.groups):
        if group.name:
            top += _heading(number == 0)
            _write_group(axes, heat, group, row, bottom=top - _BELOW, style=style)
        for band in group.bands:
            top += _gap(band)
            bottom = top + band.height
            axes.imshow(
                shown(heat.frequency[:, row : row + band.rows]).T,
                extent=(0, heat.columns, bottom, top),
                aspect="auto",
                interpolation="nearest",
                cmap=colours,
                vmin=0,
                vmax=1,
            )
            _write_band(axes, band, style, top=top, bottom=bottom, right=heat.columns)
            top = bottom
            row += band.rows
    axes.set_xlim(0, heat.columns)
    axes.set_ylim(height, 0)


def _write_group(
    axes: "Axes", heat: Heat, group: Group, row: int, *, bottom: float, style: Style
) -> None:
    rows = sum(band.rows for band in group.bands)
    hot, total = mean(heat.working_set_bytes(row, rows)), mean(heat.total_bytes(row, rows))
    axes.annotate(
        shortened(group.name, 60),
        (0, bottom),
        color=style.text,
        weight="bold",
        va="bottom",
        annotation_clip=False,
    )
    axes.annotate(
        f"working set {format_size(hot)} of {format_size(total)} in memory, on average",
        (heat.columns, bottom),
        color=style.faint,
        va="bottom",
        ha="right",
        annotation_clip=False,
    )


def _write_band(
    axes: "Axes", band: Band, style: Style, *, top: float, bottom: float, right: int
) -> None:
    def write(text: str, x: float, y: float, shift: float, ha: str, **looks: object) -> None:
        axes.annotate(
            text,
            (x, y),
            xytext=(shift, 0),
            textcoords="offset points",
            ha=ha,
            annotation_clip=False,
            **{"fontsize": _FONT, **looks},  # type: ignore[arg-type]
        )

    middle = (top + bottom) / 2
    name = _fitting(base_name(band.name))
    colour = style.faint if band.rest else style.text
    points = 72 / _DPI
    write(name, 0, middle, (24 - _LEFT) * points, "left", color=colour, va="center_baseline")
    size = format_size(band.resident_bytes)
    write(size, 0, middle, -4, "right", color=style.faint, va="center_baseline")
    if len(band.parts) > 1:
        return
    looks = {"color": style.faint, "family": "DejaVu Sans Mono", "fontsize": _FONT - 1}
    part = band.parts[0]
    write(f"{part.start:x}", right, bottom, 4, "left", va="bottom", **looks)
    if band.folded and bottom - top >= 2 * _LINE:
        write(f"{part.end:x}", right, top, 4, "left", va="top", **looks)


def _fitting(name: str) -> str:
    """Return a name, shortened to the width available for names: letters differ in width."""
    from matplotlib.textpath import TextPath  # noqa: PLC0415

    if not name.strip():
        return name  # an empty text has no extents
    most = len(name)
    # A $ in a name must not start a mathematical formula.
    while (
        TextPath((0, 0), text := shortened(name, most).replace("$", r"\$"), size=_FONT)
        .get_extents()
        .width
        > _NAME * 72 / _DPI
    ):
        most -= 1
    return text


def _draw_working_set(axes: "Axes", heat: Heat, width: int, style: Style) -> None:
    sizes = heat.working_set_bytes()
    times = np.arange(heat.columns + 1)
    # Steps: each column's size lasts as long as the column.
    steps = np.append(sizes, sizes[-1])
    axes.fill_between(times, steps, step="post", color=style.line, alpha=0.25, linewidth=0)
    axes.step(times, steps, where="post", color=style.line, linewidth=1.1)
    known = sizes[~np.isnan(sizes)]
    highest = float(known.max()) if len(known) else 0.0
    limit = _round_up(max(highest, 1.0) * 1.02)
    axes.set_ylim(0, limit)
    axes.set_yticks([0, limit / 2, limit], ["0", _short(limit / 2), _short(limit)])
    axes.grid(axis="y", color=style.faint, alpha=0.35, linewidth=0.5)
    axes.annotate(
        "Working set",
        (0, 0.5),
        xycoords="axes fraction",
        xytext=((24 - _LEFT) * 72 / _DPI, 0),
        textcoords="offset points",
        color=style.text,
        va="center",
        annotation_clip=False,
    )
    ticks = time_ticks(heat.span_us, max(width // 90, 2))
    axes.set_xticks(
        [us / heat.span_us * heat.columns for us, _ in ticks], [label for _, label in ticks]
    )
    axes.set_xlabel("time since the start", color=style.text)


def _short(size_bytes: float) -> str:
    return format_size(size_bytes).replace(".0 ", " ")


def _round_up(size_bytes: float) -> float:
    """Return the next round size: 1, 2, 3, 4, 6, 8, 10 … of a binary unit."""
    unit = 1.0
    while size_bytes / unit >= 1000:
        unit *= 1024
    for power in (1.0, 10.0, 100.0):
        for number in (1, 2, 3, 4, 6, 8):
            if size_bytes <= number * power * unit:
                return number * power * unit
    return 1024 * unit


def _write_caption(
    figure: "Figure", caption: Caption, width: int, height: float, style: Style
) -> None:
    left = 24 / width
    figure.text(
        left,
        1 - 18 / height,
        shortened(caption.title, 64),
        color=style.text,
        fontsize=_FONT + 4,
        weight="bold",
        va="top",
    )
    for number, line in enumerate(caption.lines):
        figure.text(left, 1 - (54 + 21 * number) / height, line, color=style.faint, va="top")


def _draw_scale(figure: "Figure", width: int, height: float, style: Style) -> None:
    size, thick = 300, 13
    axes = figure.add_axes(
        ((width - _RIGHT - size) / width, 1 - 52 / height, size / width, thick / height)
    )
    axes.imshow(
        np.linspace(0, 1, 256)[np.newaxis], aspect="auto", extent=(0, 1, 0, 1), cmap=_colours()
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([tick**GAMMA for tick in TICKS], [f"{tick:.0%}" for tick in TICKS])
    axes.tick_params(colors=style.text, length=2, width=0.6, labelsize=_FONT - 1, pad=1)
    axes.set_title("share of checks with an access", color=style.text, fontsize=_FONT, pad=3)
