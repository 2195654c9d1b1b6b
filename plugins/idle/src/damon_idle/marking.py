"""Marking page frames as idle and looking at the marks: what all primitives share."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from damon_idle.bitmap import BITMAP, Bitmap, Bits
from damon_idle.frames import Frames, Heads
from damon_idle.words import BoolColumn, IntColumn, every


class Marked(NamedTuple):
    """Frames that were marked.

    Attributes:
        frames: The frames, ascending.
        heads: Their heads; None if all are ordinary.
        known: Whether the mark of each, or of its head, was written; None if that of all was.
            Others can't be told of.
        bits: The bits of those that are known.
    """

    frames: IntColumn
    heads: Heads | None
    known: BoolColumn | None
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

    def mark(self, frames: IntColumn) -> Marked:
        """Mark frames, ascending, or the heads of their pages."""
        heads = self.frames.heads(frames)
        if heads is None:
            marks, known = frames, None
        elif every(heads.tracked):
            marks, known = heads.head, None
        else:
            marks, known = heads.head[heads.tracked], heads.tracked
        bits = Bits.of(marks)
        done = self.bitmap.mark(bits)
        if done is not None:
            bits = Bits.of(marks[done])
            known = np.ones(len(frames), dtype=np.bool_) if known is None else known.copy()
            known[known] = done
        return Marked(frames, heads, known, bits)

    def look(self, marked: Marked) -> tuple[BoolColumn | None, BoolColumn | None]:
        """Return which frames were used since they were marked, and which can't be told of.

        All others are still idle. None stands for no frame.
        """
        used, untold = self.bitmap.used(marked.bits)
        if marked.known is None:
            return used, untold
        all_untold = ~marked.known
        if used is None:
            return None, all_untold
        all_used = np.zeros(len(marked.frames), dtype=np.bool_)
        all_used[marked.known] = used
        if untold is not None:
            all_untold[marked.known] = untold
        return all_used, all_untold

    def still_there(self, marked: Marked, which: BoolColumn) -> BoolColumn:
        """Return which of some frames, all marked, still are pages with the same head.

        What isn't idle any more was accessed only if that holds.
        """
        frames = marked.frames[which]
        now = self.frames.heads(frames)
        if now is None and marked.heads is None:
            return which
        before = frames if marked.heads is None else marked.heads.head[which]
        there = before == frames if now is None else now.tracked & (now.head == before)
        result = np.zeros(len(which), dtype=np.bool_)
        result[which] = there
        return result

    def close(self) -> None:
        """Close the files."""
        self.bitmap.close()
        self.frames.close()
