"""Selection of a part of a record, by options that all reports share."""

import fnmatch
import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import (
    AttributeValueError,
    Snapshot,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
    parse_duration,
)
from damon_report.naming import AreaCache, IntColumn, Pieces, cut

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Moment:
    """A point in time, as given by a user.

    Attributes:
        us: Microseconds since the record began, or since 1970-01-01 UTC.
        since_start: Whether `us` counts from the start of the record.
    """

    us: int
    since_start: bool

    def of(self, start_us: int) -> int:
        """Return microseconds since 1970-01-01 UTC, for a record that began at `start_us`."""
        return start_us + self.us if self.since_start else self.us


class _MomentType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Moment:
        if isinstance(value, Moment):
            return value
        text = str(value)
        try:
            return Moment(parse_duration(text), since_start=True)
        except AttributeValueError:
            pass
        try:
            # A time without a zone is local.
            when = datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            self.fail(
                f"{text!r} is not a valid time: write one since the start like '10s' or '1.5h', "
                "or one like '2026-11-23T10:00:00' or '2026-11-23T10:00:00Z'",
                param,
                ctx,
            )
        return Moment(round((when - _EPOCH).total_seconds() * 1e6), since_start=False)


class _AddressesType(click.ParamType):  # type: ignore[type-arg]
    name = "addresses"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        start, dash, end = str(value).partition("-")
        try:
            found = int(start or "0", 16), int(end, 16) if end else _LAST
            if not dash or not 0 <= found[0] < found[1] <= _LAST:
                raise ValueError
        except ValueError:
            self.fail(
                f"{value!r} is not a valid range of addresses: write one like "
                "'7f0000000000-7f0000400000', in hexadecimal",
                param,
                ctx,
            )
        return found


_LAST = (1 << 63) - 1

#: A point in time like ``10s`` (since the start) or ``2026-11-23T10:00``; a `Moment`.
MOMENT = _MomentType()
#: Addresses like ``7f00-8000``; the first address, and the first after the range.
ADDRESSES = _AddressesType()


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a name is equal to one of `patterns`, or matches one."""
    return any(name == each or fnmatch.fnmatchcase(name, each) for each in patterns)


def mapping_matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether the name of a mapping, or the last part of its path, matches."""
    return matches(name, patterns) or ("/" in name and matches(name.rpartition("/")[2], patterns))


@frozen
class Selection:
    """The part of a record to report; an empty attribute selects everything.

    Attributes:
        contexts: Names or patterns of contexts.
        targets: Names or patterns of targets.
        mappings: Names or patterns of mappings.
        addresses: The first address, and the first after the range.
        begin: Only aggregations that ended after this time.
        end: Only aggregations that ended at or before this time.
    """

    contexts: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()
    addresses: tuple[int, int] | None = None
    begin: Moment | None = None
    end: Moment | None = None

    @property
    def cuts(self) -> bool:
        """Whether only parts of targets are selected."""
        return bool(self.mappings or self.addresses)

    def of_snapshot(self, snapshot: Snapshot, areas: AreaCache) -> Snapshot | None:
        """Return the selected part of a snapshot; None if its context or targets aren't selected.

        Regions are cut at the borders of the selection, and their resident bytes are divided. A
        selected target without any selected region stays, without regions.
        """
        if self.contexts and not matches(snapshot.context, self.contexts):
            return None
        targets: Sequence[TargetSnapshot] = snapshot.targets
        if self.targets:
            targets = [target for target in targets if matches(target.name, self.targets)]
            if not targets:
                return None
        if self.cuts:
            return _assembled(snapshot, [self._clipped(target, areas) for target in targets])
        if len(targets) == len(snapshot.targets):
            return snapshot
        return _assembled(snapshot, [_whole(target) for target in targets])

    def _clipped(self, target: TargetSnapshot, areas: AreaCache) -> "_Part":
        columns = areas.columns(target.areas)
        pieces = cut(target, columns, self.addresses or ())
        chosen = np.ones(len(pieces.start), np.bool_)
        if self.addresses:
            chosen &= (pieces.start >= self.addresses[0]) & (pieces.start < self.addresses[1])
        if self.mappings:
            by_area = [mapping_matches(name, self.mappings) for name in columns.names]
            # The last element is for pieces outside of areas, whose index is -1.
            chosen &= np.array([*by_area, False])[pieces.area]
        return _joined(target, pieces, np.flatnonzero(chosen))


#: A target's entry in a snapshot, and its columns.
_Part = tuple[TargetRows, dict[str, npt.NDArray[Any]]]

_COLUMNS = ("start", "end", "nr_accesses", "age", "idle_us", "resident_bytes")


def _whole(target: TargetSnapshot) -> _Part:
    rows = TargetRows(target.name, len(target), target.areas, target.owners)
    return rows, {name: getattr(target, name) for name in _COLUMNS}


def _joined(target: TargetSnapshot, pieces: Pieces, chosen: IntColumn) -> _Part:
    """Return the chosen pieces as regions; adjacent pieces of one region are joined again."""
    start, end, region = pieces.start[chosen], pieces.end[chosen], pieces.region[chosen]
    begins = np.ones(len(chosen), np.bool_)
    begins[1:] = (start[1:] != end[:-1]) | (region[1:] != region[:-1])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(chosen)) - 1 if len(first) else first
    of_region = region[first]
    columns: dict[str, npt.NDArray[Any]] = {
        name: getattr(target, name)[of_region] for name in ("nr_accesses", "age", "idle_us")
    }
    columns["start"], columns["end"] = start[first], end[last]
    resident_bytes = pieces.resident_bytes[chosen]
    columns["resident_bytes"] = (
        np.add.reduceat(resident_bytes, first) if len(first) else resident_bytes
    )
    return TargetRows(target.name, len(first), target.areas), columns


def _assembled(snapshot: Snapshot, parts: Sequence[_Part]) -> Snapshot:
    return assemble_snapshot(
        {name: np.concatenate([columns[name] for _, columns in parts]) for name in _COLUMNS},
        [rows for rows, _ in parts],
        context=snapshot.context,
        number=snapshot.number,
        time_us=snapshot.time_us,
        elapsed_us=snapshot.elapsed_us,
        intervals=snapshot.intervals,
        max_nr_accesses=snapshot.max_nr_accesses,
    )


_OPTIONS = (
    click.option(
        "--context", "contexts", metavar="GLOB", multiple=True, help="Only contexts of this name."
    ),
    click.option(
        "--target", "targets", metavar="GLOB", multiple=True, help="Only targets of this name."
    ),
    click.option(
        "--mapping",
        "mappings",
        metavar="GLOB",
        multiple=True,
        help="Only mappings of this name, such as '[heap]' or 'libc*'.",
    ),
    click.option(
        "--address",
        "addresses",
        metavar="A-B",
        type=ADDRESSES,
        help="Only addresses from A to before B, hexadecimal.",
    ),
    click.option(
        "--from",
        "begin",
        metavar="TIME",
        type=MOMENT,
        help="Only after this time: 10s after the start, or 2026-11-23T10:00.",
    ),
    click.option("--to", "end", metavar="TIME", type=MOMENT, help="Only up to this time."),
)


def selection_options(function: Callable[..., T]) -> Callable[..., T]:
    """Decorate a click command so that it gets a `selection` from options.

    Use it above the command's other options.
    """

    @functools.wraps(function)
    def command(
        *args: object,
        contexts: tuple[str, ...],
        targets: tuple[str, ...],
        mappings: tuple[str, ...],
        addresses: tuple[int, int] | None,
        begin: Moment | None,
        end: Moment | None,
        **own: object,
    ) -> T:
        selection = Selection(contexts, targets, mappings, addresses, begin, end)
        return function(*args, selection=selection, **own)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command
