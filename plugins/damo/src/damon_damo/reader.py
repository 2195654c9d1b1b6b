"""Records of damo as snapshots."""

import heapq
import itertools
import logging
import math
from collections.abc import Generator, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, frozen

from damon_core import (
    IDLE_SPANS,
    REGION_COLUMNS,
    ContextInfo,
    DamonError,
    InputError,
    Intervals,
    RecordInfo,
    SelfClosing,
    Snapshot,
    TargetRows,
    assemble_snapshot,
    fill_in,
    region_mistake,
)
from damon_damo.document import Document
from damon_damo.notes import RecordNotes, SnapshotNotes, record_notes, snapshot_notes
from damon_damo.source import Source
from damon_damo.values import duration_ns, duration_us, number

logger = logging.getLogger(__name__)

#: Columns that the format doesn't have; aggregations are numbered as they come.
LACKING = (
    "number",
    "idle_us",
    "resident_bytes",
    "touched_bytes",
    *(span.column for span in IDLE_SPANS),
    *(span.age for span in IDLE_SPANS),
    "kinds",
    "lost_us",
    "held_us",
    "longest_stall_us",
    "stale_us",
    "areas",
    "owners",
    "labels",
    "spectrum",
    "reported_idle_us",
    "reported_bytes_per_second",
)

#: What comes of values that are missing or of another kind.
_NOT_DAMOS = (AttributeError, KeyError, TypeError, ValueError, OverflowError)
#: The last microsecond that has a date.
_LAST_US = 253_402_300_799_999_999
#: Counts from here on are negative ones, wrapped around.
_WRAPPED = 1 << 31
#: As many checks as damo's usual intervals make.
_USUAL_CHECKS = 20


@define
class _Record:
    """What a file holds of one target.

    Attributes:
        context: What sets its context apart from others of the file.
        intervals: Those it was made with; None if they aren't known.
        notes: Names, and how it was made.
        snapshots: Where they begin.
        begin_us: When the first began; None if there isn't any.
        end_us: When the last ended.
    """

    context: tuple[object, ...]
    intervals: Intervals | None
    notes: RecordNotes
    snapshots: Document
    begin_us: int | None = None
    end_us: int = 0

    @classmethod
    def of(cls, header: dict[str, Any], snapshots: Document) -> "_Record":
        """Return a record.

        Args:
            header: All that stands before its snapshots.
            snapshots: Where they begin.

        Raises:
            DamonError: The header isn't damo's.
        """
        try:
            return cls(
                tuple(str(header.get(f"{part}_idx")) for part in ("kdamond", "context", "scheme")),
                _intervals(header.get("intervals")),
                record_notes(header),
                snapshots.fork(),
            )
        except _NOT_DAMOS as error:
            raise snapshots.damaged(
                f"the beginning of a record isn't damo's: {_why(error)}"
            ) from error


@frozen(eq=False)
class _Part:
    """One target's share of an aggregation: its snapshot in the file."""

    record: _Record
    number: int
    begin_us: int
    end_us: int
    snapshot: dict[str, Any]

    @property
    def elapsed_us(self) -> int:
        """How long the aggregation took."""
        return max(1, self.end_us - self.begin_us)

    @property
    def _intervals(self) -> Intervals:
        """Those that its numbers are of."""
        return self.record.intervals or _usual(self.elapsed_us)

    def notes(self) -> SnapshotNotes:
        """Return what was in force in the aggregation."""
        return snapshot_notes(self.snapshot, SnapshotNotes.usual(self._intervals))

    @property
    def name(self) -> str:
        """Which it is, for messages."""
        return _name(self.record, self.number)

    def columns(self, notes: SnapshotNotes) -> dict[str, npt.NDArray[Any]]:
        """Return its regions as columns of a snapshot, without those of no bytes.

        Raises:
            Any of `_NOT_DAMOS`: They aren't damo's, or can't be.
        """
        regions = [each for each in self.snapshot["regions"] if each["start"] != each["end"]]
        checks = self._intervals.checks
        aggregation_us = notes.intervals.aggregation_us
        start = np.array([number(region["start"]) for region in regions], dtype=np.int64)
        end = np.array([number(region["end"]) for region in regions], dtype=np.int64)
        nr_accesses = np.array([_accesses(region, checks) for region in regions], dtype=np.float64)
        if notes.max_nr_accesses != checks:
            nr_accesses = (nr_accesses * (notes.max_nr_accesses / checks)).round(6)
        age = np.array([_age(region["age"], aggregation_us) for region in regions], dtype=np.int64)
        columns = fill_in(
            {"start": start, "end": end, "nr_accesses": nr_accesses, "age": age}, aggregation_us
        )
        # One by one: in which order they are is damo's.
        mistake = region_mistake(columns, [1] * len(start), _WRAPPED)
        if mistake is not None:
            row, why = mistake
            raise ValueError(f"region {start[row]:#x} to {end[row]:#x}: {why}")
        return columns


class DamoReader(SelfClosing):
    """A file of ``damo record`` as a record: see `damon_core.RecordReader`.

    Such a file holds one target behind the other. So it is gone through twice: once, when
    something is first asked for, to see which there are and where they begin, and then to read
    them side by side. It has neither idle times nor resident bytes: see `fill_in`. Times are those
    of the file; damo's count from the start of the machine.

    Args:
        path: The file, compressed or not.

    Raises:
        InputError: It can't be read, or is no record of damo.
    """

    def __init__(self, path: Path) -> None:
        self._source = Source(path)
        self._found: list[_Record] | None = None
        self._damage: DamonError | None = None
        self._warned = False
        try:
            begin = Document(self._source.text()).peek()
        except DamonError:
            begin = ""
        if begin != "[":
            self.close()
            raise InputError(
                f"'{path}' is no record of damo in JSON; if it is one in another form, "
                f"'damo convert_record_format --record_file {path}' mends that"
            )

    @property
    def info(self) -> RecordInfo:
        """Where and how it was made, as far as that was kept."""
        contexts: dict[tuple[object, ...], _Record] = {}
        for record in self._records():
            contexts.setdefault(record.context, record)
        info = next((each.notes.info for each in contexts.values()), RecordInfo(program="damo"))
        info = info.without(LACKING)
        if info.program != "damo":
            return info
        if any(each.intervals is None for each in contexts.values()):
            info = info.without(("sampling_us", "aggregation_us", "update_us"))
        return evolve(
            info,
            contexts=tuple(
                ContextInfo(each.notes.context, backend="kernel", intervals=each.intervals)
                for each in contexts.values()
            ),
        )

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first aggregation began and the last ended; goes through the file."""
        spans = [(each.begin_us, each.end_us) for each in self._records()]
        begins = [begin_us for begin_us, _ in spans if begin_us is not None]
        if not begins and self._damage is not None:
            raise self._damage
        return (min(begins), max(end_us for _, end_us in spans)) if begins else None

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield snapshots in the order of their time, one of each context in memory at a time.

        Raises:
            DamonError: The file is damaged; what came before is right.
        """
        contexts: dict[tuple[object, ...], list[_Record]] = {}
        for record in self._records():
            contexts.setdefault(record.context, []).append(record)
        streams = [_aggregations(records) for records in contexts.values()]
        for time_us, number_, parts in heapq.merge(*streams, key=itemgetter(0)):
            if (begin_us is None or time_us > begin_us) and (end_us is None or time_us <= end_us):
                yield self._snapshot(time_us, number_, parts)
        if self._damage is not None:
            raise self._damage

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _records(self) -> list[_Record]:
        """Go through the file and return what it holds, up to where it is damaged."""
        if self._found is None:
            self._found = []
            document = Document(self._source.text())
            try:
                document.take("[")
                while document.peek() != "]":
                    self._found_next(document, self._found)
                    if document.peek() == ",":
                        document.take(",")
            except DamonError as error:
                self._damage = error
        return self._found

    @staticmethod
    def _found_next(document: Document, found: list[_Record]) -> None:
        header: dict[str, Any] = {}
        for key in document.entries():
            if key != "snapshots":
                header[key] = document.value()
                continue
            record = _Record.of(header, document)
            found.append(record)
            for part in _parts(record, document):
                if record.begin_us is None:
                    record.begin_us = part.begin_us
                record.end_us = part.end_us

    def _warn_of_wrapped(self, part: _Part) -> None:
        """Say once that a count of accesses has wrapped around."""
        if self._warned:
            return
        for region in part.snapshot["regions"]:
            samples = _samples(region)
            if samples is not None and _is_wrapped(samples):
                self._warned = True
                logger.warning(
                    "'%s', %s: a count of %d accesses has wrapped around: it is read as 0",
                    self._source.path,
                    part.name,
                    samples,
                )
                return

    def _snapshot(self, time_us: int, number_: int, parts: Sequence[_Part]) -> Snapshot:
        """Return one aggregation of the targets of one context."""
        notes: list[SnapshotNotes] = []
        tables: list[dict[str, npt.NDArray[Any]]] = []
        here = ""
        try:
            for part in parts:
                here = part.name
                each = part.notes()
                if each.max_nr_accesses < 1:
                    raise ValueError("its number of checks is below 1")
                notes.append(each)
                tables.append(part.columns(each))
                self._warn_of_wrapped(part)
        except _NOT_DAMOS as error:
            raise self._source.damaged(f"{here}: {_why(error)}") from error
        columns = {
            name: np.concatenate([table[name] for table in tables]) for name in REGION_COLUMNS
        }
        return assemble_snapshot(
            columns,
            [
                TargetRows(part.record.notes.target, len(table["start"]))
                for part, table in zip(parts, tables, strict=True)
            ],
            context=parts[0].record.notes.context,
            number=number_,
            time_us=time_us,
            elapsed_us=parts[0].elapsed_us,
            intervals=notes[0].intervals,
            # The kernel counts one more than fit now and then.
            max_nr_accesses=max(
                notes[0].max_nr_accesses, math.ceil(columns["nr_accesses"].max(initial=0))
            ),
        )


def _parts(record: _Record, document: Document) -> Generator[_Part]:
    """Yield the snapshots of a record, in the order of their time.

    Args:
        record: Whose they are.
        document: Where they begin; it is moved behind them.

    Raises:
        DamonError: The file is damaged.
    """
    last_us = 0
    for index, snapshot in enumerate(document.items(), 1):
        try:
            begin_us = duration_ns(snapshot["start_time"], "ns") // 1_000
            end_us = duration_ns(snapshot["end_time"], "ns") // 1_000
            if not 0 <= begin_us <= end_us <= _LAST_US:
                raise ValueError("its end is before its start, or isn't a time")
            if end_us < last_us:
                raise ValueError("it ends before the one before it")
        except _NOT_DAMOS as error:
            raise document.damaged(f"{_name(record, index)}: {_why(error)}") from error
        last_us = end_us
        yield _Part(record, index, begin_us, end_us, snapshot)


def _name(record: _Record, number_: int) -> str:
    return f"snapshot {number_} of '{record.notes.target}'"


def _why(error: BaseException) -> str:
    """Return what is wrong with values, in a line."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, OverflowError):
        return "it has a number of more than 63 bits, or none that is finite"
    return str(error).partition(";")[0]


def _aggregations(records: Sequence[_Record]) -> Generator[tuple[int, int, list[_Part]]]:
    """Yield the time, the number and the targets of each aggregation of one context.

    The times of targets differ a little, as damo takes them one after the other.
    """
    streams = [_parts(record, record.snapshots.fork()) for record in records]
    heads = [next(stream, None) for stream in streams]
    for number_ in itertools.count(1):
        first = min(filter(None, heads), key=lambda part: part.end_us, default=None)
        if first is None:
            return
        latest_us = first.end_us + first.elapsed_us // 2
        parts = []
        for index, part in enumerate(heads):
            if part is not None and part.end_us <= latest_us:
                parts.append(part)
                heads[index] = next(streams[index], None)
        yield max(part.end_us for part in parts), number_, parts


def _intervals(found: dict[str, Any] | None) -> Intervals | None:
    """Return the intervals of a record; old ones don't have them."""
    if found is None:
        return None
    sampling_us = max(1, duration_us(found["sample_us"]))
    aggregation_us = max(sampling_us, duration_us(found["aggr_us"]))
    update_us = max(sampling_us, duration_us(found["ops_update_us"]))
    return Intervals(sampling_us, aggregation_us, update_us)


def _usual(elapsed_us: int) -> Intervals:
    """Return the probable intervals of a snapshot whose record doesn't have them."""
    sampling_us = max(1, elapsed_us // _USUAL_CHECKS)
    return Intervals(sampling_us, elapsed_us, max(Intervals().update_us, sampling_us))


def _accesses(region: dict[str, Any], checks: int) -> float:
    samples = _samples(region)
    if samples is None:
        return float(region["nr_accesses"]["percent"]) * checks / 100
    # The kernel counts down below 0 now and then.
    return 0 if _is_wrapped(samples) else samples


def _samples(region: dict[str, Any]) -> float | None:
    """Return the count of a region, if it has one; fractions aren't damo's, but ours."""
    samples = region["nr_accesses"].get("samples")
    if samples is None or isinstance(samples, int | float):
        return samples
    return number(samples)


def _is_wrapped(samples: float) -> bool:
    return _WRAPPED <= samples < math.inf


def _age(found: dict[str, Any], aggregation_us: int) -> int:
    if (age_us := found.get("usec")) is not None:
        return max(0, round(duration_us(age_us) / aggregation_us))
    age = found.get("aggr_intervals")
    return 0 if age is None else max(0, number(age))
