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
from damon_report.words import Words, capitalized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: Pixels in an inch; sizes of texts are in points, 72 an inch.
_DPI = 160
_FONT = 7.0
_FAMILY = "DejaVu Sans"
_LINE = 17
#: Pixels at the sides of the heat, at least and at most: names and sizes, addresses.
_LEFT, _RIGHT = (220, 330), (120, 190)
#: Pixels on the left for sizes.
_SIZE = 125
#: Pixels beside all texts, on the left and on the right.
_MARGIN = 24
_TITLE, _CAPTION_LINE, _NOTE_LINE = 54, 21, 16
_BELOW_CAPTION, _BOTTOM, _BETWEEN, _WORKING_SET = 16, 84, 26, 110
#: Pixels of the scale: its bar, and all of it where it has lines of its own.
_SCALE, _SCALE_THICK, _SCALE_HEIGHT = 300, 13, 50
#: Below this width of a picture the scale is below the caption; in less heat texts are shorter.
_WIDE, _WIDE_HEAT = 1_300, 600
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


def room(width: int, height: int) -> Room:
    """Return the room for bands in a picture with this width and maximum height in pixels."""
    around = _Frame.of(Caption("", ("", "")), _note(no_data=True), width)
    heat = max(height - around.top - around.bottom - _BETWEEN - _WORKING_SET, 4 * _LINE)
    # Few enough that half of the room is left for giving larger bands more height.
    bands = max(int(heat / (2 * _LINE + _GAP)), 2)
    return Room(heat - _GAP * bands, _LINE, _heading(first=False), bands=bands)


def _heading(first: bool) -> int:
    return _LINE + _BELOW + (0 if first else _ABOVE)


def columns(width: int) -> int:
    """Return the number of pieces of time in a picture with this width in pixels."""
    return max(width - _left(width) - _right(width), 50)


def _left(width: int) -> int:
    least, most = _LEFT
    return max(min(round(0.22 * width), most), least)


def _right(width: int) -> int:
    least, most = _RIGHT
    return max(min(round(0.13 * width), most), least)


def _note(*, no_data: bool) -> str:
    """Return the text below a heat map."""
    return (
        "Bands with more memory are higher, but not in proportion; how much it was at most is "
        "beside the names. Unmapped addresses between bands are left out."
    ) + (" Grey: no data." if no_data else "")


@frozen
class _Frame:
    """A picture around its heat map: texts above and below, broken into lines that fit its width.

    Attributes:
        width: Pixels of the picture.
        words: What accesses are called.
        lines: Those of the caption.
        note: Those below.
        beside: Whether the scale is beside the caption, and not below it.
    """

    width: int
    words: Words
    lines: tuple[str, ...]
    note: tuple[str, ...]
    beside: bool

    @classmethod
    def of(cls, caption: Caption, note: str, width: int) -> "_Frame":
        """Return those of a caption and a note."""
        beside = width - _right(width) - _SCALE - 2 * _MARGIN
        fits = all(_width(line) <= beside - _MARGIN for line in caption.lines) and width >= _WIDE
        most = beside - _MARGIN if fits else width - 2 * _MARGIN
        return cls(
            width,
            caption.words,
            tuple(broken for line in caption.lines for broken in _broken(line, most)),
            tuple(_broken(note, width - _left(width) - _MARGIN, _FONT - 1)),
            fits,
        )

    @property
    def top(self) -> int:
        """Pixels above the heat map."""
        above = _TITLE + _CAPTION_LINE * len(self.lines) + _BELOW_CAPTION
        return above if self.beside else above + _SCALE_HEIGHT

    @property
    def bottom(self) -> int:
        """Pixels below the working set."""
        return _BOTTOM + _NOTE_LINE * (len(self.note) - 1)


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
    with rc_context({"font.size": _FONT, "font.family": _FAMILY, "svg.hashsalt": "damon"}):
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
    note = _note(no_data=bool(np.isnan(heat.frequency).any()))
    frame = _Frame.of(caption, note, width)
    left, top = _left(width), frame.top
    height = top + heat_height + _BETWEEN + _WORKING_SET + frame.bottom
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)

    def axes(above: float, size: float) -> "Axes":
        made = figure.add_axes(
            (
                left / width,
                1 - (above + size) / height,
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

    cells = axes(top, heat_height)
    _draw_heat(cells, heat, heat_height, frame, style)
    below = axes(top + heat_height + _BETWEEN, _WORKING_SET)
    _draw_working_set(below, heat, frame, style)
    _write_caption(figure, caption.title, frame, height, style)
    _draw_scale(figure, frame, height, style)
    for number, line in enumerate(reversed(frame.note)):
        figure.text(
            left / width,
            (10 + number * _NOTE_LINE) / height,
            line,
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


def _draw_heat(axes: "Axes", heat: Heat, height: float, frame: _Frame, style: Style) -> None:
    colours = _colours().with_extremes(bad=style.not_seen)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.tick_params(bottom=False, labelbottom=False)
    top = row = 0
    for number, group in enumerate(heat.layout.groups):
        if group.name:
            top += _heading(number == 0)
            _write_group(axes, heat, group, row, bottom=top - _BELOW, frame=frame, style=style)
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
            _write_band(axes, band, frame, style, top=top, bottom=bottom, right=heat.columns)
            top = bottom
            row += band.rows
    axes.set_xlim(0, heat.columns)
    axes.set_ylim(height, 0)


def _write_group(
    axes: "Axes",
    heat: Heat,
    group: Group,
    row: int,
    *,
    bottom: float,
    frame: _Frame,
    style: Style,
) -> None:
    rows = sum(band.rows for band in group.bands)
    hot, total = mean(heat.working_set_bytes(row, rows)), mean(heat.total_bytes(row, rows))
    room = columns(frame.width)
    sizes = f"{frame.words.working_set} {format_size(hot)} of {format_size(total)}"
    if room >= _WIDE_HEAT:
        sizes += " in memory, on average"
    axes.annotate(
        # Bold letters are wider.
        _fitting(group.name, (room - _width(sizes) - _MARGIN) / 1.15),
        (0, bottom),
        color=style.text,
        weight="bold",
        va="bottom",
        annotation_clip=False,
    )
    axes.annotate(
        sizes,
        (heat.columns, bottom),
        color=style.faint,
        va="bottom",
        ha="right",
        annotation_clip=False,
    )


def _write_band(
    axes: "Axes",
    band: Band,
    frame: _Frame,
    style: Style,
    *,
    top: float,
    bottom: float,
    right: int,
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
    left = _left(frame.width)
    name = _fitting(base_name(band.name), left - _SIZE)
    colour = style.faint if band.rest else style.text
    points = 72 / _DPI
    write(name, 0, middle, (_MARGIN - left) * points, "left", color=colour, va="center_baseline")
    size = format_size(band.resident_bytes)
    write(size, 0, middle, -4, "right", color=style.faint, va="center_baseline")
    if len(band.parts) > 1:
        return
    looks = {"color": style.faint, "family": "DejaVu Sans Mono", "fontsize": _FONT - 1}
    part = band.parts[0]
    write(f"{part.start:x}", right, bottom, 4, "left", va="bottom", **looks)
    if band.folded and bottom - top >= 2 * _LINE:
        write(f"{part.end:x}", right, top, 4, "left", va="top", **looks)


def _fitting(name: str, pixels: float, size: float = _FONT) -> str:
    """Return a name, shortened to a width: letters differ in width."""
    most = len(name)
    while most > 1 and _width(shortened(name, most), size) > pixels:
        most -= 1
    return _plain(shortened(name, most))


def _broken(text: str, pixels: float, size: float = _FONT) -> list[str]:
    """Return a text as lines of a width; a word that is wider has a line by itself."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and _width(longer, size) > pixels:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _plain(text: str) -> str:
    """Return a text in which a $ doesn't start a mathematical formula."""
    return text.replace("$", r"\$")


def _width(text: str, size: float = _FONT) -> float:
    """Return the width of a text in pixels; its size is in points."""
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415
    from matplotlib.textpath import text_to_path  # noqa: PLC0415

    # Of its outlines it would take fifty times as long, as their curves are computed for it.
    font = FontProperties(family=_FAMILY, size=size)
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) * _DPI / 72


def _draw_working_set(axes: "Axes", heat: Heat, frame: _Frame, style: Style) -> None:
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
        capitalized(frame.words.working_set),
        (0, 0.5),
        xycoords="axes fraction",
        xytext=((_MARGIN - _left(frame.width)) * 72 / _DPI, 0),
        textcoords="offset points",
        color=style.text,
        va="center",
        annotation_clip=False,
    )
    ticks = time_ticks(heat.span_us, max(columns(frame.width) // 90, 2))
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
    figure: "Figure", title: str, frame: _Frame, height: float, style: Style
) -> None:
    width = frame.width
    left = _MARGIN / width
    room = width - 2 * _MARGIN - (_right(width) + _SCALE if frame.beside else 0)
    figure.text(
        left,
        1 - 18 / height,
        _fitting(title, room / 1.15, _FONT + 4),
        color=style.text,
        fontsize=_FONT + 4,
        weight="bold",
        va="top",
    )
    for number, line in enumerate(frame.lines):
        top = _TITLE + _CAPTION_LINE * number
        figure.text(left, 1 - top / height, _plain(line), color=style.faint, va="top")


def _draw_scale(figure: "Figure", frame: _Frame, height: float, style: Style) -> None:
    width = frame.width
    if frame.beside:
        left, bottom = width - _right(width) - _SCALE, 52
    else:
        left, bottom = _left(width), frame.top - 32
    axes = figure.add_axes(
        (left / width, 1 - bottom / height, _SCALE / width, _SCALE_THICK / height)
    )
    axes.imshow(
        np.linspace(0, 1, 256)[np.newaxis], aspect="auto", extent=(0, 1, 0, 1), cmap=_colours()
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([tick**GAMMA for tick in TICKS], [f"{tick:.0%}" for tick in TICKS])
    axes.tick_params(colors=style.text, length=2, width=0.6, labelsize=_FONT - 1, pad=1)
    axes.set_title(
        f"share of checks with {frame.words.access}", color=style.text, fontsize=_FONT, pad=3
    )
