"""The backend `pagetable`: every page of processes, from their page tables."""

import logging
import os
import time
from collections.abc import Callable, Collection

import numpy as np
from attrs import define, field
from damon_vaddr import (
    Process,
    ProcessTarget,
    clear_accessed_bits,
    find_rivals,
    reset_us,
)

from damon_core import PAGE_SIZE_BYTES, HookContext, PluginError, SpacedSampling
from damon_pagetable.advice import Adviser
from damon_pagetable.budget import LookBudget
from damon_pagetable.clearing import ClearedProcesses, Files
from damon_pagetable.errors import ObstacleError, VerifierError
from damon_pagetable.flushing import FlushedProcess, Flusher, FlushStats
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
class _Files(Files):
    """The open files of a process. What its pagemap shows isn't read: it leads to the page tables.

    Attributes:
        looks: Looks at these.
        epoch: The number of the epoch in which the bits were cleared; -1 for never.
        flushing: The flushes of its TLB.
    """

    looks: Looks
    epoch: int = field(default=-1, init=False)
    flushing: FlushedProcess = field(factory=FlushedProcess, init=False)


class PageTable(ClearedProcesses[_Files]):
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
        super().__init__()
        self._open_tables = open_tables
        self._tables: PageTables | None = self._opened()
        self._has_looked_for_rivals = False
        self._reset_us = reset_us()
        options = options or PageTableOptions()
        self._adviser = Adviser()
        self._flusher = Flusher(self._adviser) if options.flush_tlb else None
        self._has_witnesses = options.witnesses
        self._budget = LookBudget()
        self._rng = np.random.default_rng()

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
        tables = self._tables
        self._open(target, lambda pagemap: _Files(pagemap, Looks(tables, pagemap, target.ranges)))

    def _opened(self) -> PageTables:
        try:
            return self._open_tables()
        except ObstacleError as error:
            if isinstance(error, VerifierError):
                logger.debug("%s", error.log)
            raise PluginError(self.name, error.message) from error

    def _needs_clearing(self, target: ProcessTarget) -> bool:
        return self._files[target].epoch != target.epoch

    def _clear(self, process: Process) -> int:
        return clear_accessed_bits(process)

    def _was_cleared(self, target: ProcessTarget, context: HookContext) -> None:
        files, known = self._files[target], self._known[target]
        files.epoch = target.epoch
        if target.ranges:
            # All may be accessed in the epoch: nobody looks at them.
            target.toll = target.toll.with_cpu(_pages_outside(target) * self._reset_us)
        if known.last_us and not known.inference.later:
            files.flushing.end(known.pages.touched_share())
        files.flushing.begin()
        files.looks.limit(self._most_blocks(files, context))

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

    def close(self) -> None:
        """Close all files."""
        super().close()
        if self._tables is not None:
            self._tables.close()
            self._tables = None
        self._has_looked_for_rivals = False


def _pages_outside(target: ProcessTarget) -> int:
    """Return how many pages of a process aren't in the ranges that are monitored."""
    resident = target.process.peek("statm").split()[1:2]
    inside_bytes = int(target.regions.resident_bytes.sum())
    return max(sum(map(int, resident)) - inside_bytes // PAGE_SIZE_BYTES, 0)
