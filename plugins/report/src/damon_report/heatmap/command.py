"""``damon report heatmap``: which addresses were accessed when, as a picture."""

import functools
from pathlib import Path

import click
from damon_cli.heat import shows_colours
from rich.console import Console
from rich.text import Text

from damon_core import InputError
from damon_report.heatmap import terminal
from damon_report.heatmap.caption import Caption, caption
from damon_report.heatmap.export import document
from damon_report.heatmap.files import (
    HEIGHT,
    IMAGES,
    LEAST_HEIGHT,
    LEAST_WIDTH,
    PAGE,
    WIDTH,
    save,
)
from damon_report.heatmap.grid import Heat, heat_of
from damon_report.heatmap.layout import Room, lay_out, select
from damon_report.heatmap.places import Survey
from damon_report.naming import printable
from damon_report.output import echo_json
from damon_report.record import Record, record_options

_JSON_WIDTH, _JSON_HEIGHT = 100, 60
_TERMINAL_HEIGHT = 40

_EPILOG = """\b
Examples:
  damon report heatmap                         # in the terminal
  damon report heatmap -o heat.png             # a picture; also .svg
  damon report heatmap -o heat.html            # a page to zoom into, in any browser
  damon report heatmap --mapping '[heap]' --from 10s --to 20s
"""


def _known_ending(
    _context: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:
    if path is not None and path.suffix not in (*IMAGES, PAGE):
        raise click.BadParameter(
            f"'{path}' must end in .png or .svg for a picture, or .html for a page"
        )
    return path


@click.command(epilog=_EPILOG, short_help="Which addresses were accessed when, as a picture.")
@record_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_known_ending,
    help="Write a picture (.png, .svg) or a page for browsers (.html) instead.",
)
@click.option(
    "--width",
    type=click.IntRange(min=1),
    help=f"Width: pixels of a picture [default: {WIDTH}], or characters of a line.",
)
@click.option(
    "--height",
    type=click.IntRange(min=1),
    help=f"Maximum height: pixels of a picture [default: {HEIGHT}], or lines of heat.",
)
@click.option("--dark", is_flag=True, help="Draw pictures and pages light on dark.")
@click.option("--json", "as_json", is_flag=True, help="Print the cells as JSON.")
def heatmap(
    *,
    record: Record,
    output: Path | None,
    width: int | None,
    height: int | None,
    dark: bool,
    as_json: bool,
) -> None:
    """Show which addresses were accessed when: time across, addresses up.

    Each mapping is a band with its name. Unmapped addresses are left out, and heights grow
    slower than sizes, so that a small hot mapping is visible beside a huge cold one. Mappings
    without enough room for their own band share one, so nothing is left out. If there are many
    targets, each is one band, the hottest first.
    """
    if output is None:
        if dark:
            raise click.UsageError("--dark has no effect without a picture or page: add -o FILE")
        if as_json:
            room = Room(height or _JSON_HEIGHT, 1, 0)
            heat, _ = _measure(record, room, width or _JSON_WIDTH)
            echo_json("heatmap", document(heat))
        else:
            _show(record, width, height)
        return
    if as_json:
        raise click.UsageError("--json is printed to the standard output: leave out -o")
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


def _measure(record: Record, room: Room, columns: int) -> tuple[Heat, Caption]:
    """Read a record twice: first for the places, then for their heat."""
    begin_us, end_us = record.span_us()
    survey = Survey(end_us - begin_us)
    for snapshot in record.snapshots():
        survey.add(snapshot)
    places = survey.places()
    if record.selection.addresses is not None:
        places = select(places, *record.selection.addresses)
    if not places:
        raise InputError(f"'{record.name}' has no memory to show: it has no regions")
    heat = heat_of(record.snapshots(), lay_out(places, room), begin_us, end_us, columns)
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
        *terminal.lines(heat, label=label, colour=colour),
        terminal.working_set_line(heat, label=label, ascii_only=ascii_only),
        terminal.key(heat, colour),
    ):
        console.print(text, crop=False, no_wrap=True, overflow="ignore")
