"""Every page of targets in reports, where a record has them."""

from collections.abc import Sequence

import numpy as np

from damon_core import (
    ABSENT,
    PAGE_SIZE_BYTES,
    PageMap,
    Snapshot,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
    join_columns,
)
from damon_report.naming import IntColumn


def by_page(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot whose regions are runs of pages alike, for targets with every page.

    The others have the regions of the record. So has memory of which only samples are known.
    """
    maps = [target.page_map() for target in snapshot.targets]
    if not any(known is not None and known.weights is None for known in maps):
        return snapshot
    parts = []
    for target, known in zip(snapshot.targets, maps, strict=True):
        columns = target.columns()
        if known is not None and known.weights is None:
            columns = _columns(known, target)
        rows = TargetRows(
            target.name,
            len(columns["start"]),
            target.areas,
            target.owners,
            target.toll,
            labels=target.labels,
            spectrum=target.spectrum,
            pages=target.page_map,
            stale_us=target.stale_us,
            reported=target.reported,
        )
        parts.append((rows, columns))
    return assembled(snapshot, parts)


def assembled(
    snapshot: Snapshot, parts: Sequence[tuple[TargetRows, dict[str, np.ndarray]]]
) -> Snapshot:
    """Return a snapshot of the same aggregation with other regions.

    Args:
        snapshot: The snapshot of the aggregation.
        parts: Of each target what it has besides its columns, and these.
    """
    return assemble_snapshot(
        join_columns([columns for _, columns in parts] or [snapshot.columns()]),
        [rows for rows, _ in parts],
        context=snapshot.context,
        number=snapshot.number,
        time_us=snapshot.time_us,
        elapsed_us=snapshot.elapsed_us,
        intervals=snapshot.intervals,
        max_nr_accesses=snapshot.max_nr_accesses,
    )


def _columns(known: PageMap, target: TargetSnapshot) -> dict[str, np.ndarray]:
    """Return runs of pages as regions.

    A page that was first found accessed twice as late after a clearing is accessed half as often:
    its frequency is the share of sampling intervals in which it is, on average.
    """
    start, pages, period = known.runs
    touched = period <= known.longest
    size = pages * PAGE_SIZE_BYTES
    later = np.maximum(period.astype(np.int64) - known.shortest, 0)
    checks = float(target.max_nr_accesses)
    return {
        "start": start,
        "end": start + size,
        "nr_accesses": np.where(touched, checks * np.exp2(-later), 0.0),
        "age": np.zeros(len(start), np.int64),
        "idle_us": known.code_idle_us[known.codes_at(start)],
        "resident_bytes": size,
        "touched_bytes": np.where(touched, size, 0),
    }


def part_of(known: PageMap, start: IntColumn, end: IntColumn) -> PageMap:
    """Return a map of the pages in some disjoint ranges: of all others nothing is in memory."""
    changes = np.zeros(known.codes.size + 1, np.int64)
    np.add.at(changes, known.places(start), 1)
    np.add.at(changes, known.places(end), -1)
    inside = changes[:-1].cumsum().reshape(known.codes.shape) > 0
    return PageMap(
        known.blocks,
        np.where(inside, known.codes, np.uint8(ABSENT)),
        known.code_idle_us,
        known.shortest,
        known.longest,
        known.watched_us,
        known.weights,
    )
