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
from damon_idle.opening import open_marking
from damon_idle.options import IdleOptions
from damon_idle.pagemap import Pagemap
from damon_idle.words import BoolColumn, IntColumn, WordColumn

logger = logging.getLogger(__name__)


@frozen(eq=False)
class _Prepared:
    """The pages of one process in a check.

    Attributes:
        which: Which of the samples are mapped, so looked at.
        addresses: Their addresses.
        entries: Their entries of pagemap.
        present: Which of them are in memory.
        frames: The frames of those that are.
    """

    which: BoolColumn
    addresses: IntColumn
    entries: WordColumn
    present: BoolColumn
    frames: IntColumn


@frozen(eq=False)
class _Found:
    """What a look at all marked pages told.

    Attributes:
        marked: The pages, by frame.
        idle: Which are still idle.
        accessed: Which aren't, and still are where they were.
    """

    marked: Marked
    idle: BoolColumn
    accessed: BoolColumn


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
        """Mark the pages at `samples.addresses` that are in memory."""
        gone = []
        parts = [np.zeros(0, dtype=np.int64)]
        for target in targets:
            followed = self._followed[target]
            followed.prepared = self._find(target, followed.pagemap)
            if followed.prepared is None:
                gone.append(target)
            else:
                parts.append(followed.prepared.frames)
        assert self._marking is not None or not targets
        if self._marking is not None:
            self._marked = self._marking.mark(np.unique(np.concatenate(parts)))
            self._flush(targets, self._marking, self._marked)
        return gone

    @staticmethod
    def _find(target: ProcessTarget, pages: Pagemap) -> _Prepared | None:
        """Find the frames of a target's samples; None if its memory is gone."""
        assert target.samples is not None
        addresses = target.samples.addresses
        which = target.mapped.holding(addresses) >= 0
        addresses = addresses[which]
        entries = pages.read(addresses)
        if entries is None:
            return None
        there = pagemap.present(entries)
        return _Prepared(which, addresses, entries, there, pagemap.frames(entries[there]))

    def _flush(self, targets: Sequence[ProcessTarget], marking: Marking, marked: Marked) -> None:
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
        idle, told = marking.look(marked)
        used = told & ~idle
        followed = [(target, self._followed[target]) for target in targets]
        gone = []
        looked_again: list[tuple[ProcessTarget, _Followed, _Prepared, WordColumn]] = []
        for target, process in followed:
            prepared = process.prepared
            assert prepared is not None
            again = self._entries_again(process.pagemap, prepared, marked, used)
            if again is None:
                gone.append(target)
            else:
                looked_again.append((target, process, prepared, again))
        found = _Found(marked, idle, marking.still_there(marked, used))
        for target, process, prepared, again in looked_again:
            samples = target.samples
            assert samples is not None
            is_accessed, is_known = self._judge(process, prepared, again, found)
            samples.accessed[prepared.which] = is_accessed
            samples.known[prepared.which] = is_known
        return gone

    @staticmethod
    def _entries_again(
        pages: Pagemap, prepared: _Prepared, marked: Marked, used: BoolColumn
    ) -> WordColumn | None:
        """Return the entries of now where that matters, those of before elsewhere.

        It doesn't for pages that are still idle, as their marks say that they are the same, nor
        for those that can't be told of. Which pages were touched for the first time is seen in
        their entries alone. None if the memory is gone.
        """
        wanted = ~prepared.present
        wanted[prepared.present] = used[np.searchsorted(marked.frames, prepared.frames)]
        entries = pages.read(prepared.addresses[wanted])
        if entries is None:
            return None
        again = prepared.entries.copy()
        again[wanted] = entries
        return again

    def _judge(
        self, process: _Followed, prepared: _Prepared, again: WordColumn, found: _Found
    ) -> tuple[BoolColumn, BoolColumn]:
        """Return which pages of a process were accessed, and which that is known of."""
        there = prepared.present
        there_now = pagemap.present(again)
        # New pages of files may have been mapped around another that was touched.
        new = ~there & there_now
        accessed = new & ~pagemap.of_files(again)
        known = ~new | accessed
        place = np.searchsorted(found.marked.frames, prepared.frames)
        same = there_now[there] & (pagemap.frames(again[there]) == prepared.frames)
        hot = same & found.accessed[place]
        accessed[there] = hot
        known[there] = found.idle[place] | hot
        if self._flusher is not None:
            if hot.any():
                process.flushed.hot.found(
                    prepared.addresses[there][hot], found.marked.compound[place[hot]]
                )
            self._flusher.saw(process.flushed, known[there], hot)
        return accessed, known

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
