"""Marking page frames as idle and looking at the marks: what all primitives share."""

from pathlib import Path

import numpy as np
from attrs import frozen

from damon_idle.bitmap import BITMAP, Bitmap, Bits
from damon_idle.frames import IDLE, Frames
from damon_idle.words import BoolColumn, IntColumn, WordColumn, count, has


@frozen(eq=False)
class Marked:
    """Frames that were marked.

    Attributes:
        frames: The frames, ascending.
        head: The frame whose mark stands for each.
        known: Whether it is marked; others can't be told of.
        compound: Whether it is part of a compound page.
        heads: The heads that are marked, ascending: `head` itself where that is the same.
        bits: Their bits in the bitmap.
    """

    frames: IntColumn
    head: IntColumn
    known: BoolColumn
    compound: BoolColumn
    heads: IntColumn
    bits: Bits


class Marking:
    """Marks of page frames, with as few calls of the kernel as possible.

    Args:
        bitmap: The file of the marks.
        kpageflags: The file of the flags of page frames.

    Attributes:
        bitmap: The marks.
        frames: The flags.

    Raises:
        OSError: One of the files can't be opened.
    """

    def __init__(self, bitmap: Path = BITMAP, kpageflags: Path = Path("/proc/kpageflags")) -> None:
        self.bitmap = Bitmap(bitmap)
        try:
            self.frames = Frames(kpageflags)
        except OSError:
            self.bitmap.close()
            raise
        self._still_idle: IntColumn = np.zeros(0, dtype=np.int64)

    def mark(self, frames: IntColumn) -> Marked:
        """Mark frames, ascending, or the heads of their pages.

        A page that the last look found idle, and whose mark still stands, needs no new one.
        """
        found = self.frames.heads(frames)
        known = found.tracked
        heads, flags = found.head, found.flags
        if count(known) != len(known):
            heads, flags = heads[known], flags[known]
        bits = wanted = Bits.of(heads)
        stands = self._standing(heads, flags)
        if stands is not None:
            wanted = Bits.of(heads[~stands])
        marked = self.bitmap.mark(wanted)
        if marked is not None:
            done = np.ones(len(heads), dtype=np.bool_)
            done[slice(None) if stands is None else ~stands] = marked
            known[known] = done
            heads = heads[done]
            bits = Bits.of(heads)
        return Marked(frames, found.head, known, found.compound, heads, bits)

    def _standing(self, heads: IntColumn, flags: WordColumn) -> BoolColumn | None:
        """Return which heads needn't be marked again, None if all have to."""
        still = self._still_idle
        if not len(still):
            return None
        stands: BoolColumn = still.take(still.searchsorted(heads), mode="clip") == heads
        if not has(stands):
            return None
        stands &= (flags & IDLE) != 0
        return stands

    def look(self, marked: Marked) -> tuple[BoolColumn, BoolColumn]:
        """Return which frames are idle since they were marked, and which were used.

        Of those that are neither it isn't told.
        """
        idle, used = self.bitmap.idle(marked.bits)
        self._still_idle = marked.heads[idle]
        if marked.heads is marked.head:
            return idle, used
        all_idle = np.zeros(len(marked.frames), dtype=np.bool_)
        all_used = np.zeros(len(marked.frames), dtype=np.bool_)
        all_idle[marked.known] = idle
        all_used[marked.known] = used
        return all_idle, all_used

    def still_there(self, marked: Marked, which: BoolColumn) -> BoolColumn:
        """Return which of some frames, all marked, still are pages with the same head.

        What isn't idle any more was accessed only if that holds.
        """
        if not has(which):
            return which
        there = np.zeros(len(marked.frames), dtype=np.bool_)
        now = self.frames.heads(marked.frames[which])
        there[which] = now.tracked & (now.head == marked.head[which])
        return there

    def close(self) -> None:
        """Close the files."""
        self.bitmap.close()
        self.frames.close()
