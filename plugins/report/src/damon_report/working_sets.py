"""Working sets and idle memory of contexts, targets, programs or mappings over time."""

from collections.abc import Collection, Iterable
from typing import Literal

import numpy as np
from attrs import define, field

from damon_core import InputError, Snapshot
from damon_report.distribution import Distribution
from damon_report.naming import UNNAMED, AreaCache, cut, without_pid
from damon_report.record import Record
from damon_report.timeline import Timeline

#: What working sets are told of one by one.
By = Literal["context", "target", "program", "mapping"]

#: So many are told one by one; of a record with more, the later ones are told together.
_MOST = 5_000
OTHERS = "(others)"


@define(eq=False)
class Series:
    """How much memory something used, and how much of it was idle, over time.

    Attributes:
        context: Its context.
        name: What it is called; empty for the whole context.
        sizes_bytes: Its working sets, and for how long each.
        working_set: Its working set over time.
        idle: Its memory that wasn't accessed in the aggregation, over time.
        total: All its memory, over time.
    """

    context: str
    name: str
    working_set: Timeline
    idle: Timeline
    total: Timeline
    sizes_bytes: Distribution = field(factory=Distribution)

    @property
    def byte_time(self) -> float:
        """Bytes of the working set times the time for which they were it."""
        return self.sizes_bytes.mean * self.sizes_bytes.weight


def working_sets(
    record: Record, by: By, at_least: int = 1, pieces: int = 120
) -> dict[tuple[str, str], Series]:
    """Go once through a record and return the series of what it is of.

    Args:
        record: The record.
        by: What to tell one by one, besides each context as a whole: that is called ``""``.
        at_least: In how many checks of an aggregation memory of the working set was accessed.
        pieces: How many pieces its time is cut into.

    Raises:
        InputError: Nothing is selected, or no aggregation has so many checks.
    """
    begin_us, end_us = record.span_us()
    found: dict[tuple[str, str], Series] = {}
    most_checks = 0
    for snapshot in record.snapshots():
        most_checks = max(most_checks, snapshot.max_nr_accesses)
        from_us = snapshot.time_us - snapshot.elapsed_us
        for name, uses in _uses(snapshot, by, at_least, record.areas, found).items():
            key = snapshot.context, name
            series = found.get(key)
            if series is None:
                used, idle, total = (Timeline(begin_us, end_us, pieces) for _ in range(3))
                series = found[key] = Series(*key, working_set=used, idle=idle, total=total)
            series.sizes_bytes.add(round(uses[0]), snapshot.elapsed_us)
            for timeline, value in zip(
                (series.working_set, series.idle, series.total), uses, strict=True
            ):
                timeline.add(value, from_us, snapshot.time_us)
    if at_least > max(most_checks, 1):
        raise InputError(
            f"'{record.path}': no aggregation has {at_least} checks: at most {most_checks}"
        )
    return found


#: Bytes that are used, that are idle, and in all.
_Uses = list[float]


def _uses(
    snapshot: Snapshot,
    by: By,
    at_least: int,
    areas: AreaCache,
    known: Collection[tuple[str, str]],
) -> dict[str, _Uses]:
    """Return who uses how much memory in a snapshot."""
    share = np.clip(snapshot.nr_accesses - (at_least - 1), 0.0, 1.0)
    idle = snapshot.nr_accesses == 0
    resident = snapshot.resident_bytes.astype(np.float64)
    columns = resident * share, resident * idle, resident
    sums = {"": [float(column.sum()) for column in columns]}

    def add(name: str, values: Iterable[float]) -> None:
        if len(known) >= _MOST and (snapshot.context, name) not in known:
            name = OTHERS
        before = sums.get(name, [0.0, 0.0, 0.0])
        sums[name] = [left + right for left, right in zip(before, values, strict=True)]

    position = 0
    for target in snapshot.targets if by != "context" else ():
        rows = slice(position, position + len(target))
        position = rows.stop
        if by == "mapping":
            named = areas.columns(target.areas)
            pieces = cut(target, named)
            inside = pieces.resident_bytes.astype(np.float64)
            parts = inside * share[rows][pieces.region], inside * idle[rows][pieces.region], inside
            label = named.label[pieces.area]
            count = len(named.labels)
            per_label = [np.bincount(label, part, count).tolist() for part in parts]
            for name, *values in zip(named.labels, *per_label, strict=True):
                if name != UNNAMED or values[2]:
                    add(name, values)
        else:
            name = without_pid(target.name) if by == "program" else target.name
            add(name, [float(column[rows].sum()) for column in columns])
    return sums
