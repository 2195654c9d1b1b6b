"""Marking page frames as idle, and reading the marks: for processes and physical memory."""

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
        heads: Their heads; None if all pages are small and tracked.
        known: Whether the mark of each frame's page was written; None if all were. The result of
            a frame without a mark is unknown.
        bits: The bits of the marks that were written.
    """

    frames: IntColumn
    heads: Heads | None
    known: BoolColumn | None
    bits: Bits


class Marking:
    """Marks page frames and reads the marks, with as few system calls as possible.

    Args:
        bitmap: The file with the marks.
        kpageflags: The file with the flags of page frames.

    Attributes:
        bitmap: The marks.
        frames: The flags of page frames.

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
        """Mark the pages of ascending frames."""
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

    def used(self, marked: Marked) -> tuple[BoolColumn | None, BoolColumn | None]:
        """Return which frames were used since they were marked, and which are unknown.

        All others are still idle. None means no frame. A frame is also used if its page was freed
        or moved: see `still_there`.
        """
        used, unknown = self.bitmap.used(marked.bits)
        if marked.known is None:
            return used, unknown
        all_unknown = ~marked.known
        if used is None:
            return None, all_unknown
        all_used = np.zeros(len(marked.frames), dtype=np.bool_)
        all_used[marked.known] = used
        if unknown is not None:
            all_unknown[marked.known] = unknown
        return all_used, all_unknown

    def still_there(self, marked: Marked, which: BoolColumn) -> BoolColumn:
        """Return which of the marked frames `which` still belong to a page with the same head.

        Only these were accessed if they are no longer idle.
        """
        frames = marked.frames[which]
        now = self.frames.heads(frames)
        if now is None and marked.heads is None:
            return which
        before = frames if marked.heads is None else marked.heads.head[which]
        same = before == frames if now is None else now.tracked & (now.head == before)
        result = np.zeros(len(which), dtype=np.bool_)
        result[which] = same
        return result

    def close(self) -> None:
        """Close the files."""
        self.bitmap.close()
        self.frames.close()
