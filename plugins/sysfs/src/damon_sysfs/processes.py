"""The backend for processes: each target is one of the kernel's, told by its pid."""

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
from damon_sysfs.idling import Idling
from damon_sysfs.sampler import KernelTarget, Plan, Sampler


@define(eq=False)
class _Followed:
    """What is held of one process."""

    maps: int
    idling: Idling = field(factory=Idling)
    seen: bool = False

    def memory_is_gone(self) -> bool:
        """Tell whether the memory that it had at first is gone, by its end or an exec."""
        try:
            return not os.pread(self.maps, 1, 0)
        except ProcessLookupError:
            return True


class KernelProcesses:
    """Has the kernel's DAMON sample the accesses of processes (operations ``vaddr``).

    Args:
        sampler: The kdamond for it.
    """

    name = "kernel"
    sampling = DelegatedSampling
    layout = FirstRanges()
    sees_all_users = False

    def __init__(self, _options: NoOptions | None = None, sampler: Sampler | None = None) -> None:
        self.sampler = sampler or Sampler()
        self._followed: dict[ProcessTarget, _Followed] = {}
        self._order: Sequence[ProcessTarget] = ()
        self._interval_us = 0

    @property
    def cpu_us(self) -> int:
        """As `Sampler.cpu_us`."""
        return self.sampler.cpu_us

    def add(self, target: ProcessTarget) -> None:
        """Take hold of the memory of a process.

        Raises:
            OSError: The process has ended, or may not be read.
        """
        self._followed[target] = _Followed(target.process.open_file("maps"))

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Pass on to the kernel what has changed.

        A change of the targets switches the kdamond off and on. It begins with the regions that
        were there; their ages begin anew.

        Raises:
            PluginError: DAMON isn't free, or this kernel can't do it.
        """
        living = list(targets)
        while True:
            try:
                self._steer(living, context.intervals, context.limits)
            except ProcessLookupError:
                ended = [target for target in living if target.process.ended()]
                if not ended:
                    raise
                living = [target for target in living if target not in ended]
            else:
                return [target for target in targets if target not in living]

    def _steer(
        self, targets: Sequence[ProcessTarget], intervals: Intervals, limits: RegionLimits
    ) -> None:
        known = {}
        if list(targets) != list(self._order):
            for number, target in enumerate(targets):
                if self._followed[target].seen:
                    start, end = target.regions.start.tolist(), target.regions.end.tolist()
                    known[number] = [Range(*pair) for pair in zip(start, end, strict=True)]
        kernel_targets = tuple(KernelTarget(target.process.pid) for target in targets)
        self._order = tuple(targets)
        self._interval_us = intervals.aggregation_us
        self.sampler.steer(Plan("vaddr", intervals, limits, kernel_targets), known)

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Take the regions that the kernel reports.

        Raises:
            PluginError: Somebody else has switched the kdamond off, or it reports nothing.
        """
        aggregations = self.sampler.collect() if self._order else []
        gone = [target for target in targets if self._followed[target].memory_is_gone()]
        if self._order and not aggregations and len(gone) < len(self._order):
            raise PluginError("kernel", "somebody else has switched our kdamond off")
        for aggregation in aggregations:
            for number, target in enumerate(self._order):
                if number in aggregation.tables:
                    self._tell(target, aggregation.tables[number])
        return gone

    def _tell(self, target: ProcessTarget, table: Table) -> None:
        followed = self._followed[target]
        followed.seen = True
        target.regions = to_regions(table, followed.idling, self._interval_us)

    def forget(self, target: ProcessTarget) -> None:
        """Let go of a process; one that wasn't added is no error."""
        followed = self._followed.pop(target, None)
        if followed is not None:
            os.close(followed.maps)

    def close(self) -> None:
        """Switch the kdamond off and let go of everything; more targets may be added later."""
        for target in list(self._followed):
            self.forget(target)
        self._order = ()
        self.sampler.close()


def to_regions(table: Table, idling: Idling, interval_us: int) -> Regions:
    """Return what the kernel tells of one target as regions."""
    regions = Regions(table.start, table.end)
    regions.nr_accesses = table.nr_accesses.astype(np.float64)
    regions.age = table.age
    regions.idle_us = idling.after(table, interval_us)
    if table.passed is not None:
        regions.resident_bytes = table.passed
    return regions
