"""The backend `idle` of the primitives for processes: pages by their addresses."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import numpy as np
from attrs import define, field, frozen
from damon_vaddr import ProcessTarget

from damon_idle import pagemap
from damon_idle.flushing import FlushedProcess, Flusher, FlushStats
from damon_idle.marking import Marked, Marking
from damon_idle.opening import frames_hidden, open_marking
from damon_idle.options import IdleOptions
from damon_idle.pagemap import Pagemap
from damon_idle.words import BoolColumn, IntColumn, WordColumn, count

logger = logging.getLogger(__name__)

_NONE = np.zeros(0, dtype=np.uint64)


@frozen(eq=False)
class _Prepared:
    """The pages of one process in a check.

    Attributes:
        which: Which of the samples are mapped, so looked at.
        addresses: Their addresses.
        entries: Their entries of pagemap.
        present: Which of them are in memory; None if all are.
        frames: The frames of those that are.
    """

    which: BoolColumn
    addresses: IntColumn
    entries: WordColumn
    present: BoolColumn | None
    frames: IntColumn

    def of_all(self, of_present: BoolColumn, absent: bool) -> BoolColumn:
        """Return what is known of pages in memory for all pages, with `absent` for the others."""
        if self.present is None:
            return of_present
        column = np.full(len(self.present), absent)
        column[self.present] = of_present
        return column


@frozen(eq=False)
class _LookedAgain:
    """A process whose memory is still there, after the marks were read.

    Attributes:
        place: Which of the marked frames each of the pages in memory is.
        wanted: Numbers of the pages that aren't idle or weren't in memory: their entries tell
            more.
        entries: The entries of these, of now.
    """

    target: ProcessTarget
    process: "_Followed"
    prepared: _Prepared
    place: IntColumn
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

    layout: Literal["mappings", "ranges"] = "ranges"
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

    def prepare(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
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
        if self._marking is not None and parts:
            frames = np.concatenate(parts)
            frames.sort()
            if len(frames) and not frames[0]:
                raise frames_hidden()
            self._marked = self._marking.mark(frames)
            self._flush(targets, self._marking)
        else:
            self._marked = None
        return gone

    @staticmethod
    def _find(target: ProcessTarget, pages: Pagemap) -> _Prepared | None:
        """Find the frames of a target's samples; None if its memory is gone."""
        assert target.samples is not None
        addresses = target.samples.addresses
        which = target.mapped.holds(addresses)
        addresses = addresses[which]
        entries = pages.read(addresses)
        if entries is None:
            return None
        there = pagemap.present(entries)
        frames = pagemap.frames(entries)
        if count(there) == len(there):
            return _Prepared(which, addresses, entries, None, frames)
        return _Prepared(which, addresses, entries, there, frames[there])

    def _flush(self, targets: Sequence[ProcessTarget], marking: Marking) -> None:
        if self._flusher is None:
            return
        for target in targets:
            followed = self._followed[target]
            prepared = followed.prepared
            # Nothing that wasn't marked can hide.
            if prepared is None or not len(prepared.frames):
                continue
            self._flusher.flush(
                target, followed.flushed, followed.pagemap, marking.frames, prepared.addresses
            )

    def check(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
        """Tell which of the pages were accessed since."""
        marking, marked = self._marking, self._marked
        if marking is None or marked is None:
            return ()
        idle, used = marking.look(marked)
        gone = []
        looked_again = []
        for target in targets:
            again = self._look_again(target, marked, used)
            if again is None:
                gone.append(target)
            else:
                looked_again.append(again)
        accessed = marking.still_there(marked, used)
        for again in looked_again:
            self._judge(again, marked, idle, accessed)
        return gone

    def _look_again(
        self, target: ProcessTarget, marked: Marked, used: BoolColumn
    ) -> _LookedAgain | None:
        """Read the entries of a process's pages again where that matters; None if it is gone.

        It doesn't for pages that are still idle, as their marks say that they are the same, nor
        for those that can't be told of. Which pages were touched for the first time is seen in
        their entries alone.
        """
        process = self._followed[target]
        prepared = process.prepared
        assert prepared is not None
        place = marked.frames.searchsorted(prepared.frames)
        wanted = prepared.of_all(used[place], True).nonzero()[0]
        entries = process.pagemap.read(prepared.addresses[wanted]) if len(wanted) else _NONE
        if entries is None:
            return None
        return _LookedAgain(target, process, prepared, place, wanted, entries)

    def _judge(
        self, again: _LookedAgain, marked: Marked, idle: BoolColumn, accessed: BoolColumn
    ) -> None:
        """Tell of the pages of a process, from which of the marked frames are what."""
        prepared, place, samples = again.prepared, again.place, again.target.samples
        assert samples is not None
        is_known = prepared.of_all(idle[place], True)
        is_accessed = np.zeros(len(is_known), dtype=np.bool_)
        hot = is_accessed
        if len(again.wanted):
            before, now = prepared.entries[again.wanted], again.entries
            was, there = pagemap.present(before), pagemap.present(now)
            same = was & there & (pagemap.frames(before) == pagemap.frames(now))
            hot = np.zeros(len(is_known), dtype=np.bool_)
            hot[again.wanted] = same
            hot &= prepared.of_all(accessed[place], False)
            # New pages of files may have been mapped around another that was touched.
            is_accessed[again.wanted] = ~was & there & ~pagemap.of_files(now)
            is_known[again.wanted] = ~(was | there)
            is_accessed |= hot
            is_known |= is_accessed
        samples.accessed[prepared.which] = is_accessed
        samples.known[prepared.which] = is_known
        if self._flusher is not None:
            self._note(again, marked, is_known, hot)

    def _note(
        self, again: _LookedAgain, marked: Marked, is_known: BoolColumn, hot: BoolColumn
    ) -> None:
        """Let the flusher know what was found of the pages of a process that were in memory."""
        assert self._flusher is not None
        prepared, flushed = again.prepared, again.process.flushed
        hits = count(hot)
        if hits:
            of_hot = hot if prepared.present is None else hot[prepared.present]
            flushed.hot.found(prepared.addresses[hot], marked.compound[again.place[of_hot]])
        known = is_known if prepared.present is None else is_known[prepared.present]
        self._flusher.saw(flushed, count(known), hits)

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
