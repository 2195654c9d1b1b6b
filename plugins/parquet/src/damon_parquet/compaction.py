"""Compaction of a dataset: one file for each host and day, instead of one for each hour or so.

In place, a directory is changed partition by partition, each at once. An object store can't do
that: there the new file is there, whole, before the old ones are removed. After a kill in between,
aggregations are there twice, which readers of this package leave out, and the next compaction
removes. Into another dataset, each partition is a single file that is replaced by a whole one,
which every store does at once.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from damon_core import InputError, RecordInfo, format_duration
from damon_parquet.partitions import Compaction, one_by_one, partitions_of, refuse_itself
from damon_parquet.publishing import write_tables
from damon_parquet.raw import numbers
from damon_parquet.reader import ParquetReader
from damon_parquet.snapshots import codes
from damon_parquet.store import DatasetFile, Progress, Store

#: What compacted files are called, in the dataset of the others and in one that has only such.
_NAME = "compacted"
ONLY_NAME = "day.parquet"
#: About so many rows are put together at a time, which bounds memory …
_SLICE_ROWS = 1 << 18
#: … but not those of less time.
_SLICE_US = 60_000_000


def compact(
    store: Store,
    hosts: Sequence[str] = (),
    last: str | None = None,
    advance: Progress = lambda _done, _of: None,
    into: Store | None = None,
) -> Compaction:
    """Put the files of each partition that has several together into one.

    Args:
        store: The dataset.
        hosts: Only those of hosts with one of these names or patterns; none: all.
        last: Only those of this day and before.
        advance: Is called with how many partitions are done, and of how many.
        into: Move all partitions to this dataset, where each is one file at any time.

    Raises:
        InputError: The dataset is compacted by another program, or `into` is the same.
        DamonError: A file can't be written; what was done before stays done.
    """
    if into is not None:
        refuse_itself(store, into)
    with store.compacting():
        partitions = [
            files
            for files in partitions_of(store, hosts, last)
            if len(files) > 1 or into is not None or any(file.is_left_over for file in files)
        ]
        return one_by_one(partitions, lambda files: _compact_partition(store, files, into), advance)


def _compact_partition(store: Store, files: Sequence[DatasetFile], into: Store | None) -> int:
    """Put files together, and return the length of the one that replaces them."""
    host, date = files[0].host, files[0].date
    before = [] if into is None else into.partition(host, date)
    with contextlib.ExitStack() as opened:
        readers = [
            opened.enter_context(ParquetReader(opened.enter_context(of.local(file))))
            for of, its_files in ((store, files), (into or store, before))
            for file in its_files
        ]
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="damon-")))
        whole = folder / "whole.parquet"
        if into is not None:
            _refuse_same_time(into, readers[: len(files)], readers[len(files) :])
        put_together(readers, whole)
        if into is None:
            store.replace(files, whole, DatasetFile(host, date, _free_name(files)))
        else:
            into.put(whole, DatasetFile(host, date, ONLY_NAME))
            into.discard([each for each in before if each.name != ONLY_NAME])
            # What has been put there may be one of them: the stores may be the same by two names.
            there = store.partition(host, date)
            store.discard([each for each in files if each.is_left_over or each in there])
        return whole.stat().st_size


def _refuse_same_time(
    into: Store, moved: Sequence[ParquetReader], there: Sequence[ParquetReader]
) -> None:
    """Refuse to move aggregations to where longer ones are that were made of them.

    Together they would be counted twice. One after the other, as when `every` of a callback was
    changed, they are moved.

    Raises:
        InputError: It is so.
    """
    for longer in there:
        for reader in moved:
            every_us, span_us, longer_us = longer.info.every_us, reader.span_us(), longer.span_us()
            contexts, others = (
                {context.name for context in each.info.contexts} for each in (reader, longer)
            )
            if (
                every_us is not None
                and every_us != reader.info.every_us
                and span_us is not None
                and longer_us is not None
                and max(span_us[0], longer_us[0]) < min(span_us[1], longer_us[1])
                and contexts & others
            ):
                raise InputError(
                    f"'{into.location}' has aggregations of {format_duration(every_us)} of the "
                    "same time, made of these or others: name another dataset"
                )


def put_together(readers: Sequence[ParquetReader], path: Path) -> None:
    """Write the aggregations of several records to one, each once, in the order of time.

    Raises:
        DamonError: It can't be written, or one is damaged.
    """
    info = RecordInfo.of_all([reader.info for reader in readers])
    write_tables(path, info, _merged(readers))


def _free_name(files: Sequence[DatasetFile]) -> str:
    """Return a name that none of the sources has."""
    number = sum(file.name.startswith(_NAME) for file in files)
    taken = {file.name for file in files}
    while (name := f"{_NAME}-{number}.parquet") in taken:
        number += 1
    return name


def _merged(readers: Sequence[ParquetReader]) -> Iterator[pa.Table]:
    """Yield the rows of all in the order of time, a slice of time at a time."""
    spans = [span for reader in readers if (span := reader.times_us()) is not None]
    if not spans:
        return
    first_us, last_us = min(span[0] for span in spans), max(span[1] for span in spans)
    slices = sum(map(len, readers)) // _SLICE_ROWS + 1
    slice_us = max((last_us - first_us) // slices + 1, _SLICE_US)
    for begin_us in range(first_us - 1, last_us, slice_us):
        end_us = begin_us + slice_us
        tables = [
            table.append_column("source", pa.array(np.full(len(table), source, np.int32)))
            for source, reader in enumerate(readers)
            if (table := _of_time(reader, begin_us, end_us)) is not None
        ]
        if tables:
            yield _in_order(pa.concat_tables(tables, promote_options="permissive"))


def _of_time(reader: ParquetReader, begin_us: int, end_us: int) -> pa.Table | None:
    times = reader.times_us()
    if times is None or times[1] <= begin_us or times[0] > end_us:
        return None
    tables = list(reader.tables(begin_us, end_us))
    return pa.concat_tables(tables) if tables else None


def _in_order(table: pa.Table) -> pa.Table:
    """Return rows in the order of time, and each aggregation once."""
    context, _ = codes(table, "context")
    time, number, source = (numbers(table, name) for name in ("time", "number", "source"))
    order = np.lexsort((np.arange(len(time)), source, number, context, time))
    keys = [column[order] for column in (time, context, number)]
    begins = np.concatenate(
        ([True], np.logical_or.reduce([np.diff(column) != 0 for column in keys]))
    )
    # Each aggregation as its first source has it.
    firsts = source[order][np.flatnonzero(begins)][np.cumsum(begins) - 1]
    order = order[source[order] == firsts]
    return table.drop_columns(["source"]).take(pa.array(order))
