"""An overview of a record, collected in one pass."""

import numpy as np
from attrs import define, field, frozen

from damon_core import Intervals, Snapshot
from damon_report.groups import By
from damon_report.means import Means, Use
from damon_report.record import Record
from damon_report.timeline import Timeline
from damon_report.working_sets import Series, WorkingSets

#: Number of pieces of the time, to find changes.
_PIECES = 120
#: Number of compared pieces before and after a change.
_AROUND = 4
#: Changes below this share of the largest working set aren't reported.
_NOTABLE = 0.1
#: Maximum number of changes of intervals that are kept.
_MOST_CHANGES = 1_000


@frozen
class Step:
    """The largest change of the working set.

    Attributes:
        time_us: Time of the change, Unix microseconds.
        before_bytes: Mean working set shortly before.
        after_bytes: Mean working set shortly after.
    """

    time_us: int
    before_bytes: float
    after_bytes: float


@define(eq=False)
class ContextOverview:
    """The overview of a context.

    Attributes:
        name: The context's name.
        aggregations: Number of aggregations.
        checks: Number of checks.
        missed_checks: Number of further checks that were due in aggregations that lack some.
        gaps: Number of gaps between one aggregation and the next.
        gaps_us: Total duration of the gaps.
        intervals: Pairs of a time and the intervals in force from then on.
        interval_changes: Number of changes of the intervals.
        regions: The least and the greatest number of regions.
        last: The last snapshot with regions, if there is one.
        targets: The series of each target.
        whole: The series of all targets together.
        uses: The memory use of each mapping, or of each target if the record has no mappings; or of
            what was asked for.
        uses_of: What `uses` is by.
    """

    name: str
    aggregations: int = 0
    checks: int = 0
    missed_checks: int = 0
    gaps: int = 0
    gaps_us: int = 0
    intervals: list[tuple[int, Intervals]] = field(factory=list)
    interval_changes: int = 0
    regions: tuple[int, int] = (1 << 62, 0)
    last: Snapshot = field(init=False)
    targets: list[Series] = field(factory=list)
    whole: Series = field(init=False)
    uses: dict[str, Use] = field(factory=dict)
    uses_of: By = "mapping"
    _ended_us: int = field(default=0, init=False)

    def add(self, snapshot: Snapshot) -> None:
        """Add an aggregation."""
        if self.aggregations:
            self._follow(snapshot)
        if not self.intervals or self.intervals[-1][1] != snapshot.intervals:
            self.interval_changes += bool(self.intervals)
            if len(self.intervals) < _MOST_CHANGES:
                self.intervals.append((snapshot.time_us - snapshot.elapsed_us, snapshot.intervals))
        self.aggregations += 1
        self.checks += snapshot.max_nr_accesses
        # With all checks of its interval an aggregation may still be late, as where one look at the
        # end stands for all of them: then nothing was missed.
        if snapshot.max_nr_accesses < snapshot.intervals.checks:
            expected = snapshot.elapsed_us // snapshot.intervals.sampling_us
            self.missed_checks += max(expected - snapshot.max_nr_accesses, 0)
        least, most = self.regions
        self.regions = min(least, len(snapshot)), max(most, len(snapshot))
        if len(snapshot) or not most:
            self.last = snapshot
        self._ended_us = snapshot.time_us

    def _follow(self, snapshot: Snapshot) -> None:
        gap_us = snapshot.time_us - snapshot.elapsed_us - self._ended_us
        # An aggregation that was late on a busy machine isn't a gap: the next one makes up for it.
        if gap_us > max(snapshot.intervals.sampling_us, snapshot.elapsed_us // 2):
            self.gaps += 1
            self.gaps_us += gap_us

    def biggest_step(self) -> Step | None:
        """Return the largest change of the working set; None without a notable one."""
        return biggest_step(self.whole.working_set)


def biggest_step(line: Timeline) -> Step | None:
    """Return the largest change between means shortly before and after; None if not notable."""
    mean = line.mean
    seen = np.flatnonzero(~np.isnan(mean))
    values = mean[seen]
    if len(values) < 2:
        return None
    best: tuple[float, int, float, float] | None = None
    for index in range(1, len(values)):
        before = float(values[max(0, index - _AROUND) : index].mean())
        after = float(values[index : index + _AROUND].mean())
        # The adjacent pieces count a little more, so that a sharp edge is located exactly.
        size = abs(after - before) + 0.1 * abs(float(values[index] - values[index - 1]))
        if best is None or size > best[0]:
            best = size, index, before, after
    assert best is not None
    _, index, before, after = best
    if abs(after - before) < _NOTABLE * values.max():
        return None
    return Step(round(line.edges_us[seen[index]]), before, after)


def overview(record: Record, by: By | None = None) -> list[ContextOverview]:
    """Read a record once, and return the overview of each context.

    Args:
        record: The record.
        by: What memory use is grouped by; None for mappings, or targets if there are none.

    Raises:
        InputError: Nothing is selected, or no target has the labels.
    """
    span_us = record.span_us()
    sets = WorkingSets(span_us, "target", 1, _PIECES)
    means: dict[By, Means] = {
        each: Means(span_us, each) for each in ((by,) if by else ("mapping", "target"))
    }
    contexts: dict[str, ContextOverview] = {}
    mapped: set[str] = set()
    for snapshot in record.snapshots():
        contexts.setdefault(snapshot.context, ContextOverview(snapshot.context)).add(snapshot)
        sets.add(snapshot, record.areas)
        for mean in means.values():
            mean.add(snapshot, record.areas)
        if snapshot.context not in mapped and any(t.areas for t in snapshot.targets):
            mapped.add(snapshot.context)
    for name, context in contexts.items():
        context.whole = sets.found[name, ""]
        context.targets = sorted(
            (each for (of, target), each in sets.found.items() if of == name and target),
            key=lambda each: -each.byte_time,
        )
        context.uses_of = by or ("mapping" if name in mapped else "target")
        uses = means[context.uses_of].uses()
        context.uses = {member: use for (of, member), use in uses.items() if of == name and member}
    if by:
        record.refuse_unknown(by, (name for each in contexts.values() for name in each.uses))
    return [contexts[name] for name in sorted(contexts)]
