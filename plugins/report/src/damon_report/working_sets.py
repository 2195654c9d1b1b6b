"""Working sets and idle memory over time, by context, target, program or mapping."""

from attrs import define, field

from damon_core import InputError, Snapshot
from damon_report.distribution import Distribution
from damon_report.groups import By
from damon_report.naming import AreaCache
from damon_report.record import Record
from damon_report.shares import (
    bytes_by,
    labels_by,
    reported_of,
    targets_by,
    without_surplus,
)
from damon_report.timeline import Begins, Timeline


@define(eq=False)
class Series:
    """The memory use of a context or a part of it over time.

    Attributes:
        context: The context's name.
        name: The name of the part, such as a target or mapping; empty for the whole context.
        sizes_bytes: The distribution of working set sizes over time.
        labels: The labels that all its targets had all the time.
        reported: The distribution of the bytes accessed a second as something else says, such as
            DAMON_STAT; empty if nobody does.
        working_set: The working set over time.
        idle: The memory not accessed in the aggregation, over time.
        total: All resident memory over time.
    """

    context: str
    name: str
    working_set: Timeline
    idle: Timeline
    total: Timeline
    sizes_bytes: Distribution = field(factory=Distribution)
    labels: dict[str, str] | None = None
    reported: Distribution = field(factory=Distribution)

    @property
    def byte_time(self) -> float:
        """The working set summed over time, in byte-microseconds."""
        return self.sizes_bytes.mean * self.sizes_bytes.weight


class WorkingSets:
    """Collects the series of a record, snapshot by snapshot.

    Args:
        span_us: Begin and end of the time.
        by: How to group memory; each context as a whole is added as ``""``.
        at_least: Minimum number of checks that must find memory accessed to count as working set.
        pieces: The number of equal pieces of the time.
        bandwidth: Whether the bytes that are accessed a second take the place of the working set:
            each check that saw an access stands for one of each byte.

    Attributes:
        found: The series so far, by context and name.
        most_checks: The greatest number of checks of an aggregation.
    """

    def __init__(
        self,
        span_us: tuple[int, int],
        by: By,
        at_least: int,
        pieces: int,
        *,
        bandwidth: bool = False,
    ) -> None:
        self.found: dict[tuple[str, str], Series] = {}
        self.most_checks = 0
        self._begins = Begins()
        self._span_us = span_us
        self._by = by
        self._at_least = at_least
        self._pieces = pieces
        self._bandwidth = bandwidth

    def add(self, snapshot: Snapshot, areas: AreaCache) -> None:
        """Add an aggregation."""
        self.most_checks = max(self.most_checks, snapshot.max_nr_accesses)
        from_us = self._begins.of(snapshot.context, snapshot.elapsed_us, snapshot.time_us)
        used = snapshot.working_set(self._at_least)
        if self._bandwidth:
            per_second = snapshot.max_nr_accesses * 1e6 / max(snapshot.elapsed_us, 1)
            used = snapshot.accessed() * per_second
        columns = (used, snapshot.idle().low, snapshot.resident_bytes)
        sums = bytes_by(snapshot, self._by, columns, areas)
        for name, uses in without_surplus(sums, snapshot.context, self.found).items():
            series = self._series(snapshot.context, name)
            series.sizes_bytes.add(round(uses[0]), snapshot.elapsed_us)
            lines = (series.working_set, series.idle, series.total)
            for line, value in zip(lines, uses, strict=True):
                line.add(value, from_us, snapshot.time_us)
        self._add_labels(snapshot)
        if self._bandwidth:
            self._add_reported(snapshot)

    def _add_reported(self, snapshot: Snapshot) -> None:
        for name, targets in targets_by(snapshot, self._by).items():
            series = self.found.get((snapshot.context, name))
            reported = reported_of(targets).bytes_per_second
            if series is not None and reported is not None:
                series.reported.add(reported, snapshot.elapsed_us)

    def _add_labels(self, snapshot: Snapshot) -> None:
        for name, labels in labels_by(snapshot, self._by).items():
            if (series := self.found.get((snapshot.context, name))) is not None:
                known = labels.items() if series.labels is None else series.labels.items()
                series.labels = dict(known & labels.items())

    def _series(self, context: str, name: str) -> Series:
        series = self.found.get((context, name))
        if series is None:
            used, idle, total = (Timeline(*self._span_us, self._pieces) for _ in range(3))
            series = self.found[context, name] = Series(context, name, used, idle, total)
        return series


def working_sets(
    record: Record, by: By, at_least: int, pieces: int, *, bandwidth: bool = False
) -> list[Series]:
    """Read a record once, and return its series; the arguments are those of `WorkingSets`.

    Raises:
        InputError: Nothing is selected, no aggregation has `at_least` checks, or no target has
            the labels.
    """
    collected = WorkingSets(record.span_us(), by, at_least, pieces, bandwidth=bandwidth)
    for snapshot in record.snapshots():
        collected.add(snapshot, record.areas)
    if at_least > max(collected.most_checks, 1):
        raise InputError(
            f"'{record.name}': no aggregation has {at_least} checks; they have at most "
            f"{collected.most_checks}"
        )
    record.refuse_unknown(by, (name for _, name in collected.found))
    return list(collected.found.values())
