"""Snapshots made by hand, and compared."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from damon_core.attributes import Intervals
from damon_core.contract.context import HookContext
from damon_core.hookspecs import hookimpl
from damon_core.memory.idle import IDLE_SPANS, UNKNOWN, IdleAges, IdleSpan
from damon_core.memory.kinds import kind_columns, kind_names
from damon_core.memory.labels import NO_LABELS, freeze_labels
from damon_core.memory.pages import PageMap
from damon_core.memory.regions import IntColumn
from damon_core.memory.reported import Reported
from damon_core.memory.snapshot import (
    Snapshot,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
)
from damon_core.memory.target import Area, Owner, Toll

#: 2023-11-14 22:13:20 UTC, where `damon_core.VirtualClock` begins as well.
_BEGIN_US = 1_700_000_000_000_000


class RegionRow(NamedTuple):
    """A region of a snapshot made by hand.

    Attributes:
        start: Its first address.
        end: The first address behind it.
        nr_accesses: In how many checks it was accessed.
        age: For how many aggregations that has stayed alike.
        idle_us: For how long no access was seen. By default 0 if it was accessed, otherwise as
            long as its age says.
        resident_bytes: How much of it is in memory; by default all.
        touched_bytes: How much of it was accessed in the aggregation; None if that isn't known. It
            has to be known of all regions, or of none.
        idle_10s_bytes: How much of it hadn't been accessed for 10 seconds; None if unknown.
        idle_1m_bytes: The same for a minute.
        idle_10m_bytes: The same for ten minutes.
        kinds: Its bytes by kind of memory; a kind that it lacks isn't known of it.
    """

    start: int
    end: int
    nr_accesses: float = 0
    age: int = 0
    idle_us: int | None = None
    resident_bytes: int | None = None
    touched_bytes: int | None = None
    idle_10s_bytes: int | None = None
    idle_1m_bytes: int | None = None
    idle_10m_bytes: int | None = None
    kinds: Mapping[str, int] = MappingProxyType({})


def make_snapshot(
    targets: Mapping[str, Sequence[RegionRow]],
    *,
    context: str = "context",
    number: int = 1,
    time_us: int | None = None,
    elapsed_us: int | None = None,
    intervals: Intervals | None = None,
    max_nr_accesses: int | None = None,
    areas: Mapping[str, Sequence[Area]] | None = None,
    owners: Mapping[str, Sequence[Owner]] | None = None,
    tolls: Mapping[str, Toll] | None = None,
    idle_ages: Mapping[str, IdleAges] | None = None,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    page_maps: Mapping[str, PageMap] | None = None,
    stale_us: Mapping[str, int] | None = None,
    reported: Mapping[str, Reported] | None = None,
) -> Snapshot:
    """Return the snapshot of an aggregation with these regions.

    Args:
        targets: The regions of each target by its name.
        context: The context's name.
        number: The number of the aggregation, from 1.
        time_us: When it ended, Unix microseconds; by default as if all before it had taken
            `elapsed_us`, too.
        elapsed_us: How long it took; by default the aggregation interval.
        intervals: Its intervals; by default those of a context.
        max_nr_accesses: The number of its checks; by default as many as the intervals make.
        areas: The areas of targets by their names.
        owners: The owners of targets by their names.
        tolls: What monitoring has cost targets, by their names.
        idle_ages: How old their idle bytes are, by their names.
        labels: What else they are known by, by their names.
        page_maps: Every page of targets, by their names; the snapshot has them for good.
        stale_us: How old the values of targets are, by their names.
        reported: What something else says of them, by their names.
    """
    intervals = intervals or Intervals()
    elapsed_us = intervals.aggregation_us if elapsed_us is None else elapsed_us
    rows = [row for regions in targets.values() for row in regions]
    idle_us = [
        row.idle_us
        if row.idle_us is not None
        else (row.nr_accesses == 0) * (row.age + 1) * intervals.aggregation_us
        for row in rows
    ]
    resident_bytes = [
        row.end - row.start if row.resident_bytes is None else row.resident_bytes for row in rows
    ]
    touched_bytes = [row.touched_bytes for row in rows if row.touched_bytes is not None]
    optional: dict[str, npt.NDArray[Any]] = {}
    if touched_bytes:
        optional["touched_bytes"] = np.array(touched_bytes, dtype=np.int64)
    for span in IDLE_SPANS:
        idle_bytes = [getattr(row, span.column) for row in rows]
        if any(size is not None for size in idle_bytes):
            known = [UNKNOWN if size is None else size for size in idle_bytes]
            optional[span.column] = np.array(known, dtype=np.int64)
    if names := dict.fromkeys(name for row in rows for name in row.kinds):
        of_kinds = {
            name: np.array([row.kinds.get(name, UNKNOWN) for row in rows]) for name in names
        }
        optional["kinds"] = kind_columns(len(rows), of_kinds)
    return assemble_snapshot(
        {
            "start": np.array([row.start for row in rows], dtype=np.int64),
            "end": np.array([row.end for row in rows], dtype=np.int64),
            "nr_accesses": np.array([row.nr_accesses for row in rows], dtype=np.float64),
            "age": np.array([row.age for row in rows], dtype=np.int64),
            "idle_us": np.array(idle_us, dtype=np.int64),
            "resident_bytes": np.array(resident_bytes, dtype=np.int64),
            **optional,
        },
        [
            TargetRows(
                name,
                len(regions),
                tuple((areas or {}).get(name, ())),
                tuple((owners or {}).get(name, ())),
                (tolls or {}).get(name, Toll()),
                (idle_ages or {}).get(name, IdleAges()),
                labels=freeze_labels((labels or {}).get(name, NO_LABELS)),
                stale_us=(stale_us or {}).get(name, 0),
                reported=(reported or {}).get(name, Reported()),
                **_exact((page_maps or {}).get(name)),
            )
            for name, regions in targets.items()
        ],
        context=context,
        number=number,
        time_us=_BEGIN_US + number * elapsed_us if time_us is None else time_us,
        elapsed_us=elapsed_us,
        intervals=intervals,
        max_nr_accesses=intervals.checks if max_nr_accesses is None else max_nr_accesses,
    )


def _exact(page_map: PageMap | None) -> dict[str, Any]:
    """Return what a target has where every page is known, or where not."""
    spectrum = None if page_map is None else page_map.spectrum()
    return {"spectrum": spectrum, "pages": lambda: page_map}


def assert_same_snapshot(found: Snapshot, expected: Snapshot, *, rtol: float = 0.0) -> None:
    """Compare everything that two snapshots hold.

    Args:
        found: The one to judge.
        expected: What it should be.
        rtol: By which share nr_accesses may differ, for formats that round them; whole numbers
            are always the same.

    Raises:
        AssertionError: They differ; the message says in what.
    """
    for name in ("context", "number", "time_us", "elapsed_us", "intervals", "max_nr_accesses"):
        _assert_equal(name, getattr(found, name), getattr(expected, name))
    for name in (
        "name",
        "areas",
        "owners",
        "toll",
        "idle_ages",
        "labels",
        "spectrum",
        "stale_us",
        "reported",
    ):
        _assert_equal(
            f"the targets' {name}",
            [getattr(target, name) for target in found.targets],
            [getattr(target, name) for target in expected.targets],
        )
    parts: list[Snapshot | TargetSnapshot] = [found, *found.targets]
    expected_parts: list[Snapshot | TargetSnapshot] = [expected, *expected.targets]
    for one, other in zip(parts, expected_parts, strict=True):
        known = (_knows_touched(each.touched_bytes) for each in (one, other))
        _assert_equal("whether touched_bytes are known", *known)
        for name in ("start", "end", "age", "idle_us", "resident_bytes", "touched_bytes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
        for span in IDLE_SPANS:
            found_bytes, expected_bytes = (_idle_bytes(each, span) for each in (one, other))
            np.testing.assert_array_equal(found_bytes, expected_bytes, span.column)
        _assert_equal("the kinds of memory", _known_kinds(one), _known_kinds(other))
        np.testing.assert_allclose(one.nr_accesses, other.nr_accesses, rtol, err_msg="nr_accesses")
        whole = other.nr_accesses == other.nr_accesses.round()
        np.testing.assert_array_equal(
            one.nr_accesses[whole], other.nr_accesses[whole], "whole nr_accesses"
        )


def assert_same_pages(found: PageMap | None, expected: PageMap | None) -> None:
    """Compare what two maps know of each page; the codes by which they do may differ.

    Raises:
        AssertionError: They differ; the message says in what.
    """
    if found is None or expected is None:
        _assert_equal("whether pages are known", found is None, expected is None)
        return
    for name in ("shortest", "longest", "watched_us"):
        _assert_equal(name, getattr(found, name), getattr(expected, name))
    for name in ("blocks", "periods", "idle_us", "weights"):
        one, other = getattr(found, name), getattr(expected, name)
        _assert_equal(f"whether {name} are known", one is None, other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other, name)


def _knows_touched(touched_bytes: IntColumn | None) -> bool:
    # Of no region there is nothing to know.
    return touched_bytes is not None and len(touched_bytes) > 0


def _known_kinds(part: Snapshot | TargetSnapshot) -> dict[str, list[int]]:
    """Return the bytes of each region by kind; of a kind that is known of none there is nothing."""
    kinds = part.kinds
    if kinds is None:
        return {}
    columns = {name: kinds[name].tolist() for name in kind_names(kinds)}
    return {name: column for name, column in columns.items() if {*column} - {UNKNOWN}}


def _idle_bytes(part: Snapshot | TargetSnapshot, span: IdleSpan) -> IntColumn:
    column: IntColumn | None = getattr(part, span.column)
    return np.full(len(part), UNKNOWN) if column is None else column


def _assert_equal(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{name}: {found!r} is not {expected!r}")


def assert_possible(snapshot: Snapshot) -> None:
    """Check what every snapshot has to hold, beyond what the core itself looks at.

    Resident and touched bytes are within each region, ages and idle times aren't negative, and
    areas are ascending and disjoint.

    Args:
        snapshot: The one to judge.

    Raises:
        AssertionError: Something in it is impossible; the message says what and where.
    """
    for target in snapshot.targets:
        bounds = {
            "resident_bytes": target.size_bytes,
            "touched_bytes": target.size_bytes,
            "age": None,
            "idle_us": None,
        }
        for name, most in bounds.items():
            column = getattr(target, name)
            if column is None:
                continue
            wrong = column < 0 if most is None else (column < 0) | (column > most)
            if wrong.any():
                row = int(np.argmax(wrong))
                raise AssertionError(
                    f"target '{target.name}': region {target.start[row]:#x}-{target.end[row]:#x} "
                    f"of {target.size_bytes[row]} bytes: {name} is {column[row]}"
                )
        for name in kind_names(target.kinds):
            assert target.kinds is not None
            of_kind = target.kinds[name]
            wrong = (of_kind < UNKNOWN) | (of_kind > target.size_bytes)
            if wrong.any():
                row = int(np.argmax(wrong))
                raise AssertionError(
                    f"target '{target.name}': region {target.start[row]:#x}-{target.end[row]:#x} "
                    f"of {target.size_bytes[row]} bytes: {of_kind[row]} of them are {name}"
                )
        ends = 0
        for area in target.areas:
            if not ends <= area.start < area.end:
                raise AssertionError(f"target '{target.name}': {area} isn't behind the area before")
            ends = area.end


class Judge:
    """A callback that judges every snapshot.

    Attributes:
        found: What is wrong with the first that is impossible; None if none is.
    """

    name = "judge"

    def __init__(self) -> None:
        self.found: AssertionError | None = None

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Judge a snapshot."""
        assert context.snapshot is not None
        try:
            assert_possible(context.snapshot)
        except AssertionError as error:
            self.found = self.found or error
