"""The backend `kernel` for processes, where the kernel checks single pages that a policy chooses.

With operations ``fvaddr`` and regions of one page each, none beside another, a kdamond neither
splits nor merges them: each has the count of its page. A commit gives it other pages while it runs.
Its aggregations have one check. The one at whose end a commit is taken in has no counts of new
pages, the next one has. So pages are checked in every second sampling interval.
"""

import contextlib
import os
import time
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_vaddr import ProcessTarget, Ranges

from damon_core import (
    Grid,
    HookContext,
    Intervals,
    NoOptions,
    PageSampling,
    PluginError,
    RegionPolicy,
    Target,
)
from damon_sysfs.events import Aggregation
from damon_sysfs.processes import memory_is_gone, switched_off, threads_of
from damon_sysfs.replacing import IntColumn, apart
from damon_sysfs.sampler import KernelTarget, Plan, Sampler

#: The longest sampling interval of the kernel: a commit waits for its end, and can't be stopped.
#: Where checks are to be rarer, the kernel makes several, of which the first counts.
LONGEST_US = 1_000_000
#: The aggregation after a commit that has the counts of new pages.
_WITH_COUNTS = 2
#: Which targets execute another program, or lose their first thread, is asked of one after the
#: other, this often: it takes a tenth of what a check does.
_ASKED_EVERY_S = 0.1
#: After so many aggregations of other pages than those that were committed, these don't come.
_MOST_OTHERS = 100


def step_us(intervals: Intervals) -> int:
    """Return the time from one check to the next."""
    return min(2 * intervals.sampling_us, intervals.aggregation_us)


class ReplacedPages(PageSampling):
    """Pages are replaced in one sampling interval, and checked in the next; the kernel's clock.

    So what is found stands for both: counts are out of as many checks as with other backends.
    """

    def __init__(self, policy: RegionPolicy) -> None:
        super().__init__(policy)
        self._looks = 0  # of the running aggregation
        self._last = 1, 1  # looks and checks of the last aggregation

    def step_us(self, intervals: Intervals) -> int:
        """Return two sampling intervals, or an aggregation interval if that is shorter."""
        return step_us(intervals)

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep until the next look is due; what is missed is known when an aggregation ends."""
        grid.wait(self.step_us(intervals))
        return True

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Let the policy use what was found, and the grid follow the kernel; return the checks."""
        self._looks += super().observe(targets, grid, intervals)
        grid.follow()
        return _stands_for(intervals)

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Let the policy complete the regions, which knows of looks, and count in checks.

        Checks are missed where the kernel's results are late, as the grid follows them.
        """
        looks, (last_looks, last_checks) = self._looks, self._last
        for target in targets:
            target.regions.rescale_accesses(last_checks, last_looks)
        super().aggregate(targets, looks, elapsed_us, intervals)
        for target in targets:
            target.regions.rescale_counters(looks, checks)
        self._looks, self._last = 0, (looks, checks)
        self.missed_checks += max(elapsed_us // intervals.sampling_us - checks, 0)


def _stands_for(intervals: Intervals) -> int:
    """Return for how many checks a look at the pages stands."""
    return max(step_us(intervals) // intervals.sampling_us, 1)


@frozen(eq=False)
class _Chosen:
    """What is checked of one target.

    Attributes:
        pages: The pages that the kernel checks.
        mapped: Which of the samples are mapped.
    """

    pages: IntColumn
    mapped: npt.NDArray[np.bool_]


class KernelPages:
    """Checks pages of processes with the kernel's DAMON (operations ``fvaddr``).

    A page that isn't mapped, was never touched or is swapped out wasn't accessed. Unknown are pages
    beside another that is checked. All pages of a huge page have the same result.

    Args:
        sampler: The kdamond to use.
    """

    name = "kernel"
    sampling = ReplacedPages
    layout = Ranges()
    sees_all_users = False

    def __init__(self, _options: NoOptions | None = None, sampler: Sampler | None = None) -> None:
        self.sampler = sampler or Sampler()
        self._maps: dict[ProcessTarget, int] = {}
        self._threads: dict[ProcessTarget, int] = {}  # of those that the kernel checks
        self._most: dict[ProcessTarget, int] = {}  # pages so far
        self._checked: dict[ProcessTarget, _Chosen] = {}
        self._plan: Plan | None = None
        self._planned: tuple[object, ...] = ()  # what that plan is for
        self._asked: Sequence[ProcessTarget] = ()  # whether their memory is still there
        self._turn, self._asked_s = 0, 0.0

    @property
    def cpu_us(self) -> int:
        """CPU time of the kdamonds so far, in microseconds; see `Sampler.cpu_us`."""
        return self.sampler.cpu_us

    def add(self, target: ProcessTarget) -> None:
        """Open the maps of a process; claim a kdamond for the first one.

        Raises:
            PluginError: DAMON isn't free.
            OSError: The process has ended, or may not be read.
        """
        if not self._maps:
            # Here it is no cost of a check, for which intervals would be lengthened.
            self.sampler.claim()
        self._maps[target] = target.process.open_kept("maps")

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Let the kernel check the pages at `samples.addresses`; wait until it does.

        Where processes have come or gone the kdamond is restarted.

        Raises:
            PluginError: DAMON isn't free, or this kernel lacks a feature.
        """
        chosen = {target: self._choose(target) for target in targets}
        self._asked = self._ask(targets)
        if list(self._threads) != list(targets) or self._is_outdated():
            self._threads = threads_of(targets)
        while True:
            now = {target: chosen[target] for target in self._threads}
            pages = [each.pages for each in now.values()]
            try:
                self.sampler.check_pages(self._plan_for(context), pages)
            except ProcessLookupError:
                before, self._threads = self._threads, threads_of(targets)
                if self._threads == before:
                    raise
            else:
                self._checked = now
                return [target for target in targets if target not in self._threads]

    def _choose(self, target: ProcessTarget) -> _Chosen:
        """Return pages to check, as many as before: a commit of another number takes longer."""
        assert target.samples is not None
        addresses = target.samples.addresses
        mapped = target.mapped.holds(addresses)
        pages = apart(addresses[mapped], max(self._most.get(target, 0), 1))
        self._most[target] = len(pages)
        return _Chosen(pages, mapped)

    def _plan_for(self, context: HookContext) -> Plan:
        """Return the settings of the kdamond, which are mostly those of the last check."""
        wanted = context.intervals, context.limits, *self._threads.values()
        if self._plan is None or wanted != self._planned:
            sampling_us = min(max(step_us(context.intervals) // 2, 1), LONGEST_US)
            intervals = Intervals(sampling_us, sampling_us, context.intervals.update_us)
            targets = tuple(KernelTarget(thread) for thread in self._threads.values())
            self._plan = Plan("fvaddr", intervals, context.limits, targets)
            self._planned = wanted
        return self._plan

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Set whether the samples were accessed.

        Raises:
            PluginError: Another program has switched the kdamond off, or it reports nothing.
        """
        found = self._result() if self._threads else None
        for number, (target, chosen) in enumerate(self._checked.items()):
            samples = target.samples
            assert samples is not None
            if found is None:
                samples.known[:] = False
                continue
            place = chosen.pages.searchsorted(samples.addresses, side="right") - 1
            is_checked = chosen.mapped & (chosen.pages[place] == samples.addresses)
            samples.known = is_checked | ~chosen.mapped
            samples.accessed = is_checked & (found.tables[number].nr_accesses[place] > 0)
        asked = [target for target in targets if found is None or target in self._asked]
        gone = [target for target in asked if memory_is_gone(self._maps[target])]
        if found is None and len(gone) < len(self._threads):
            raise switched_off()
        return gone

    def _result(self) -> Aggregation | None:
        """Return the aggregation with the counts of the pages; None if the kdamond has ended."""
        found, others = 0, 0
        pages = [each.pages.tobytes() for each in self._checked.values()]
        while aggregations := self.sampler.collect():
            those = [each for each in aggregations if _has(each, pages)]
            found += len(those)
            others += len(aggregations) - len(those)
            if found >= _WITH_COUNTS:
                return those[-1]
            if others > _MOST_OTHERS:
                raise PluginError("kernel", "the kdamond checks other memory than it was given")
        return None

    def _ask(self, targets: Sequence[ProcessTarget]) -> Sequence[ProcessTarget]:
        """Return the target of which it is to be asked now whether its memory is still there."""
        now_s = time.monotonic()
        if now_s < self._asked_s + _ASKED_EVERY_S or not targets:
            return ()
        self._turn, self._asked_s = self._turn + 1, now_s
        return (targets[self._turn % len(targets)],)

    def _is_outdated(self) -> bool:
        """Return whether a process shows its memory by another thread now."""
        for target in self._asked:
            with contextlib.suppress(ProcessLookupError):
                return target.process.thread() != self._threads[target]
        return False

    def forget(self, target: ProcessTarget) -> None:
        """Close the maps of a process; a target that wasn't added is not an error."""
        maps = self._maps.pop(target, None)
        self._most.pop(target, None)
        if maps is not None:
            os.close(maps)

    def close(self) -> None:
        """Switch the kdamond off and release everything; targets may be added again later."""
        for target in list(self._maps):
            self.forget(target)
        self._threads, self._checked, self._asked = {}, {}, ()
        self.sampler.close()


def _has(aggregation: Aggregation, pages: Sequence[bytes]) -> bool:
    """Return whether an aggregation is of these pages of its targets, as bytes of columns."""
    tables = aggregation.tables
    return len(tables) == len(pages) and all(
        number in tables and tables[number].start.tobytes() == column
        for number, column in enumerate(pages)
    )
