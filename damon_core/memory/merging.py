"""Aggregations put together to longer ones, so that their totals stay the same."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve

from damon_core.attributes import Intervals
from damon_core.memory.idle import IDLE_SPANS, UNKNOWN
from damon_core.memory.kinds import kind_columns, kind_names
from damon_core.memory.snapshot import Snapshot, TargetRows, TargetSnapshot, assemble_snapshot
from damon_core.memory.target import Area

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]

#: Checks that stand for more than so many times the time of others aren't added to them.
_MOST_STRETCHED = 2
#: So many are put together before more come, which bounds memory however long an interval is.
_MOST_PENDING = 256
#: Of so many pairs of neighbours one is joined before costs are looked at anew.
_AT_ONCE = 4
#: What a column of a kind of memory is called in a `_Table`.
_KIND = "kind "


class SnapshotMerger:
    """Puts together the aggregations of a context that end within the same interval.

    Intervals begin at whole multiples of their length, in UTC, so those of several records are the
    same. One is divided where the sampling interval becomes more than twice as long or as short:
    the checks before and after stand for too different times to be added.

    Checks, times and the accesses of each byte are added up, so their totals stay the same. What is
    resident, and of which kind, is the mean over the checks. Ages, idle times, owners and names of
    mappings are those of the end. What was touched is what was in the aggregation in which that was
    most: whether it was other memory in others isn't known. Every page isn't kept.

    Args:
        every_us: How long intervals are.
        most_regions: How many regions an aggregation may have: the most similar neighbours are
            joined. None: as many as those had at most that it is made of.
    """

    def __init__(self, every_us: int, most_regions: int | None = None) -> None:
        self._every_us = every_us
        self._most_regions = most_regions
        self._interval: int | None = None
        self._pending: dict[str, _Pending] = {}
        self._numbers: dict[str, int] = {}

    def add(self, snapshot: Snapshot) -> Iterator[Snapshot]:
        """Add an aggregation; yield those that are complete now, in the order of their time."""
        # What ends at the very end of an interval belongs to it.
        interval = (snapshot.time_us - 1) // self._every_us
        before = self._pending.get(snapshot.context)
        # All of them, so that none comes after a later one of another context.
        if interval != self._interval or (before and not before.is_like(snapshot)):
            yield from self.rest()
        self._interval = interval
        if snapshot.context not in self._pending:
            self._pending[snapshot.context] = _Pending(self._most_regions)
        self._pending[snapshot.context].add(snapshot)

    def rest(self) -> Iterator[Snapshot]:
        """Yield what isn't complete yet, in the order of its time."""
        pending, self._pending = self._pending, {}
        whole = [each.snapshots() for each in pending.values()]
        for snapshots in sorted(whole, key=lambda each: each[-1].time_us):
            context = snapshots[0].context
            number = self._numbers[context] = self._numbers.get(context, 0) + 1
            yield merged(snapshots, number, self._most_regions)


class _Pending:
    """The aggregations of a context within an interval: the last ones, and those before together.

    `_levels` holds them from the last ones to those that were put together most often.
    """

    def __init__(self, most_regions: int | None) -> None:
        self._most_regions = most_regions
        self._levels: list[list[Snapshot]] = [[]]
        self._first: Snapshot | None = None

    def add(self, snapshot: Snapshot) -> None:
        if self._first is None or not len(self._first):
            self._first = snapshot
        self._levels[0].append(snapshot)
        for number, level in enumerate(self._levels):
            if len(level) < _MOST_PENDING:
                return
            if number + 1 == len(self._levels):
                self._levels.append([])
            self._levels[number + 1].append(merged(level, 1, self._most_regions))
            level.clear()

    def snapshots(self) -> list[Snapshot]:
        """Return them, in the order of their time."""
        return [each for level in reversed(self._levels) for each in level]

    def is_like(self, snapshot: Snapshot) -> bool:
        """Return whether the checks of an aggregation can be added to those before.

        They stand for about the same time, and are of the same bytes (see `_pieces`).
        """
        first = self._first
        assert first is not None
        shorter, longer = sorted(each.intervals.sampling_us for each in (first, snapshot))
        return longer <= _MOST_STRETCHED * shorter and (
            not len(first)
            or not len(snapshot)
            or (first.touched_bytes is None) == (snapshot.touched_bytes is None)
        )


def merged(snapshots: Sequence[Snapshot], number: int, most_regions: int | None = None) -> Snapshot:
    """Return aggregations of one context as a single one, as `SnapshotMerger` puts them together.

    Args:
        snapshots: In the order of their time, at least one.
        number: The number of the new aggregation.
        most_regions: As in `SnapshotMerger`.
    """
    last = snapshots[-1]
    if most_regions is None:
        most_regions = max(map(len, snapshots))
    if len(snapshots) == 1 and len(last) <= most_regions:
        return evolve(last, number=number)
    checks = sum(each.max_nr_accesses for each in snapshots)
    intervals = _intervals(snapshots)
    knows_touched = all(each.touched_bytes is not None for each in snapshots if len(each))
    targets: dict[str, list[_Part]] = {}
    for snapshot in snapshots:
        for target in snapshot.targets:
            targets.setdefault(target.name, []).append((snapshot, target))
    kinds = list(dict.fromkeys(kind for each in snapshots for kind in kind_names(each.kinds)))
    tables = []
    for index, parts in enumerate(targets.values()):
        pieces = _pieces(parts, checks, intervals, last.time_us, knows_touched=knows_touched)
        pieces |= {_KIND + kind: _of_kind(parts, kind, pieces, checks) for kind in kinds}
        pieces["target"] = np.full(len(pieces["start"]), index)
        tables.append(pieces)
    counts: list[int] = []
    columns = {name: column[:0] for name, column in last.columns().items()}
    if tables:
        table = {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}
        table = _fewer(_without_needless_borders(table), most_regions)
        counts = np.bincount(table["target"], minlength=len(targets)).tolist()
        columns = _columns(table, checks)
    return assemble_snapshot(
        columns,
        [
            _rows(parts, count, last.time_us)
            for parts, count in zip(targets.values(), counts, strict=True)
        ],
        context=last.context,
        number=number,
        time_us=last.time_us,
        elapsed_us=sum(each.elapsed_us for each in snapshots),
        intervals=intervals,
        max_nr_accesses=checks,
    )


#: A target in an aggregation.
_Part = tuple[Snapshot, TargetSnapshot]
#: Columns by name; what isn't known of a piece is below 0.
_Table = dict[str, npt.NDArray[Any]]


def _intervals(snapshots: Sequence[Snapshot]) -> Intervals:
    """Return the intervals of aggregations together: sampling as it was on average."""
    checks = sum(each.max_nr_accesses for each in snapshots)
    of_checks = sum(each.max_nr_accesses * each.intervals.sampling_us for each in snapshots)
    sampling_us = max(round(of_checks / max(checks, 1)), 1)
    aggregation_us = max(sum(each.intervals.aggregation_us for each in snapshots), sampling_us)
    update_us = max(snapshots[-1].intervals.update_us, sampling_us)
    return Intervals(sampling_us, aggregation_us, update_us)


def _pieces(
    parts: Sequence[_Part], checks: int, intervals: Intervals, end_us: int, *, knows_touched: bool
) -> _Table:
    """Return a target's memory cut at the borders of all its regions.

    `basis` are the bytes that accesses are counted of: resident ones where all that is in memory is
    looked at, otherwise all; `accesses` are added up over these bytes.
    """
    borders = np.unique(np.concatenate([each for _, t in parts for each in (t.start, t.end)]))
    start, end = borders[:-1], borders[1:]
    size = (end - start).astype(np.float64)
    count = len(start)
    covered = np.zeros(count, np.bool_)
    accesses, resident = np.zeros(count), np.zeros(count)
    touched = np.full(count, 0.0 if knows_touched else UNKNOWN)
    age, idle_us = np.zeros(count), np.zeros(count, np.int64)
    for snapshot, target in parts:
        region = target.start.searchsorted(start, side="right") - 1
        # A piece before the first region has index -1: the appended end of 0 excludes it.
        there = np.flatnonzero(start < np.append(target.end, 0)[region])
        region = region[there]
        share = size[there] / target.size_bytes[region]
        in_memory = target.resident_bytes[region] * share
        resident[there] += in_memory * snapshot.max_nr_accesses
        accesses[there] += target.nr_accesses[region] * (
            in_memory if knows_touched else size[there]
        )
        if knows_touched:
            assert target.touched_bytes is not None
            touched[there] = np.maximum(touched[there], target.touched_bytes[region] * share)
        covered[there] = True
        age[there] = target.age[region] * (
            snapshot.intervals.aggregation_us / intervals.aggregation_us
        )
        idle_us[there] = target.idle_us[region] + (end_us - snapshot.time_us)
    resident /= max(checks, 1)
    table: _Table = {
        "start": start,
        "end": end,
        "basis": resident if knows_touched else size,
        "accesses": accesses,
        "resident": resident,
        "touched": touched,
        "age": age,
        "idle_us": idle_us,
    }
    for span in IDLE_SPANS:
        table[span.column] = _idle_bytes(parts[-1], span.column, start, size)
    return {name: column[covered] for name, column in table.items()}


def _idle_bytes(part: _Part, name: str, start: _Ints, size: _Floats) -> _Floats:
    """Return bytes idle for a span as they were at the end; below 0 where they aren't known."""
    _, target = part
    found = np.full(len(start), float(UNKNOWN))
    column: _Ints | None = getattr(target, name)
    if column is None:
        return found
    region = target.start.searchsorted(start, side="right") - 1
    there = np.flatnonzero(start < np.append(target.end, 0)[region])
    region = region[there]
    known = column[region] != UNKNOWN
    shares = column[region] * (size[there] / target.size_bytes[region])
    found[there] = np.where(known, shares, UNKNOWN)
    return found


def _of_kind(parts: Sequence[_Part], kind: str, pieces: _Table, checks: int) -> _Floats:
    """Return bytes of a kind: the mean over the checks of which it is known; below 0 if of none."""
    start = pieces["start"]
    size = (pieces["end"] - start).astype(np.float64)
    sums, unknown = np.zeros(len(start)), np.zeros(len(start))
    for snapshot, target in parts:
        region = target.start.searchsorted(start, side="right") - 1
        # Of memory that isn't there, 0 bytes are of a kind, which is known.
        there = np.flatnonzero(start < np.append(target.end, 0)[region])
        if target.kinds is None or kind not in kind_names(target.kinds):
            unknown[there] += snapshot.max_nr_accesses
            continue
        region = region[there]
        column = target.kinds[kind][region]
        unknown[there[column == UNKNOWN]] += snapshot.max_nr_accesses
        share = size[there] / target.size_bytes[region]
        sums[there] += np.maximum(column, 0) * share * snapshot.max_nr_accesses
    known = checks - unknown
    return np.where(known > 0, sums / np.maximum(known, 1), float(UNKNOWN))


def _optional(table: _Table) -> list[str]:
    """Return the names of columns of bytes that may be unknown."""
    kinds = [name for name in table if name.startswith(_KIND)]
    return ["touched", *(span.column for span in IDLE_SPANS), *kinds]


def _rate(table: _Table) -> _Floats:
    """Return the accesses of a byte."""
    rate: _Floats = table["accesses"] / np.maximum(table["basis"], 1e-9)
    return np.where(table["basis"] > 0, rate, 0.0)


def _touching(table: _Table) -> _Flags:
    """Return for each piece but the first whether it begins where the one before ends."""
    flags: _Flags = (table["start"][1:] == table["end"][:-1]) & (
        table["target"][1:] == table["target"][:-1]
    )
    return flags


def _joined(table: _Table, first: _Ints) -> _Table:
    """Return runs of neighbours as one each; `first` are the places where they begin."""
    last = np.append(first[1:], len(table["start"])) - 1
    size = (table["end"] - table["start"]).astype(np.float64)
    joined = {
        "target": table["target"][first],
        "start": table["start"][first],
        "end": table["end"][last],
        "age": np.add.reduceat(table["age"] * size, first) / np.add.reduceat(size, first),
        "idle_us": np.minimum.reduceat(table["idle_us"], first),
    }
    for name in ("basis", "accesses", "resident"):
        joined[name] = np.add.reduceat(table[name], first)
    for name in _optional(table):
        known = np.minimum.reduceat(table[name], first) >= 0
        joined[name] = np.where(known, np.add.reduceat(table[name], first), float(UNKNOWN))
    return joined


def _without_needless_borders(table: _Table) -> _Table:
    """Return neighbours of which nothing differs as one."""
    if not len(table["start"]):
        return table
    size = (table["end"] - table["start"]).astype(np.float64)
    same = _touching(table)
    for column in (
        _rate(table),
        table["age"],
        table["idle_us"],
        *(
            np.where(table[name] < 0, -1.0, table[name] / size)
            for name in ("resident", *_optional(table))
        ),
    ):
        same &= column[1:] == column[:-1]
    return _joined(table, np.flatnonzero(np.concatenate(([True], ~same))))


def _fewer(table: _Table, most: int) -> _Table:
    """Return at most so many regions, as far as they have neighbours: the most similar are joined.

    Similar are those whose joining changes the accesses of their bytes least (as squares).
    """
    while (surplus := len(table["start"]) - most) > 0:
        candidates = np.flatnonzero(_touching(table))
        if not len(candidates):
            break
        rate, basis = _rate(table), np.maximum(table["basis"], 1.0)
        left, right = candidates, candidates + 1
        cost = basis[left] * basis[right] / (basis[left] + basis[right])
        cost *= (rate[left] - rate[right]) ** 2
        begins = np.ones(len(table["start"]), np.bool_)
        # Not more at once: what is left of a place then has no neighbour but across a border.
        cheapest = np.argsort(cost, kind="stable")[: max(len(candidates) // _AT_ONCE, 1)]
        for place in candidates[cheapest].tolist():
            # Each takes part in one joining at a time: afterwards it is another.
            if begins[place] and begins[place + 1] and begins[min(place + 2, len(begins) - 1)]:
                begins[place + 1] = False
                surplus -= 1
                if not surplus:
                    break
        table = _joined(table, np.flatnonzero(begins))
    return table


def _columns(table: _Table, checks: int) -> _Table:
    """Return the columns of a snapshot."""
    size = table["end"] - table["start"]
    # Upwards, so that no byte has more accesses than there were checks; but not for what is a whole
    # number but for the last digits of a division.
    resident_bytes = _upwards(table["resident"], size)
    basis = np.where(table["touched"] >= 0, resident_bytes, size).astype(np.float64)
    rate = np.where(basis > 0, table["accesses"] / np.maximum(basis, 1.0), 0.0)
    whole = np.round(rate)
    # What is but for the last digits of a division.
    rate = np.where(np.abs(rate - whole) <= 1e-9 * np.maximum(whole, 1.0), whole, rate)
    touched_bytes = np.minimum(np.floor(table["touched"]).astype(np.int64), resident_bytes)
    nr_accesses = np.minimum(rate, float(checks))
    accessed = (nr_accesses > 0) | (touched_bytes > 0)
    columns: _Table = {
        "start": table["start"],
        "end": table["end"],
        "nr_accesses": nr_accesses,
        "age": np.floor(table["age"] + 1e-9).astype(np.int64),
        "idle_us": np.where(accessed, 0, table["idle_us"]),
        "resident_bytes": resident_bytes,
    }
    if (table["touched"] >= 0).all():
        columns["touched_bytes"] = touched_bytes
    for span in IDLE_SPANS:
        bytes_ = table[span.column]
        if (bytes_ >= 0).any():
            whole_bytes = np.minimum(np.floor(bytes_).astype(np.int64), size)
            columns[span.column] = np.where(bytes_ >= 0, whole_bytes, UNKNOWN)
    kinds = {
        name.removeprefix(_KIND): np.where(column >= 0, _upwards(column, size), UNKNOWN)
        for name, column in table.items()
        if name.startswith(_KIND)
    }
    if kinds:
        columns["kinds"] = kind_columns(len(size), kinds)
    return columns


def _upwards(bytes_: _Floats, most: _Ints) -> _Ints:
    """Return whole bytes, rounded up, but not for the last digits of a division."""
    return np.minimum(np.ceil(bytes_ - 1e-6).astype(np.int64), most)


def _rows(parts: Sequence[_Part], count: int, end_us: int) -> TargetRows:
    """Return what a target has besides its regions: what it had at the end."""
    snapshot, target = parts[-1]
    late_us = end_us - snapshot.time_us
    return TargetRows(
        target.name,
        count,
        _areas([each for _, each in parts]),
        target.owners,
        target.toll,
        target.idle_ages.older(late_us) if late_us else target.idle_ages,
        target.spectrum,
        labels=target.labels,
        stale_us=max(each.stale_us for _, each in parts),
        reported=target.reported,
    )


def _areas(targets: Sequence[TargetSnapshot]) -> tuple[Area, ...]:
    """Return the mappings that there were: the last ones, and before them others that ended."""
    found = targets[-1].areas
    for target in reversed(targets[:-1]):
        # A target keeps the same tuple as long as nothing changes.
        if target.areas is found or target.areas == targets[-1].areas:
            continue
        borders = np.array([(area.start, area.end) for area in found], np.int64).reshape(-1, 2)
        gone = [
            area
            for area in target.areas
            # That begin and end between the same two of those that are there.
            if borders[:, 1].searchsorted(area.start, "right")
            == borders[:, 0].searchsorted(area.end, "left")
        ]
        if gone:
            found = tuple(sorted((*found, *gone)))
    return found
