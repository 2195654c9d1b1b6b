"""Reading a record, part by part."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from damon_core import (
    AttributeValueError,
    DamonError,
    InputError,
    RecordInfo,
    SelfClosing,
    Snapshot,
)
from damon_parquet.file import read_contents
from damon_parquet.parts import Part, our_parts
from damon_parquet.raw import numbers
from damon_parquet.rows import KnownAreas
from damon_parquet.schema import FIELDS, NEW, info_from, schema_of
from damon_parquet.snapshots import note_areas, snapshots_of

logger = logging.getLogger(__name__)


class ParquetReader(SelfClosing):
    """A Parquet file as a record: see `damon_core.RecordReader`.

    A file that is being written, or whose writer was killed, is read up to its last whole row
    group; that it wasn't completed is logged. A record that another program has written anew is
    read, too, whatever its row groups, as long as the columns are there (`rewritten_parts`).

    Args:
        path: The file.

    Raises:
        InputError: It can't be read or isn't a record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._parts: list[Part] = []
        self._missing: set[str] = set()
        try:
            # A pipe would keep it waiting.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._open()
        except OSError as error:
            self.close()
            raise InputError(f"'{path}' can't be read: {error.strerror or error}") from error
        except (ValueError, pa.ArrowException) as error:
            self.close()
            raise InputError(f"'{path}' can't be read: {_reason(error)}") from error
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> RecordInfo:
        """Where and how it was made."""
        return self._info

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first aggregation began and the last ended, Unix microseconds."""
        if not self._parts:
            return None
        first = self._parts[0].read(["time", "elapsed_us"]).slice(0, 1)
        begin_us = int(numbers(first, "time")[0] - numbers(first, "elapsed_us")[0])
        return begin_us, max(part.span_us()[1] for part in self._parts)

    @property
    def finished(self) -> bool:
        """Whether its writer has completed it."""
        return self._finished

    def __len__(self) -> int:
        """Return the number of its rows."""
        return int(self._count)

    def times_us(self) -> tuple[int, int] | None:
        """Return when the first and the last aggregation ended, Unix microseconds."""
        spans = [part.span_us() for part in self._parts]
        if not spans:
            return None
        return min(span[0] for span in spans), max(span[1] for span in spans)

    def tables(self, begin_us: int, end_us: int) -> Iterator[pa.Table]:
        """Yield the rows of aggregations that ended after a time and up to another, as written.

        Columns that the record lacks are null.

        Raises:
            DamonError: The file is damaged from here on.
        """
        schema = schema_of(self._info)
        for part in self._parts:
            first_us, last_us = part.span_us()
            if first_us > end_us or last_us <= begin_us:
                continue
            there = [name for name in schema.names if name not in self._missing]
            table = part.read(there)
            if first_us <= begin_us or last_us > end_us:
                times = numbers(table, "time")
                table = table.filter(pa.array((times > begin_us) & (times <= end_us)))
            if table.num_rows:
                yield pa.table(
                    {
                        field.name: table[field.name].cast(field.type)
                        if field.name in there
                        else pa.nulls(len(table), field.type)
                        for field in schema
                    },
                    schema=schema,
                )

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield snapshots in the order of their time, those of a row group in memory at a time.

        Raises:
            DamonError: The file is damaged from here on.
        """
        known: KnownAreas = {}
        for part in self._parts:
            first_us, last_us = part.span_us()
            if end_us is not None and first_us > end_us:
                continue
            if begin_us is not None and last_us <= begin_us:
                note_areas(part.read, known)
                continue
            where = f"'{self._path}', {part.name}"
            try:
                found = snapshots_of(
                    part.read, known, part.present(), where=where, check=part.checked
                )
                for snapshot in found:
                    if (begin_us is None or snapshot.time_us > begin_us) and (
                        end_us is None or snapshot.time_us <= end_us
                    ):
                        yield snapshot
            except (ValueError, pa.ArrowException) as error:
                if isinstance(error, DamonError) and not isinstance(error, AttributeValueError):
                    raise
                raise DamonError(f"{where}: {_reason(error)}") from error
            # Row groups are large and of different sizes: what is kept of one fits none.
            pa.default_memory_pool().release_unused()

    def close(self) -> None:
        """Release the file; closing twice is closing once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise InputError(f"'{self._path}' is not a regular file: copy it to one")
        contents = read_contents(self._fd, self._path)
        info = info_from(contents.metadata.metadata or {})
        self._finished, self._count = contents.finished, contents.metadata.num_rows
        if contents.blocks is None:
            # Imported here: it computes with columns, and others needn't wait for what that takes.
            from damon_parquet.rewritten import rewritten_parts  # noqa: PLC0415

            self._parts, missing = rewritten_parts(self._fd, self._path, contents.metadata)
            self._missing = set()  # they are filled in
            lacking = {"idle_us" if name == "idle_since" else name for name in missing}
            self._info = (info or RecordInfo()).without(lacking)
            return
        missing = FIELDS.keys() - set(contents.metadata.schema.to_arrow_schema().names)
        if info is None or missing - set(NEW):
            raise InputError(f"'{self._path}' is Parquet, but no record of memory accesses")
        self._info, self._missing = info.without(missing), missing
        if not contents.finished:
            logger.warning(
                "'%s' was not completed: it is read up to its last whole row group", self._path
            )
        self._parts = our_parts(self._fd, self._path, contents)


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0]
