"""The work of ``damon compact``: the files of a dataset put together."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
from damon_cli.reading import reading_progress
from damon_parquet.compaction import compact
from damon_parquet.downsampling import downsample
from damon_parquet.store import Store

from damon_core import InputError, format_size


def compact_dataset(
    location: str,
    hosts: Sequence[str],
    last: str | None,
    into: str | None = None,
    every_us: int | None = None,
) -> None:
    """Put the files of each partition together, and print what became of them.

    Args:
        location: The directory or URL.
        hosts: Names or patterns of hosts; none: all.
        last: The last day, such as ``2026-11-26``; None: yesterday, which nobody writes any more.
        into: The directory or URL of a dataset that they are moved to; None: they stay.
        every_us: How long aggregations are in `into`, to be made of those that stay; None: as they
            are.

    Raises:
        InputError: A dataset can't be read, both are one, or there is no other for longer ones.
    """
    if every_us is not None and into is None:
        raise InputError("--every needs --into, another dataset: what they are made of stays")
    if last is None:
        last = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    store, target = Store(location), None if into is None else Store(into)
    with reading_progress("compacting", (0, 1_000)) as advance:

        def progress(now: int, of: int) -> None:
            advance(1_000 * now // max(of, 1))

        if every_us is not None and target is not None:
            done = downsample(store, target, every_us, hosts=hosts, last=last, advance=progress)
        else:
            done = compact(store, hosts, last, progress, target)
    if not done.partitions and not done.failed:
        several = "has several files" if into is None else "has a file"
        if every_us is not None:
            several = f"has a file that isn't in '{into}'"
        click.echo(f"nothing to do: no host and day up to {last} {several}")
        return
    files = "1 file" if done.files == 1 else f"{done.files} files"
    places = "a host's day" if done.partitions == 1 else f"{done.partitions} hosts and days"
    if done.partitions:
        click.echo(
            f"{files} of {places} became {done.partitions}: "
            f"{format_size(done.before_bytes)} became {format_size(done.after_bytes)}"
        )
    if done.failed:
        raise click.exceptions.Exit(1)
