"""Slow-downs with confidence intervals, and percentiles of operation times."""

import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

_RESAMPLES = 2_000
#: Buckets below this are nanoseconds; above there are as many for each power of two.
_EXACT = 64


@frozen
class Pair:
    """The speeds of a program in parts of a second, watched and alone just before and after.

    Attributes:
        watched: With a monitor.
        alone: Without.
    """

    watched: Sequence[float]
    alone: Sequence[float]

    @property
    def slowdown(self) -> float:
        """The share of its speed that the program lost."""
        return 1 - statistics.mean(self.watched) / statistics.mean(self.alone)


def confidence(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median slow-down of some rounds.

    By bootstrap: of rounds, and in each of the parts of a second. Those in which a monitor works
    are few and much slower, and are drawn like all others.
    """
    rng = np.random.default_rng(1)
    draws = np.array([_drawn(pair, rng) for pair in pairs])
    rounds = rng.integers(0, len(pairs), (_RESAMPLES, len(pairs)))
    medians = np.median(draws[rounds, np.arange(_RESAMPLES)[:, None]], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def _drawn(pair: Pair, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the slow-downs of resampled parts of a second."""
    watched, alone = (
        rng.choice(np.array(speeds), (_RESAMPLES, len(speeds))).mean(axis=1)
        for speeds in (pair.watched, pair.alone)
    )
    slowdowns: npt.NDArray[np.float64] = 1 - watched / alone
    return slowdowns


def percentile_us(counts: npt.NDArray[np.int64], percent: float) -> float:
    """Return a percentile of operation times from the counts of benchmarks/slowdown/programs.c.

    It is the upper end of a bucket, so up to 1.6 % too high.
    """
    through = counts.cumsum()
    if not through[-1]:
        return 0.0
    rank = max(int(np.ceil(through[-1] * percent / 100)), 1)
    return bucket_end_ns(int(np.searchsorted(through, rank))) / 1_000


def bucket_end_ns(bucket: int) -> int:
    """Return the end of a bucket of operation times, in nanoseconds."""
    if bucket < _EXACT:
        return bucket + 1
    power, part = bucket // _EXACT + 5, bucket % _EXACT
    return (_EXACT + part + 1) << (power - 6)
