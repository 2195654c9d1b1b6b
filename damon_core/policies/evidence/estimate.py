"""Estimates: the access rate of areas in which some checks saw an access and some didn't.

Two things make the plain share of hits wrong there.

- Checks near hits and at borders are made because of earlier results. Where areas are smaller than
  the distance between checks, such checks see more accesses than the area has on average, the more
  of them the more. So the mean is that of the checks chosen regardless of results; the others count
  only as far as they agree with it.
- Checks are from several aggregations. Where rates rise or fall, old checks are wrong. So the rate
  is extrapolated to the last aggregation, by the trend of all areas together and of each, as far as
  these are more than chance.
"""

import numpy as np
from attrs import frozen

from damon_core.memory.regions import FloatColumn, IntColumn
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.statistics import ragged

#: The least information about a trend: less is only rounding.
_LEAST_INFORMATION = 1e-9
#: A trend needs as many hits, and as many misses. The first hits in a cold area are no trend:
#: they are new because areas with hits are soon cut.
_LEAST_OF_EACH = 5
#: The largest extrapolation, in log odds.
_MOST_SHIFT = 4.0


def mixed_rates(
    pool: Pool, first: IntColumn, stop: IntColumn, total: FloatColumn, hits: FloatColumn
) -> FloatColumn:
    """Return the access rates of areas in the last aggregation.

    Args:
        pool: The checks.
        first: The position of the first check of each area.
        stop: The position after its last check.
        total: The weight of its checks.
        hits: The weight of those that saw an access, above 0 and below `total`.
    """
    share = hits / total
    count = stop - first
    check, area = ragged(first, count), np.arange(len(first)).repeat(count)
    stands_for = pool.stands_for_bytes[check]
    chosen = stands_for.nonzero()[0]
    if not len(chosen):
        return share
    check, area, stands_for = check[chosen], area[chosen], stands_for[chosen]
    evidence, age = pool.evidence[check], pool.age[check].astype(np.float64)
    hit = (evidence > 0).astype(np.float64)

    def sums(column: FloatColumn) -> FloatColumn:
        return np.bincount(area, column, minlength=len(first)).astype(np.float64, copy=False)

    weight = np.abs(evidence) * stands_for
    known = np.maximum(sums(weight), np.finfo(np.float64).tiny)
    mean = np.where(known > 1, sums(weight * hit) / known, share)
    # As many checks of equal weight would be as certain.
    worth = known * known / np.maximum(sums(weight * weight), 1.0)
    rate = _agreed(mean, worth, share, total)
    mean_age = sums(weight * age) / known
    shift = _Trends.of(area, hit, age, len(first)).slopes() * -mean_age
    np.clip(shift, -_MOST_SHIFT, _MOST_SHIFT, out=shift)
    odds = np.exp(shift)
    rates: FloatColumn = rate * odds / (1 - rate + rate * odds)
    return rates


def _agreed(
    mean: FloatColumn, worth: FloatColumn, share: FloatColumn, total: FloatColumn
) -> FloatColumn:
    """Return the share of all checks where it may be the mean, and less of it the less it may.

    The difference counts fully while its square is at most the variance that chance explains,
    and in inverse proportion to that beyond (positive-part shrinkage as of James and Stein).

    Args:
        mean: The mean by checks that were chosen regardless of results.
        worth: The number of these checks.
        share: The share of all checks that saw an access.
        total: The number of all checks.
    """
    difference = share - mean
    square = difference * difference
    chance = share * (1 - share) * np.maximum(1 / np.maximum(worth, 1e-9) - 1 / total, 0)
    part = chance / np.maximum(np.maximum(square, chance), np.finfo(np.float64).tiny)
    agreed: FloatColumn = mean + part * difference
    return agreed


@frozen(eq=False)
class _Trends:
    """What the checks of each area say about the change of its rate with the age of checks.

    Attributes:
        score: Covariance of hits and ages times the number of checks, for each area.
        information: The same for one unit of log odds for each aggregation; its inverse is the
            variance of the slope.
    """

    score: FloatColumn
    information: FloatColumn

    @classmethod
    def of(cls, area: IntColumn, hit: FloatColumn, age: FloatColumn, areas: int) -> "_Trends":
        """Return the trends of checks with the given ages in these areas."""
        count = np.maximum(np.bincount(area, minlength=areas), 1)
        ages = np.bincount(area, age, minlength=areas)
        hits = np.bincount(area, hit, minlength=areas)
        spread = np.bincount(area, age * age, minlength=areas) - ages * ages / count
        score = np.bincount(area, age * hit, minlength=areas) - ages * hits / count
        share = hits / count
        enough = np.minimum(hits, count - hits) >= _LEAST_OF_EACH
        return cls(score, share * (1 - share) * spread * enough)

    def slopes(self) -> FloatColumn:
        """Return the change of the log odds of each area for each aggregation of age.

        Areas have a common slope and deviate from it. Both are shrunk by what chance explains: the
        variance of deviations is that of DerSimonian and Laird's random effects, less one standard
        deviation of it, so that where nothing changes hardly anything is extrapolated.
        """
        slopes = np.zeros(len(self.score))
        some = (self.information > _LEAST_INFORMATION).nonzero()[0]
        if not len(some):
            return slopes
        information = self.information[some]
        slope = self.score[some] / information
        whole = float(information.sum())
        degrees = len(some) - 1
        mean = float(information @ slope) / whole
        scatter = float(information @ (slope - mean) ** 2)
        beyond_chance = scatter - degrees - (2 * degrees) ** 0.5
        scale = whole - float(information @ information) / whole
        deviation = max(0.0, beyond_chance / scale) if scale > _LEAST_INFORMATION else 0.0
        weight = information / (1 + deviation * information)
        certain = float(weight.sum())
        mean = float(weight @ slope) / certain
        common = mean * max(0.0, 1 - 1 / (certain * mean * mean)) if mean else 0.0
        slopes[some] = common + (slope - mean) * deviation * weight
        return slopes
