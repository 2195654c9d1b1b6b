"""Heat maps as files: pictures, and the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from damon_report.files import HEIGHT, PAGE, WIDTH
from damon_report.heatmap import image
from damon_report.heatmap.caption import Caption
from damon_report.heatmap.grid import Heat
from damon_report.heatmap.layout import Room
from damon_report.heatmap.page import COLUMNS, ROOM, page
from damon_report.output import picture_file


def save(
    measure: Callable[[Room, int], tuple[Heat, Caption]],
    path: Path,
    *,
    records: Sequence[Path | str],
    record_begin_us: int,
    dark: bool = False,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> None:
    """Write a heat map to a file in the format of its ending: ``.png``, ``.svg`` or ``.html``.

    Args:
        measure: Returns the heat map for a room and a number of columns, and its caption.
        path: The file; a new one is for its owner alone, an existing one is replaced.
        records: The files of the record, for the commands that a page shows.
        record_begin_us: When the record begins, Unix microseconds.
        dark: Draw light on dark; a page starts dark even if the browser prefers light.
        width: Width of a picture in pixels.
        height: Maximum height of a picture in pixels.

    Raises:
        InputError: The file can't be written.
    """
    if path.suffix == PAGE:
        heat, caption = measure(ROOM, COLUMNS)
        text = page(heat, caption, records, record_begin_us, dark=dark)
        with picture_file(path) as file:
            file.write(text.encode())
    else:
        heat, caption = measure(image.room(width, height), image.columns(width))
        with picture_file(path) as file:
            image.draw(heat, caption, width=width, dark=dark, file=file, kind=path.suffix[1:])
