"""A learner: what the policy knows about one target, and its current checks."""

import numpy as np

from damon_core.memory.regions import IntColumn, Regions
from damon_core.memory.samples import Samples
from damon_core.policies.evidence import borders
from damon_core.policies.evidence.areas import Areas, ranges_of, regions_of
from damon_core.policies.evidence.division import Division
from damon_core.policies.evidence.forgetting import still_valid
from damon_core.policies.evidence.plan import plan, spread_evenly
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.rounds import Results, Round
from damon_core.policies.evidence.statistics import bounds

#: The largest number of pages without an answer that are remembered.
_MOST_UNKNOWN = 2_000
_NOWHERE: IntColumn = np.zeros(0, dtype=np.int64)


class Learner:
    """Plans the checks of one target, and learns areas from them.

    Args:
        rng: The policy's random number generator.

    Attributes:
        regions: The target's table that was adopted or written last; None before the first.
        planned: Whether there is a plan for the current aggregation.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.regions: Regions | None = None
        self.planned = False
        self._rng = rng
        self._division = Division.of(Areas.none(), Pool.empty())
        self._unknown = self._last_unknown = _NOWHERE
        self._aggregations = 0
        self._rounds: list[Round] = []
        self._slices = 1
        self._ranges_changed = False

    @property
    def areas(self) -> Areas:
        """The current estimate of the regions."""
        return self._division.areas

    def adopt(self, regions: Regions, limit_bytes: int) -> None:
        """Follow a replaced table: cover its ranges, keeping what is known about them."""
        self.regions = regions
        start, end = ranges_of(regions.start, regions.end)
        old_start, old_end = self.areas.ranges()
        if np.array_equal(start, old_start) and np.array_equal(end, old_end):
            return
        areas, pool = self.areas.covering(start, end, limit_bytes), self._division.pool
        pool = pool.only(areas.holding(pool.addresses) >= 0)
        self._division = Division.of(areas, pool).estimated()
        self._ranges_changed = True
        self.planned = False

    def make_plan(self, checks: int, slices: int) -> None:
        """Choose the pages of the next aggregation, to be checked in slices."""
        pages, stands_for = _NOWHERE, np.zeros(0)
        if len(self.areas):
            pages, stands_for = plan(self._division, self._unknown, checks, self._rng)
        self._slices = slices
        self._rounds.append(Round(pages, stands_for, slices, self._rng))
        self.planned = True

    def next_samples(self) -> Samples:
        """Return the next slice, with pages from everywhere; after the last, of new pages."""
        if self._rounds[-1].exhausted:
            pages, stands_for = _NOWHERE, np.zeros(0)
            if len(self.areas):
                checks = len(self._rounds[-1])
                pages, stands_for = spread_evenly(
                    self.areas, _NOWHERE, self._unknown, checks, self._rng
                )
            self._rounds.append(Round(pages, stands_for, self._slices, self._rng))
        return self._rounds[-1].next_samples()

    def observe(self, samples: Samples) -> None:
        """Record the results of the samples."""
        self._rounds[-1].observe(samples)

    def learn(self, most: int, limit_bytes: int) -> bool:
        """Adjust the areas to the checks since the last call, to at most `most` areas.

        Returns:
            Whether any of these checks had an answer.
        """
        results = self._results()
        division = self._division
        any_known = bool(len(results.addresses))
        if any_known:
            new = bounds(results.addresses, division.areas.start)
            valid = still_valid(division, results, new)
            division = division.remembering(results, valid, new)
            division = borders.cut(borders.slide(division), most, self._aggregations).estimated()
            self._aggregations += 1
        if any_known or len(division.areas) > most:
            division = borders.merge(division, most, limit_bytes).corrected()
        self._division = division
        self._remember_unknown(results.unknown)
        self._rounds.clear()
        self._ranges_changed = False
        self.planned = False
        return any_known

    def write(self, checks: int) -> Regions:
        """Return the areas as regions, with the ages and idle times of the regions before."""
        assert self.regions is not None, "adopt() comes first"
        self.regions = regions_of(self.areas, self.regions, checks)
        return self.regions

    def _results(self) -> Results:
        """Return the results since the last call of `learn` that lie in the areas."""
        results = [each.results() for each in self._rounds]
        if len(results) == 1 and not self._ranges_changed:
            return results[0]
        addresses, hits, stands_for, unknown = map(
            np.concatenate, zip(Results.none(), *results, strict=True)
        )
        order = addresses.argsort(kind="stable")
        order = order[self.areas.holding(addresses[order]) >= 0]
        return Results(addresses[order], hits[order], stands_for[order], unknown)

    def _remember_unknown(self, pages: IntColumn) -> None:
        """Remember pages without an answer; forget the oldest if there are many."""
        if len(pages):
            self._last_unknown = np.concatenate((self._last_unknown, pages))[-_MOST_UNKNOWN:]
            self._unknown = np.sort(self._last_unknown)
