"""Parts of a file: rows of whole aggregations that are read together, column by column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from damon_core import DamonError
from damon_parquet.file import Contents, is_block_whole
from damon_parquet.raw import numbers
from damon_parquet.schema import SPARSE


class Part(Protocol):
    """Rows of whole aggregations.

    Attributes:
        name: Where in its file it is, for messages.
        checked: Whether what its rows say is to be checked.
    """

    name: str
    checked: bool

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some of its columns.

        Raises:
            DamonError: They are damaged.
        """

    def span_us(self) -> tuple[int, int]:
        """Return its first and its last time, Unix microseconds."""

    def present(self) -> set[str]:
        """Return which of the columns that are often null have values."""


def open_file(fd: int, metadata: Any = None, **others: Any) -> pq.ParquetFile:
    """Open a file by a descriptor: its path may be another's by now."""
    return pq.ParquetFile(
        f"/proc/self/fd/{fd}", metadata=metadata, page_checksum_verification=True, **others
    )


def our_parts(fd: int, path: Path, contents: Contents) -> "list[Part]":
    """Return the row groups of a file that damon-parquet has written."""
    file = open_file(fd, contents.metadata, read_dictionary=["context", "target"])
    schema = contents.metadata.schema
    places = {schema.column(place).path: place for place in range(len(schema))}
    return [
        _RowGroup(fd, path, file, index, block=block, places=places)
        for index, block in enumerate(contents.blocks or ())
    ]


class _RowGroup:
    """A row group as it was written: one block, with a checksum."""

    checked = False

    def __init__(
        self,
        fd: int,
        path: Path,
        file: pq.ParquetFile,
        index: int,
        *,
        block: int,
        places: dict[str, int],
    ) -> None:
        self.name = f"row group {index + 1} of {file.metadata.num_row_groups}"
        self._fd, self._path, self._file = fd, path, file
        self._index, self._block = index, block
        self._places = places
        self._is_whole: bool | None = None

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some of its columns, once it is right by its checksum."""
        try:
            if self._is_whole is None:
                self._is_whole = is_block_whole(self._fd, self._block)
            if not self._is_whole:
                raise DamonError(f"'{self._path}' is damaged in {self.name}: its checksum is wrong")
            # Threads would be no faster with a few columns, and each would keep memory of its own.
            return self._file.read_row_group(self._index, columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise DamonError(f"'{self._path}' is damaged in {self.name}: {reason}") from error

    def span_us(self) -> tuple[int, int]:
        """Return its first and its last time."""
        statistics = self._column("time").statistics
        if statistics is not None and statistics.has_min_max:
            # As they are: pyarrow would make them dates, for which it imports pandas where it can.
            return statistics.min_raw, statistics.max_raw
        return time_span_us(self.read(["time"]))

    def present(self) -> set[str]:
        """Return which of the columns that are often null have values."""
        return {
            name for name, path in SPARSE.items() if path in self._places and self._has_values(path)
        }

    def _has_values(self, path: str) -> bool:
        column = self._column(path)
        statistics = column.statistics
        return statistics is None or statistics.null_count != column.num_values

    def _column(self, path: str) -> Any:
        return self._file.metadata.row_group(self._index).column(self._places[path])


def time_span_us(table: pa.Table) -> tuple[int, int]:
    """Return the first and the last time of rows, Unix microseconds."""
    times = numbers(table, "time")
    return int(times.min()), int(times.max())
