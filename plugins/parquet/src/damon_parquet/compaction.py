"""Compaction of a dataset: one file for each host and day, instead of one for each hour or so.

The new file is there, whole, before the old ones are removed. After a kill in between, aggregations
are there twice, which readers of this package leave out, and the next compaction removes.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
from attrs import evolve, frozen

from damon_core import RecordInfo
from damon_parquet.publishing import write_tables
from damon_parquet.reader import ParquetReader
from damon_parquet.snapshots import codes, numbers
from damon_parquet.store import DatasetFile, Progress, Store

#: What compacted files are called.
_NAME = "compacted"
#: About so many rows are put together at a time, which bounds memory …
_SLICE_ROWS = 1 << 18
#: … but not those of less time.
_SLICE_US = 60_000_000


@frozen
class Compaction:
    """What a compaction did.

    Attributes:
        partitions: How many partitions it put together.
        files: How many files they had.
        before_bytes: How long these were together.
        after_bytes: How long those are that replace them.
    """

    partitions: int = 0
    files: int = 0
    before_bytes: int = 0
    after_bytes: int = 0


def compact(
    store: Store,
    hosts: Sequence[str] = (),
    last: str | None = None,
    advance: Progress = lambda _done, _of: None,
) -> Compaction:
    """Put the files of each partition that has several together to one.

    Args:
        store: The dataset.
        hosts: Only those of hosts with one of these names or patterns; none: all.
        last: Only those of this day and before.
        advance: Is called with how many partitions are done, and of how many.

    Raises:
        DamonError: A file can't be read or written; what was done before stays done.
    """
    by_partition = groupby(store.files(hosts, last=last), lambda file: (file.host, file.date))
    partitions = [files for _, group in by_partition if len(files := list(group)) > 1]
    done = Compaction()
    for number, files in enumerate(partitions):
        advance(number, len(partitions))
        after_bytes = _compact_partition(store, files)
        done = Compaction(
            done.partitions + 1,
            done.files + len(files),
            done.before_bytes + sum(file.size_bytes for file in files),
            done.after_bytes + after_bytes,
        )
    advance(len(partitions), len(partitions))
    return done


def _compact_partition(store: Store, files: Sequence[DatasetFile]) -> int:
    """Put files together, and return the length of the one that replaces them."""
    with contextlib.ExitStack() as opened:
        readers = [
            opened.enter_context(ParquetReader(opened.enter_context(store.local(file))))
            for file in files
        ]
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="damon-")))
        whole = folder / "whole.parquet"
        write_tables(whole, _info(readers), _merged(readers))
        # Never the name of one of the sources.
        number = sum(file.name.startswith(_NAME) for file in files)
        taken = {file.name for file in files}
        while (name := f"{_NAME}-{number}.parquet") in taken:
            number += 1
        result = evolve(files[0], name=name)
        store.put(whole, result)
        size_bytes = whole.stat().st_size
    for file in files:
        store.remove(file)
    return size_bytes


def _info(readers: Sequence[ParquetReader]) -> RecordInfo:
    infos = [reader.info for reader in readers]
    contexts = {context.name: context for info in infos for context in info.contexts}
    whole = evolve(
        infos[-1], contexts=tuple(contexts.values()), pages=any(info.pages for info in infos)
    )
    return whole.without(name for info in infos for name in info.filled_in)


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
