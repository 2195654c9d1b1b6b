"""A dataset of longer aggregations, made of another: one file for each host and day.

What it is made of stays: how long, is for whoever keeps it to say. So a day can be made again when
more of it arrives, and nothing is counted twice, whenever this is interrupted.
"""

import contextlib
import logging
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
)
from damon_parquet.compaction import ONLY_NAME, Compaction, put_together
from damon_parquet.reader import ParquetReader
from damon_parquet.store import DatasetFile, Progress, Store
from damon_parquet.writer import ParquetWriter

logger = logging.getLogger(__name__)


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
        InputError: One of the datasets is compacted by another program.
        DamonError: A file can't be written; what was done before stays done.
    """
    with store.compacting(), into.compacting():
        everything = sorted([*store.files(hosts, last=last), *store.left_over(hosts, last)])
        by_partition = groupby(everything, lambda file: (file.host, file.date))
        partitions = [(key, list(files)) for key, files in by_partition]
        done = Compaction()
        for number, (key, files) in enumerate(partitions):
            advance(number, len(partitions))
            before = into.partition(*key)
            made_ns = min((file.modified_ns for file in before), default=0)
            if all(file.modified_ns < made_ns for file in files):
                continue
            try:
                after_bytes = _downsample_partition(store, files, into, before, every_us)
            except InputError as error:
                # One file of ten thousand must not keep the others.
                logger.error("%s; '%s' stays as it is", error.message, files[0].folder)
                done = evolve(done, failed=done.failed + 1)
                continue
            done = evolve(
                done,
                partitions=done.partitions + 1,
                files=done.files + len(files),
                before_bytes=done.before_bytes + sum(file.size_bytes for file in files),
                after_bytes=done.after_bytes + after_bytes,
            )
        advance(len(partitions), len(partitions))
    return done


def _downsample_partition(
    store: Store,
    files: Sequence[DatasetFile],
    into: Store,
    before: Sequence[DatasetFile],
    every_us: int,
) -> int:
    """Make a partition of longer aggregations, and return how long its file is."""
    with contextlib.ExitStack() as opened:
        readers = [
            opened.enter_context(ParquetReader(opened.enter_context(store.local(file))))
            for file in files
        ]
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="damon-")))
        whole, longer = folder / "whole.parquet", folder / "longer.parquet"
        put_together(readers, whole)
        totals = RecordTotals()
        with ParquetReader(whole) as reader:
            info = evolve(reader.info, pages=False)
            with ParquetWriter(longer, info) as writer:
                for snapshot in _merged(reader, totals, every_us):
                    writer.write(snapshot)
        with ParquetReader(longer) as reader:
            after = RecordTotals.of(reader.snapshots())
            wrong = totals.differences(after, reader.info, shortened=True)
        if wrong:
            raise DamonError(f"'{files[0].folder}' would add up to {', '.join(wrong)}")
        for file in before:
            with ParquetReader(opened.enter_context(into.local(file))) as reader:
                checks = RecordTotals.of(reader.snapshots()).checks
            if file.name != ONLY_NAME or checks > after.checks:
                raise InputError(
                    f"'{file.path}' in '{into.location}' has {checks} checks, here are "
                    f"{after.checks}: it isn't made of these files, or of more than are left"
                )
        into.put(longer, DatasetFile(files[0].host, files[0].date, ONLY_NAME))
        return longer.stat().st_size


def _merged(reader: ParquetReader, totals: RecordTotals, every_us: int) -> Iterator[Snapshot]:
    """Yield the longer aggregations of a record, and add up what they are made of."""
    merger = SnapshotMerger(every_us)
    for snapshot in reader.snapshots():
        totals.add(snapshot)
        yield from merger.add(snapshot)
    yield from merger.rest()
