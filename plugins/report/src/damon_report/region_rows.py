"""Regions of one aggregation as rows, for tables and as JSON."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from attrs import field, fields, frozen

from damon_core import Snapshot, TargetSnapshot
from damon_report.naming import AreaCache, IntColumn, Pieces, cut


@frozen
class Row:
    """A region in the report; the attributes are the keys of the JSON.

    Attributes:
        context: The context's name.
        target: The target's name.
        start: First mapped address.
        end: First address after the last mapped one.
        size_bytes: Mapped bytes; bytes of address space if the record has no mappings.
        frequency: Share of checks that found the region accessed.
        nr_accesses: Number of checks that found the region accessed.
        age_us: How long the frequency has been about the same.
        idle_us: How long the region hasn't been accessed.
        resident_bytes: Resident bytes.
        touched_bytes: Bytes accessed at least once in the aggregation; None if unknown.
        temperature: How hot it is by damo's definition: 100 for each per cent of the checks that
            saw an access and for each microsecond of its age; negative if none did.
        mappings: Names of the region's mappings, the largest first; empty if unknown.
        origin: The aggregation and the target that it is of, and its index there; not in the JSON.
    """

    context: str
    target: str
    start: int
    end: int
    size_bytes: int
    frequency: float
    nr_accesses: float
    age_us: int
    idle_us: int
    resident_bytes: int
    touched_bytes: int | None
    temperature: float
    mappings: tuple[str, ...]
    origin: tuple[Snapshot, TargetSnapshot, int] = field(repr=False, eq=False)

    def json(self) -> dict[str, object]:
        """Return the region as a JSON object, as documented in docs/reports.md."""
        return {each.name: getattr(self, each.name) for each in fields(Row) if each.repr}

    @property
    def rate_hz(self) -> float:
        """Accesses a second, as damo counts them: one for each check that saw one."""
        snapshot, _, _ = self.origin
        return self.nr_accesses * 1e6 / max(snapshot.elapsed_us, 1)

    @property
    def bandwidth(self) -> float:
        """Bytes a second, if each check that saw an access stands for one of each byte."""
        snapshot, _, _ = self.origin
        return self.accessed_bytes * snapshot.max_nr_accesses * 1e6 / max(snapshot.elapsed_us, 1)

    @property
    def accessed_bytes(self) -> float:
        """Bytes accessed in a sampling interval, as `Snapshot.accessed`."""
        if self.touched_bytes is not None:
            return self.resident_bytes * self.frequency
        return min((self.end - self.start) * self.frequency, float(self.resident_bytes))

    @property
    def untouched_bytes(self) -> int:
        """Bytes that weren't accessed in the aggregation."""
        if self.touched_bytes is not None:
            return self.resident_bytes - self.touched_bytes
        return 0 if self.nr_accesses else self.resident_bytes


def region_rows(snapshot: Snapshot, areas: AreaCache) -> list[Row]:
    """Return the regions of a snapshot, without those that lie wholly between mappings."""
    return [row for target in snapshot.targets for row in _rows_of(snapshot, target, areas)]


def _rows_of(snapshot: Snapshot, target: TargetSnapshot, areas: AreaCache) -> list[Row]:
    aggregation_us = snapshot.intervals.aggregation_us
    columns = areas.columns(target.areas)
    pieces = cut(target, columns)
    first = pieces.region.searchsorted(np.arange(len(target) + 1))
    rows = []
    for region, (begin, end) in enumerate(pairwise(first.tolist())):
        named = np.flatnonzero(pieces.area[begin:end] >= 0) + begin
        seen = target.nr_accesses[region] > 0 or target.resident_bytes[region] > 0
        if target.areas and not len(named) and not seen:
            continue
        inside = named if len(named) else np.arange(begin, end)
        frequency, age_us = (
            float(target.frequency[region]),
            int(target.age[region]) * aggregation_us,
        )
        rows.append(
            Row(
                snapshot.context,
                target.name,
                int(pieces.start[inside[0]]),
                int(pieces.end[inside[-1]]),
                int((pieces.end[inside] - pieces.start[inside]).sum()),
                frequency,
                float(target.nr_accesses[region]),
                age_us,
                int(target.idle_us[region]),
                int(target.resident_bytes[region]),
                None if target.touched_bytes is None else int(target.touched_bytes[region]),
                _temperature(frequency, age_us),
                _names(pieces, named, columns.names),
                (snapshot, target, region),
            )
        )
    return rows


def _temperature(frequency: float, age_us: int) -> float:
    score = 100 * (100 * frequency) + 100 * age_us
    return score if frequency > 0 else -score


def _names(pieces: Pieces, indices: IntColumn, names: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct names of some pieces, those with most bytes first."""
    sizes: dict[str, int] = {}
    for index in indices.tolist():
        name = names[pieces.area[index]]
        sizes[name] = sizes.get(name, 0) + int(pieces.end[index] - pieces.start[index])
    return tuple(sorted(sizes, key=lambda name: -sizes[name]))
