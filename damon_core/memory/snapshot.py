"""The immutable result of one aggregation, and what can be computed from it."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core.attributes import Intervals
from damon_core.errors import escaped
from damon_core.memory.idle import IDLE_SPANS, UNKNOWN, IdleAges, IdleSpan
from damon_core.memory.kinds import SWAPPED, KindColumns, join_kinds, kind_names, known_kinds
from damon_core.memory.labels import NO_LABELS
from damon_core.memory.pages import PageMap
from damon_core.memory.regions import FloatColumn, IntColumn, Regions
from damon_core.memory.reported import Reported
from damon_core.memory.spectrum import Spectrum
from damon_core.memory.target import Area, Owner, Target, Toll

#: Returns every page of a target in an aggregation, or None where that isn't known (any more).
PageSource: TypeAlias = Callable[[], PageMap | None]


def no_pages() -> None:
    """Return None: the pages of a target aren't known."""


class RegionView(NamedTuple):
    """One region of a snapshot, for people who want rows instead of columns."""

    target: str
    start: int
    end: int
    nr_accesses: float
    age: int
    resident_bytes: int


@frozen(eq=False)
class Idle:
    """The memory that has been idle for at least some time, as far as that is known.

    Attributes:
        low: Bytes of each region that certainly have been.
        high: Bytes of each region that may have been; equal to `low` where the number is known.
        age_us: How old the oldest number is that they stem from; 0 for the last aggregation's.
    """

    low: IntColumn = field(repr=False)
    high: IntColumn = field(repr=False)
    age_us: int = 0

    @property
    def low_bytes(self) -> int:
        """All bytes that certainly have been idle for so long."""
        return int(self.low.sum())

    @property
    def high_bytes(self) -> int:
        """All bytes that may have been."""
        return int(self.high.sum())

    @property
    def bytes(self) -> int | None:
        """All bytes that have been; None if only bounds are known."""
        low_bytes = self.low_bytes
        return low_bytes if low_bytes == self.high_bytes else None


@frozen(eq=False)
class _Columns:
    """Columns of equal length, one element per region, and figures computed from them.

    Attributes:
        intervals: The intervals in force during the aggregation.
        max_nr_accesses: Number of checks in the aggregation: the largest possible nr_accesses.
            It is aggregation interval // sampling interval if no check was missed.
        start: First address of each region.
        end: First address after each region.
        nr_accesses: Number of checks that saw an access to the region; 0 to `max_nr_accesses`.
        age: Number of aggregations for which its access frequency has stayed similar.
        idle_us: Microseconds without an access; 0 if there was one in this aggregation.
        resident_bytes: Bytes of the region that are in memory, as far as the primitive knows.
            All figures in bytes below are parts of these bytes.
        touched_bytes: Bytes of the region that were accessed at least once in the aggregation;
            None where the backend can't know, as when it checks single pages.
        idle_10s_bytes: Bytes of the region that haven't been accessed for at least 10 seconds, as
            last measured; -1 where that isn't known, None if it isn't of any region. `idle` and
            `idle_bytes` answer from it.
        idle_1m_bytes: The same for a minute.
        idle_10m_bytes: The same for ten minutes.
        idle_ages: How old these numbers are; of several targets the oldest.
        kinds: Bytes of each region by kind of memory, such as ``kinds["anonymous"]``; the names are
            the primitive's. -1 where that isn't known, None if it isn't of any region.
    """

    intervals: Intervals
    max_nr_accesses: int
    start: IntColumn = field(repr=False)
    end: IntColumn = field(repr=False)
    nr_accesses: FloatColumn = field(repr=False)
    age: IntColumn = field(repr=False)
    idle_us: IntColumn = field(repr=False)
    resident_bytes: IntColumn = field(repr=False)
    touched_bytes: IntColumn | None = field(default=None, repr=False, kw_only=True)
    idle_10s_bytes: IntColumn | None = field(default=None, repr=False, kw_only=True)
    idle_1m_bytes: IntColumn | None = field(default=None, repr=False, kw_only=True)
    idle_10m_bytes: IntColumn | None = field(default=None, repr=False, kw_only=True)
    idle_ages: IdleAges = field(factory=IdleAges, repr=False, kw_only=True)
    kinds: KindColumns | None = field(default=None, repr=False, kw_only=True)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def size_bytes(self) -> IntColumn:
        """Bytes of address space of each region."""
        return self.end - self.start

    @property
    def frequency(self) -> FloatColumn:
        """Access frequency of each region: the share of checks that saw an access, 0.0 to 1.0."""
        return self.nr_accesses / max(self.max_nr_accesses, 1)

    @property
    def total_bytes(self) -> int:
        """Monitored bytes."""
        return int(self.resident_bytes.sum())

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of the regions by name, without those that aren't known."""
        columns = {name: getattr(self, name) for name in (*_COLUMNS, *_OPTIONAL)}
        return {name: column for name, column in columns.items() if column is not None}

    def working_set(self, at_least: int = 1) -> FloatColumn:
        """Return the bytes of each region that were accessed in at least `at_least` checks.

        With 1, these are the `touched_bytes` where the backend knows them: exact, whatever the
        intervals. Otherwise they are an estimate: each byte that can be in the working set, which
        is each one touched or else each resident one, is taken to be accessed as often as all of
        them are on average. So where single pages are checked, all of a region counts as soon as
        one page of it was seen accessed: a region of which a tenth is in use is taken for wholly
        in use. Counters are means and may have fractions, which count in part: a region with 0.4
        accesses adds 40 % of its bytes.
        """
        possible, counts = self.resident_bytes.astype(np.float64), self.nr_accesses
        if self.touched_bytes is not None and at_least >= 1:
            possible = self.touched_bytes.astype(np.float64)
            if at_least == 1:
                return possible
            # All accesses of the region are those of its touched bytes.
            counts = counts * (self.resident_bytes / np.maximum(possible, 1.0))
        working: FloatColumn = possible * np.clip(counts - (at_least - 1), 0.0, 1.0)
        return working

    def working_set_bytes(self, at_least: int = 1) -> int:
        """Return the bytes that were accessed in at least `at_least` checks, as `working_set`."""
        working = self.working_set(at_least)
        whole = working == self.resident_bytes
        # Whole regions are summed as integers: exact at any size.
        return int(self.resident_bytes[whole].sum()) + round(float(working[~whole].sum()))

    def accessed(self) -> FloatColumn:
        """Return the bytes of each region accessed per sampling interval, on average.

        Where the backend looks at all that is in memory, so that it knows `touched_bytes`, the
        frequency is that of resident bytes. Where single pages are checked it is that of all pages
        of a region: those that aren't in memory are checked too, and are never accessed. So it is
        the size times the frequency, and no more than is resident.
        """
        if self.touched_bytes is not None:
            return self.resident_bytes * self.frequency
        return np.minimum(self.size_bytes * self.frequency, self.resident_bytes)

    def accessed_bytes(self) -> int:
        """Return the bytes accessed per sampling interval, on average, as `accessed`."""
        return int(self.accessed().sum())

    def idle(self, at_least_us: int = 0) -> Idle:
        """Return the bytes of each region that have been idle for at least `at_least_us`.

        0 stands for what wasn't accessed in this aggregation: what of regions wasn't touched. For
        the `IDLE_SPANS` there is a number as soon as the backend has measured it. Otherwise there
        are bounds: what has been idle for longer, such as regions of which no byte was accessed
        for so long, and what has been idle for a shorter time.

        Where `touched_bytes` are unknown, a region is as idle as the pages that were checked. That
        is the backend's estimate, and there are no bounds.
        """
        unused = (self.nr_accesses == 0) & (self.idle_us >= at_least_us)
        low = np.where(unused, self.resident_bytes, 0)
        if self.touched_bytes is None:
            return Idle(low, low)
        untouched = self.resident_bytes - self.touched_bytes
        if at_least_us <= 0:
            return Idle(untouched, untouched)
        aggregation_us, high = self.intervals.aggregation_us, untouched
        if at_least_us <= aggregation_us:
            low = untouched
        if at_least_us < aggregation_us:  # What was touched may have been idle since.
            high = self.resident_bytes
        longer, shorter = self._idle_spans(at_least_us)
        for span in longer:
            column = getattr(self, span.column)
            low = np.where(column != UNKNOWN, np.maximum(low, column), low)
        for span in shorter:
            column = getattr(self, span.column)
            high = np.where(column != UNKNOWN, np.minimum(high, column), high)
        return Idle(np.minimum(low, high), high, self.idle_age_us(at_least_us))

    def kind_bytes(self) -> dict[str, int]:
        """Return how much memory is of each kind, as far as that is known."""
        return {name: int(column.sum()) for name, column in known_kinds(self.kinds)}

    def kinds_of(self, part: IntColumn | FloatColumn) -> dict[str, FloatColumn]:
        """Return how much of part of the memory is of each kind, by region; not what is swapped.

        Of single bytes nothing is known, so each kind has its share of what is resident: if half of
        a region is huge, so is half of its idle memory.

        Args:
            part: Bytes of each region, of those that are resident, such as ``idle().low``.
        """
        share: FloatColumn = np.minimum(part / np.maximum(self.resident_bytes, 1), 1.0)
        known = known_kinds(self.kinds)
        return {name: share * column for name, column in known if name != SWAPPED}

    def _idle_spans(self, at_least_us: int) -> tuple[list[IdleSpan], list[IdleSpan]]:
        """Return the measured spans next to a time: one that isn't shorter, one not longer."""
        measured = [span for span in IDLE_SPANS if getattr(self, span.column) is not None]
        return (
            [span for span in measured if span.us >= at_least_us][:1],
            [span for span in measured if span.us <= at_least_us][-1:],
        )

    def idle_age_us(self, at_least_us: int) -> int:
        """Return how old the oldest number is that `idle` stems from; 0 for one of now."""
        if self.touched_bytes is None or at_least_us <= 0:
            return 0
        longer, shorter = self._idle_spans(at_least_us)
        ages = (getattr(self.idle_ages, span.age) or 0 for span in (*longer, *shorter))
        return max(ages, default=0)

    @overload
    def idle_bytes(self) -> int: ...

    @overload
    def idle_bytes(self, at_least_us: int) -> int | None: ...

    def idle_bytes(self, at_least_us: int = 0) -> int | None:
        """Return the bytes that have been idle for at least `at_least_us`, as `idle`.

        None if only bounds are known; those not accessed in this aggregation always are.
        """
        return self.idle(at_least_us).bytes

    def bytes_by_frequency(self, buckets: int = 10) -> list[int]:
        """Return the bytes by access frequency.

        Returns:
            ``buckets + 1`` sums: first of the regions without an access, then of those accessed
            in up to 1/buckets of the checks, up to 2/buckets, …, up to all of them.
        """
        index = np.ceil(self.frequency * buckets - 1e-9).astype(np.int64)
        index = np.where(self.nr_accesses > 0, np.clip(index, 1, buckets), 0)
        # bincount adds floats; a loop over buckets keeps the bytes exact at any size.
        return [int(self.resident_bytes[index == bucket].sum()) for bucket in range(buckets + 1)]


@frozen(eq=False)
class TargetSnapshot(_Columns):
    """One target's regions at the end of an aggregation; columns are read-only.

    Attributes:
        name: The target's name; in records of other programs it may be anything, and what can't be
            printed is escaped.
        areas: Named parts of its address space, ascending and disjoint, if the primitive reports
            them; the same object as long as they don't change.
        owners: Owners of its memory, if the primitive reports them.
        toll: What monitoring has cost it so far, as far as that is known.
        spectrum: Its memory by how often it is accessed; None where the backend can't know, as
            when it doesn't see every page.
        labels: What else it is known by, such as its ``unit`` and ``container``.
        stale_us: How old its values were when the aggregation ended, in microseconds: 0 where they
            are of this aggregation, more where it was left out, as the budget doesn't allow all
            targets to be looked at. Its values are those of the last one that looked at it.
        reported: What something else says of its memory, such as the kernel's DAMON_STAT.
    """

    name: str = field(default="", converter=escaped)
    areas: tuple[Area, ...] = field(default=(), repr=False)
    owners: tuple[Owner, ...] = ()
    toll: Toll = field(factory=Toll)
    spectrum: Spectrum | None = None
    _pages: PageSource = field(default=no_pages, repr=False)

    def page_map(self) -> PageMap | None:
        """Return every page at the end of the aggregation, of which the regions are a summary.

        A map has a byte for each page, so snapshots don't keep it: it is there for callbacks that
        ask while they are called, in `after_aggregation`. It may be kept; it never changes. Of a
        snapshot from a record it is there at any time, if the record has the pages.

        None where the backend doesn't know every page, and when the callbacks of the aggregation
        have been called and none of them has kept it.
        """
        return self._pages()

    labels: Mapping[str, str] = NO_LABELS
    stale_us: int = 0
    reported: Reported = field(factory=Reported, repr=False)

    def hottest(self, count: int = 10) -> list[RegionView]:
        """Return up to `count` regions by falling nr_accesses, equal ones by falling age."""
        order = np.lexsort((self.start, -self.age, -self.nr_accesses))[:count]
        return [
            RegionView(
                self.name,
                int(self.start[i]),
                int(self.end[i]),
                float(self.nr_accesses[i]),
                int(self.age[i]),
                int(self.resident_bytes[i]),
            )
            for i in order
        ]


@frozen(eq=False)
class Snapshot(_Columns):
    """The result of one aggregation of a context: all targets together, and each by itself.

    It never changes, so any thread may read it at any time.

    Attributes:
        context: The context's name; as a target's.
        number: 1 for the first aggregation since the start, then 2, 3, …
        time_us: When the aggregation ended, microseconds since 1970-01-01 UTC.
        elapsed_us: How long it took, in microseconds.
        targets: The same regions by target.
        spectrum: The memory of all targets by how often it is accessed; None where that isn't
            known of all.
    """

    context: str = field(default="", converter=escaped)
    number: int = 0
    time_us: int = 0
    elapsed_us: int = 0
    targets: tuple[TargetSnapshot, ...] = ()
    spectrum: Spectrum | None = None

    def hottest(self, count: int = 10) -> list[RegionView]:
        """Return up to `count` regions by falling nr_accesses, equal ones by falling age."""
        views = [view for target in self.targets for view in target.hottest(count)]
        return sorted(views, key=lambda view: (-view.nr_accesses, -view.age, view.start))[:count]


_COLUMNS = ("start", "end", "nr_accesses", "age", "idle_us", "resident_bytes")
_SPANS = tuple(span.column for span in IDLE_SPANS)
_OPTIONAL = ("touched_bytes", *_SPANS, "kinds")
#: Bytes of regions, and the least number that can be there.
_LEAST_BYTES = {"resident_bytes": 0, "touched_bytes": 0, **dict.fromkeys(_SPANS, UNKNOWN)}


@frozen
class TargetRows:
    """What a snapshot holds for a target besides its columns.

    Attributes:
        name: The target's name.
        count: Its number of regions.
        areas: Named parts of its address space.
        owners: Owners of its memory.
        toll: What monitoring has cost it so far.
        idle_ages: How old its bytes idle for some spans are.
        spectrum: Its memory by how often it is accessed, if that is known.
        pages: Returns every page of it, or None.
        labels: What else it is known by.
        stale_us: How old its values are.
        reported: What something else says of its memory.
    """

    name: str
    count: int
    areas: tuple[Area, ...] = ()
    owners: tuple[Owner, ...] = ()
    toll: Toll = field(factory=Toll)
    idle_ages: IdleAges = field(factory=IdleAges)
    spectrum: Spectrum | None = None
    pages: PageSource = no_pages
    labels: Mapping[str, str] = NO_LABELS
    stale_us: int = 0
    reported: Reported = field(factory=Reported)


def take_snapshot(
    targets: Sequence[Target],
    *,
    context: str,
    number: int,
    time_us: int,
    elapsed_us: int,
    intervals: Intervals,
    max_nr_accesses: int,
    stale_us: Callable[[Target], int] = lambda _: 0,
) -> Snapshot:
    """Return a snapshot of the regions of `targets`: the result of one aggregation.

    `stale_us` returns how old the values of a target are.
    """
    tables = [target.regions for target in targets] or [Regions()]
    return assemble_snapshot(
        _columns_of(tables),
        [
            TargetRows(
                target.name,
                len(target.regions),
                target.areas,
                tuple(target.owners),
                target.toll,
                target.idle_ages.older(age_us) if age_us else target.idle_ages,
                None if target.page_map is None else target.page_map.spectrum(),
                # Snapshots may be kept for long, megabytes of pages only if somebody asks.
                no_pages if target.page_map is None else weakref.ref(target.page_map),
                target.labels,
                age_us,
                target.reported,
            )
            for target, age_us in zip(targets, map(stale_us, targets), strict=True)
        ],
        context=context,
        number=number,
        time_us=time_us,
        elapsed_us=elapsed_us,
        intervals=intervals,
        max_nr_accesses=max_nr_accesses,
    )


def region_mistake(
    columns: Mapping[str, npt.NDArray[Any]], sizes: Sequence[int], max_nr_accesses: int
) -> tuple[int, str] | None:
    """Return the first row that can't be a region, and why; None if all can.

    For readers of what others have written. Counts may be above the number of checks as far as
    rounding makes them so.

    Args:
        columns: As `assemble_snapshot` takes them.
        sizes: The number of regions of each target, in their order.
        max_nr_accesses: The number of checks.
    """
    start, end, counts = columns["start"], columns["end"], columns["nr_accesses"]
    follows = np.ones(len(start), bool)
    firsts = np.cumsum([0, *sizes])[:-1]
    follows[firsts[firsts < len(start)]] = False  # the last targets may have no regions
    before = np.concatenate(([0], end[:-1])) if len(end) else end
    wrong: tuple[tuple[npt.NDArray[np.bool_], str], ...] = (
        (start < 0, "its start is negative, or above 2^63"),
        (end <= start, "its end isn't above its start"),
        (
            follows & (start < before),
            "it isn't above the region before it: regions overlap, or aren't in the order of "
            "their target and addresses",
        ),
        (~(counts >= 0), "its accesses are negative, or no number"),
        (counts > max_nr_accesses * 1.01 + 1, "it has more accesses than there were checks"),
        (columns["age"] < 0, "its age is negative"),
        (columns["idle_us"] < 0, "its idle time is negative"),
    )
    for name, least in _LEAST_BYTES.items():
        if name in columns:
            flags = (columns[name] < least) | (columns[name] > end - start)
            wrong += ((flags, f"its {name} are negative, or more than it has"),)
    for name in kind_names(columns.get("kinds")):
        of_kind = columns["kinds"][name]
        flags = (of_kind < UNKNOWN) | (of_kind > end - start)
        wrong += ((flags, f"its bytes of kind '{name}' are negative, or more than it has"),)
    found = [(int(np.argmax(flags)), why) for flags, why in wrong if flags.any()]
    return min(found, default=None, key=lambda each: each[0])


def join_columns(tables: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of tables of regions, one table behind the other.

    A column that one of them lacks isn't known of all together, so it is left out; of bytes idle
    for a span, and of kinds of memory, those of the other tables stay.

    Args:
        tables: Columns by name, as `assemble_snapshot` takes them; at least one table.
    """
    names = [
        name for name in tables[0] if name != "kinds" and all(name in table for table in tables)
    ]
    joined = {name: np.concatenate([table[name] for table in tables]) for name in names}
    kinds = join_kinds([(len(table["start"]), table.get("kinds")) for table in tables])
    if kinds is not None:
        joined["kinds"] = kinds
    for name in _SPANS:
        if name not in joined and any(name in table for table in tables):
            joined[name] = np.concatenate(
                [table.get(name, np.full(len(table["start"]), UNKNOWN)) for table in tables]
            )
    return joined


def _columns_of(tables: Sequence[Regions]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of tables of regions, joined as by `join_columns`."""
    joined: dict[str, npt.NDArray[Any]] = {}
    kinds = join_kinds([(len(table), table.kinds) for table in tables])
    if kinds is not None:
        joined["kinds"] = kinds
    for name in (*_COLUMNS, "touched_bytes", *_SPANS):
        columns = list(map(attrgetter(name), tables))
        unknown = [place for place, column in enumerate(columns) if column is None]
        if unknown and (name not in _SPANS or len(unknown) == len(tables)):
            continue
        for place in unknown:
            columns[place] = np.full(len(tables[place]), UNKNOWN)
        joined[name] = np.concatenate(columns)
    return joined


def assemble_snapshot(
    columns: Mapping[str, npt.NDArray[Any]],
    targets: Sequence[TargetRows],
    *,
    context: str,
    number: int,
    time_us: int,
    elapsed_us: int,
    intervals: Intervals,
    max_nr_accesses: int,
) -> Snapshot:
    """Return a snapshot made of columns, for readers of records.

    Args:
        columns: ``start``, ``end``, ``age``, ``idle_us`` and ``resident_bytes`` as 64-bit
            integers, ``nr_accesses`` as 64-bit floats, and as integers ``touched_bytes`` and the
            columns of `IDLE_SPANS`, if they are known, ``kinds`` likewise (`kind_columns`); one
            target after the other. They become read-only.
        targets: The targets in the order of their rows.
        context: As in `Snapshot`; likewise the others.
    """
    names = [name for name in (*_COLUMNS, *_OPTIONAL) if name in columns]
    for column in columns.values():
        column.flags.writeable = False
    parts = []
    position = 0
    for target in targets:
        rows = slice(position, position + target.count)
        position = rows.stop
        # Slices of read-only columns are read-only views: a target costs no second copy.
        views = {name: columns[name][rows] for name in names}
        parts.append(
            TargetSnapshot(
                intervals,
                max_nr_accesses,
                name=target.name,
                areas=target.areas,
                owners=target.owners,
                toll=target.toll,
                idle_ages=target.idle_ages,
                spectrum=target.spectrum,
                pages=target.pages,
                labels=target.labels,
                stale_us=target.stale_us,
                reported=target.reported,
                **views,
            )
        )
    return Snapshot(
        intervals,
        max_nr_accesses,
        context=context,
        number=number,
        time_us=time_us,
        elapsed_us=elapsed_us,
        targets=tuple(parts),
        spectrum=Spectrum.sum(target.spectrum for target in targets),
        idle_ages=IdleAges.oldest([target.idle_ages for target in targets]),
        **{name: columns[name] for name in names},
    )
