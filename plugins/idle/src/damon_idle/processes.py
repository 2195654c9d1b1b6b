"""The backend `idle` for processes."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from attrs import define, field
from damon_vaddr import ProcessTarget, Ranges

from damon_core import HookContext, PageSampling
from damon_idle import pagemap
from damon_idle.flushing import FlushedProcess, Flusher, FlushStats
from damon_idle.marking import Marked, Marking
from damon_idle.opening import frames_hidden, open_marking
from damon_idle.options import IdleOptions
from damon_idle.pagemap import Pagemap
from damon_idle.words import BoolColumn, IntColumn, WordColumn, count, every

logger = logging.getLogger(__name__)

_NONE: IntColumn = np.zeros(0, dtype=np.int64)
_NO_ENTRIES: WordColumn = np.zeros(0, dtype=np.uint64)


class _Prepared(NamedTuple):
    """The pages of one process in a check.

    Attributes:
        which: Which of the samples are mapped, and so checked; None if all are.
        addresses: The addresses of these.
        entries: Their entries of pagemap.
        present: Which of them are in memory; None if all are.
    """

    which: BoolColumn | None
    addresses: IntColumn
    entries: WordColumn
    present: BoolColumn | None

    @property
    def frames(self) -> IntColumn:
        """The frames of the pages in memory."""
        frames = pagemap.frames(self.entries)
        return frames if self.present is None else frames[self.present]

    def expand(self, of_present: BoolColumn, absent: bool) -> BoolColumn:
        """Expand a column for the pages in memory to all pages, with `absent` for the others."""
        if self.present is None:
            return of_present
        column = np.full(len(self.present), absent)
        column[self.present] = of_present
        return column


class _Reread(NamedTuple):
    """The pages of one process after the marks were read, with those entries that matter.

    Attributes:
        target: The process.
        process: Its state.
        frame: The index in the marked frames of each page in memory; None if all are idle.
        pages: Indices of the pages that are no longer idle or weren't in memory.
        entries: The current entries of these.
    """

    target: ProcessTarget
    process: "_ProcessState"
    frame: IntColumn | None
    pages: IntColumn
    entries: WordColumn


@define(eq=False)
class _ProcessState:
    """The open pagemap of one process, its TLB flushes, and its pages in the current check."""

    pagemap: Pagemap
    flushing: FlushedProcess = field(factory=FlushedProcess)
    prepared: _Prepared | None = None


class ProcessIdle:
    """Detects accesses to single pages of processes, through any mapping.

    A page that isn't mapped, was never touched or is swapped out wasn't accessed. Unknown are
    pages that idle page tracking doesn't cover, such as those of hugetlbfs, and pages that moved
    during the check. All pages of a huge page have the same result.

    Args:
        options: The options.
        make_marking: Opens the kernel's files when they are first needed.
    """

    name = "idle"
    sampling = PageSampling
    layout = Ranges()
    sees_all_users = True

    def __init__(
        self,
        options: IdleOptions | None = None,
        make_marking: Callable[[], Marking] = open_marking,
    ) -> None:
        self._make_marking = make_marking
        self._marking: Marking | None = None
        self._marked: Marked | None = None
        self._flusher = Flusher() if options is None or options.flush_tlb else None
        self._states: dict[ProcessTarget, _ProcessState] = {}

    @property
    def flush_stats(self) -> FlushStats:
        """The TLB flushes so far, with their cost and effect; zeros if they are switched off."""
        return self._flusher.stats if self._flusher is not None else FlushStats()

    def add(self, target: ProcessTarget) -> None:
        """Open the pagemap of a process.

        Raises:
            PluginError: Idle page tracking doesn't work on this machine or for this user.
            OSError: The process has ended, or its pagemap can't be opened.
        """
        if self._marking is None:
            self._marking = self._make_marking()
        self._states[target] = _ProcessState(Pagemap(target.process))

    def prepare(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Mark the pages at `samples.addresses` that are in memory.

        Raises:
            PluginError: The kernel hides page frames from this program.
        """
        gone = []
        parts = []
        for target in targets:
            state = self._states[target]
            state.prepared = self._find(target, state.pagemap)
            if state.prepared is None:
                gone.append(target)
            else:
                parts.append(state.prepared.frames)
        self._marked = None
        if self._marking is not None and parts:
            frames = parts[0] if len(parts) == 1 else np.concatenate(parts)
            frames.sort()
            if len(frames) and not frames[0]:
                raise frames_hidden()
            self._marked = self._marking.mark(frames)
            if self._flusher is not None:
                self._flush(self._flusher, targets, self._marking)
        return gone

    @staticmethod
    def _find(target: ProcessTarget, pages: Pagemap) -> _Prepared | None:
        """Return the pages of a target's samples; None if its memory is gone."""
        assert target.samples is not None
        addresses, which = target.samples.addresses, None
        mapped = target.mapped.holds(addresses)
        if not every(mapped):
            addresses, which = addresses[mapped], mapped
        entries = pages.read(addresses)
        if entries is None:
            return None
        present = pagemap.present(entries)
        return _Prepared(which, addresses, entries, None if every(present) else present)

    def _flush(self, flusher: Flusher, targets: Sequence[ProcessTarget], marking: Marking) -> None:
        for target in targets:
            state = self._states[target]
            prepared = state.prepared
            # A page that wasn't marked doesn't need a flush.
            if prepared is not None and _in_memory(prepared):
                flusher.flush(
                    target, state.flushing, state.pagemap, marking.frames, prepared.addresses
                )

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Set whether the samples were accessed since `prepare`."""
        marking, marked = self._marking, self._marked
        if marking is None or marked is None:
            return ()
        used, unknown = marking.used(marked)
        gone = []
        all_reread = []
        for target in targets:
            if target.samples is None:  # it was added after `prepare`
                continue
            reread = self._reread(target, marked, used, unknown)
            if reread is None:
                gone.append(target)
            else:
                all_reread.append(reread)
        accessed = None if used is None else marking.still_there(marked, used)
        for reread in all_reread:
            self._set_results(reread, marked, accessed, unknown)
        return gone

    def _reread(
        self,
        target: ProcessTarget,
        marked: Marked,
        used: BoolColumn | None,
        unknown: BoolColumn | None,
    ) -> _Reread | None:
        """Read the entries of a process's pages again where they matter; None if it is gone.

        They don't matter for pages that are still idle, as a mark moves with its page, nor for
        unknown ones. For pages that weren't in memory they show whether these were touched.
        """
        process = self._states[target]
        prepared = process.prepared
        assert prepared is not None
        frame, pages = None, _NONE
        if used is not None or unknown is not None:
            frame = marked.frames.searchsorted(prepared.frames)
        if used is not None and frame is not None:
            pages = prepared.expand(used[frame], True).nonzero()[0]
        elif prepared.present is not None:
            pages = (~prepared.present).nonzero()[0]
        entries = _NO_ENTRIES
        if len(pages):
            now = process.pagemap.read(prepared.addresses[pages])
            if now is None:
                return None
            entries = now
        return _Reread(target, process, frame, pages, entries)

    def _set_results(
        self,
        reread: _Reread,
        marked: Marked,
        accessed: BoolColumn | None,
        unknown: BoolColumn | None,
    ) -> None:
        """Set the samples of a process from the results of the marked frames."""
        prepared, frame, samples = reread.process.prepared, reread.frame, reread.target.samples
        assert prepared is not None
        assert samples is not None
        if frame is None and not len(reread.pages):
            # All pages are idle: known and not accessed, as samples are at first.
            if self._flusher is not None:
                self._flusher.add(reread.process.flushing, len(prepared.entries), 0)
            return
        is_known = np.ones(len(prepared.entries), dtype=np.bool_)
        is_accessed = np.zeros(len(is_known), dtype=np.bool_)
        hot = is_accessed
        if frame is not None and unknown is not None:
            is_known = prepared.expand(~unknown[frame], True)
        if len(reread.pages):
            before, now = prepared.entries[reread.pages], reread.entries
            was, is_present = pagemap.present(before), pagemap.present(now)
            if frame is not None and accessed is not None:
                hot = np.zeros(len(is_known), dtype=np.bool_)
                same = pagemap.frames(before) == pagemap.frames(now)
                hot[reread.pages] = was & is_present & same
                hot &= prepared.expand(accessed[frame], False)
            # A new page of a file may have been mapped only because a neighbour was touched.
            is_accessed[reread.pages] = ~was & is_present & ~pagemap.of_files(now)
            is_known[reread.pages] = ~(was | is_present)
            is_accessed |= hot
            is_known |= is_accessed
        which = slice(None) if prepared.which is None else prepared.which
        samples.accessed[which] = is_accessed
        samples.known[which] = is_known
        if self._flusher is not None:
            self._count(self._flusher, reread, marked, is_known, hot)

    def _count(
        self,
        flusher: Flusher,
        reread: _Reread,
        marked: Marked,
        is_known: BoolColumn,
        hot: BoolColumn,
    ) -> None:
        """Pass the results of a process's pages in memory on to the flusher."""
        prepared, flushing = reread.process.prepared, reread.process.flushing
        assert prepared is not None
        hits = count(hot)
        if hits:
            compound = None
            if marked.heads is not None and reread.frame is not None:
                of_hot = hot if prepared.present is None else hot[prepared.present]
                compound = marked.heads.compound[reread.frame[of_hot]]
            flushing.hot.add(prepared.addresses[hot], compound)
        known = is_known if prepared.present is None else is_known[prepared.present]
        flusher.add(flushing, count(known), hits)

    def forget(self, target: ProcessTarget) -> None:
        """Close the pagemap of a process."""
        state = self._states.pop(target, None)
        if state is not None:
            state.pagemap.close()

    def close(self) -> None:
        """Close all files."""
        for target in list(self._states):
            self.forget(target)
        if self._marking is not None:
            self._marking.close()
            self._marking = self._marked = None
        stats = self.flush_stats
        if stats.flushes:
            logger.info("%s", stats)


def _in_memory(prepared: _Prepared) -> bool:
    """Return whether any of the pages is in memory."""
    if prepared.present is None:
        return len(prepared.entries) > 0
    return count(prepared.present) > 0
