"""The work of ``damon compact``: the files of a dataset put together."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
from damon_cli.reading import reading_progress
from damon_parquet.compaction import compact
from damon_parquet.store import Store

from damon_core import format_size


def compact_dataset(location: str, hosts: Sequence[str], last: str | None) -> None:
    """Put the files of each partition together, and print what became of them.

    Args:
        location: The directory or URL.
        hosts: Names or patterns of hosts; none: all.
        last: The last day, such as ``2026-11-26``; None: yesterday, which nobody writes any more.
    """
    if last is None:
        last = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    store = Store(location)
    with reading_progress("compacting", (0, 1_000)) as advance:
        done = compact(store, hosts, last, lambda now, of: advance(1_000 * now // max(of, 1)))
    if not done.partitions:
        click.echo(f"nothing to do: no host and day up to {last} has several files")
        return
    click.echo(
        f"{done.files} files of {done.partitions} hosts and days became {done.partitions}: "
        f"{format_size(done.before_bytes)} became {format_size(done.after_bytes)}"
    )
