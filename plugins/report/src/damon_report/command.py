"""``damon report``: its reports and their options. What a report does is imported when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from damon_cli.params import DURATION, SIZE, pass_plugins

from damon_report.files import HEIGHT, IMAGES, MOST_PIXELS, PAGE, WIDTH
from damon_report.groups import By
from damon_report.options import (
    SHARE,
    at_option,
    by_option,
    limited,
    picture_options,
    record_options,
    selection_options,
)

if TYPE_CHECKING:
    from damon_core import Plugins
    from damon_report.moments import Moment
    from damon_report.record import Record
    from damon_report.selection import Selection

#: Default number of pieces of the time.
_PIECES = 30

_EPILOG = """\b
Examples:
  damon report summary                          # damon.parquet at a glance
  damon report regions --mapping '[heap]'       # its hottest regions, at the end
  damon report wss --over time                  # the size of its working set over time
  damon report summary db*.parquet              # several files, one after the other
  damon report diff before.parquet after.parquet
\b
Every report but diff takes the record as its argument, by default damon.parquet; it may be
several files of different times, or a directory of them. TIME counts from the start of the
record, like 10s or 1.5h, or is a time of day, like 2026-11-23T10:00 (of this machine) or
2026-11-23T10:00Z. GLOB is a name with the wildcards * and ?.
"""


#: What damo calls reports that mean the same.
_OF_DAMO = {"access": "regions", "record_info": "summary"}


class _Reports(click.Group):
    """Lists the reports in the order in which they are declared, and knows damo's names."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, _OF_DAMO.get(cmd_name, cmd_name))


@click.group(
    cls=_Reports,
    epilog=_EPILOG,
    short_help="Show what a record holds: working sets, idle memory, heat maps",
)
def report() -> None:
    """Analyse a record: which memory is hot, which is idle, and since when."""


_SUMMARY_EPILOG = """\b
Examples:
  damon report summary
  damon report summary redis.parquet --from 10s
  damon report summary fleet.parquet --by unit
"""


@report.command(epilog=_SUMMARY_EPILOG, short_help="A record at a glance, on one screen.")
@record_options
@by_option(None, ("target", "program", "mapping"), "Show what is hottest")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(*, record: "Record", by: By | None, as_json: bool) -> None:
    """Show RECORD at a glance.

    The summary shows where and how the record was made, the size of the working set and its
    largest change, and what is hot and idle: the mappings, or if it has none the targets.
    """
    from damon_report.summary import show_summary

    show_summary(record, by=by, as_json=as_json)


def _names(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    return () if value is None else tuple(each.strip() for each in value.split(","))


_REGIONS_EPILOG = """\b
Examples:
  damon report regions                                 # the hottest first
  damon report regions --at 10s --sort address
  damon report regions --mapping '[heap]' --min-frequency 50%
  damon report regions --min-idle 1m --sort size | less
  damon report regions --columns target,address,hz,temperature,unit
"""


@report.command(epilog=_REGIONS_EPILOG, short_help="The regions of one aggregation, row by row.")
@record_options
@at_option
@click.option(
    "--sort",
    type=click.Choice(
        [
            "address",
            "heat",
            "temperature",
            "size",
            "frequency",
            "age",
            "idle",
            "resident",
            "mapping",
        ]
    ),
    default="heat",
    show_default=True,
    help="Sort by this, the greatest first; addresses and names ascending. Heat is resident "
    "bytes times frequency; temperature is damo's.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option(
    "--columns",
    metavar="NAME,...",
    callback=_names,
    help="Show these columns: address, size, frequency, hz, age, idle, resident, touched, "
    "temperature, bandwidth, mapping, any column of records, or a label of targets.",
)
@click.option("--min-size", type=SIZE, help="Only regions of at least this size.")
@click.option("--max-size", type=SIZE, help="Only regions of at most this size.")
@click.option(
    "--min-frequency", type=SHARE, help="Only regions accessed in at least this share of checks."
)
@click.option(
    "--max-frequency", type=SHARE, help="Only regions accessed in at most this share of checks."
)
@click.option("--min-age", type=DURATION, help="Only regions of at least this age.")
@click.option("--max-age", type=DURATION, help="Only regions of at most this age.")
@click.option("--min-idle", type=DURATION, help="Only regions idle for at least this time.")
@limited(40)
def regions(
    *,
    record: "Record",
    at: "Moment | None",
    sort: str,
    reverse: bool,
    columns: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    **bounds: Any,
) -> None:
    """Show the regions of the last aggregation of RECORD, or of the one at a given time.

    A region is a range of addresses whose pages have about the same access frequency; its age is
    how long that frequency has been about the same. Unmapped addresses are left out.
    """
    from damon_report.regions import Bounds, show_regions

    show_regions(
        record,
        at=at,
        bounds=Bounds(**bounds),
        sort=sort,
        reverse=reverse,
        columns=columns,
        limit=limit,
        as_json=as_json,
    )


_WSS_EPILOG = """\b
Examples:
  damon report wss                          # percentiles of the working set
  damon report wss --over time              # its size over time
  damon report wss --by mapping             # what it consists of: heap, stack, libraries
  damon report wss --by unit                # that of each service; any label of targets
  damon report wss -o wss.png               # a picture of it, and of idle memory
  damon report wss --bandwidth              # bytes accessed a second, at least
"""


@report.command(epilog=_WSS_EPILOG, short_help="The size of the working set, and when.")
@record_options
@by_option("target")
@click.option(
    "--over",
    type=click.Choice(["percentiles", "time"]),
    default="percentiles",
    show_default=True,
    help="Show percentiles of the sizes, or the sizes over time.",
)
@click.option(
    "--at-least",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Count memory that was accessed in at least N checks of an aggregation.",
)
@click.option(
    "--bandwidth",
    is_flag=True,
    help="Show the bytes accessed a second, if each check that saw an access stands for one.",
)
@click.option(
    "--pieces",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help=f"Number of pieces of the time, for --over time [default: {_PIECES}].",
)
@limited(20, "rows of each context")
@picture_options
def wss(
    *,
    record: "Record",
    by: By,
    over: Literal["percentiles", "time"],
    at_least: int,
    bandwidth: bool,
    pieces: int | None,
    limit: int | None,
    output: Path | None,
    dark: bool,
    as_json: bool,
) -> None:
    """Show the size of the working set of RECORD: the memory accessed in an aggregation.

    Percentiles are over time: 12.0 MiB at 95% means that the working set was at most 12.0 MiB for
    95 % of the time.
    """
    from damon_report.wss import draw_working_sets, show_working_sets

    if bandwidth and (output is not None or at_least > 1):
        raise click.UsageError("--bandwidth goes with neither -o nor --at-least")
    if dark and output is None:
        raise click.UsageError("--dark has no effect without a picture: add -o FILE")
    if output is not None:
        if over != "percentiles" or pieces is not None or as_json:
            raise click.UsageError(
                "-o draws all of the time: it goes with none of --over, --pieces and --json"
            )
        draw_working_sets(record, by=by, at_least=at_least, output=output, dark=dark)
        click.echo(f"wrote {output}", err=True)
        return
    show_working_sets(
        record,
        by=by,
        over=over,
        at_least=at_least,
        pieces=pieces or _PIECES,
        bandwidth=bandwidth,
        limit=limit,
        as_json=as_json,
    )


_IDLE_EPILOG = """\b
Examples:
  damon report idle                      # at the end of the record
  damon report idle --at 10m --by target
  damon report idle --by mapping --json
  damon report idle --percentiles        # the idle time of half of the memory, and more
"""


@report.command(epilog=_IDLE_EPILOG, short_help="How much memory is idle, and for how long.")
@record_options
@at_option
@by_option("context")
@click.option(
    "--percentiles", is_flag=True, help="Show for how long what share of the memory is idle."
)
@limited(20)
def idle(
    *,
    record: "Record",
    at: "Moment | None",
    by: By,
    percentiles: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show how much memory of RECORD is idle, and for how long, at one time.

    Idle times count from the start of the record: earlier accesses are unknown.
    """
    from damon_report.idle import show_idle

    if percentiles and by == "mapping":
        raise click.UsageError("--percentiles are of whole targets: not with --by mapping")
    show_idle(record, at=at, by=by, percentiles=percentiles, limit=limit, as_json=as_json)


_KINDS_EPILOG = """\b
Examples:
  damon report kinds                        # at the end of the record
  damon report kinds --idle 1m              # of what has been idle for a minute
  damon report kinds --by mapping --limit 5
  damon report kinds --idle 1m -o kinds.png # a picture of them over time
"""


@report.command(epilog=_KINDS_EPILOG, short_help="Which kinds of memory are in use, or idle.")
@record_options
@at_option
@click.option(
    "--idle",
    "idle_us",
    type=DURATION,
    default="0s",
    help="Count as idle what has been idle for this time [default: the aggregation].",
)
@by_option("context")
@limited(10, "parts of each context")
@picture_options
def kinds(
    *,
    record: "Record",
    at: "Moment | None",
    idle_us: int,
    by: By,
    limit: int | None,
    output: Path | None,
    dark: bool,
    as_json: bool,
) -> None:
    """Show how much memory of RECORD is anonymous, huge, dirty, swapped, on which node.

    And how much of that is in use or idle, at one time. The record has to know it: damon record
    --kinds. Of what is idle in a region, each kind has the share that it has of all.
    """
    if output is not None:
        if at is not None or as_json:
            raise click.UsageError("-o draws all of the time: it goes with neither --at nor --json")
        from damon_report.kinds_picture import draw_kinds

        draw_kinds(record, by=by, at_least_us=idle_us, output=output, dark=dark)
        click.echo(f"wrote {output}", err=True)
        return
    if dark:
        raise click.UsageError("--dark has no effect without a picture: add -o FILE")
    from damon_report.kinds import show_kinds

    show_kinds(record, at=at, by=by, at_least_us=idle_us, limit=limit, as_json=as_json)


_SPECTRUM_EPILOG = """\b
Examples:
  damon report spectrum                      # at the end of the record
  damon report spectrum --at 10m --by target
  damon report spectrum --mapping '[heap]'   # of records with every page: damon record --pages
"""


@report.command(epilog=_SPECTRUM_EPILOG, short_help="How much memory is accessed how often.")
@record_options
@at_option
@by_option("context", ("context", "target", "program"))
@limited(20)
def spectrum(
    *, record: "Record", at: "Moment | None", by: By, limit: int | None, as_json: bool
) -> None:
    """Show how much memory of RECORD is accessed at least every 8 ms, 66 ms, 0.5 s …, at one time.

    It is known where the backend sees every page, as pagetable does: from the sampling interval up
    to the time for which the target had been watched.
    """
    from damon_report.spectrum import show_spectrum

    show_spectrum(record, at=at, by=by, limit=limit, as_json=as_json)


_EVENTS_EPILOG = """\b
Examples:
  damon report events
  damon report events --kind gap --kind restart /var/lib/damon
"""


@report.command(epilog=_EVENTS_EPILOG, short_help="What came, went and changed, and gaps.")
@record_options
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["begin", "end", "restart", "gap", "intervals", "came", "went"]),
    help="Only events of this kind; may be repeated.",
)
@limited(40)
def events(*, record: "Record", kinds: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Show what happened in RECORD, in the order of time.

    Targets that came and went, intervals that changed, gaps in which nothing was recorded, and
    where the monitoring began anew.
    """
    from damon_report.events import show_events

    show_events(record, kinds=kinds, limit=limit, as_json=as_json)


_DIFF_EPILOG = """\b
Examples:
  damon report diff before.parquet after.parquet
  damon report diff --by program --from 10s before.parquet after.parquet
"""


@report.command(epilog=_DIFF_EPILOG, short_help="What changed from one record to another.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@selection_options
@by_option("mapping", verb="Compare")
@limited(30)
@pass_plugins
def diff(
    plugins: "Plugins",
    *,
    old: Path,
    new: Path,
    selection: "Selection",
    by: By,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show how memory use differs between OLD and NEW, two records of the same program.

    The report compares means over the time of each record, so the records may differ in length
    and in their intervals; but longer aggregation intervals give larger working sets. The
    largest change comes first.
    """
    from damon_report.diff import show_changes

    show_changes(plugins, old, new, selection=selection, by=by, limit=limit, as_json=as_json)


_HEATMAP_EPILOG = """\b
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


@report.command(
    epilog=_HEATMAP_EPILOG, short_help="Which addresses were accessed when, as a picture."
)
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
    record: "Record",
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
    from damon_report.heatmap.showing import save_heatmap, show_heatmap

    if output is None:
        if dark:
            raise click.UsageError("--dark has no effect without a picture or page: add -o FILE")
        show_heatmap(record, width=width, height=height, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json is printed to the standard output: leave out -o")
    if max(width or 0, height or 0) > MOST_PIXELS:
        raise click.UsageError(f"a picture has at most {MOST_PIXELS} pixels of width and of height")
    save_heatmap(record, output, width=width, height=height, dark=dark)
