"""The kernel's binary trace: pages of the ring buffer, and events of kdamonds.

A page has a header (time of the first event, bytes in use, flags) and events of 4 + n bytes: a
word with the length and the time since the previous event, and fields at the offsets in the event's
``format`` file. Events of one kind have the same length, so numpy reads many at once.
"""

import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

_IntColumn = npt.NDArray[np.int64]
_BoolColumn = npt.NDArray[np.bool_]

_HEADER_BYTES = 16
_COMMIT = 0xFFFFF
_MISSED = 1 << 31
_MISSED_STORED = 1 << 30
_LENGTH_BITS = 5
_LENGTH = (1 << _LENGTH_BITS) - 1
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_FIELD = re.compile(r"field:[^;]*?(\w+);\s*offset:(\d+);\s*size:(\d+);")
_COLUMNS = ("target_id", "nr_regions", "start", "end", "nr_accesses", "age")
_REGION_FIELDS = ("common_pid", *_COLUMNS)
#: The fields of `damon_monitor_intervals_tune`.
TUNED_FIELDS = ("common_pid", "sample_us")
_UNSIGNED = {4: "<u4", 8: "<u8"}


@frozen
class EventFormat:
    """The binary layout of an event.

    Attributes:
        length: Its length in words of 4 bytes, as in headers.
        row: The layout of ``header``, a word, and the event after it.
    """

    length: int
    row: "np.dtype[np.void]"

    @classmethod
    def parse(cls, text: str, wanted: Sequence[str] = _REGION_FIELDS) -> "EventFormat":
        """Return the layout that the text of the event's ``format`` file describes.

        Args:
            text: The text.
            wanted: The fields to read, by default those of `damon_aggregated`.

        Raises:
            ValueError: A field is missing or has another size, so the event isn't the known one.
        """
        fields = {name: (int(offset), int(size)) for name, offset, size in _FIELD.findall(text)}
        known = {name: fields[name] for name in wanted if name in fields}
        fit = all(size in _UNSIGNED for _, size in known.values())
        if len(known) < len(wanted) or not fit or sys.byteorder != "little":
            raise ValueError("the event has other fields than expected")
        length = -(-max(offset + size for offset, size in fields.values()) // 4)
        if length >= _PADDING:
            raise ValueError("the event is longer than a header can say")
        row = np.dtype(
            {
                "names": ["header", *known],
                "formats": ["<u4", *(_UNSIGNED[size] for _, size in known.values())],
                "offsets": [0, *(4 + offset for offset, _ in known.values())],
                "itemsize": 4 + 4 * length,
            }
        )
        return cls(length, row)


@frozen(eq=False)
class Events:
    """Events in the order of time.

    Attributes:
        time_ns: The time of each event.
        rows: The fields of each event.
    """

    time_ns: _IntColumn
    rows: npt.NDArray[np.void]

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, which: "slice | _BoolColumn") -> "Events":
        return Events(self.time_ns[which], self.rows[which])

    def of(self, pid: int) -> "Events":
        """Return the events of one thread."""
        own = self.rows["common_pid"] == pid
        return self if own.all() else self[own]

    def since(self, time_ns: int) -> "Events":
        """Return the events from a time on."""
        is_new = self.time_ns >= time_ns
        return self if is_new.all() else self[is_new]

    def column(self, name: str) -> _IntColumn:
        """Return a field of all events."""
        column: _IntColumn = self.rows[name].astype(np.int64)
        return column

    @classmethod
    def none(cls, form: EventFormat) -> "Events":
        """Return no events."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=form.row))

    @classmethod
    def joined(cls, parts: "Sequence[Events]") -> "Events":
        """Return the events of one or more pages or processors together."""
        if len(parts) == 1:
            return parts[0]
        time_ns = np.concatenate([part.time_ns for part in parts])
        rows = np.concatenate([part.rows for part in parts])
        if (time_ns[1:] < time_ns[:-1]).any():
            order = time_ns.argsort(kind="stable")
            time_ns, rows = time_ns[order], rows[order]
        return cls(time_ns, rows)


@frozen(eq=False)
class Page:
    """What a page of the ring buffer has.

    Attributes:
        events: The events of the wanted kind, in runs.
        others: The events of another wanted kind, of which there are few, with their times.
        lost: The number of events lost before it.
    """

    events: list[Events]
    others: list[tuple[int, Any]]
    lost: int


def parse_page(page: bytes, form: EventFormat, other: EventFormat | None = None) -> Page:
    """Return the events of a page of the ring buffer.

    Args:
        page: Its bytes.
        form: The format of the events.
        other: The format of a rare kind of events, of another length.
    """
    time_ns = int.from_bytes(page[:8], "little")
    commit = int.from_bytes(page[8:16], "little")
    end = min(_HEADER_BYTES + (commit & _COMMIT), len(page))
    lost = 0
    if commit & _MISSED:
        stored = int.from_bytes(page[end : end + 8], "little")
        lost = stored if commit & _MISSED_STORED else 1
    found, others = [], []
    position, size = _HEADER_BYTES, form.row.itemsize
    while position < end:
        run = np.frombuffer(page, form.row, (end - position) // size, position)
        header = run["header"]
        ends = ((header & _LENGTH) != form.length).nonzero()[0]
        count = int(ends[0]) if len(ends) else len(run)
        if count:
            at_ns = time_ns + (header[:count] >> _LENGTH_BITS).cumsum(dtype=np.int64)
            found.append(Events(at_ns, run[:count]))
            time_ns = int(at_ns[-1])
            position += count * size
            continue
        at = position
        skipped, time_ns = _skip(page, position, time_ns)
        if other is not None and page[at] & _LENGTH == other.length:
            whole = (end - at) // other.row.itemsize
            rows = np.frombuffer(page, other.row, min(whole, 1), at)
            others += [(time_ns, row) for row in rows]
        if not skipped:
            break
        position += skipped
    return Page(found, others, lost)


def _skip(page: bytes, position: int, time_ns: int) -> tuple[int, int]:
    """Return the size in bytes of another event, 0 at the end, and the time after it."""
    header = int.from_bytes(page[position : position + 4], "little")
    more = int.from_bytes(page[position + 4 : position + 8], "little")
    kind, delta = header & _LENGTH, header >> _LENGTH_BITS
    if kind == _TIME_EXTEND:
        return 8, time_ns + delta + (more << 27)
    if kind == _TIME_STAMP:
        # The stamp has no room for the topmost bits: these are those of the time so far.
        return 8, (time_ns >> 59 << 59) | delta + (more << 27)
    if kind == _PADDING:
        return (0, time_ns) if not delta else (4 + more, time_ns + delta)
    return 4 + (kind * 4 if kind else more), time_ns + delta


@frozen(eq=False)
class Table:
    """The regions of one target in one aggregation, as columns.

    Attributes:
        start: First address of each region.
        end: First address after each region.
        nr_accesses: Number of checks that saw an access to the region.
        age: Number of aggregations for which that has stayed similar.
        passed: Bytes of the region that passed a filter; None without a filter.
    """

    start: _IntColumn
    end: _IntColumn
    nr_accesses: _IntColumn
    age: _IntColumn
    passed: _IntColumn | None = None


@frozen(eq=False)
class Aggregation:
    """The kernel's results of one aggregation.

    Attributes:
        time_ns: The time of its end, on the clock of `time.monotonic_ns`.
        tables: The regions of each target that has any, by the index of the target.
    """

    time_ns: int
    tables: dict[int, Table]


@define(eq=False)
class Collector:
    """Assembles aggregations from events.

    The kernel writes an event for each region of each target, all of an aggregation at once. An
    aggregation with missing events is left out.

    Attributes:
        missed: The number of aggregations left out.
    """

    missed: int = field(default=0, init=False)
    _left: list[Events] = field(factory=list, init=False)

    def take(self, events: Events, targets: int, closed: bool) -> list[Aggregation]:
        """Add events; return the aggregations that are complete now.

        Args:
            events: The events since the last call.
            targets: The number of targets.
            closed: Whether no more events will come for an aggregation that still lacks some
                targets: these have no regions then.
        """
        events = Events.joined([*self._left, events])
        self._left = []
        if not len(events):
            return []
        columns = {name: events.column(name) for name in _COLUMNS}
        target, start = columns["target_id"], columns["start"]
        again = target[1:] < target[:-1]
        again |= (target[1:] == target[:-1]) & (start[1:] <= start[:-1])
        cuts = [0, *(again.nonzero()[0] + 1).tolist(), len(events)]
        found = []
        for begin, end in itertools.pairwise(cuts):
            part = slice(begin, end)
            tables = _tables({name: column[part] for name, column in columns.items()})
            open_end = end == len(events) and not closed
            if tables is not None and (not open_end or targets - 1 in tables):
                found.append(Aggregation(int(events.time_ns[end - 1]), tables))
            elif open_end:
                self._left = [events[part]]
            else:
                self.missed += 1
        return found

    @property
    def is_waiting(self) -> bool:
        """Whether there are events of an aggregation that isn't complete."""
        return bool(self._left)

    def forget(self) -> None:
        """Discard events of an incomplete aggregation, for another kdamond."""
        self._left = []


def _tables(columns: dict[str, _IntColumn]) -> dict[int, Table] | None:
    """Return the regions of each target, or None if some are missing."""
    target = columns["target_id"]
    cuts = [0, *((target[1:] != target[:-1]).nonzero()[0] + 1).tolist(), len(target)]
    tables = {}
    for begin, end in itertools.pairwise(cuts):
        if columns["nr_regions"][begin] != end - begin:
            return None
        part = [columns[name][begin:end] for name in ("start", "end", "nr_accesses", "age")]
        tables[int(target[begin])] = Table(*part)
    return tables
