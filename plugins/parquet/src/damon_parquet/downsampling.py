"""A dataset of longer aggregations, made of another: one file for each host and day.

What it is made of stays: how long, is for whoever keeps it to say. So a day can be made again when
more of it arrives, and nothing is counted twice, whenever this is interrupted.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from attrs import evolve

from damon_core import (
    DamonError,
    InputError,
    RecordTotals,
    Snapshot,
    SnapshotMerger,
    format_duration,
)
from damon_parquet.compaction import ONLY_NAME, put_together
from damon_parquet.partitions import Compaction, one_by_one, partitions_of, refuse_itself
from damon_parquet.reader import ParquetReader
from damon_parquet.store import DatasetFile, Progress, Store
from damon_parquet.writer import ParquetWriter


def downsample(
    store: Store,
    into: Store,
    every_us: int,
    *,
    hosts: Sequence[str] = (),
    last: str | None = None,
    advance: Progress = lambda _done, _of: None,
) -> Compaction:
    """Make longer aggregations of each partition, as by `SnapshotMerger`; the dataset stays.

    A partition that is newer in `into` than all of its files are here is done already.

    Args:
        store: The dataset.
        into: The dataset of longer ones. A partition there is one file at any time.
        every_us: How long they are.
        hosts: Only partitions of hosts with one of these names or patterns; none: all.
        last: Only those of this day and before.
        advance: Is called with how many partitions are done, and of how many.

    Raises:
        InputError: One of the datasets is compacted by another program, both are the same, or
            aggregations in `into` are of another length.
        DamonError: A file can't be written; what was done before stays done.
    """
    refuse_itself(store, into)
    with store.compacting(), into.compacting():
        made = into.files(may_be_missing=True)
        _refuse_other_length(into, made, every_us)
        by_day = {day: list(its) for day, its in groupby(made, lambda file: (file.host, file.date))}
        partitions = [
            files
            for files in partitions_of(store, hosts, last)
            if not _is_done(files, by_day.get((files[0].host, files[0].date), []))
        ]
        return one_by_one(
            partitions, lambda files: _downsample_partition(store, files, into, every_us), advance
        )


def _refuse_other_length(into: Store, made: Sequence[DatasetFile], every_us: int) -> None:
    """Refuse to add aggregations of another length to a dataset.

    All of it was made with the same, so one file is asked: the newest, as others may be of a
    version that didn't say.

    Raises:
        InputError: They are of another.
    """
    if not made:
        return
    newest = max(made, key=lambda file: file.modified_ns)
    found_us = None
    # One that can't be read keeps only its own day from being made.
    with contextlib.suppress(InputError), into.local(newest) as path, ParquetReader(path) as reader:
        found_us = reader.info.every_us
    if found_us is not None and found_us != every_us:
        raise InputError(
            f"'{into.location}' was made with --every {format_duration(found_us)}, not "
            f"{format_duration(every_us)}: put other lengths into another dataset"
        )


def _is_done(files: Sequence[DatasetFile], made: Sequence[DatasetFile]) -> bool:
    """Return whether what was made of a partition is newer than all of its files."""
    made_ns = min((file.modified_ns for file in made), default=0)
    return all(file.modified_ns < made_ns for file in files)


def _downsample_partition(
    store: Store,
    files: Sequence[DatasetFile],
    into: Store,
    every_us: int,
) -> int:
    """Make a partition of longer aggregations, and return how long its file is."""
    host, date = files[0].host, files[0].date
    with contextlib.ExitStack() as opened:
        readers = [
            opened.enter_context(ParquetReader(opened.enter_context(store.local(file))))
            for file in files
        ]
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="damon-")))
        whole, longer = folder / "whole.parquet", folder / "longer.parquet"
        _refuse_longer(files, readers, every_us)
        put_together(readers, whole)
        totals = RecordTotals()
        with ParquetReader(whole) as reader:
            info = evolve(reader.info, pages=False, every_us=every_us)
            with ParquetWriter(longer, info) as writer:
                for snapshot in _merged(reader, totals, every_us):
                    writer.write(snapshot)
        with ParquetReader(longer) as reader:
            after = RecordTotals.of(reader.snapshots())
            wrong = totals.differences(after, reader.info, shortened=True)
        if wrong:
            raise DamonError(f"'{files[0].folder}' would add up to {', '.join(wrong)}")
        for file in into.partition(host, date):
            with ParquetReader(opened.enter_context(into.local(file))) as reader:
                checks = RecordTotals.of(reader.snapshots()).checks
            if file.name != ONLY_NAME or checks > after.checks:
                raise InputError(
                    f"'{file.path}' in '{into.location}' has {checks} checks, here are "
                    f"{after.checks}: it isn't made of these files, or of more than are left"
                )
        into.put(longer, DatasetFile(host, date, ONLY_NAME))
        return longer.stat().st_size


def _refuse_longer(
    files: Sequence[DatasetFile], readers: Sequence[ParquetReader], every_us: int
) -> None:
    """Refuse files whose aggregations are longer than what is to be made of them.

    Raises:
        InputError: One has such.
    """
    for file, reader in zip(files, readers, strict=True):
        its_us = reader.info.every_us
        if its_us is not None and its_us > every_us:
            raise InputError(
                f"'{file.path}' has aggregations of {format_duration(its_us)}, which can't be made "
                f"shorter: {format_duration(every_us)}"
            )


def _merged(reader: ParquetReader, totals: RecordTotals, every_us: int) -> Iterator[Snapshot]:
    """Yield the longer aggregations of a record, and add up what they are made of."""
    merger = SnapshotMerger(every_us)
    for snapshot in reader.snapshots():
        totals.add(snapshot)
        yield from merger.add(snapshot)
    yield from merger.rest()
