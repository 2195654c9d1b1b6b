"""Marking page frames as idle and looking at the marks: what all primitives share."""

from pathlib import Path

import numpy as np
from attrs import frozen

from damon_idle.bitmap import BITMAP, Bitmap
from damon_idle.frames import IDLE, Frames, Heads
from damon_idle.words import BoolColumn, IntColumn, distinct


@frozen(eq=False)
class Marked:
    """Frames that were marked, each once.

    Attributes:
        frames: The frames, ascending.
        head: The frame whose mark stands for each.
        known: Whether it is marked; others can't be told of.
        compound: Whether it is part of a compound page.
    """

    frames: IntColumn
    head: IntColumn
    known: BoolColumn
    compound: BoolColumn


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
        """Mark frames, ascending, each once, or the heads of their pages.

        A page that the last look found idle, and whose mark still stands, needs no new one.
        """
        found = self.frames.heads(frames)
        known = found.tracked
        heads, place = distinct(found.head)
        wanted = np.zeros(len(heads), dtype=np.bool_)
        wanted[place] = known
        if len(self._still_idle):
            stands = np.zeros(len(heads), dtype=np.bool_)
            stands[place] = (found.flags & IDLE) != 0
            wanted &= ~(stands & np.isin(heads, self._still_idle, assume_unique=True))
        marked = self.bitmap.mark(heads[wanted])
        if not marked.all():
            failed = np.zeros(len(heads), dtype=np.bool_)
            failed[np.flatnonzero(wanted)[~marked]] = True
            known = known & ~failed[place]
        return Marked(frames, found.head, known, found.compound)

    def look(self, marked: Marked) -> tuple[BoolColumn, BoolColumn]:
        """Return which of the frames are idle since they were marked, and which it is told of."""
        heads, place = distinct(marked.head[marked.known])
        idle, told = self.bitmap.idle(heads)
        self._still_idle = heads[idle]
        all_idle = np.zeros(len(marked.frames), dtype=np.bool_)
        all_told = np.zeros(len(marked.frames), dtype=np.bool_)
        all_idle[marked.known] = idle[place]
        all_told[marked.known] = told[place]
        return all_idle, all_told

    def still_there(self, marked: Marked, which: BoolColumn) -> BoolColumn:
        """Return which of some frames, all marked, still are pages with the same head.

        What isn't idle any more was accessed only if that holds.
        """
        there = np.zeros(len(marked.frames), dtype=np.bool_)
        now: Heads = self.frames.heads(marked.frames[which])
        there[which] = now.tracked & (now.head == marked.head[which])
        return there

    def close(self) -> None:
        """Close the files."""
        self.bitmap.close()
        self.frames.close()
