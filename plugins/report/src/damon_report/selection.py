"""Selection of a part of a record."""

import fnmatch
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import (
    IDLE_SPANS,
    UNKNOWN,
    PageMap,
    Snapshot,
    TargetRows,
    TargetSnapshot,
    kind_columns,
    kind_names,
)
from damon_report.exact import assembled, part_of
from damon_report.moments import Moment
from damon_report.naming import AreaCache, IntColumn, Pieces, cut, cut_kinds


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
        hosts: Names or patterns of hosts.
    """

    contexts: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()
    addresses: tuple[int, int] | None = None
    begin: Moment | None = None
    end: Moment | None = None
    hosts: tuple[str, ...] = ()

    @property
    def cuts(self) -> bool:
        """Whether only parts of targets are selected."""
        return bool(self.mappings or self.addresses)

    def of_snapshot(
        self, snapshot: Snapshot, areas: AreaCache, *, pages: bool = False
    ) -> Snapshot | None:
        """Return the selected part of a snapshot; None if its context or targets aren't selected.

        Regions are cut at the borders of the selection, and their bytes are divided. A selected
        target without any selected region stays, without regions.

        Args:
            snapshot: The snapshot.
            areas: A cache of columns of areas.
            pages: Whether parts of targets keep their pages, and so have a spectrum.
        """
        if self.contexts and not matches(snapshot.context, self.contexts):
            return None
        targets: Sequence[TargetSnapshot] = snapshot.targets
        if self.targets:
            targets = [target for target in targets if matches(target.name, self.targets)]
            if not targets:
                return None
        if self.cuts:
            return assembled(snapshot, [self._clipped(target, areas, pages) for target in targets])
        if len(targets) == len(snapshot.targets):
            return snapshot
        return assembled(snapshot, [_whole(target) for target in targets])

    def _clipped(self, target: TargetSnapshot, areas: AreaCache, pages: bool) -> "_Part":
        columns = areas.columns(target.areas)
        pieces = cut(target, columns, self.addresses or ())
        chosen = np.ones(len(pieces.start), np.bool_)
        if self.addresses:
            chosen &= (pieces.start >= self.addresses[0]) & (pieces.start < self.addresses[1])
        if self.mappings:
            by_area = [mapping_matches(name, self.mappings) for name in columns.names]
            # The last element is for pieces outside of areas, whose index is -1.
            chosen &= np.array([*by_area, False])[pieces.area]
        kept = np.flatnonzero(chosen)
        page_map = target.page_map() if pages else None
        if page_map is not None:
            page_map = part_of(page_map, pieces.start[kept], pieces.end[kept])
        return _joined(target, pieces, kept, page_map)


#: A target's entry in a snapshot, and its columns.
_Part = tuple[TargetRows, dict[str, npt.NDArray[Any]]]


def _whole(target: TargetSnapshot) -> _Part:
    rows = TargetRows(
        target.name,
        len(target),
        target.areas,
        target.owners,
        target.toll,
        target.idle_ages,
        labels=target.labels,
        spectrum=target.spectrum,
        pages=target.page_map,
        stale_us=target.stale_us,
        reported=target.reported,
    )
    return rows, target.columns()


def _joined(
    target: TargetSnapshot, pieces: Pieces, chosen: IntColumn, page_map: PageMap | None
) -> _Part:
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
    for name in ("resident_bytes", "touched_bytes"):
        size_bytes: IntColumn | None = getattr(pieces, name)
        if size_bytes is not None:
            of_chosen = size_bytes[chosen]
            columns[name] = np.add.reduceat(of_chosen, first) if len(first) else of_chosen
    for span in IDLE_SPANS:
        idle_bytes: IntColumn | None = getattr(target, span.column)
        if idle_bytes is not None:
            shares = np.append(pieces.shared_out(idle_bytes, target)[chosen], 0.0)
            parts = np.add.reduceat(shares, first) if len(first) else shares[:0]
            known = idle_bytes[of_region] != UNKNOWN
            columns[span.column] = np.where(known, parts.round().astype(np.int64), UNKNOWN)
    kinds = cut_kinds(target, pieces)
    if kinds is not None:
        sizes = {name: kinds[name][chosen] for name in kind_names(kinds)}
        columns["kinds"] = kind_columns(
            len(first),
            {
                # What isn't known of a region isn't of its pieces.
                name: np.where(
                    size[first] == UNKNOWN,
                    UNKNOWN,
                    np.add.reduceat(size, first) if len(first) else size,
                )
                for name, size in sizes.items()
            },
        )
    rows = TargetRows(
        target.name,
        len(first),
        target.areas,
        toll=target.toll,
        idle_ages=target.idle_ages,
        labels=target.labels,
        spectrum=None if page_map is None else page_map.spectrum(),
        pages=lambda: page_map,
        stale_us=target.stale_us,
    )
    return rows, columns
