"""What page frames are: `/proc/kpageflags`, and the head of a compound page.

A compound page (a huge page, a large folio) is one page to the kernel: its first frame, the
head, holds what is known of all. Idle page tracking skips the others, its tails.
"""

import os
from pathlib import Path

import numpy as np
from attrs import frozen

from damon_idle.words import BoolColumn, IntColumn, WordColumn, distinct, read_words

#: Bits of a word of kpageflags; include/uapi/linux/kernel-page-flags.h.
LRU = np.uint64(1 << 5)
HEAD = np.uint64(1 << 15)
TAIL = np.uint64(1 << 16)
NOPAGE = np.uint64(1 << 20)
IDLE = np.uint64(1 << 25)

#: A call costs about as much as five words of one.
_NEAR = 4
#: Of what order compound pages on the LRU can be: to 2**_ORDERS frames. With 4 KiB pages the
#: greatest is 9 for anonymous memory and the same or a little more for files.
_ORDERS = 13


@frozen(eq=False)
class Heads:
    """The heads of some frames.

    Attributes:
        head: The frame that stands for each: its own number for a page that isn't compound.
        flags: The flags of the head.
        compound: Whether it is a compound page.
    """

    head: IntColumn
    flags: WordColumn
    compound: BoolColumn

    @property
    def tracked(self) -> BoolColumn:
        """Whether idle page tracking cares for the page: it is memory of users, on an LRU list."""
        bits: BoolColumn = (self.flags & LRU) != 0
        return bits


class Frames:
    """The flags of page frames.

    Args:
        path: The file, in the format of `/proc/kpageflags`.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: Path = Path("/proc/kpageflags")) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def flags(self, frames: IntColumn) -> WordColumn:
        """Return the flags of frames, ascending, each once; `NOPAGE` of those that aren't there."""
        flags, told = read_words(self._descriptor, frames, _NEAR)
        return flags if told.all() else np.where(told, flags, NOPAGE)

    def heads(self, frames: IntColumn) -> Heads:
        """Return the heads of frames, ascending, each once.

        A compound page of 2**order frames begins at a multiple of that. So rounding a tail's
        number down to 2**k finds other tails of its page as long as k is below the order, then
        the head, then no tail: halving the orders finds it, beginning with the likeliest.
        """
        flags = self.flags(frames)
        head = frames.copy()
        tail = (flags & TAIL) != 0
        if tail.any():
            low, high = np.ones(tail.sum(), dtype=np.int64), np.full(tail.sum(), _ORDERS)
            inside = frames[tail]
            guess = np.full(len(inside), 9)
            while True:
                head_at_most = ~self._tails(inside >> guess << guess)
                high = np.where(head_at_most, guess, high)
                low = np.where(head_at_most, low, guess + 1)
                if np.all(low >= high):
                    break
                # Nine is the order of nearly all huge pages: is eight too small?
                guess = np.where((high == 9) & (low == 1), 8, (low + high) // 2)
            head[tail] = inside >> high << high
            heads, place = distinct(head[tail])
            flags = flags.copy()
            flags[tail] = self.flags(heads)[place]
        # A head that is a tail by now changed under our eyes: nothing is known of its page.
        moved = tail & ((flags & HEAD) == 0)
        flags = np.where(moved, NOPAGE, flags)
        return Heads(head, flags, tail | ((flags & HEAD) != 0))

    def _tails(self, frames: IntColumn) -> BoolColumn:
        """Tell which frames, in any order, are tails."""
        unique = np.unique(frames)
        tails: BoolColumn = (self.flags(unique) & TAIL) != 0
        return tails[np.searchsorted(unique, frames)]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
