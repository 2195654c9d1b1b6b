"""Mean memory use over a record, by name."""

import numpy as np
from attrs import asdict, frozen

from damon_core import Snapshot
from damon_report.groups import By
from damon_report.naming import AreaCache, FloatColumn
from damon_report.shares import bytes_by, without_surplus

#: Maximum number of measured aggregations of a context, at equal distances in a long record.
_MOMENTS = 5_000


@frozen
class Use:
    """The memory use of a context or a part of it, mean over the context's time.

    Attributes:
        working_set_bytes: Memory accessed in an aggregation.
        accessed_bytes: Memory accessed in a sampling interval.
        idle_bytes: Memory not accessed in an aggregation.
        total_bytes: All resident memory.
    """

    working_set_bytes: float = 0.0
    accessed_bytes: float = 0.0
    idle_bytes: float = 0.0
    total_bytes: float = 0.0

    @property
    def frequency(self) -> float:
        """The mean share of checks that found the bytes accessed."""
        return self.accessed_bytes / self.total_bytes if self.total_bytes else 0.0

    def json(self) -> dict[str, object]:
        """Return the use as a JSON object, as documented in docs/reports.md."""
        sizes: dict[str, object] = {name: round(value) for name, value in asdict(self).items()}
        return sizes | {"frequency": self.frequency}


class Means:
    """Collects the means of a record, snapshot by snapshot.

    Args:
        span_us: Begin and end of the time.
        by: How to group memory; each context as a whole is added as ``""``.
    """

    def __init__(self, span_us: tuple[int, int], by: By) -> None:
        self._step_us = (span_us[1] - span_us[0]) / _MOMENTS
        self._by = by
        self._due_us: dict[str, float] = {}
        self._time_us: dict[str, int] = {}
        self._sums: dict[tuple[str, str], FloatColumn] = {}

    def add(self, snapshot: Snapshot, areas: AreaCache) -> None:
        """Add an aggregation."""
        context = snapshot.context
        if snapshot.time_us < self._due_us.get(context, 0):
            return
        self._due_us[context] = snapshot.time_us - snapshot.elapsed_us + self._step_us
        self._time_us[context] = self._time_us.get(context, 0) + snapshot.elapsed_us
        columns = (
            snapshot.working_set(),
            snapshot.accessed(),
            snapshot.idle().low,
            snapshot.resident_bytes,
        )
        sums = bytes_by(snapshot, self._by, columns, areas)
        for name, values in without_surplus(sums, context, self._sums).items():
            weighted = np.array(values) * snapshot.elapsed_us
            self._sums[context, name] = self._sums.get((context, name), 0.0) + weighted

    def uses(self) -> dict[tuple[str, str], Use]:
        """Return the means so far, by context and name."""
        return {
            key: Use(*(sums / self._time_us[key[0]]).tolist())
            for key, sums in self._sums.items()
            if self._time_us[key[0]]
        }
