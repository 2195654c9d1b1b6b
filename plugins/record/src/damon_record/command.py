"""``damon record`` and ``damon compact``: their options. What they do is imported when they run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from damon_cli.params import POSITIVE_DURATION, pass_plugins
from damon_cli.watching import WatchOptions, watch_options

if TYPE_CHECKING:
    from datetime import datetime

    from damon_core import Plugins

_RECORD_EPILOG = """\b
Examples:
  damon record --pid 1234 --for 30s
  damon record --descendants -o build.parquet -- make -j2
  damon record --cgroup /sys/fs/cgroup/system.slice --for 1m -o system.csv
  damon record --cgroup 'system.slice/*.service' --group-by unit --for 1h
  damon record --match 'comm=php-fpm*' --match user=www-data --exclude 'cmdline=*--once*'
  damon record --paddr --for 1m
  damon record --kdamond damon_stat --for 10m
"""


@click.command(epilog=_RECORD_EPILOG, short_help="Record memory accesses of processes to a file")
@watch_options
@click.option(
    "-o",
    "--output",
    default="damon.parquet",
    show_default=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file; its ending says the format, such as .csv.",
)
@click.option("--for", "for_us", type=POSITIVE_DURATION, help="Stop after this time, such as 10s.")
@click.option(
    "--pages",
    is_flag=True,
    help="Keep every page, run-length coded, where the backend knows them; in Parquet only.",
)
@pass_plugins
def record(
    plugins: "Plugins",
    *,
    watch: WatchOptions,
    output: Path,
    for_us: int | None,
    pages: bool,
) -> None:
    """Record the memory accesses of a process, a cgroup, a COMMAND or the machine to a file.

    Goes on until the target ends, the time is over, or SIGINT or SIGTERM comes. Give exactly
    one of --pid, --cgroup, --match, --paddr, --kdamond and a COMMAND (after --), which is started
    and watched; --cgroup and --match may be repeated, and go together.
    """
    from damon_record.recording import record_to

    record_to(output, plugins, watch, for_us, pages=pages)


_COMPACT_EPILOG = """\b
Examples:
  damon compact /srv/damon
  damon compact 's3://bucket/damon?region=eu-central-1' --host 'web-*'
  damon compact s3://bucket/incoming --into s3://bucket/days
  damon compact --every 10s s3://bucket/days --into s3://bucket/longer
"""


@click.command(epilog=_COMPACT_EPILOG, short_help="Put the files of a dataset together, by day")
@click.argument("dataset", metavar="DATASET")
@click.option(
    "--host", "hosts", metavar="GLOB", multiple=True, help="Only partitions of these hosts."
)
@click.option(
    "--to",
    "last",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only those of this day (UTC) and before [default: yesterday].",
)
@click.option(
    "--into",
    metavar="DATASET",
    help="Move them to this dataset, where each host and day is one file at any time.",
)
@click.option(
    "--every",
    "every_us",
    metavar="TIME",
    type=POSITIVE_DURATION,
    help="Make aggregations of each such time in --into, such as 10s; DATASET stays.",
)
def compact(
    *,
    dataset: str,
    hosts: tuple[str, ...],
    last: "datetime | None",
    into: str | None,
    every_us: int | None,
) -> None:
    """Put the files of each host and day in DATASET, a directory or URL, together into one.

    It may be interrupted, and run again, at any time; one compaction of a dataset at a time.
    """
    from damon_record.compacting import compact_dataset

    compact_dataset(dataset, hosts, None if last is None else f"{last:%Y-%m-%d}", into, every_us)
