"""The pool: the checks of one target that are still believed."""

import numpy as np

from damon_core.policies.evidence.areas import Areas
from damon_core.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn
from damon_core.samples import BoolColumn

#: Most checks remembered, unless two aggregations make more: bounds memory, and the time of one
#: aggregation.
CAPACITY = 4_000
#: Most pages remembered that nothing could be told of.
MOST_UNTOLD = 2_000
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
        untold: Pages looked at lately that nothing could be told of, ascending.
    """

    def __init__(self) -> None:
        self.addresses: IntColumn = np.zeros(0, dtype=np.int64)
        self.untold: IntColumn = np.zeros(0, dtype=np.int64)
        self._last_untold: IntColumn = np.zeros(0, dtype=np.int64)
        self._set_evidence(np.zeros(0))

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
            self.addresses = self.addresses[kept]
            self._set_evidence(self._evidence[kept])

    def remember(self, addresses: IntColumn, hits: BoolColumn, kept: BoolColumn) -> None:
        """Forget what isn't kept, let the rest fade, and add new checks, ascending by address."""
        faded = self._evidence * FADE
        aggregations = max(1, CAPACITY // max(1, len(addresses)) - 1)
        least = max(LEAST_WEIGHT, FADE ** (aggregations + 0.5))
        old = np.flatnonzero(kept & (np.abs(faded) > least))
        place = np.searchsorted(self.addresses[old], addresses) + np.arange(len(addresses))
        count = len(old) + len(addresses)
        is_old = np.ones(count, dtype=np.bool_)
        is_old[place] = False
        origin = np.empty(count, dtype=np.int64)
        origin[is_old] = old
        origin[place] = np.arange(len(self), len(self) + len(addresses))
        self.addresses = np.concatenate((self.addresses, addresses))[origin]
        self._set_evidence(np.concatenate((faded, np.where(hits, 1.0, -1.0)))[origin])

    def remember_untold(self, addresses: IntColumn) -> None:
        """Remember pages that nothing could be told of; forget the oldest if there are many."""
        if len(addresses):
            self._last_untold = np.concatenate((self._last_untold, addresses))[-MOST_UNTOLD:]
            self.untold = np.sort(self._last_untold)

    def _set_evidence(self, evidence: FloatColumn) -> None:
        """Set weights, negative where no access was seen, and what follows from them."""
        self._evidence = evidence
        self.weights: FloatColumn = np.abs(evidence)
        self.hits: FloatColumn = np.maximum(evidence, 0.0)
        self.weights_before: FloatColumn = np.zeros(len(evidence) + 1)
        self.hits_before: FloatColumn = np.zeros(len(evidence) + 1)
        np.cumsum(self.weights, out=self.weights_before[1:])
        np.cumsum(self.hits, out=self.hits_before[1:])
