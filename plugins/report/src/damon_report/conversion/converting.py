"""The work of ``damon convert``: records read, chosen from, put together and written."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import click
from attrs import evolve

from damon_core import (
    DamonError,
    InputError,
    Plugins,
    RecordTotals,
    Snapshot,
    SnapshotMerger,
    format_duration,
    format_of,
    format_size,
)
from damon_report.conversion.losses import losses
from damon_report.conversion.splitting import Split, SplitWriter
from damon_report.record import Record, open_record
from damon_report.selection import Selection

#: So many aggregations are looked at for what the other format doesn't keep.
_SAMPLE = 50


def convert_records(
    plugins: Plugins,
    sources: tuple[Path | str, ...],
    output: Path,
    selection: Selection,
    *,
    every_us: int | None = None,
    most_regions: int | None = None,
    split: Split = Split(),  # noqa: B008  # frozen
) -> None:
    """Write records to a new file, and print what was kept and what wasn't.

    Args:
        plugins: What is installed.
        sources: The records, of different times.
        output: The file; its ending says the format.
        selection: The part to write.
        every_us: Put aggregations of each such time together; None: leave them as they are.
        most_regions: How many regions aggregations have at most; None: as many as they had.
        split: When a new file begins.

    Raises:
        InputError: A record can't be read, nothing is selected, or a file is there already.
        DamonError: A record is damaged, or what was written isn't what was read.
    """
    output_format = format_of(output, plugins.formats())
    with ExitStack() as opened:
        record = opened.enter_context(open_record(plugins, sources, selection, strict=True))
        if len(record.hosts) > 1:
            raise InputError(
                f"'{record.name}' has the records of {len(record.hosts)} hosts, one after the "
                "other: choose one with --host"
            )
        merges = every_us is not None or most_regions is not None
        its_us = record.info.every_us
        if every_us is not None and its_us is not None and its_us > every_us:
            raise InputError(
                f"'{record.name}' has aggregations of {format_duration(its_us)}, which --every "
                f"{format_duration(every_us)} can't make shorter"
            )
        info = evolve(
            record.info,
            pages=record.info.pages and not merges,
            every_us=its_us if every_us is None else every_us,
        )
        before, after, sample = RecordTotals(), RecordTotals(), list[Snapshot]()
        count = {"read": 0, "written": 0, "rows": 0}
        writer = opened.enter_context(SplitWriter(output_format, output, info, split))
        try:
            for snapshot in _shortened(_counted(record, before, count), every_us, most_regions):
                writer.write(snapshot)
                count["written"] += 1
                count["rows"] += len(snapshot)
                if len(sample) < _SAMPLE:
                    sample.append(snapshot)
            writer.close()
        except (DamonError, OSError) as error:
            # What was chosen may turn out not to be there only at the end.
            if isinstance(error, InputError) and not count["rows"]:
                writer.discard()
                raise
            there = [path for path in writer.paths if path.exists()]
            if not there:  # a format that makes the file at the end
                raise DamonError(f"{error}; nothing was written") from error
            raise DamonError(
                f"{error}; {_names(there)} has the {count['written']} aggregations before that"
            ) from error
    written = f"{count['written']} aggregations"
    if merges:
        written = f"{count['read']} aggregations became {count['written']}"
    click.echo(
        f"{written}, {count['rows']} rows: {_size(sources)} became {_size(writer.paths)} in "
        f"{_names(writer.paths)}"
    )
    with ExitStack() as opened:
        readers = [opened.enter_context(output_format.read(path)) for path in writer.paths]
        lost = losses(info, sample, readers[0])
        kept = readers[0].info
        after = RecordTotals.of(each for reader in readers for each in reader.snapshots())
    wrong = before.differences(after, kept, shortened=merges)
    if wrong:
        raise DamonError(
            f"{_names(writer.paths)} isn't what was read: it adds up to {', '.join(wrong)}"
        )
    click.echo(_compared(before, after))
    if lost:
        click.echo(f"{output_format.name} doesn't keep: {', '.join(lost)}")


def _counted(record: Record, totals: RecordTotals, count: dict[str, int]) -> Iterator[Snapshot]:
    """Yield the chosen part of each aggregation, and add it up."""
    for snapshot in record.snapshots(keep_pages=True, doing="converting"):
        totals.add(snapshot)
        count["read"] += 1
        yield snapshot


def _shortened(
    snapshots: Iterable[Snapshot], every_us: int | None, most_regions: int | None
) -> Iterator[Snapshot]:
    """Yield aggregations, put together if that is asked for."""
    if every_us is None and most_regions is None:
        yield from snapshots
        return
    # Without a time each aggregation is one by itself.
    merger = SnapshotMerger(every_us or 1, most_regions)
    for snapshot in snapshots:
        yield from merger.add(snapshot)
    yield from merger.rest()


def _compared(before: RecordTotals, after: RecordTotals) -> str:
    """Return what reading the result has shown."""
    share = before.deviation(after)
    accesses = "accesses are the same" if not share else f"accesses to {max(share, 1e-6):.2g}"
    if share:
        accesses = f"accesses, to {100 * share:.2g} % as fractions are rounded, are the same"
    return f"read again: {before.checks} checks, their time and their {accesses}"


def _names(paths: list[Path]) -> str:
    more = len(paths) - 1
    return f"{paths[0]} and {more} more" if more else str(paths[0])


def _size(paths: Iterable[Path | str]) -> str:
    """Return the size of files and directories; nothing is known of URLs."""
    files = [
        each
        for path in paths
        if isinstance(path, Path)
        for each in (path.rglob("*") if path.is_dir() else (path,))
    ]
    return format_size(sum(each.stat().st_size for each in files if each.is_file()))
