"""A kdamond that checks single pages."""

import os
import time
from types import TracebackType
from typing import Self

import numpy as np
from attrs import frozen
from damon_sysfs.ownership import Registry
from damon_sysfs.sampler import KernelTarget, Plan, Sampler

from benchmarks.beside_kernel.monitors import LIMITS
from damon_core import PAGE_SIZE_BYTES, Intervals, Range
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
        self.registry = Registry()
        self.sampler = Sampler(self.registry)
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
    """A kdamond that checks a fixed number of pages, and others after each commit.

    Descriptors of the files are kept, as opening them takes longer than writing them.

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
        self._meter, self._pid, self._intervals = meter, pid, intervals
        self._number, self._at_once = number, at_once
        self._files: list[int] = []
        self._folder = ""
        self._written: IntColumn = np.zeros(0, dtype=np.int64)

    def counts(self, wanted: IntColumn) -> tuple[int, IntColumn]:
        """Return when checks of these pages ended, and how many of each saw an access."""
        pages = without_neighbours(wanted, self._number)
        if self._files:
            self._replace(pages)
            without_counts = 0 if self._at_once else 1
        else:
            self._start(pages)
            without_counts = 0
        self._written = pages
        while True:
            found = [
                each
                for each in self._meter.sampler.collect()
                if np.array_equal(each.tables[0].start, pages)
            ]
            if len(found) > without_counts:
                each = found[without_counts]
                # A page beside another has the count of that one.
                place = np.searchsorted(pages, wanted, side="right") - 1
                return each.time_ns, each.tables[0].nr_accesses[place]
            without_counts -= len(found)

    def _start(self, pages: IntColumn) -> None:
        ranges = tuple(Range(page, page + PAGE_SIZE_BYTES) for page in pages.tolist())
        settings = Plan("fvaddr", self._intervals, LIMITS, (KernelTarget(self._pid, ranges),))
        self._meter.sampler.apply(settings, {})
        registry = self._meter.registry
        self._folder = registry.read().claims[0].folder
        regions = registry.tree.root / self._folder / "contexts/0/targets/0/regions"
        self._files = [
            os.open(regions / str(number) / name, os.O_WRONLY | os.O_CLOEXEC)
            for number in range(self._number)
            for name in ("start", "end")
        ]

    def _replace(self, pages: IntColumn) -> None:
        for number in (pages != self._written).nonzero()[0].tolist():
            page = int(pages[number])
            os.pwrite(self._files[2 * number], b"%d" % page, 0)
            os.pwrite(self._files[2 * number + 1], b"%d" % (page + PAGE_SIZE_BYTES), 0)
        self._meter.registry.tree.write(self._folder + "state", "commit")

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)


def without_neighbours(wanted: IntColumn, number: int) -> IntColumn:
    """Return the pages without those beside others, and pages behind them up to a number."""
    step = 2 * PAGE_SIZE_BYTES
    pages: list[int] = []
    for page in np.unique(wanted).tolist():
        if not pages or page >= pages[-1] + step:
            pages.append(page)
    missing = np.arange(1, number - len(pages) + 1)
    return np.append(np.array(pages), pages[-1] + step * missing)
