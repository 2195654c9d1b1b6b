"""A kdamond that checks single pages."""

import time
from types import TracebackType
from typing import Self

import numpy as np
from attrs import frozen
from damon_sysfs.replacing import apart
from damon_sysfs.sampler import KernelTarget, Plan, Sampler

from benchmarks.beside_kernel.monitors import LIMITS
from damon_core import Intervals
from damon_core.memory.regions import IntColumn


@frozen
class Cost:
    """What a run cost, and what it checked.

    Attributes:
        kdamond: CPU time of the kdamond, as a share of one core.
        own: The same of this program.
        regions: How many regions the kernel checked in each sampling interval, on average.
    """

    kdamond: float
    own: float
    regions: float


class Meter:
    """A kdamond, and the CPU time that it and this program take in a ``with`` block."""

    def __init__(self, costs: list[Cost]) -> None:
        self.sampler = Sampler()
        self.regions = 0.0
        self.cpu_us = 0
        self._costs = costs

    def __enter__(self) -> Self:
        self.began_ns, self._own_ns = time.monotonic_ns(), time.process_time_ns()
        self._to_unix_ns = time.time_ns() - self.began_ns
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        wall_us = (time.monotonic_ns() - self.began_ns) / 1e3
        own_us = (time.process_time_ns() - self._own_ns) // 1_000
        kdamond_us = self.sampler.cpu_us
        self.sampler.close()
        self.cpu_us = own_us + kdamond_us
        if kind is None:
            self._costs.append(Cost(kdamond_us / wall_us, own_us / wall_us, self.regions))

    def unix_us(self, monotonic_ns: int) -> int:
        return (monotonic_ns + self._to_unix_ns) // 1_000


class Pages:
    """A kdamond that checks pages, and others after each commit.

    Args:
        meter: The kdamond.
        pid: The process.
        intervals: The intervals of the kdamond: it reports counts once an aggregation.
        number: How many pages it checks.
        at_once: Whether the kernel takes a commit in at once, not at the end of an aggregation.
    """

    def __init__(
        self, meter: Meter, pid: int, intervals: Intervals, number: int, *, at_once: bool
    ) -> None:
        self._sampler = meter.sampler
        self._plan = Plan("fvaddr", intervals, LIMITS, (KernelTarget(pid),))
        self._number, self._without_counts = number, 0
        self._at_once = at_once

    def counts(self, wanted: IntColumn) -> tuple[int, IntColumn]:
        """Return when checks of these pages ended, and how many of each saw an access."""
        pages = apart(np.unique(wanted), self._number)
        self._sampler.check_pages(self._plan, [pages])
        left_out = self._without_counts
        self._without_counts = 0 if self._at_once else 1
        while True:
            found = [
                each
                for each in self._sampler.collect()
                if np.array_equal(each.tables[0].start, pages)
            ]
            if len(found) > left_out:
                each = found[left_out]
                # A page beside another has the count of that one.
                place = np.searchsorted(pages, wanted, side="right") - 1
                return each.time_ns, each.tables[0].nr_accesses[place]
            left_out -= len(found)
