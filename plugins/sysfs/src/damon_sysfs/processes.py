"""The backend `kernel` for processes: each is a target of the kernel."""

import contextlib
import os
from collections.abc import Collection, Sequence

import numpy as np
from attrs import define, field
from damon_vaddr import FirstRanges, ProcessTarget

from damon_core import (
    DelegatedSampling,
    HookContext,
    Intervals,
    NoOptions,
    PluginError,
    Range,
    RegionLimits,
    Regions,
)
from damon_sysfs.events import Table
from damon_sysfs.goals import GoalKeeper, KernelGoal
from damon_sysfs.idling import Idling
from damon_sysfs.sampler import KernelTarget, Plan, Sampler


@define(eq=False)
class _ProcessState:
    """The state of one process.

    Attributes:
        maps: The file descriptor of its `/proc/PID/maps`.
        idling: Its idle times.
        has_results: Whether the kernel has reported regions for it.
    """

    maps: int
    idling: Idling = field(factory=Idling)
    has_results: bool = False


class KernelProcesses:
    """Monitors processes with the kernel's DAMON (operations ``vaddr``).

    Args:
        sampler: The kdamond to use.
    """

    name = "kernel"
    sampling = DelegatedSampling
    layout = FirstRanges()
    sees_all_users = False

    def __init__(self, _options: NoOptions | None = None, sampler: Sampler | None = None) -> None:
        self.sampler = sampler or Sampler()
        self._states: dict[ProcessTarget, _ProcessState] = {}
        self._order: Sequence[ProcessTarget] = ()
        self._interval_us = self._checks = 0
        self._goal = GoalKeeper()

    @property
    def tuned_intervals(self) -> Intervals | None:
        """The intervals that the kernel has chosen for the context's goal; None if it doesn't."""
        return self.sampler.tuned_intervals

    @property
    def cpu_us(self) -> int:
        """CPU time of the kdamonds so far, in microseconds; see `Sampler.cpu_us`."""
        return self.sampler.cpu_us

    def add(self, target: ProcessTarget) -> None:
        """Open the maps of a process.

        Raises:
            OSError: The process has ended, or may not be read.
        """
        self._states[target] = _ProcessState(target.process.open_kept("maps"))

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Pass changes of targets, intervals and limits on to the kernel.

        Targets that come are added to the kdamond that runs, and from Linux 6.19 on those that go
        are taken away; the others keep their regions. Otherwise a change of the targets restarts
        the kdamond: it begins with the current regions, but their ages are reset.

        Raises:
            PluginError: DAMON isn't free, or this kernel lacks a feature.
        """
        threads: dict[ProcessTarget, int] = {}
        goal = self._goal.goal(context.goal, (target.regions for target in targets))
        while True:
            before, threads = threads, threads_of(targets)
            try:
                self._apply(threads, context.intervals, context.limits, goal)
            except ProcessLookupError:
                if threads == before:
                    raise
            else:
                return [target for target in targets if target not in threads]

    def _apply(
        self,
        threads: dict[ProcessTarget, int],
        intervals: Intervals,
        limits: RegionLimits,
        goal: KernelGoal | None,
    ) -> None:
        targets = tuple(threads)
        initial, added = {}, {}
        if targets != self._order:
            for number, target in enumerate(targets):
                start, end = target.regions.start.tolist(), target.regions.end.tolist()
                ranges = [Range(*pair) for pair in zip(start, end, strict=True)]
                if self._states[target].has_results:
                    initial[number] = ranges
                elif target not in self._order:
                    added[number] = ranges
        kernel_targets = tuple(
            KernelTarget(thread, target.ranges) for target, thread in threads.items()
        )
        # All processes of a context have the same ranges.
        operations = "fvaddr" if any(target.ranges for target in targets) else "vaddr"
        self._order = targets
        self._interval_us, self._checks = intervals.aggregation_us, intervals.checks
        plan = Plan(operations, intervals, limits, kernel_targets, goal=goal)
        self.sampler.apply(plan, initial, added)

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Set the regions of targets to those that the kernel reports.

        Raises:
            PluginError: Another program has switched the kdamond off, or it reports nothing.
        """
        aggregations = self.sampler.collect() if self._order else []
        gone = [target for target in targets if memory_is_gone(self._states[target].maps)]
        if self._order and not aggregations and len(gone) < len(self._order):
            raise switched_off()
        for aggregation in aggregations:
            for number, target in enumerate(self._order):
                if number in aggregation.tables:
                    self._set_regions(target, aggregation.tables[number])
        return gone

    def _set_regions(self, target: ProcessTarget, table: Table) -> None:
        state = self._states[target]
        state.has_results = True
        tuned = self.sampler.tuned_intervals
        target.regions = to_regions(table, state.idling, self._interval_us, self._checks, tuned)

    def forget(self, target: ProcessTarget) -> None:
        """Close the maps of a process; a target that wasn't added is not an error."""
        state = self._states.pop(target, None)
        if state is not None:
            os.close(state.maps)

    def close(self) -> None:
        """Switch the kdamond off and release everything; targets may be added again later."""
        for target in list(self._states):
            self.forget(target)
        self._order = ()
        self.sampler.close()


def switched_off() -> PluginError:
    """Return the error of a kdamond that has ended though its processes haven't."""
    return PluginError("kernel", "another program has switched the kdamond off")


def memory_is_gone(maps: int) -> bool:
    """Return whether the memory of a process is gone, because it has ended or called exec.

    Args:
        maps: The file descriptor of its `/proc/PID/maps`.
    """
    try:
        return not os.pread(maps, 1, 0)
    except ProcessLookupError:
        return True


def threads_of(targets: Sequence[ProcessTarget]) -> dict[ProcessTarget, int]:
    """Return the thread of each process that shows its memory; without those that have ended.

    The kernel finds no memory by the pid of a process whose first thread has exited.
    """
    threads = {}
    for target in targets:
        with contextlib.suppress(ProcessLookupError):
            threads[target] = target.process.thread()
    return threads


def to_regions(
    table: Table, idling: Idling, interval_us: int, checks: int, tuned: Intervals | None = None
) -> Regions:
    """Return the kernel's results for one target as regions.

    Its counts can be of an aggregation with other intervals, so they are held to `checks`.

    Args:
        table: The results.
        idling: The idle times so far.
        interval_us: The aggregation interval of these results.
        checks: How many checks it had.
        tuned: The intervals that the kernel has tuned to since; ages are in theirs.
    """
    regions = Regions(table.start, table.end)
    regions.nr_accesses = np.minimum(table.nr_accesses.astype(np.float64), checks)
    regions.age = table.age
    if tuned is not None and tuned.aggregation_us != interval_us:
        regions.age = table.age * tuned.aggregation_us // interval_us
    regions.idle_us = idling.after(table, interval_us)
    if table.passed is not None:
        regions.resident_bytes = table.passed
    return regions
