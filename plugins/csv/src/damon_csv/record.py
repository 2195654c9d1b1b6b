"""The format ``csv``: rows of a file as a record."""

import codecs
import csv
import io
import itertools
import os
import stat
from array import array
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import (
    COLUMNS,
    IDLE_SPANS,
    REGION_COLUMNS,
    UNKNOWN,
    DamonError,
    IdleAges,
    InputError,
    Intervals,
    KindColumns,
    RecordInfo,
    SelfClosing,
    Snapshot,
    TargetRows,
    assemble_snapshot,
    fill_in,
    region_mistake,
)
from damon_csv.file import CsvFile
from damon_csv.rows import (
    KINDS,
    OPTIONAL,
    SPARSE,
    columns_of,
    columns_without,
    format_rows,
    header,
    is_kinds_field,
    parse_kinds,
    plain,
)

#: How much of a file is looked through for the first intervals of its contexts.
_PROBE_BYTES = 1 << 24
_TAIL_BYTES = 1 << 20
#: Other programs may have added columns.
_MOST_HEADER_BYTES = 1 << 16
#: The last microsecond that has a date, and how long it is.
_LAST_US = 253_402_300_799_999_999
_TIME_DIGITS = 18
_MARKS = {
    codecs.BOM_UTF8: "UTF-8 with a byte order mark",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
#: Fields in front of the numbers: time, context and target.
_NAMES = 3
#: A time between two aggregations that is longer than the last by this factor is a break.
_BREAK = 10


class CsvWriter(SelfClosing):
    """Appends snapshots to a file of rows, which may be there already.

    Args:
        path: The file.
        info: Rows have no room for it. Columns that were filled in are left out.

    Raises:
        InputError: The file can't be written, or has other columns.
    """

    def __init__(self, path: Path, info: RecordInfo) -> None:
        self._columns = columns_without(info.filled_in)
        self._file = CsvFile(path, header(self._columns))
        self._file.check()
        self._file.open()

    def write(self, snapshot: Snapshot) -> None:
        """Append the rows of an aggregation, all or none.

        Raises:
            DamonError: They can't be written.
        """
        if len(snapshot):
            self._file.append(format_rows(snapshot, self._columns), snapshot.time_us)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@define
class _Rows:
    """Rows of one target that follow one another: an aggregation's, as they are in the file.

    Attributes:
        time_us: Of their aggregation.
        context: Their context.
        target: Their target.
        line: The number of the first.
        rows: What follows the names, line by line.
    """

    time_us: int
    context: str
    target: str
    line: int
    rows: list[bytes] = field(factory=list, repr=False)


@define
class _Rhythm:
    """How the aggregations of a context follow one another.

    Attributes:
        interval_us: The time between the last two; what it probably is before there were two.
        time_us: The last one's; None before the first.
        count: How many there were.
    """

    interval_us: int
    time_us: int | None = None
    count: int = 0

    def advance(self, time_us: int) -> None:
        """Note the next aggregation; a break, or a clock that went back, is no interval."""
        if self.time_us is not None:
            passed_us = time_us - self.time_us
            if 0 < passed_us <= _BREAK * self.interval_us:
                self.interval_us = passed_us
        self.time_us = time_us
        self.count += 1


@define
class _Times:
    """The times of the aggregations of each context so far, to know those that come again."""

    _latest: dict[str, int] = field(factory=dict)
    _all: dict[str, "array[int]"] = field(factory=dict)
    _sets: dict[str, set[int]] = field(factory=dict)

    def add(self, context: str, time_us: int) -> bool:
        """Note an aggregation; return whether it is a new one."""
        if context not in self._latest:
            self._latest[context] = -1
            self._all[context] = array("q")
        if context in self._sets or time_us <= self._latest[context]:
            # A clock was set back, or rows have another order. It takes memory to know which.
            times = self._sets.setdefault(context, set(self._all[context]))
            if time_us in times:
                return False
            times.add(time_us)
        self._all[context].append(time_us)
        self._latest[context] = max(self._latest[context], time_us)
        return True


def _why_no_header(line: bytes, names: Sequence[str]) -> str:
    """Return what is wrong with the first line of a file."""
    if not line:
        return "it is empty: nothing was recorded"
    for mark, encoding in _MARKS.items():
        if line.startswith(mark):
            return f"it is {encoding}: save it as UTF-8 without a byte order mark (BOM)"
    wanted = [column.name for column in columns_without(OPTIONAL)]
    least = f"it doesn't begin with '{','.join(wanted)}'"
    if not set(wanted) & set(names):
        separator = chr(line[len(wanted[0])]) if line.startswith(wanted[0].encode()) else ""
        return f"{least}: its fields are separated by {separator!r}" if separator else least
    missing = [name for name in wanted if name not in names]
    if missing:
        return f"{least}: it lacks the columns {', '.join(missing)}"
    return f"{least}: its columns have another order, or there are others"


class CsvReader(SelfClosing):
    """A file of rows as a record: see `damon_core.RecordReader`.

    Rows have neither intervals nor aggregations without regions. The time between two aggregations
    of a context is taken for its interval, and the checks of an aggregation as spread evenly over
    it. Files of older versions have neither idle times nor resident bytes: see `fill_in`. An
    unfinished row at the end of the file is left out.

    Args:
        path: The file.

    Raises:
        InputError: It can't be read, or has other columns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with self._open() as file:
                begin = file.readline(_MOST_HEADER_BYTES)
        except OSError as error:
            raise InputError(f"'{path}' can't be read: {error.strerror}") from error
        # A kill while the file was created may have left a part of the line.
        line = header() if begin and header().startswith(begin) else begin
        # Excel and pandas on Windows end lines so.
        names = line.decode(errors="replace").removesuffix("\n").removesuffix("\r").split(",")
        columns = columns_of(names)
        if columns is None or not line.endswith(b"\n"):
            raise InputError(f"'{path}' is no record of CSV: {_why_no_header(line, names)}")
        self._columns = columns
        self._has_kinds = columns[-1].name == KINDS
        numbers = columns[_NAMES:-1] if self._has_kinds else columns[_NAMES:]
        self._numbers = [(column.name, column.dtype) for column in numbers]
        self._sparse = tuple(column.name for column in columns if column.name in SPARSE)
        self._intervals_us = self._probe()

    @property
    def info(self) -> RecordInfo:
        """Only what rows lack: they have no room for how the record was made."""
        return RecordInfo().without(COLUMNS.keys() - {column.name for column in self._columns})

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first aggregation began and the last ended, Unix microseconds."""
        first = next(self._targets(), None)
        if first is None:
            return None
        with self._open() as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            whole = file.read().rpartition(b"\n")[0]
        last = whole.rpartition(b"\n")[2].partition(b",")[0]
        if not last.isdigit() or len(last) > _TIME_DIGITS or int(last) > _LAST_US:
            raise DamonError(f"'{self._path}', last line: it has no time")
        begin_us = first.time_us - self._intervals_us.get(first.context, 0)
        return begin_us, max(int(last), first.time_us)

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield snapshots in the order of the file, one in memory at a time.

        Raises:
            DamonError: A line is damaged, and which.
        """
        rhythms: dict[str, _Rhythm] = {}
        for parts in self._aggregations():
            time_us, context = parts[0].time_us, parts[0].context
            rhythm = rhythms.get(context)
            if rhythm is None:
                usual_us = Intervals().aggregation_us
                rhythm = rhythms[context] = _Rhythm(self._intervals_us.get(context, usual_us))
            rhythm.advance(time_us)
            if (begin_us is None or time_us > begin_us) and (end_us is None or time_us <= end_us):
                yield self._snapshot(parts, rhythm)

    def close(self) -> None:
        """Do nothing: the file is open only while it is being read."""

    def _open(self) -> BinaryIO:
        """Open the file, but nothing that would keep its reader waiting, such as a pipe."""

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_NONBLOCK)

        file = open(self._path, "rb", opener=opener)  # noqa: SIM115
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise InputError(f"'{self._path}' is not a regular file: copy it to one")
        return file

    def _probe(self) -> dict[str, int]:
        """Return the time between the first two aggregations of each context."""
        first_us: dict[str, int] = {}
        intervals_us: dict[str, int] = {}
        try:
            for rows in self._targets(_PROBE_BYTES):
                passed_us = rows.time_us - first_us.setdefault(rows.context, rows.time_us)
                if passed_us > 0:
                    intervals_us.setdefault(rows.context, passed_us)
        except DamonError:
            pass  # Reading the snapshots raises it again.
        return intervals_us

    def _aggregations(self) -> Generator[list[_Rows]]:
        """Yield what belongs to one snapshot."""
        parts: list[_Rows] = []
        targets: set[str] = set()
        times = _Times()
        for rows in self._targets():
            if not parts or (rows.time_us, rows.context) != (parts[0].time_us, parts[0].context):
                if parts:
                    yield parts
                parts = []
                targets.clear()
                if not times.add(rows.context, rows.time_us):
                    raise self._scattered(rows.line)
            elif rows.target in targets:
                raise self._scattered(rows.line)
            targets.add(rows.target)
            parts.append(rows)
        if parts:
            yield parts

    def _targets(self, limit_bytes: int | None = None) -> Generator[_Rows]:
        """Yield the rows of one target of one aggregation."""
        rows: _Rows | None = None
        head = b""
        try:
            with self._open() as file:
                read_bytes = len(file.readline())
                for number, line in enumerate(file, 2):
                    read_bytes += len(line)
                    if not line.endswith(b"\n") or (limit_bytes and read_bytes > limit_bytes):
                        break
                    if line.endswith(b"\r\n"):
                        line = line[:-2] + b"\n"  # noqa: PLW2901  # as it should be
                    if rows is None or not line.startswith(head):
                        if rows is not None:
                            yield rows
                        fields = len(self._numbers) + self._has_kinds
                        head = line.rsplit(b",", fields)[0] + b","
                        rows = self._begin(head, number)
                    rows.rows.append(line[len(head) :])
        except OSError as error:
            raise DamonError(f"'{self._path}' can't be read: {error.strerror}") from error
        if rows is not None:
            yield rows

    def _begin(self, head: bytes, line: int) -> _Rows:
        try:
            # Behind the last comma there is nothing: that is the fourth field.
            time_us, context, target, _ = next(
                csv.reader([head.decode(errors="backslashreplace")], strict=True)
            )
            if not time_us.isdecimal() or len(time_us) > _TIME_DIGITS or int(time_us) > _LAST_US:
                raise self._wrong(line, "it has no valid time")
            return _Rows(int(time_us), plain(context), plain(target), line)
        except (csv.Error, ValueError) as error:
            raise self._damaged(line) from error

    def _snapshot(self, parts: list[_Rows], rhythm: _Rhythm) -> Snapshot:
        kinds = self._kinds(parts)
        of_targets = [self._parse(rows) for rows in parts]
        numbers = np.concatenate(of_targets)
        most = int(numbers["max_nr_accesses"].max())
        if most < 1:
            raise self._wrong(parts[0].line, "max_nr_accesses must be at least 1")
        sampling_us = max(1, rhythm.interval_us // max(most, 1))
        intervals = Intervals(
            sampling_us, rhythm.interval_us, max(Intervals().update_us, sampling_us)
        )
        names = [name for name, _ in self._numbers if name in REGION_COLUMNS]
        columns = {name: numbers[name].copy() for name in names}
        if "touched_bytes" in self._sparse and (numbers["touched_bytes"] != UNKNOWN).all():
            columns["touched_bytes"] = numbers["touched_bytes"].copy()
        for name in (span.column for span in IDLE_SPANS if span.column in self._sparse):
            if (numbers[name] != UNKNOWN).any():
                columns[name] = numbers[name].copy()
        if kinds is not None:
            columns[KINDS] = kinds
        filled = fill_in(columns, rhythm.interval_us)
        mistake = region_mistake(filled, [len(rows.rows) for rows in parts], most)
        if mistake is not None:
            row, why = mistake
            lines = (rows.line + index for rows in parts for index in range(len(rows.rows)))
            raise self._wrong(next(itertools.islice(lines, row, None)), why)
        # Rounding may have made them more.
        filled["nr_accesses"] = np.minimum(filled["nr_accesses"], most)
        return assemble_snapshot(
            filled,
            [
                TargetRows(
                    rows.target,
                    len(rows.rows),
                    idle_ages=self._idle_ages(of_target),
                    stale_us=self._stale_us(rows, of_target),
                )
                for rows, of_target in zip(parts, of_targets, strict=True)
            ],
            context=parts[0].context,
            number=rhythm.count,
            time_us=parts[0].time_us,
            elapsed_us=rhythm.interval_us,
            intervals=intervals,
            max_nr_accesses=most,
        )

    def _kinds(self, parts: list[_Rows]) -> KindColumns | None:
        """Take the kinds of memory off the end of rows, and return them."""
        if not self._has_kinds:
            return None
        fields: list[str] = []
        for rows in parts:
            split = [line.rstrip(b"\n").rpartition(b",") for line in rows.rows]
            rows.rows = [numbers + b"\n" for numbers, _, _ in split]
            fields += (kinds.decode(errors="replace") for _, _, kinds in split)
        try:
            return parse_kinds(fields)
        except ValueError as error:
            lines = [rows.line + index for rows in parts for index in range(len(rows.rows))]
            wrong = next(row for row, each in enumerate(fields) if not is_kinds_field(each))
            raise self._damaged(lines[wrong]) from error

    def _idle_ages(self, numbers: npt.NDArray[np.void]) -> IdleAges:
        """Return how old the idle bytes of a target are; each of its rows says it."""
        ages = {
            span.age: int(numbers[span.age][0]) for span in IDLE_SPANS if span.age in self._sparse
        }
        return IdleAges(**{name: age for name, age in ages.items() if age != UNKNOWN})

    def _stale_us(self, rows: _Rows, numbers: npt.NDArray[np.void]) -> int:
        """Return how old the values of a target are; each of its rows says it."""
        stale_us = int(numbers["stale_us"][0]) if "stale_us" in (numbers.dtype.names or ()) else 0
        if stale_us < 0:
            raise self._wrong(rows.line, "its stale_us is negative")
        return stale_us

    def _parse(self, rows: _Rows) -> npt.NDArray[np.void]:
        try:
            return self._numbers_of(rows.rows)
        except ValueError as error:
            raise self._damaged(rows.line + self._first_wrong(rows.rows)) from error

    def _first_wrong(self, lines: list[bytes]) -> int:
        for index, line in enumerate(lines):
            try:
                self._numbers_of([line])
            except ValueError:
                return index
        return 0

    def _numbers_of(self, lines: list[bytes]) -> npt.NDArray[np.void]:
        lines = [
            self._filled(line) if b",," in line or line.endswith(b",\n") else line for line in lines
        ]
        return np.loadtxt(lines, np.dtype(self._numbers), delimiter=",", ndmin=1, comments=None)

    def _filled(self, line: bytes) -> bytes:
        """Return a line with numbers in those fields that are empty where nobody knows."""
        known, *fields = line.rstrip(b"\n").rsplit(b",", len(self._sparse))
        return b",".join([known, *(field or b"%d" % UNKNOWN for field in fields)]) + b"\n"

    def _wrong(self, line: int, why: str) -> DamonError:
        return InputError(f"'{self._path}', line {line}: {why}")

    def _scattered(self, line: int) -> DamonError:
        return self._wrong(
            line,
            "other rows of this aggregation and target stand further up, so they are in another "
            "order, or there twice: sort them by time_us, context, target and start",
        )

    def _damaged(self, line: int) -> DamonError:
        row = header(self._columns).decode().rstrip()
        return InputError(f"'{self._path}', line {line}: it isn't a row of {row}")
