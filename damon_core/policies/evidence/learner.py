"""A learner: what the policy knows of one target, and its checks under way."""

import numpy as np
from attrs import evolve

from damon_core.policies.evidence import borders
from damon_core.policies.evidence.areas import Areas, ranges_of, regions_of
from damon_core.policies.evidence.forgetting import still_believed
from damon_core.policies.evidence.plan import plan, spread_evenly
from damon_core.policies.evidence.pool import Pool
from damon_core.regions import FloatColumn, IntColumn, Regions
from damon_core.samples import BoolColumn, Samples

_NOWHERE: IntColumn = np.zeros(0, dtype=np.int64)


class Learner:
    """Plans the checks of one target, and learns areas from them.

    Args:
        rng: The source of chance, that of the policy.

    Attributes:
        areas: What is believed.
        regions: The table of the target that was adopted or written last; None before the first.
        planned: Whether there are checks to hand out.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.areas = Areas.none()
        self.regions: Regions | None = None
        self.planned = False
        self._rng = rng
        self._pool = Pool()
        self._aggregations = 0
        self._found = _NOWHERE
        self._plan = _NOWHERE
        self._slice_of = _NOWHERE
        self._slices = 1
        self._next_slice = 0
        self._forget_checks_under_way()

    def _forget_checks_under_way(self) -> None:
        self._spread: list[IntColumn] = []
        self._looked: list[IntColumn] = []
        self._accessed: list[BoolColumn] = []

    def adopt(self, regions: Regions, limit_bytes: int) -> None:
        """Follow a table that was replaced: cover its ranges, and keep what is known of them."""
        self.regions = regions
        start, end = ranges_of(regions.start, regions.end)
        old_start, old_end = self.areas.ranges()
        if np.array_equal(start, old_start) and np.array_equal(end, old_end):
            return
        self.areas = self.areas.covering(start, end, limit_bytes)
        self._pool.keep(self.areas.holding(self._pool.addresses) >= 0)
        self.planned = False

    def make_plan(self, checks: int, slices: int) -> None:
        """Choose the pages of the coming aggregation, to be handed out in slices."""
        self._slices = slices
        self._next_slice = 0
        self.planned = True
        self._plan = _NOWHERE
        if len(self.areas):
            self._plan, spread = plan(self.areas, self._pool, self._found, checks, self._rng)
            self._spread.append(spread)
        self._slice_of = self._shuffled_slices()

    def next_samples(self) -> Samples:
        """Hand out the next slice, with pages from everywhere; after the last, new pages."""
        if self._next_slice == self._slices:
            self._next_slice = 0
            if len(self.areas):
                pages = spread_evenly(self.areas, len(self._plan), self._rng)
                self._plan = np.sort(pages)
                self._spread.append(pages)
            self._slice_of = self._shuffled_slices()
        pages = self._plan[self._slice_of == self._next_slice]
        self._next_slice += 1
        if len(pages) > 1:
            # One look at a page tells all that a check can tell of it.
            pages = pages[np.concatenate(([True], pages[1:] != pages[:-1]))]
        return Samples(pages)

    def _shuffled_slices(self) -> IntColumn:
        """Return in which slice each page of the plan is looked at.

        Neighbouring pages go to different slices, in a new order each time: programs access
        memory in pulses, and in a fixed order those would look like borders.
        """
        blocks = -(-len(self._plan) // self._slices)
        order = np.argsort(self._rng.random((blocks, self._slices)), axis=1)
        return order.ravel()[: len(self._plan)]

    def observe(self, samples: Samples) -> None:
        """Take in what is known of the samples."""
        known = samples.known
        self._looked.append(samples.addresses[known])
        self._accessed.append(samples.accessed[known])

    def learn(self, most: int, limit_bytes: int) -> bool:
        """Adjust the areas to the checks since the last time, to at most `most`.

        Returns:
            Whether these told anything.
        """
        addresses, hits, spread = self._results()
        areas, pool = self.areas, self._pool
        told = bool(len(addresses))
        if told:
            believed = still_believed(areas, pool, addresses, hits, spread)
            pool.remember(addresses, hits, believed)
            areas = borders.slide(areas, pool)
            areas = borders.cut(areas, pool, most, self._aggregations)
            areas = borders.merge(areas, pool, most, limit_bytes)
            areas = _estimated(areas, pool)
            self._found = addresses[hits > 0]
            self._aggregations += 1
        elif len(areas) > most:
            areas = borders.merge(areas, pool, most, limit_bytes)
        self.areas = areas
        self._forget_checks_under_way()
        self.planned = False
        return told

    def write(self, checks: int) -> Regions:
        """Return the areas as regions, with ages and idle times as they were before."""
        assert self.regions is not None, "adopt() comes first"
        self.regions = regions_of(self.areas, self.regions, checks)
        return self.regions

    def _results(self) -> tuple[IntColumn, FloatColumn, BoolColumn]:
        """Return pages looked at, ascending, whether accessed, and whether spread evenly."""
        addresses = np.concatenate((_NOWHERE, *self._looked))
        hits = np.concatenate((np.zeros(0), *self._accessed))
        order = np.argsort(addresses, kind="stable")
        order = order[self.areas.holding(addresses[order]) >= 0]
        addresses, hits = addresses[order], hits[order]
        spread = np.sort(np.concatenate((_NOWHERE, *self._spread)))
        if not len(spread):
            return addresses, hits, np.zeros(len(addresses), dtype=np.bool_)
        match = np.minimum(np.searchsorted(spread, addresses), len(spread) - 1)
        return addresses, hits, spread[match] == addresses


def _estimated(areas: Areas, pool: Pool) -> Areas:
    """Return areas with rates from their checks; one without any keeps what it had."""
    bound = pool.bounds(areas)
    total, hits = pool.sums(bound[:-1], bound[1:])
    rate = np.where(total > 0, np.clip(hits / np.where(total > 0, total, 1), 0, 1), areas.rate)
    return evolve(areas, rate=rate, believed=total)
