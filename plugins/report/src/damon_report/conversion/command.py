"""``damon convert``: its options. What it does is imported when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from damon_cli.params import POSITIVE_DURATION, POSITIVE_SIZE, pass_plugins

from damon_report.options import RECORD, selection_options

if TYPE_CHECKING:
    from damon_core import Plugins
    from damon_report.selection import Selection

_EPILOG = """\b
Examples:
  damon convert damon.parquet damon.csv
  damon convert killed.parquet whole.parquet
  damon convert --from 10s --to 20s --mapping '[heap]' damon.parquet heap.parquet
  damon convert --every 10s db*.parquet week.parquet
  damon convert --split-every 1h week.parquet hours.parquet
"""


@click.command(epilog=_EPILOG, short_help="Convert records: other formats, parts, longer intervals")
@click.argument("sources", metavar="IN...", nargs=-1, required=True, type=RECORD)
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@selection_options
@click.option(
    "--every",
    "every_us",
    metavar="TIME",
    type=POSITIVE_DURATION,
    help="Put the aggregations of each such time together into one, such as 10s.",
)
@click.option(
    "--max-regions",
    "most_regions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Join the most similar neighbours until aggregations have so many regions at most.",
)
@click.option(
    "--split-every",
    "split_us",
    metavar="TIME",
    type=POSITIVE_DURATION,
    help="Begin a new file at each whole multiple of this time, in UTC.",
)
@click.option(
    "--split-size",
    "split_bytes",
    metavar="SIZE",
    type=POSITIVE_SIZE,
    help="Begin a new file once one has this size.",
)
@pass_plugins
def convert(
    plugins: "Plugins",
    *,
    sources: "tuple[Path | str, ...]",
    output: Path,
    selection: "Selection",
    every_us: int | None,
    most_regions: int | None,
    split_us: int | None,
    split_bytes: int | None,
) -> None:
    """Write the records IN, or a part of them, to the new file OUT.

    The endings of names say the formats. Several records of different times, or a directory of
    them, become one. A record whose writing ended badly is read as far as it goes, so that OUT is
    whole. OUT is read again at the end: times, checks and accesses must add up to the same.
    """
    from damon_report.conversion.converting import convert_records
    from damon_report.conversion.splitting import Split

    convert_records(
        plugins,
        sources,
        output,
        selection,
        every_us=every_us,
        most_regions=most_regions,
        split=Split(split_us, split_bytes),
    )
