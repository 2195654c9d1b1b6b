"""Reading a record, row group by row group."""

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from damon_core import DamonError, InputError, RecordInfo, SelfClosing, Snapshot
from damon_parquet.file import read_contents
from damon_parquet.rows import KnownAreas
from damon_parquet.schema import FIELDS, NEW, SPARSE, info_from
from damon_parquet.snapshots import note_areas, snapshots_of

logger = logging.getLogger(__name__)


class ParquetReader(SelfClosing):
    """A Parquet file as a record: see `damon_core.RecordReader`.

    A file that is being written, or whose writer was killed, is read up to its last whole row
    group; that it wasn't completed is logged.

    Args:
        path: The file.

    Raises:
        InputError: It can't be read or isn't a record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            fd = os.open(path, os.O_RDONLY)
            try:
                contents = read_contents(fd, path)
            finally:
                os.close(fd)
            self._metadata = contents.metadata
            info = info_from(self._metadata.metadata or {})
            missing = FIELDS.keys() - set(self._metadata.schema.to_arrow_schema().names)
            if info is None or missing - set(NEW):
                raise InputError(f"'{path}' is Parquet, but no record of memory accesses")
            self._info = info.without(missing)
            if not contents.finished:
                logger.warning(
                    "'%s' was not completed: it is read up to its last whole row group", path
                )
            groups = range(self._metadata.num_row_groups)
            # Other programs write some without rows.
            self._groups = [index for index in groups if self._metadata.row_group(index).num_rows]
            schema = self._metadata.schema
            self._places = {schema.column(place).path: place for place in range(len(schema))}
            self._file = pq.ParquetFile(
                path, metadata=self._metadata, read_dictionary=["context", "target"]
            )
        except OSError as error:
            raise InputError(f"'{path}' can't be read: {error.strerror or error}") from error
        except (ValueError, pa.ArrowException) as error:
            raise InputError(f"'{path}' can't be read: {error}") from error

    @property
    def info(self) -> RecordInfo:
        """Where and how it was made."""
        return self._info

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first aggregation began and the last ended, Unix microseconds."""
        spans = [self._span_us(index) for index in self._groups]
        if not spans:
            return None
        first = self._read(self._groups[0], ["time", "elapsed_us"]).slice(0, 1)
        begin_us = first["time"].cast(pa.int64())[0].as_py() - first["elapsed_us"][0].as_py()
        return begin_us, max(end_us for _, end_us in spans)

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield snapshots in the order of their time, those of a row group in memory at a time.

        Raises:
            DamonError: The file is damaged from here on.
        """
        known: KnownAreas = {}
        for index in self._groups:
            first_us, last_us = self._span_us(index)
            if end_us is not None and first_us > end_us:
                continue
            read = partial(self._read, index)
            if begin_us is not None and last_us <= begin_us:
                note_areas(read, known)
                continue
            for snapshot in snapshots_of(read, known, self._present(index)):
                if (begin_us is None or snapshot.time_us > begin_us) and (
                    end_us is None or snapshot.time_us <= end_us
                ):
                    yield snapshot
            # Row groups are large and of different sizes: what is kept of one fits none.
            pa.default_memory_pool().release_unused()

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _span_us(self, index: int) -> tuple[int, int]:
        """Return the first and the last time in a row group."""
        statistics = self._column(index, "time").statistics
        if statistics is not None and statistics.has_min_max:
            # As they are: pyarrow would make them dates, for which it imports pandas where it can.
            return statistics.min_raw, statistics.max_raw
        found = pc.min_max(self._read(index, ["time"])["time"].cast(pa.int64())).as_py()
        return found["min"], found["max"]

    def _present(self, index: int) -> set[str]:
        """Return which of the columns that are often null have values in a row group."""
        return {
            name
            for name, path in SPARSE.items()
            if path in self._places and self._has_values(index, path)
        }

    def _has_values(self, index: int, path: str) -> bool:
        column = self._column(index, path)
        statistics = column.statistics
        return statistics is None or statistics.null_count != column.num_values

    def _column(self, index: int, path: str) -> Any:
        return self._metadata.row_group(index).column(self._places[path])

    def _read(self, index: int, columns: Sequence[str]) -> pa.Table:
        try:
            # Threads would be no faster with a few columns, and each would keep memory of its own.
            return self._file.read_row_group(index, columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise DamonError(
                f"'{self._path}' is damaged in row group {index + 1} of "
                f"{self._metadata.num_row_groups}: {reason}"
            ) from error
