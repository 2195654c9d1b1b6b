"""The memory of a record without its gaps: ranges of all targets, one behind the other.

Behind each is a page that nobody accesses, so that each is a mapping by itself.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import PAGE_SIZE_BYTES, Snapshot, TargetRows, TargetSnapshot, assemble_snapshot

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: What a target is called: by its context and name.
Key = tuple[str, str]
#: So many pieces are kept before they are joined, which bounds memory.
_MOST_PENDING = 100_000


@frozen(eq=False)
class Ranges:
    """The ranges of a target, ascending, and where they are in the compact memory.

    Attributes:
        start: Their first addresses.
        end: The first addresses after them.
        at: Their places.
    """

    start: Ints
    end: Ints
    at: Ints

    def places(self, addresses: Ints) -> Ints:
        """Return where addresses in or at the end of ranges are."""
        index = np.maximum(self.start.searchsorted(addresses, side="right") - 1, 0)
        places: Ints = self.at[index] + addresses - self.start[index]
        return places


@frozen(eq=False)
class Compact:
    """The memory that any target of a record has had.

    Attributes:
        ranges: By target.
        size_bytes: All of it, with the pages between.
        aggregations: How many aggregations the record has.
        span_us: When the first began and the last ended.
        resident_bytes: The most that was in memory at a time.
    """

    ranges: Mapping[Key, Ranges]
    size_bytes: int
    aggregations: int
    span_us: tuple[int, int]
    resident_bytes: int

    @classmethod
    def of(cls, snapshots: Iterable[Snapshot]) -> "Compact":
        """Return the memory of aggregations; memory that was never there doesn't count."""
        pending: dict[Key, list[tuple[Ints, Ints]]] = {}
        count = most = begin_us = end_us = 0
        for snapshot in snapshots:
            begin_us = begin_us or snapshot.time_us - snapshot.elapsed_us
            end_us = snapshot.time_us
            count += 1
            most = max(most, snapshot.total_bytes)
            for target in snapshot.targets:
                there = (target.resident_bytes > 0) | (target.nr_accesses > 0)
                parts = pending.setdefault((snapshot.context, target.name), [])
                parts.append((target.start[there], target.end[there]))
                if sum(len(start) for start, _ in parts) > _MOST_PENDING:
                    parts[:] = [_union(parts)]
        ranges, at = {}, 0
        for key, parts in pending.items():
            start, end = _union(parts)
            room = end - start + PAGE_SIZE_BYTES
            ranges[key] = Ranges(start, end, at + np.cumsum(room) - room)
            at += int(room.sum())
        return cls(ranges, at, count, (begin_us, end_us), most)

    def borders(self) -> list[int]:
        """Return the places of the pages behind ranges."""
        ends = [each.at + each.end - each.start for each in self.ranges.values()]
        return [place for each in ends for place in each.tolist()]

    def pieces(self, snapshot: Snapshot) -> list[tuple[TargetSnapshot, Ints, Ints, Ints]]:
        """Return each target with the indices of its regions that were there, and their places."""
        found = []
        for target in snapshot.targets:
            index = np.flatnonzero((target.resident_bytes > 0) | (target.nr_accesses > 0))
            ranges = self.ranges[snapshot.context, target.name]
            first = ranges.places(target.start[index])
            found.append((target, index, first, first + target.size_bytes[index]))
        return found

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Return an aggregation in the compact memory, as one target."""
        pieces = self.pieces(snapshot)
        names = ("nr_accesses", "age", "idle_us", "resident_bytes")
        columns = {
            "start": np.concatenate([first for _, _, first, _ in pieces]),
            "end": np.concatenate([last for _, _, _, last in pieces]),
            **{
                name: np.concatenate([getattr(each, name)[index] for each, index, _, _ in pieces])
                for name in names
            },
        }
        return one_target(columns, snapshot)


#: The context and target of aggregations in the compact memory.
REPLAYED: Key = ("replay", "memory")


def one_target(columns: dict[str, npt.NDArray[np.generic]], snapshot: Snapshot) -> Snapshot:
    """Return an aggregation with these regions, as those of a single target."""
    order = np.argsort(columns["start"], kind="stable")
    context, name = REPLAYED
    return assemble_snapshot(
        {column: values[order] for column, values in columns.items()},
        [TargetRows(name, len(order))],
        context=context,
        number=snapshot.number,
        time_us=snapshot.time_us,
        elapsed_us=snapshot.elapsed_us,
        intervals=snapshot.intervals,
        max_nr_accesses=snapshot.max_nr_accesses,
    )


def _union(parts: Iterable[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Return ranges that overlap or touch as one each."""
    starts, ends = zip(*parts, strict=True)
    start, end = np.concatenate(starts), np.concatenate(ends)
    order = np.argsort(start, kind="stable")
    start, end = start[order], np.maximum.accumulate(end[order]) if len(order) else end
    first = np.flatnonzero(np.concatenate(([True], start[1:] > end[:-1]))) if len(start) else start
    last = np.append(first[1:], len(start)) - 1 if len(start) else first
    return start[first], end[last]
