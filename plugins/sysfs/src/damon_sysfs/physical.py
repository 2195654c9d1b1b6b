"""The backend for physical memory: one target of the kernel's for all nodes."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import (
    PAGE_SIZE_BYTES,
    DelegatedSampling,
    HookContext,
    NoOptions,
    PluginError,
    Range,
    Regions,
    Samples,
    Target,
)
from damon_sysfs.events import Table
from damon_sysfs.idling import Idling
from damon_sysfs.processes import to_regions
from damon_sysfs.sampler import Cgroup, KernelTarget, Plan, Sampler

_IntColumn = npt.NDArray[np.int64]
_BoolColumn = npt.NDArray[np.bool_]

#: Of /proc/kpageflags: on an LRU list; a part of a huge page that is; the page of zeros.
_LRU, _HUGE, _ZERO = np.uint64(1 << 5), np.uint64(1 << 22), np.uint64(1 << 24)
#: How many pages of a node are looked at in an aggregation, at least one of each region.
_PAGES = 128


@define(eq=False)
class _Node:
    """What is known of one target.

    Attributes:
        made: The regions that were made here; others are new ranges to monitor.
        ranges: What is monitored.
        idling: Its idle times.
    """

    made: Regions | None = None
    ranges: list[Range] = field(factory=list)
    idling: Idling = field(factory=Idling)


class KernelMemory:
    """Has the kernel's DAMON sample the accesses to physical memory (operations ``paddr``).

    Args:
        sampler: The kdamond for it.
    """

    name = "kernel"
    sampling = DelegatedSampling

    def __init__(self, _options: NoOptions | None = None, sampler: Sampler | None = None) -> None:
        self.sampler = sampler or Sampler()
        self._nodes: dict[Target, _Node] = {}
        self._interval_us = self._checks = 0
        self._flags: int | None = None
        self._rng = np.random.default_rng()
        self._directory: Path | None = None
        self._cgroup: Cgroup | None = None

    @property
    def cpu_us(self) -> int:
        """As `Sampler.cpu_us`."""
        return self.sampler.cpu_us

    def watch_cgroup(self, path: str, directory: Path) -> None:
        """Report the memory of one cgroup alone, from the next `prepare` on.

        The `resident_bytes` of regions are what that very cgroup has of them, those below it not
        included. How often a region is accessed is counted for all of it, whoever has it.

        Args:
            path: The path of the cgroup below the root of its hierarchy.
            directory: Its directory.
        """
        self._directory, self._cgroup = directory, Cgroup(path, 0)

    def _find_cgroup(self) -> Cgroup | None:
        """Return the cgroup of now: one that was removed may have been made anew."""
        if self._directory is not None and self._cgroup is not None:
            with contextlib.suppress(OSError):
                self._cgroup = Cgroup(self._cgroup.path, self._directory.stat().st_ino)
        return self._cgroup

    def prepare(self, targets: Sequence[Target], context: HookContext) -> None:
        """Pass on to the kernel what has changed.

        Raises:
            PluginError: DAMON isn't free, or this kernel can't do it.
        """
        self._nodes = {target: self._nodes.get(target) or _Node() for target in targets}
        for target, node in self._nodes.items():
            if target.regions is not node.made:
                node.made, node.ranges = target.regions, ranges_of(target.regions)
        ranges = sorted(one for node in self._nodes.values() for one in node.ranges)
        kernel_targets = (KernelTarget(None, tuple(ranges)),) if ranges else ()
        intervals = context.intervals
        self._interval_us, self._checks = intervals.aggregation_us, intervals.checks
        plan = Plan("paddr", intervals, context.limits, kernel_targets, self._find_cgroup())
        self.sampler.steer(plan, {})

    def check(self, targets: Sequence[Target], _context: HookContext | None = None) -> None:
        """Take the regions that the kernel reports.

        Some pages of them become `samples`, for those who want to know what memory that is:
        known are those that the kernel samples, and as many of them as it says are accessed.

        Raises:
            PluginError: Somebody else has switched the kdamond off, or it reports nothing.
        """
        aggregations = self.sampler.collect() if self._nodes else []
        if self._nodes and not aggregations:
            raise PluginError("kernel", "somebody else has switched our kdamond off")
        for aggregation in aggregations:
            for target, node in self._nodes.items():
                part = clip(aggregation.tables[0], node.ranges)
                target.regions = node.made = to_regions(part, node.idling, self._interval_us)
        if self._cgroup is None:
            for target in self._nodes:
                target.samples = self._look(target.regions)

    def _look(self, regions: Regions) -> Samples:
        """Look at random pages of regions."""
        times = -(-_PAGES // max(len(regions), 1))
        pages = np.unique(np.concatenate([regions.random_pages(self._rng) for _ in range(times)]))
        frequency = (regions.nr_accesses / max(self._checks, 1))[regions.holding(pages)]
        known = self._in_use(pages)
        return Samples(pages, known & (self._rng.random(len(pages)) < frequency), known)

    def _in_use(self, pages: _IntColumn) -> _BoolColumn:
        """Tell which pages are memory of users, which is what the kernel samples."""
        if self._flags is None:
            self._flags = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        raw = [os.pread(self._flags, 8, page // PAGE_SIZE_BYTES * 8) for page in pages.tolist()]
        # Behind the last frame of the machine there is nothing to be read.
        flags = np.frombuffer(b"".join(one.ljust(8, b"\0") for one in raw), dtype=np.uint64)
        used: _BoolColumn = ((flags & (_LRU | _HUGE)) != 0) & ((flags & _ZERO) == 0)
        return used

    def close(self) -> None:
        """Switch the kdamond off; it may be steered again later."""
        self._nodes.clear()
        if self._flags is not None:
            os.close(self._flags)
            self._flags = None
        self.sampler.close()


def ranges_of(regions: Regions) -> list[Range]:
    """Return the ranges that regions cover, those that touch as one."""
    if not len(regions):
        return []
    apart = np.flatnonzero(regions.end[:-1] < regions.start[1:])
    starts = regions.start[np.concatenate(([0], apart + 1))]
    ends = regions.end[np.concatenate((apart, [len(regions) - 1]))]
    return [Range(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def clip(table: Table, ranges: Sequence[Range]) -> Table:
    """Return what of regions lies in ranges; one that spans several is in all of them."""
    starts, ends, rows = [], [], []
    for low, high in ranges:
        first = int(np.searchsorted(table.end, low, side="right"))
        last = int(np.searchsorted(table.start, high, side="left"))
        starts.append(np.maximum(table.start[first:last], low))
        ends.append(np.minimum(table.end[first:last], high))
        rows.append(np.arange(first, last))
    row, start, end = np.concatenate(rows), np.concatenate(starts), np.concatenate(ends)
    passed = None
    if table.passed is not None:
        # Of a region that spans several as much as is in the range.
        passed = table.passed[row] * (end - start) // (table.end - table.start)[row]
    return Table(start, end, table.nr_accesses[row], table.age[row], passed)
