"""The figures of all groups of a snapshot, each computed for all of them at once.

A context may have hundreds of targets: then one operation on the columns of the snapshot takes as
long as it would on those of a single target. Sums are exact up to 2^53 bytes.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core.memory.bounded import bounded_owners, largest_owners
from damon_core.memory.kinds import known_kinds
from damon_core.memory.snapshot import Snapshot
from damon_core.memory.spectrum import Spectrum
from damon_core.memory.target import Owner
from damon_core.metrics.following import Followed
from damon_core.metrics.grouping import Groups, group

Sums = npt.NDArray[np.float64]

#: The number of shares of checks that memory is counted by.
FREQUENCY_BUCKETS = 10


def _sums(places: npt.NDArray[np.int64], values: npt.NDArray[np.number[Any]], count: int) -> Sums:
    """Return the sum of the values at each of so many places."""
    return np.bincount(places, values.astype(np.float64), count).astype(np.float64, copy=False)


@define(eq=False)
class Figures:
    """Figures of the groups of a snapshot.

    Args:
        followed: The snapshot, and what was known when it was taken.
        by: The labels by which targets are grouped.
        max_targets: The number of groups besides the one of all others.
    """

    followed: Followed
    by: Sequence[str]
    max_targets: int
    _rows: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        sizes = [len(target) for target in self.snapshot.targets]
        self._rows = np.repeat(np.arange(len(sizes)), sizes)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot."""
        return self.followed.snapshot

    @cached_property
    def groups(self) -> Groups:
        """The groups."""
        return group(self.snapshot.targets, self.by, self._working_sets, self.max_targets)

    @cached_property
    def _working_sets(self) -> Sums:
        return np.rint(self._by_target(self.snapshot.working_set()))

    @cached_property
    def _totals(self) -> Sums:
        return self._by_target(self.snapshot.resident_bytes)

    def _by_target(self, column: npt.NDArray[np.number[Any]]) -> Sums:
        """Return the sum of a column of regions for each target."""
        return _sums(self._rows, column, len(self.snapshot.targets))

    def _by_group(self, values: Sums) -> Sums:
        """Return the sum for each group of a value for each target."""
        return _sums(self.groups.numbers, values, len(self.groups))

    def working_set(self) -> Sums:
        """Return the bytes accessed in the aggregation."""
        return self._by_group(self._working_sets)

    def total(self) -> Sums:
        """Return the monitored bytes."""
        return self._by_group(self._totals)

    def accessed(self) -> Sums:
        """Return the bytes accessed in a sampling interval, on average."""
        return self._by_group(np.floor(self._by_target(self.snapshot.accessed())))

    def regions(self) -> Sums:
        """Return the numbers of regions."""
        return self._by_group(self._by_target(np.ones(len(self._rows))))

    def frequency(self) -> Iterator[tuple[float, Sums]]:
        """Return the bytes accessed in more than each share of the checks."""
        snapshot, buckets = self.snapshot, FREQUENCY_BUCKETS
        # The number of the first share that it isn't above.
        index = np.ceil(snapshot.frequency * buckets - 1e-9).astype(np.int64)
        index = np.where(snapshot.nr_accesses > 0, np.clip(index, 1, buckets), 0)
        rows = self.groups.numbers[self._rows] * (buckets + 1) + index
        cells = len(self.groups) * (buckets + 1)
        sums = _sums(rows, snapshot.resident_bytes, cells)
        below = sums.reshape(-1, buckets + 1)[:, ::-1].cumsum(axis=1)[:, ::-1]
        for bucket in range(buckets):
            yield bucket / buckets, below[:, bucket + 1]

    def idle(self, at_least_us: int) -> Iterator[tuple[int, float, int]]:
        """Return groups of which the idle bytes are known, with those, and how old that is."""
        idle = self.snapshot.idle(at_least_us)
        low = self._by_group(self._by_target(idle.low))
        high = self._by_group(self._by_target(idle.high))
        ages = np.zeros(len(self.groups), dtype=np.int64)
        if idle.age_us:
            targets = self.snapshot.targets
            known = [target.idle_age_us(at_least_us) for target in targets]
            np.maximum.at(ages, self.groups.numbers, known)
        for number in np.flatnonzero(low == high).tolist():
            yield number, low[number], int(ages[number])

    def late(self, after_us: int) -> Iterator[tuple[int, int]]:
        """Return groups with values older than some time, and how old their oldest are."""
        ages = np.zeros(len(self.groups), dtype=np.int64)
        np.maximum.at(ages, self.groups.numbers, [each.stale_us for each in self.snapshot.targets])
        for number in np.flatnonzero(ages > after_us).tolist():
            yield number, int(ages[number])

    def kinds(self) -> Iterator[tuple[str, Sums]]:
        """Return the names of the kinds of memory that are known, with their bytes."""
        for name, column in known_kinds(self.snapshot.kinds):
            yield name, self._by_group(self._by_target(column))

    def idle_kinds(self, at_least_us: int) -> Iterator[tuple[str, int, float]]:
        """Return kind, group and bytes of what is idle, where that is known."""
        if self.snapshot.kinds is None:
            return
        known = [number for number, _, _ in self.idle(at_least_us)]
        idle = self.snapshot.idle(at_least_us).low
        for name, column in self.snapshot.kinds_of(idle).items():
            sums = np.rint(self._by_group(self._by_target(column)))
            for number in known:
                yield name, number, sums[number]

    def window(self, place: int, window_us: int) -> Sums:
        """Return the bytes accessed within a window.

        Args:
            place: The number of the window among those that are followed.
            window_us: The window.
        """
        # What has certainly been idle for so long wasn't accessed; all else may have been.
        found = self._totals - self._by_target(self.snapshot.idle(window_us).low)
        for target, touched in enumerate(self.followed.touched):
            if touched is not None:
                found[target] = touched[place]
        return self._by_group(found)

    def spectra(self) -> Iterator[tuple[int, Spectrum]]:
        """Return groups of which the spectrum is known, with that."""
        for number, members in enumerate(self._members()):
            spectrum = Spectrum.sum(self.snapshot.targets[each].spectrum for each in members)
            if spectrum is not None:
                yield number, spectrum

    def owners(self, max_owners: int) -> Iterator[tuple[int, Owner]]:
        """Return the owners of each group, the largest ones and all others."""
        targets = self.snapshot.targets
        if not any(target.owners for target in targets):
            return
        named = largest_owners(targets, max_owners)
        for number, members in enumerate(self._members()):
            owners = [owner for each in members for owner in targets[each].owners]
            for owner in bounded_owners(owners, named):
                yield number, owner

    def _members(self) -> list[list[int]]:
        """Return the targets of each group."""
        members: list[list[int]] = [[] for _ in range(len(self.groups))]
        for target, number in enumerate(self.groups.numbers.tolist()):
            members[number].append(target)
        return members
