"""The work of ``damon report heatmap``: which addresses were accessed when."""

import functools
from pathlib import Path

import click
from damon_cli.heat import shows_colours
from rich.console import Console
from rich.text import Text

from damon_core import InputError
from damon_report.files import HEIGHT, LEAST_HEIGHT, LEAST_WIDTH, PAGE, WIDTH
from damon_report.heatmap import terminal
from damon_report.heatmap.caption import Caption, caption
from damon_report.heatmap.export import document
from damon_report.heatmap.files import save
from damon_report.heatmap.grid import Heat, heat_of
from damon_report.heatmap.layout import Room, lay_out, select
from damon_report.heatmap.places import Survey
from damon_report.naming import printable
from damon_report.output import echo_json
from damon_report.record import Record

_JSON_WIDTH, _JSON_HEIGHT = 100, 60
_TERMINAL_HEIGHT = 40


def save_heatmap(
    record: Record, output: Path, *, width: int | None, height: int | None, dark: bool
) -> None:
    """Write the heat map of a record to a picture or a page.

    Args:
        record: The record.
        output: The file; its ending says what it is.
        width: Pixels of a picture.
        height: At most this many pixels of a picture.
        dark: Whether to draw light on dark.

    Raises:
        click.UsageError: It can't have this size.
    """
    if output.suffix == PAGE and (width or height):
        raise click.UsageError("a page adapts to its window: leave out --width and --height")
    width, height = width or WIDTH, height or HEIGHT
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        raise click.UsageError(
            f"a picture must have at least {LEAST_WIDTH} by {LEAST_HEIGHT} pixels"
        )
    save(
        functools.partial(_measure, record),
        output,
        records=record.paths,
        record_begin_us=record.start_us,
        dark=dark,
        width=width,
        height=height,
    )
    click.echo(f"wrote {output}", err=True)


def show_heatmap(record: Record, *, width: int | None, height: int | None, as_json: bool) -> None:
    """Print the heat map of a record, for people or as JSON.

    Args:
        record: The record.
        width: Characters of a line, or columns of the JSON.
        height: At most this many lines of heat, or rows.
        as_json: Whether to print JSON.
    """
    if as_json:
        room = Room(height or _JSON_HEIGHT, 1, 0)
        heat, _ = _measure(record, room, width or _JSON_WIDTH)
        echo_json("heatmap", {**record.json(), **document(heat)})
    else:
        _show(record, width, height)


def _measure(record: Record, room: Room, columns: int) -> tuple[Heat, Caption]:
    """Read a record twice: first for the places, then for their heat."""
    begin_us, end_us = record.span_us()
    survey = Survey(end_us - begin_us)
    for snapshot in record.snapshots(pages=True):
        survey.add(snapshot)
    places = survey.places()
    if record.selection.addresses is not None:
        places = select(places, *record.selection.addresses)
    if not places:
        raise InputError(f"'{record.name}' has no memory to show: it has no regions")
    heat = heat_of(record.snapshots(pages=True), lay_out(places, room), begin_us, end_us, columns)
    return heat, caption(heat, record.info, survey.aggregations)


def _show(record: Record, width: int | None, height: int | None) -> None:
    console = Console(highlight=False, emoji=False, width=width)
    colour = shows_colours(console)
    label = terminal.label_width(console.width)
    lines = height or (
        min(_TERMINAL_HEIGHT, max(console.height - 8, 10))
        if console.is_terminal
        else _TERMINAL_HEIGHT
    )
    heat, above = _measure(record, terminal.room(lines, colour), max(console.width - label, 1))
    ascii_only = not console.encoding.startswith("utf")
    console.print(Text(printable(above.title), "bold"))
    for line in above.lines:
        console.print(Text(printable(line)))
    for text in (
        *terminal.lines(heat, label=label, colour=colour, words=above.words),
        terminal.working_set_line(heat, label=label, ascii_only=ascii_only, words=above.words),
        terminal.key(heat, colour),
    ):
        console.print(text, crop=False, no_wrap=True, overflow="ignore")
