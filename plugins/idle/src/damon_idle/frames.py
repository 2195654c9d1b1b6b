"""What page frames are: `/proc/kpageflags`, and the head of a compound page.

A compound page (a huge page, a large folio) is one page to the kernel: its first frame, the
head, holds what is known of all. Idle page tracking skips the others, its tails.
"""

import os
from pathlib import Path

import numpy as np
from attrs import frozen

from damon_idle.words import BoolColumn, IntColumn, Places, WordColumn, count, has

#: Bits of a word of kpageflags; include/uapi/linux/kernel-page-flags.h.
LRU = np.uint64(1 << 5)
HEAD = np.uint64(1 << 15)
TAIL = np.uint64(1 << 16)
NOPAGE = np.uint64(1 << 20)
IDLE = np.uint64(1 << 25)
_COMPOUND = HEAD | TAIL
_KIND = _COMPOUND | LRU

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
        tracked: Whether idle page tracking cares for the page: it is memory of users, on an LRU
            list.
    """

    head: IntColumn
    flags: WordColumn
    compound: BoolColumn
    tracked: BoolColumn


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
        """Return the flags of frames, ascending; `NOPAGE` of those that aren't there."""
        flags, told = Places.of(frames, _NEAR).read(self._descriptor)
        return flags if told is None else np.where(told, flags, NOPAGE)

    def heads(self, frames: IntColumn) -> Heads:
        """Return the heads of frames, ascending.

        A compound page of 2**order frames begins at a multiple of that. So rounding a tail's
        number down to 2**k finds other tails of its page as long as k is below the order, then
        the head, then no tail: halving the orders finds it, beginning with the likeliest.
        """
        flags = self.flags(frames)
        ordinary: BoolColumn = (flags & _KIND) == LRU
        if count(ordinary) == len(ordinary):
            return Heads(frames, flags, ~ordinary, ordinary)
        compound = (flags & _COMPOUND) != 0
        tail = (flags & TAIL) != 0
        head = frames
        if has(tail):
            head, flags = frames.copy(), flags.copy()
            head[tail], flags[tail] = self._find_heads(frames[tail])
            # The same goes for one before the head of an earlier frame.
            flags[head < np.maximum.accumulate(head)] = NOPAGE
        return Heads(head, flags, compound, (flags & LRU) != 0)

    def _find_heads(self, tails: IntColumn) -> tuple[IntColumn, WordColumn]:
        """Return the heads of tails and their flags."""
        low, high = np.ones(len(tails), dtype=np.int64), np.full(len(tails), _ORDERS)
        guess = np.full(len(tails), 9)
        while True:
            head_at_most = (self._flags_of_any(tails >> guess << guess) & TAIL) == 0
            high = np.where(head_at_most, guess, high)
            low = np.where(head_at_most, low, guess + 1)
            if not has(low < high):
                break
            # Nine is the order of nearly all huge pages: is eight too small?
            guess = np.where((high == 9) & (low == 1), 8, (low + high) // 2)
        heads = tails >> high << high
        flags = self._flags_of_any(heads)
        # A head that is none by now changed under our eyes: nothing is known of its page.
        return heads, np.where((flags & HEAD) == 0, NOPAGE, flags)

    def _flags_of_any(self, frames: IntColumn) -> WordColumn:
        """Return the flags of frames in any order."""
        ordered = np.sort(frames)
        return self.flags(ordered)[ordered.searchsorted(frames)]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
