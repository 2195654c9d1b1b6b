"""The backend `pagetable`: every page of processes, from their page tables."""

import logging
import os
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
from attrs import define, field
from damon_vaddr import (
    ProcessTarget,
    clear_accessed_bits,
    find_rivals,
    is_shortage,
    reset_us,
)

from damon_core import PAGE_SIZE_BYTES, HookContext, PluginError, SpacedSampling
from damon_pagetable.advice import Adviser
from damon_pagetable.budget import LookBudget
from damon_pagetable.errors import ObstacleError, VerifierError
from damon_pagetable.flushing import FlushedProcess, Flusher, FlushStats
from damon_pagetable.layout import BestCut, Known
from damon_pagetable.look import Looks
from damon_pagetable.options import PageTableOptions
from damon_pagetable.privileges import needed_to_load_only
from damon_pagetable.tables import PageTables
from damon_pagetable.witnesses import Witnesses, choose, clear, clear_cold

logger = logging.getLogger(__name__)


#: What a flush costs the process, in accessed bits that its processors have to set again: those of
#: the range, an interrupt, and translations that are loaded again.
_FLUSH_PAGES = 100


@define(eq=False)
class _Files:
    """The open files of a process.

    Attributes:
        pagemap: Its pagemap; what it shows isn't read, it leads to the page tables.
        looks: Looks at these.
        epoch: The number of the epoch in which the bits were cleared; -1 for never.
        aggregation: The number of the last aggregation when this one began; -1 for never.
        flushing: The flushes of its TLB.
    """

    pagemap: int
    looks: Looks
    epoch: int = field(default=-1, init=False)
    aggregation: int = field(default=-1, init=False)
    flushing: FlushedProcess = field(factory=FlushedProcess, init=False)


class PageTable:
    """Sees accesses to every page of processes, through their own page tables.

    At the beginning of an epoch the accessed bits of a process are cleared, by clear_refs. Each
    look after that finds all pages that were accessed since. Looks take no lock and don't disturb
    the process. Of what is set in later aggregations of the epoch a few witnesses are cleared, by
    MADV_COLD: they show whether it is still in use.

    Every page of a process is in its target's `page_map`. Files and shared memory that several
    processes of a context map count once, in the first of them, with the accesses of all.

    Args:
        options: The options.
        open_tables: Makes what reads page tables.

    Raises:
        PluginError: Page tables can't be read on this machine or by this user.
    """

    name = "pagetable"
    sampling = SpacedSampling
    sees_all_users = False

    def __init__(
        self,
        options: PageTableOptions | None = None,
        open_tables: Callable[[], PageTables] = PageTables,
    ) -> None:
        self._open_tables = open_tables
        self._tables: PageTables | None = self._opened()
        self._files: dict[ProcessTarget, _Files] = {}
        self._known: dict[ProcessTarget, Known] = {}
        self._has_looked_for_rivals = False
        self._reset_us = reset_us()
        options = options or PageTableOptions()
        self._adviser = Adviser()
        self._flusher = Flusher(self._adviser) if options.flush_tlb else None
        self._has_witnesses = options.witnesses
        self._budget = LookBudget()
        self._rng = np.random.default_rng()
        self.layout = BestCut(self._known)

    @property
    def startup_capabilities(self) -> Collection[int]:
        """What is needed to open page tables, and not to read them."""
        return needed_to_load_only()

    def flush_stats(self, target: ProcessTarget) -> FlushStats:
        """Return how often the TLB of a target was flushed, and the effect.

        Raises:
            KeyError: It isn't monitored.
        """
        return self._files[target].flushing.stats

    def witnesses(self, target: ProcessTarget) -> Witnesses | None:
        """Return the witnesses of the last aggregation; None if it was the first of its epoch.

        Raises:
            KeyError: The target isn't monitored.
        """
        return self._known[target].inference.witnesses

    def add(self, target: ProcessTarget) -> None:
        """Open the files of a process.

        Raises:
            PluginError: Page tables can't be read on this machine or by this user.
            OSError: What `ProcessBackend.add` may raise.
        """
        if self._tables is None:  # It was closed at the end of an earlier run.
            self._tables = self._opened()
        if not self._has_looked_for_rivals and (rivals := find_rivals()):
            logger.warning(
                "page tables: %s; both clear accessed bits, so each may miss accesses",
                "; ".join(rivals),
            )
        self._has_looked_for_rivals = True
        os.close(target.process.open_file("clear_refs", os.O_WRONLY))
        pagemap = target.process.open_kept("pagemap")
        self._files[target] = _Files(pagemap, Looks(self._tables, pagemap, target.ranges))
        self._known[target] = Known(pagemap)

    def _opened(self) -> PageTables:
        try:
            return self._open_tables()
        except ObstacleError as error:
            if isinstance(error, VerifierError):
                logger.debug("%s", error.log)
            raise PluginError(self.name, error.message) from error

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Clear the accessed bits of each process once in an epoch, those of witnesses else."""
        number = context.snapshot.number if context.snapshot is not None else 0
        gone = []
        for target in targets:
            files, known = self._files[target], self._known[target]
            if files.aggregation == number:
                continue
            if files.epoch == target.epoch:
                files.aggregation = number
                self._begin_later(target, context)
                continue
            try:
                held_us = clear_accessed_bits(target.process)
            except (ProcessLookupError, PermissionError):  # it may no longer be read
                gone.append(target)
                continue
            except OSError as error:
                if not is_shortage(error):
                    raise
                continue  # Accesses add up until a file can be opened again.
            files.epoch, files.aggregation = target.epoch, number
            target.toll = target.toll.with_held(held_us)
            if target.ranges:
                # All may be accessed in the epoch: nobody looks at them.
                target.toll = target.toll.with_cpu(_pages_outside(target) * self._reset_us)
            if known.last_us and not known.inference.later:
                files.flushing.end(known.pages.touched_share())
            files.flushing.begin()
            known.pages.clear()
            files.looks.limit(self._most_blocks(files, context))
            known.cleared_us, known.first_us = context.clock.now_us(), 0
            known.inference.begin_epoch(known.cleared_us)
        return gone

    def _begin_later(self, target: ProcessTarget, context: HookContext) -> None:
        """Begin an aggregation that isn't the first one of its epoch."""
        files, known = self._files[target], self._known[target]
        inference, pages = known.inference, known.pages
        if not inference.later:
            files.flushing.end(pages.touched_share())
            files.flushing.wanted = False
        pidfd = target.process.pidfd
        inference.begin(pages, context.clock.now_us())
        if self._has_witnesses and pidfd is not None and not self._adviser.refused:
            for each in inference.cooled:
                clear_cold(each, pages, pidfd, files.pagemap, self._adviser)
            chosen = choose(
                pages,
                files.flushing.usable(target.layout_input.maps),
                target.regions,
                longest=inference.longest,
                recent_us=known.last_us,
                interval_us=context.intervals.aggregation_us,
                rng=self._rng,
            )
            inference.witnesses = clear(chosen, pidfd, files.pagemap, self._adviser)
            target.toll = target.toll.with_held(inference.witnesses.held_us)
        inference.cooled = []
        pages.settle(inference.settled(known.last_us))

    def _most_blocks(self, files: _Files, context: HookContext) -> float:
        """Return how many blocks of a process a look may take: its part of those of all."""
        all_blocks = [each.looks.blocks for each in self._files.values()]
        # Those that weren't looked at yet count as the others on average.
        mean = sum(all_blocks) / max(len([count for count in all_blocks if count]), 1) or 1.0
        total = sum(count or mean for count in all_blocks)
        return self._budget.most_blocks(context) * (files.looks.blocks or mean) / total

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Look at all pages of each process."""
        return [each for each in targets if not self._look(each, context)]

    def _look(self, target: ProcessTarget, context: HookContext) -> bool:
        files, known = self._files[target], self._known[target]
        begun_ns = time.thread_time_ns()
        found = files.looks.look()
        if not os.pread(files.pagemap, 8, 0):  # Its memory is gone: it ended or called exec.
            return False
        now_us = context.clock.now_us()
        known.note_look(now_us, context.intervals.checks)
        later = known.inference.later
        pages = known.pages.add(found, known.last_us, now_us, later=later)
        blocks = len(found.blocks) + len(found.huge.addresses)
        self._budget.looked((time.thread_time_ns() - begun_ns) / 1_000, blocks)
        known.inference.look(pages, known.last_us)
        if found.cells is not None:
            pages = round(pages * float(found.cells.weights.mean()))
        if known.inference.witnesses is not None:
            pages += known.inference.witnesses.look(found)
        if self._flusher is not None and self._flusher.flush(
            target, files.flushing, files.pagemap, found
        ):
            pages += _FLUSH_PAGES
        target.toll = target.toll.with_cpu(pages * self._reset_us)
        return True

    def forget(self, target: ProcessTarget) -> None:
        """Close the files of a process."""
        files = self._files.pop(target, None)
        self._known.pop(target, None)
        if files is not None:
            os.close(files.pagemap)

    def close(self) -> None:
        """Close all files."""
        for target in list(self._files):
            self.forget(target)
        if self._tables is not None:
            self._tables.close()
            self._tables = None
        self._has_looked_for_rivals = False


def _pages_outside(target: ProcessTarget) -> int:
    """Return how many pages of a process aren't in the ranges that are monitored."""
    resident = target.process.peek("statm").split()[1:2]
    inside_bytes = int(target.regions.resident_bytes.sum())
    return max(sum(map(int, resident)) - inside_bytes // PAGE_SIZE_BYTES, 0)
