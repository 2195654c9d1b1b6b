"""The backend `idle` of the primitives for processes: pages by their addresses."""

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
        which: Which of the samples are mapped, so looked at; None if all are.
        addresses: Their addresses.
        entries: Their entries of pagemap.
        present: Which of them are in memory; None if all are.
    """

    which: BoolColumn | None
    addresses: IntColumn
    entries: WordColumn
    present: BoolColumn | None

    @property
    def frames(self) -> IntColumn:
        """The frames of those in memory."""
        frames = pagemap.frames(self.entries)
        return frames if self.present is None else frames[self.present]

    def of_all(self, of_present: BoolColumn, absent: bool) -> BoolColumn:
        """Return what is known of pages in memory for all pages, with `absent` for the others."""
        if self.present is None:
            return of_present
        column = np.full(len(self.present), absent)
        column[self.present] = of_present
        return column


class _LookedAgain(NamedTuple):
    """A process whose memory is still there, after the marks were read.

    Attributes:
        target: The process.
        process: What is held of it.
        place: Which of the marked frames each of the pages in memory is; None if all are idle.
        wanted: Numbers of the pages that aren't idle or weren't in memory: their entries tell
            more.
        entries: The entries of these, of now.
    """

    target: ProcessTarget
    process: "_Followed"
    place: IntColumn | None
    wanted: IntColumn
    entries: WordColumn


@define(eq=False)
class _Followed:
    """What is held of one process."""

    pagemap: Pagemap
    flushed: FlushedProcess = field(factory=FlushedProcess)
    prepared: _Prepared | None = None


class ProcessIdle:
    """The backend: tells of single pages, through whichever mapping they are accessed.

    A page that isn't mapped, never was touched or is swapped out is known: it wasn't accessed.
    Unknown is what idle page tracking doesn't care for, such as huge pages of hugetlbfs, and
    what moved while it was looked at. All pages of a huge page share what is found of it.

    Args:
        options: The options.
        make_marking: Opens the files of the kernel, when they are first needed.
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
        self._followed: dict[ProcessTarget, _Followed] = {}

    @property
    def flush_stats(self) -> FlushStats:
        """What flushing TLBs did and cost so far; nothing where it is switched off."""
        return self._flusher.stats if self._flusher is not None else FlushStats()

    def add(self, target: ProcessTarget) -> None:
        """Open the pagemap of a process.

        Raises:
            PluginError: Idle page tracking doesn't work here, or not for this user.
            OSError: The process has ended, or its file can't be opened.
        """
        if self._marking is None:
            self._marking = self._make_marking()
        self._followed[target] = _Followed(Pagemap(target.process))

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
            followed = self._followed[target]
            followed.prepared = self._find(target, followed.pagemap)
            if followed.prepared is None:
                gone.append(target)
            else:
                parts.append(followed.prepared.frames)
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
        """Find the frames of a target's samples; None if its memory is gone."""
        assert target.samples is not None
        addresses, which = target.samples.addresses, None
        mapped = target.mapped.holds(addresses)
        if not every(mapped):
            addresses, which = addresses[mapped], mapped
        entries = pages.read(addresses)
        if entries is None:
            return None
        there = pagemap.present(entries)
        return _Prepared(which, addresses, entries, None if every(there) else there)

    def _flush(self, flusher: Flusher, targets: Sequence[ProcessTarget], marking: Marking) -> None:
        for target in targets:
            followed = self._followed[target]
            prepared = followed.prepared
            # Nothing that wasn't marked can hide.
            if prepared is not None and _in_memory(prepared):
                flusher.flush(
                    target, followed.flushed, followed.pagemap, marking.frames, prepared.addresses
                )

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Tell which of the pages were accessed since."""
        marking, marked = self._marking, self._marked
        if marking is None or marked is None:
            return ()
        used, unknown = marking.look(marked)
        gone = []
        looked_again = []
        for target in targets:
            if target.samples is None:  # it came when the others had been prepared
                continue
            again = self._look_again(target, marked, used, unknown)
            if again is None:
                gone.append(target)
            else:
                looked_again.append(again)
        accessed = None if used is None else marking.still_there(marked, used)
        for again in looked_again:
            self._judge(again, marked, accessed, unknown)
        return gone

    def _look_again(
        self,
        target: ProcessTarget,
        marked: Marked,
        used: BoolColumn | None,
        unknown: BoolColumn | None,
    ) -> _LookedAgain | None:
        """Read the entries of a process's pages again where that matters; None if it is gone.

        It doesn't for pages that are still idle, as their marks say that they are the same, nor
        for those that can't be told of. Which pages were touched for the first time is seen in
        their entries alone.
        """
        process = self._followed[target]
        prepared = process.prepared
        assert prepared is not None
        place, wanted = None, _NONE
        if used is not None or unknown is not None:
            place = marked.frames.searchsorted(prepared.frames)
        if used is not None and place is not None:
            wanted = prepared.of_all(used[place], True).nonzero()[0]
        elif prepared.present is not None:
            wanted = (~prepared.present).nonzero()[0]
        entries = _NO_ENTRIES
        if len(wanted):
            now = process.pagemap.read(prepared.addresses[wanted])
            if now is None:
                return None
            entries = now
        return _LookedAgain(target, process, place, wanted, entries)

    def _judge(
        self,
        again: _LookedAgain,
        marked: Marked,
        accessed: BoolColumn | None,
        unknown: BoolColumn | None,
    ) -> None:
        """Tell of the pages of a process, from which of the marked frames are what."""
        prepared, place, samples = again.process.prepared, again.place, again.target.samples
        assert prepared is not None
        assert samples is not None
        if place is None and not len(again.wanted):
            # All are idle: nothing was accessed and everything is known.
            if self._flusher is not None:
                self._flusher.saw(again.process.flushed, len(prepared.entries), 0)
            return
        is_known = np.ones(len(prepared.entries), dtype=np.bool_)
        is_accessed = np.zeros(len(is_known), dtype=np.bool_)
        hot = is_accessed
        if place is not None and unknown is not None:
            is_known = prepared.of_all(~unknown[place], True)
        if len(again.wanted):
            before, now = prepared.entries[again.wanted], again.entries
            was, there = pagemap.present(before), pagemap.present(now)
            if place is not None and accessed is not None:
                hot = np.zeros(len(is_known), dtype=np.bool_)
                hot[again.wanted] = was & there & (pagemap.frames(before) == pagemap.frames(now))
                hot &= prepared.of_all(accessed[place], False)
            # New pages of files may have been mapped around another that was touched.
            is_accessed[again.wanted] = ~was & there & ~pagemap.of_files(now)
            is_known[again.wanted] = ~(was | there)
            is_accessed |= hot
            is_known |= is_accessed
        which = slice(None) if prepared.which is None else prepared.which
        samples.accessed[which] = is_accessed
        samples.known[which] = is_known
        if self._flusher is not None:
            self._note(self._flusher, again, marked, is_known, hot)

    def _note(
        self,
        flusher: Flusher,
        again: _LookedAgain,
        marked: Marked,
        is_known: BoolColumn,
        hot: BoolColumn,
    ) -> None:
        """Let the flusher know what was found of the pages of a process that were in memory."""
        prepared, flushed = again.process.prepared, again.process.flushed
        assert prepared is not None
        hits = count(hot)
        if hits:
            compound = None
            if marked.heads is not None and again.place is not None:
                of_hot = hot if prepared.present is None else hot[prepared.present]
                compound = marked.heads.compound[again.place[of_hot]]
            flushed.hot.found(prepared.addresses[hot], compound)
        known = is_known if prepared.present is None else is_known[prepared.present]
        flusher.saw(flushed, count(known), hits)

    def forget(self, target: ProcessTarget) -> None:
        """Close the pagemap of a process."""
        followed = self._followed.pop(target, None)
        if followed is not None:
            followed.pagemap.close()

    def close(self) -> None:
        """Close all files."""
        for target in list(self._followed):
            self.forget(target)
        if self._marking is not None:
            self._marking.close()
            self._marking = self._marked = None
        stats = self.flush_stats
        if stats.flushes:
            logger.info("%s", stats)


def _in_memory(prepared: _Prepared) -> bool:
    """Tell whether any of the pages is in memory."""
    if prepared.present is None:
        return len(prepared.entries) > 0
    return count(prepared.present) > 0
