"""The pool: the checks of one target that are still valid."""

from functools import cached_property

import numpy as np
from attrs import frozen

from damon_core.memory.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn
from damon_core.memory.samples import BoolColumn

#: The largest number of checks remembered, unless two aggregations make more: bounds memory and
#: the time of one aggregation.
CAPACITY = 4_000
#: The weight that a check keeps from one aggregation to the next: a third after 20 aggregations,
#: or 2 s at the default intervals.
FADE = 0.95
#: Checks lighter than this are forgotten.
LEAST_WEIGHT = 0.15
#: The evidence of a new check. Whole numbers add up exactly, and faster: comparing sums shows
#: whether all checks of an area saw an access, or none did.
NEW = 1 << 20
#: The weight of one part of it. Multiplying by it is as exact as dividing by `NEW`, and faster.
_PART = np.float64(1 / NEW)


@frozen(eq=False)
class Pool:
    """Remembered checks as columns, ascending by address; never changed, only replaced.

    Attributes:
        addresses: The page that each check looked at.
        evidence: The weight of each check in parts of `NEW`, positive if it saw an access and
            negative if it didn't; fades with time.
        stands_for_bytes: How much of its area each check stands for; 0 if it was made because of
            earlier results.
        age: The number of aggregations since that of the check.
    """

    addresses: IntColumn
    evidence: IntColumn
    stands_for_bytes: FloatColumn
    age: IntColumn

    @classmethod
    def empty(cls) -> "Pool":
        """Return a pool without checks."""
        return cls(
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.int64),
            np.zeros(0),
            np.zeros(0, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.addresses)

    @property
    def weights(self) -> FloatColumn:
        """The weight of each check: 1 when it is new, then fading."""
        return np.abs(self.evidence) * _PART

    @property
    def hits(self) -> FloatColumn:
        """The weight of each check that saw an access, 0 for the others."""
        return np.maximum(self.evidence, 0) * _PART

    def weights_and_hits(self, check: IntColumn) -> tuple[FloatColumn, FloatColumn]:
        """Return `weights` and `hits` of the checks at these positions."""
        evidence = self.evidence[check] * _PART
        return np.abs(evidence), np.maximum(evidence, 0)

    def sums(self, first: IntColumn, stop: IntColumn) -> tuple[FloatColumn, FloatColumn]:
        """Return the sums of `weights` and `hits` from each `first` up to before `stop`."""
        weights, hits = self._before
        return (weights[stop] - weights[first]) * _PART, (hits[stop] - hits[first]) * _PART

    def sums_between(self, bound: IntColumn) -> tuple[FloatColumn, FloatColumn]:
        """Return the sums of `weights` and `hits` from each position up to before the next."""
        weights, hits = (before[bound] for before in self._before)
        return (weights[1:] - weights[:-1]) * _PART, (hits[1:] - hits[:-1]) * _PART

    def between(self, position: IntColumn) -> IntColumn:
        """Return the page border halfway between the checks before and at each position."""
        low, high = self.addresses[position - 1], self.addresses[position]
        return low + ((high - low) // PAGE_SIZE_BYTES + 1) // 2 * PAGE_SIZE_BYTES

    def only(self, kept: BoolColumn) -> "Pool":
        """Return the pool with only these checks."""
        return Pool(
            self.addresses[kept], self.evidence[kept], self.stands_for_bytes[kept], self.age[kept]
        )

    def heavy(self, new: int) -> BoolColumn:
        """Return whether each check is heavy enough to be kept when `new` ones are added."""
        aggregations = max(1, CAPACITY // max(1, new) - 1)
        heavy: BoolColumn = np.abs(self.evidence) > NEW * max(
            LEAST_WEIGHT / FADE, FADE ** (aggregations - 0.5)
        )
        return heavy

    def remembering(
        self,
        addresses: IntColumn,
        hits: BoolColumn,
        stands_for_bytes: FloatColumn,
        kept: BoolColumn,
    ) -> "Pool":
        """Return the pool with its kept checks, faded, and new ones.

        Args:
            addresses: The pages of the new checks, ascending.
            hits: Whether each new check saw an access.
            stands_for_bytes: How much of its area each stands for.
            kept: Whether each check of this pool is kept.
        """
        old = kept.nonzero()[0]
        faded = (self.evidence[old] * FADE).astype(np.int64)
        together = np.concatenate((self.addresses[old], addresses))
        # A stable sort finds two ascending runs, and merges them.
        order = together.argsort(kind="stable")
        evidence = np.concatenate((faded, hits * (2 * NEW) - NEW))
        stands_for = np.concatenate((self.stands_for_bytes[old], stands_for_bytes))
        age = np.concatenate((self.age[old] + 1, np.zeros(len(addresses), dtype=np.int64)))
        return Pool(together[order], evidence[order], stands_for[order], age[order])

    @cached_property
    def _before(self) -> tuple[IntColumn, IntColumn]:
        """Sums of the evidence of all checks, and of hits, before each position and the end."""
        weights = np.zeros(len(self) + 1, dtype=np.int64)
        hits = np.zeros(len(self) + 1, dtype=np.int64)
        np.abs(self.evidence).cumsum(out=weights[1:])
        np.maximum(self.evidence, 0).cumsum(out=hits[1:])
        return weights, hits
