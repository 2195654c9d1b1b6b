"""The backend `kernel` for physical memory: all nodes are one target of the kernel."""

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
    Intervals,
    NoOptions,
    PluginError,
    Range,
    Regions,
    Samples,
    Target,
)
from damon_sysfs.events import Table
from damon_sysfs.goals import GoalKeeper
from damon_sysfs.idling import Idling
from damon_sysfs.processes import to_regions
from damon_sysfs.sampler import Cgroup, KernelTarget, Plan, Sampler

_IntColumn = npt.NDArray[np.int64]
_BoolColumn = npt.NDArray[np.bool_]

#: Flags in /proc/kpageflags: on an LRU list; part of a huge page that is; the zero page.
_LRU, _HUGE, _ZERO = np.uint64(1 << 5), np.uint64(1 << 22), np.uint64(1 << 24)
#: The number of pages of a node to sample in an aggregation, but at least one of each region.
_PAGES = 128


@define(eq=False)
class _Node:
    """The state of one target.

    Attributes:
        made: The regions that this backend has set; any others are new ranges to monitor.
        ranges: The monitored ranges.
        idling: Its idle times.
    """

    made: Regions | None = None
    ranges: list[Range] = field(factory=list)
    idling: Idling = field(factory=Idling)


class KernelMemory:
    """Monitors physical memory with the kernel's DAMON (operations ``paddr``).

    Args:
        sampler: The kdamond to use.
    """

    name = "kernel"
    sampling = DelegatedSampling

    def __init__(self, _options: NoOptions | None = None, sampler: Sampler | None = None) -> None:
        self.sampler = sampler or Sampler()
        self._nodes: dict[Target, _Node] = {}
        self._interval_us = self._checks = 0
        self._goal = GoalKeeper()
        self._flags: int | None = None
        self._rng = np.random.default_rng()
        self._directory: Path | None = None
        self._cgroup: Cgroup | None = None

    @property
    def tuned_intervals(self) -> Intervals | None:
        """The intervals that the kernel has chosen for the context's goal; None if it doesn't."""
        return self.sampler.tuned_intervals

    @property
    def cpu_us(self) -> int:
        """CPU time of the kdamonds so far, in microseconds; see `Sampler.cpu_us`."""
        return self.sampler.cpu_us

    def watch_cgroup(self, path: str, directory: Path) -> None:
        """Monitor only the memory of one cgroup, from the next `prepare` on.

        The `resident_bytes` of regions are the bytes charged to this cgroup, without the cgroups
        below it. Accesses are those to the whole region, whichever cgroup its pages belong to.

        Args:
            path: The path of the cgroup in its hierarchy, with a leading slash.
            directory: Its directory.
        """
        self._directory, self._cgroup = directory, Cgroup(path, 0)

    def _find_cgroup(self) -> Cgroup | None:
        """Return the cgroup, with its current inode: it may have been removed and made again."""
        if self._directory is not None and self._cgroup is not None:
            with contextlib.suppress(OSError):
                self._cgroup = Cgroup(self._cgroup.path, self._directory.stat().st_ino)
        return self._cgroup

    def prepare(self, targets: Sequence[Target], context: HookContext) -> None:
        """Pass changes of targets, intervals, limits and the cgroup on to the kernel.

        Raises:
            PluginError: DAMON isn't free, or this kernel lacks a feature.
        """
        self._nodes = {target: self._nodes.get(target) or _Node() for target in targets}
        for target, node in self._nodes.items():
            if target.regions is not node.made:
                node.made, node.ranges = target.regions, ranges_of(target.regions)
        ranges = sorted(one for node in self._nodes.values() for one in node.ranges)
        kernel_targets = (KernelTarget(None, tuple(ranges)),) if ranges else ()
        intervals = context.intervals
        self._interval_us, self._checks = intervals.aggregation_us, intervals.checks
        cgroup = self._find_cgroup()
        goal = self._goal.goal(context.goal, (target.regions for target in targets))
        plan = Plan("paddr", intervals, context.limits, kernel_targets, cgroup, goal)
        self.sampler.apply(plan, {})

    def check(self, targets: Sequence[Target], _context: HookContext | None = None) -> None:
        """Set the regions of targets to those that the kernel reports.

        Also set `samples` to some pages of the regions, so that resident bytes and owners can be
        estimated: pages that the kernel samples are known, and a share of them as large as the
        access frequency of the region is marked as accessed.

        Raises:
            PluginError: Another program has switched the kdamond off, or it reports nothing.
        """
        aggregations = self.sampler.collect() if self._nodes else []
        if self._nodes and not aggregations:
            raise PluginError("kernel", "another program has switched the kdamond off")
        for aggregation in aggregations:
            for target, node in self._nodes.items():
                part = clip(aggregation.tables[0], node.ranges)
                tuned = self.sampler.tuned_intervals
                target.regions = node.made = to_regions(
                    part, node.idling, self._interval_us, self._checks, tuned
                )
        if self._cgroup is None:
            for target in self._nodes:
                target.samples = self._sample(target.regions)

    def _sample(self, regions: Regions) -> Samples:
        """Return random pages of regions as samples."""
        times = -(-_PAGES // max(len(regions), 1))
        pages = np.unique(np.concatenate([regions.random_pages(self._rng) for _ in range(times)]))
        frequency = (regions.nr_accesses / max(self._checks, 1))[regions.holding(pages)]
        known = self._in_use(pages)
        return Samples(pages, known & (self._rng.random(len(pages)) < frequency), known)

    def _in_use(self, pages: _IntColumn) -> _BoolColumn:
        """Return whether each page is user memory, which is what the kernel samples."""
        if self._flags is None:
            self._flags = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        raw = [os.pread(self._flags, 8, page // PAGE_SIZE_BYTES * 8) for page in pages.tolist()]
        # Empty after the last frame of the machine.
        flags = np.frombuffer(b"".join(one.ljust(8, b"\0") for one in raw), dtype=np.uint64)
        used: _BoolColumn = ((flags & (_LRU | _HUGE)) != 0) & ((flags & _ZERO) == 0)
        return used

    def close(self) -> None:
        """Switch the kdamond off; `prepare` may be called again later."""
        self._nodes.clear()
        if self._flags is not None:
            os.close(self._flags)
            self._flags = None
        self.sampler.close()


def ranges_of(regions: Regions) -> list[Range]:
    """Return the ranges that regions cover; touching regions are one range."""
    if not len(regions):
        return []
    apart = np.flatnonzero(regions.end[:-1] < regions.start[1:])
    starts = regions.start[np.concatenate(([0], apart + 1))]
    ends = regions.end[np.concatenate((apart, [len(regions) - 1]))]
    return [Range(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def clip(table: Table, ranges: Sequence[Range]) -> Table:
    """Return the parts of regions in ranges; a region that spans several has a part in each."""
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
        # In proportion to the size of the part.
        passed = table.passed[row] * (end - start) // (table.end - table.start)[row]
    return Table(start, end, table.nr_accesses[row], table.age[row], passed)
