"""The truth of an aggregation, and the exact error of a policy's estimate, by bytes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_sim import Area, RandomPages

from damon_core import PAGE_SIZE_BYTES, Regions

#: Memory is hot if it is accessed in at least this share of the checks.
HOT_RATE = 0.5

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@frozen(eq=False)
class Estimate:
    """A policy's result of one aggregation: regions without gaps, and their frequencies.

    Attributes:
        borders: The start of each region in bytes, and the end of the last.
        frequency: The share of checks that saw an access, for each region.
    """

    borders: Ints
    frequency: Floats

    @classmethod
    def of(cls, regions: Regions, checks: int) -> "Estimate":
        """Return the estimate of regions that a policy has aggregated."""
        if np.any(regions.start[1:] != regions.end[:-1]):
            raise ValueError("the policy left gaps between regions")
        return cls(np.append(regions.start, regions.end[-1]), regions.nr_accesses / checks)

    def at(self, addresses: Ints) -> Floats:
        """Return the estimated frequency for each address."""
        return self.frequency[np.searchsorted(self.borders, addresses, side="right") - 1]


class Score(NamedTuple):
    """The estimate of one aggregation compared with the truth.

    Attributes:
        error: Mean absolute error of the access frequency over all bytes.
        true_hot: Bytes that are hot.
        reported_hot: Bytes that are reported hot.
        both: Bytes that are hot and reported hot.
    """

    error: float
    true_hot: float
    reported_hot: float
    both: float


class Truth(Protocol):
    """The true access rates of memory in one aggregation."""

    def rates(self, addresses: Ints) -> Floats:
        """Return the probability that a check finds each page accessed."""

    def score(self, estimate: Estimate) -> Score:
        """Return the score of an estimate."""


class AreaTruth:
    """Memory made of areas with one rate each.

    Args:
        areas: All memory from address 0 on, in order and without gaps.
    """

    def __init__(self, areas: Sequence[Area]) -> None:
        self.areas = areas
        self.borders = np.array([0, *(area.end for area in areas)], dtype=np.int64)
        self.rate = np.array([area.rate for area in areas])

    def rates(self, addresses: Ints) -> Floats:
        return self.rate[np.searchsorted(self.borders, addresses, side="right") - 1]

    def score(self, estimate: Estimate) -> Score:
        borders = np.union1d(self.borders, estimate.borders)
        size = np.diff(borders)
        rate, frequency = self.rates(borders[:-1]), estimate.at(borders[:-1])
        hot, is_reported = rate >= HOT_RATE, frequency >= HOT_RATE
        return Score(
            error=float((size * np.abs(rate - frequency)).sum() / size.sum()),
            true_hot=float(size[hot].sum()),
            reported_hot=float(size[is_reported].sum()),
            both=float(size[hot & is_reported].sum()),
        )


class PageTruth:
    """Memory in which each page, at random, is either always or never accessed.

    Args:
        pattern: The accessed pages; their rate must be 1.
        size_bytes: The size of the memory.
    """

    def __init__(self, pattern: RandomPages, size_bytes: int) -> None:
        pages = np.arange(size_bytes // PAGE_SIZE_BYTES)
        self.page_rates = np.asarray(pattern(pages * PAGE_SIZE_BYTES, 0), dtype=np.float64)
        self._hot_before = np.concatenate([[0], np.cumsum(self.page_rates >= HOT_RATE)])

    def rates(self, addresses: Ints) -> Floats:
        return self.page_rates[addresses // PAGE_SIZE_BYTES]

    def score(self, estimate: Estimate) -> Score:
        borders = estimate.borders // PAGE_SIZE_BYTES
        pages = np.diff(borders)
        hot = np.diff(self._hot_before[borders])
        is_reported = estimate.frequency >= HOT_RATE
        wrong = hot * (1 - estimate.frequency) + (pages - hot) * estimate.frequency
        return Score(
            error=float(wrong.sum() / pages.sum()),
            true_hot=float(hot.sum() * PAGE_SIZE_BYTES),
            reported_hot=float(pages[is_reported].sum() * PAGE_SIZE_BYTES),
            both=float(hot[is_reported].sum() * PAGE_SIZE_BYTES),
        )


@lru_cache(maxsize=1)
def page_truth(pattern: RandomPages, size_bytes: int) -> PageTruth:
    """Return the truth of random pages, which is large and the same in all aggregations."""
    return PageTruth(pattern, size_bytes)
