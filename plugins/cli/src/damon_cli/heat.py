"""Heat, the access frequency of places at times, as text: in colours or in shades of characters."""

import functools
import itertools

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.style import Style
from rich.text import Text

__all__ = ["SHADES", "block_lines", "heat_colour", "heat_key", "shade_lines", "shows_colours"]

#: Rows of heat; 0.0 never to 1.0 always accessed, NaN not seen.
Grid = npt.NDArray[np.float64]

SHADES = " .:-=+*#%@"
NOT_SEEN = "?"
NOT_SEEN_COLOUR = "#808080"

#: From never to always accessed. Lightness rises all the way, so that the order is seen
#: without colour vision and in print.
PALETTE = (
    (16, 14, 34),
    (48, 16, 82),
    (90, 22, 105),
    (132, 32, 107),
    (174, 48, 91),
    (212, 72, 66),
    (238, 106, 36),
    (251, 155, 6),
    (247, 204, 60),
    (252, 255, 164),
)


def shows_colours(console: Console) -> bool:
    """Return whether coloured half blocks can be seen on a console."""
    rich_colours = console.color_system in ("256", "truecolor") and not console.no_color
    return rich_colours and console.encoding.startswith("utf")


def shade_lines(grid: Grid, not_seen: str = NOT_SEEN) -> list[str]:
    """Return one line of characters for each row of the grid; `not_seen` stands for NaN."""
    characters = SHADES + not_seen
    return ["".join(characters[level] for level in row) for row in _levels(grid).tolist()]


def block_lines(grid: Grid, not_seen: str = NOT_SEEN_COLOUR) -> list[Text]:
    """Return one line of coloured half blocks for each two rows; `not_seen` stands for NaN."""
    colours = [*map(_hexadecimal, PALETTE), not_seen]
    rows = [[colours[level] for level in row] for row in _levels(grid).tolist()]
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        line = Text()
        for pair, cells in itertools.groupby(zip(upper, lower, strict=True)):
            line.append("▀" * len(list(cells)), _style(*pair))
        lines.append(line)
    return lines


@functools.cache  # for each two colours of the palette
def _style(colour: str, background: str) -> Style:
    return Style(color=colour, bgcolor=background)


def heat_colour(heat: float) -> str:
    """Return the colour of a heat, as ``#rrggbb``."""
    return NOT_SEEN_COLOUR if np.isnan(heat) else _hexadecimal(PALETTE[int(_levels(heat))])


def heat_key(colour: bool) -> Text:
    """Return the line that says what the colours or shades mean."""
    scale = Text()
    for level in range(10):
        if colour:
            scale.append("█", Style(color=heat_colour(level / 9)))
        else:
            scale.append(SHADES[level])
    left, right = ("", "") if colour else ("[", "]")
    return Text(f"never accessed {left}") + scale + Text(f"{right} in every check")


def _levels(heat: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return which of ten levels heats are, 10 for NaN; only what was never accessed is level 0."""
    heats = np.asarray(heat, np.float64)
    seen = np.nan_to_num(heats)
    levels = np.where(seen > 0, np.clip(np.rint(seen * 9), 1, 9), 0)
    return np.where(np.isnan(heats), len(PALETTE), levels).astype(np.int64)


def _hexadecimal(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
