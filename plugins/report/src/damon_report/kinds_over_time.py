"""Kinds of memory over time, all of it and what is idle of it, of contexts or their parts."""

from attrs import define, field

from damon_core import SWAPPED
from damon_report.groups import By
from damon_report.kinds import KindsUse, kinds_at, kinds_of_memory
from damon_report.record import Record
from damon_report.timeline import Begins, Timeline


@define(eq=False)
class KindsSeries:
    """The kinds of memory of a context or a part of it over time.

    Attributes:
        last: The kinds of the last aggregation.
        total: How much there is of each kind, by its name; empty for all that is in memory.
        idle: How much of it is idle, at least; not of what is swapped.
    """

    last: KindsUse
    total: dict[str, Timeline] = field(factory=dict)
    idle: dict[str, Timeline] = field(factory=dict)


def kinds_over_time(
    record: Record, by: By, at_least_us: int, *, pieces: int, most: int
) -> tuple[list[KindsSeries], int]:
    """Read a record once, and return the kinds of its memory over time.

    Args:
        record: The record.
        by: What has memory.
        at_least_us: For how long memory must have been idle to count as that; 0: for the
            aggregation.
        pieces: The number of equal pieces of the time.
        most: How many parts, at most: those with most memory in the last aggregation, whole
            contexts first.

    Returns:
        The parts, and how many there are in all.

    Raises:
        InputError: The record doesn't know kinds, or no target has the labels.
    """
    rows = [use for uses in kinds_at(record, None, by, at_least_us) for use in uses]
    last = [use for use in rows if len(use.kinds) > 1]  # of contexts that know kinds
    last.sort(key=lambda each: (each.name != "", -each.kinds[0].total_bytes))
    found = {(each.context, each.name): KindsSeries(each) for each in last[:most]}
    span_us, begins = record.span_us(), Begins()
    for snapshot in record.snapshots():
        begin_us = begins.of(snapshot.context, snapshot.elapsed_us, snapshot.time_us)
        if not snapshot.kind_bytes():
            continue
        for use in kinds_of_memory(snapshot, by, record.areas, at_least_us):
            series = found.get((use.context, use.name))
            if series is None:
                continue
            for each in use.kinds:
                lines = [(series.total, each.total_bytes)]
                if each.kind != SWAPPED:
                    lines.append((series.idle, each.idle_bytes or 0))
                for by_kind, size in lines:
                    if each.kind not in by_kind:
                        by_kind[each.kind] = Timeline(*span_us, pieces)
                    by_kind[each.kind].add(size, begin_us, snapshot.time_us)
    return list(found.values()), len(last)
