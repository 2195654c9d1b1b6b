"""A learner: what the policy knows of one target, and its checks under way."""

import numpy as np

from damon_core.policies.evidence import borders
from damon_core.policies.evidence.areas import Areas, ranges_of, regions_of
from damon_core.policies.evidence.forgetting import still_believed
from damon_core.policies.evidence.plan import plan, spread_evenly
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.rounds import Round
from damon_core.regions import IntColumn, Regions
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
        self._rounds: list[Round] = []
        self._slices = 1
        self._ranges_changed = False

    def adopt(self, regions: Regions, limit_bytes: int) -> None:
        """Follow a table that was replaced: cover its ranges, and keep what is known of them."""
        self.regions = regions
        start, end = ranges_of(regions.start, regions.end)
        old_start, old_end = self.areas.ranges()
        if np.array_equal(start, old_start) and np.array_equal(end, old_end):
            return
        self.areas = self.areas.covering(start, end, limit_bytes)
        self._pool.keep(self.areas.holding(self._pool.addresses) >= 0)
        self._ranges_changed = True
        self.planned = False

    def make_plan(self, checks: int, slices: int) -> None:
        """Choose the pages of the coming aggregation, to be handed out in slices."""
        pages, spread = _NOWHERE, np.zeros(0, dtype=np.bool_)
        if len(self.areas):
            pages, spread = plan(self.areas, self._pool, self._found, checks, self._rng)
        self._slices = slices
        self._rounds.append(Round(pages, spread, slices, self._rng))
        self.planned = True

    def next_samples(self) -> Samples:
        """Hand out the next slice, with pages from everywhere; after the last, new pages."""
        if self._rounds[-1].exhausted:
            pages = _NOWHERE
            if len(self.areas):
                checks = len(self._rounds[-1])
                pages = np.sort(spread_evenly(self.areas, self._pool, checks, self._rng))
            spread = np.ones(len(pages), dtype=np.bool_)
            self._rounds.append(Round(pages, spread, self._slices, self._rng))
        return self._rounds[-1].next_samples()

    def observe(self, samples: Samples) -> None:
        """Take in what is known of the samples."""
        self._rounds[-1].observe(samples)

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
            division = borders.slide(borders.Division.of(areas, pool))
            areas = borders.cut(division, most, self._aggregations).estimated()
            self._found = addresses[hits]
            self._aggregations += 1
        if told or len(areas) > most:
            areas = borders.merge(areas, most, limit_bytes)
        self.areas = areas
        for each in self._rounds:
            pool.remember_untold(each.untold())
        self._rounds.clear()
        self._ranges_changed = False
        self.planned = False
        return told

    def write(self, checks: int) -> Regions:
        """Return the areas as regions, with ages and idle times as they were before."""
        assert self.regions is not None, "adopt() comes first"
        self.regions = regions_of(self.areas, self.regions, checks)
        return self.regions

    def _results(self) -> tuple[IntColumn, BoolColumn, BoolColumn]:
        """Return pages looked at, ascending, whether accessed, and whether spread evenly."""
        results = [each.results() for each in self._rounds]
        if not results:
            return _NOWHERE, np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.bool_)
        if len(results) == 1 and not self._ranges_changed:
            return results[0]
        addresses, hits, spread = map(np.concatenate, zip(*results, strict=True))
        order = np.argsort(addresses, kind="stable")
        order = order[self.areas.holding(addresses[order]) >= 0]
        return addresses[order], hits[order], spread[order]
