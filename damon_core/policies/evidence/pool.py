"""The pool: the checks of one target that are still believed."""

import numpy as np

from damon_core.policies.evidence.areas import Areas
from damon_core.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn
from damon_core.samples import BoolColumn

#: Most checks remembered: bounds memory, and the time of one aggregation.
CAPACITY = 12_000
#: The weight that a check keeps from one aggregation to the next. After 20 of them, 2 s at the
#: default intervals, it counts a third.
FADE = 0.95
#: Checks lighter than this say too little to be worth their place.
LEAST_WEIGHT = 0.15


class Pool:
    """Remembered checks as columns, ascending by address.

    Attributes:
        addresses: The page that each check looked at.
        weights: How much each check counts: 1 when it is new, then fading.
        hits: The weight where an access was seen, 0 elsewhere.
        weights_before: The summed weight of all checks before each position, the end included.
        hits_before: The same of the hits.
    """

    def __init__(self) -> None:
        self.addresses: IntColumn = np.zeros(0, dtype=np.int64)
        self.weights: FloatColumn = np.zeros(0)
        self.hits: FloatColumn = np.zeros(0)
        self._total_up()

    def __len__(self) -> int:
        return len(self.addresses)

    def bounds(self, areas: Areas) -> IntColumn:
        """Return the position of the first check of each area, and the end of the last.

        Every check must be in an area.
        """
        return np.append(np.searchsorted(self.addresses, areas.start), len(self))

    def sums(self, first: IntColumn, stop: IntColumn) -> tuple[FloatColumn, FloatColumn]:
        """Return weight and hits of the checks from each `first` up to before `stop`."""
        return (
            self.weights_before[stop] - self.weights_before[first],
            self.hits_before[stop] - self.hits_before[first],
        )

    def between(self, position: IntColumn) -> IntColumn:
        """Return the border of pages halfway between the checks before and at each position."""
        low, high = self.addresses[position - 1], self.addresses[position]
        return low + ((high - low) // PAGE_SIZE_BYTES + 1) // 2 * PAGE_SIZE_BYTES

    def keep(self, kept: BoolColumn) -> None:
        """Forget all other checks."""
        if not kept.all():
            self._take(kept)
            self._total_up()

    def remember(self, addresses: IntColumn, hits: FloatColumn, kept: BoolColumn) -> None:
        """Forget what isn't kept, let the rest fade, and add new checks, ascending by address."""
        self.weights *= FADE
        self.hits *= FADE
        aggregations = max(1, CAPACITY // max(1, len(addresses)) - 1)
        kept = kept & (self.weights > max(LEAST_WEIGHT, FADE ** (aggregations + 0.5)))
        if not kept.all():
            self._take(kept)
        place = np.searchsorted(self.addresses, addresses) + np.arange(len(addresses))
        count = len(self) + len(addresses)
        old = np.ones(count, dtype=np.bool_)
        old[place] = False
        together = np.empty(count, dtype=np.int64)
        together[old], together[place] = self.addresses, addresses
        weights, all_hits = np.ones(count), np.empty(count)
        weights[old] = self.weights
        all_hits[old], all_hits[place] = self.hits, hits
        self.addresses, self.weights, self.hits = together, weights, all_hits
        self._total_up()

    def _take(self, kept: BoolColumn) -> None:
        self.addresses = self.addresses[kept]
        self.weights = self.weights[kept]
        self.hits = self.hits[kept]

    def _total_up(self) -> None:
        self.weights_before: FloatColumn = np.zeros(len(self) + 1)
        self.hits_before: FloatColumn = np.zeros(len(self) + 1)
        np.cumsum(self.weights, out=self.weights_before[1:])
        np.cumsum(self.hits, out=self.hits_before[1:])
