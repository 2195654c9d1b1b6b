"""Divisions: areas, and the checks of the pool that lie in each."""

from functools import cached_property

import numpy as np
from attrs import frozen

from damon_core.memory.regions import FloatColumn, IntColumn
from damon_core.memory.samples import BoolColumn
from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.estimate import mixed_rates
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.rounds import Results
from damon_core.policies.evidence.statistics import bounds, first_of_each, set_before


@frozen(eq=False)
class Division:
    """Areas, and the checks of the pool that lie in each; never changed, only replaced.

    Attributes:
        areas: The areas.
        pool: The checks; each lies in an area.
        bound: The position of the first check of each area, and the end of the last area.
    """

    areas: Areas
    pool: Pool
    bound: IntColumn

    @classmethod
    def of(cls, areas: Areas, pool: Pool) -> "Division":
        """Return the division of a pool by areas."""
        return cls(areas, pool, bounds(pool.addresses, areas.start))

    def remembering(self, results: Results, valid: BoolColumn, new: IntColumn) -> "Division":
        """Return the division with new checks, and with the old ones worth remembering.

        Args:
            results: The new checks; each lies in an area.
            valid: Whether each check of the pool is still valid; invalid ones are forgotten.
            new: The position of the first new check of each area, and the end of the last area.
        """
        kept = valid & self.pool.heavy(len(results.addresses))
        pool = self.pool.remembering(
            results.addresses, results.hits, results.stands_for_bytes, kept
        )
        return Division(self.areas, pool, set_before(kept, self.bound) + new)

    @cached_property
    def sums(self) -> tuple[FloatColumn, FloatColumn]:
        """Weight and hits of the checks of each area."""
        return self.pool.sums_between(self.bound)

    @cached_property
    def mixed(self) -> BoolColumn:
        """Whether in each area some checks saw an access and some didn't."""
        total, hits = self.sums
        mixed: BoolColumn = (hits > 0) & (hits < total)
        return mixed

    def with_borders(self, left: IntColumn, position: IntColumn) -> "Division":
        """Return the division with the ends of the areas `left` moved to before these checks."""
        bound = self.bound.copy()
        bound[left + 1] = position
        areas = self.areas.with_borders(left, self.pool.between(position))
        return Division(areas, self.pool, bound)

    def cut_at(self, position: IntColumn) -> "Division":
        """Return the division with areas cut before these checks, none an area's first."""
        position = np.sort(position)
        position = position[first_of_each(position)]
        areas = self.areas.cut_at(self.pool.between(position))
        bound = np.sort(np.concatenate((self.bound, position)), kind="stable")
        return Division(areas, self.pool, bound)

    def estimated(self) -> "Division":
        """Return the division with the share of hits as rates; without any check a rate stays."""
        total, hits = self.sums
        rate = self.areas.rate.copy()
        np.divide(hits, total, out=rate, where=total > 0)
        areas = Areas(self.areas.start, self.areas.end, rate, total)
        return Division(areas, self.pool, self.bound)

    def corrected(self) -> "Division":
        """Return the division with the best estimate of each mixed area as its rate."""
        area = self.mixed.nonzero()[0]
        if not len(area):
            return self
        total, hits = self.sums
        first, stop = self.bound[area], self.bound[area + 1]
        rate = self.areas.rate.copy()
        rate[area] = mixed_rates(self.pool, first, stop, total[area], hits[area])
        areas = Areas(self.areas.start, self.areas.end, rate, total)
        return Division(areas, self.pool, self.bound)
