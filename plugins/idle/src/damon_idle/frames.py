"""What page frames are: `/proc/kpageflags`, and the head of a compound page.

A compound page (a huge page, a large folio) is one page to the kernel: its first frame, the
head, holds what is known of all. Idle page tracking skips the others, its tails.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from damon_idle.words import (
    BoolColumn,
    IntColumn,
    Places,
    WordColumn,
    as_number,
    as_word,
    every,
)

#: Bits of a word of kpageflags; include/uapi/linux/kernel-page-flags.h.
LRU = as_word(1 << 5)
HEAD = as_word(1 << 15)
TAIL = as_word(1 << 16)
NOPAGE = as_word(1 << 20)
_COMPOUND = as_word(1 << 15 | 1 << 16)
_KIND = as_word(1 << 5 | 1 << 15 | 1 << 16)
_ZERO = as_word(0)

#: A call costs about as much as five words of one.
_NEAR = as_number(4)
#: Of what order compound pages on the LRU can be: to 2**_ORDERS frames. With 4 KiB pages the
#: greatest is 9 for anonymous memory and the same or a little more for files.
_ORDERS = 13
_HUGE_ORDER = 9


class Heads(NamedTuple):
    """The heads of some frames.

    Attributes:
        head: The frame that stands for each: its own number for a page that isn't compound.
        compound: Whether it is a compound page.
        tracked: Whether idle page tracking cares for the page: it is memory of users, on an LRU
            list.
    """

    head: IntColumn
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

    def heads(self, frames: IntColumn) -> Heads | None:
        """Return the heads of frames, ascending; None if all are ordinary: small and tracked.

        A compound page of 2**order frames begins at a multiple of that. So rounding a tail's
        number down to 2**k finds other tails of its page as long as k is below the order, then
        the head, then no tail: halving the orders finds it.
        """
        flags = self.flags(frames)
        if every((flags & _KIND) == LRU):
            return None
        compound = (flags & _COMPOUND) != _ZERO
        tail = (flags & TAIL) != _ZERO
        head = frames
        if np.count_nonzero(tail):
            head, flags = frames.copy(), flags.copy()
            head[tail], flags[tail] = self._find_heads(frames[tail])
            # The same goes for one before the head of an earlier frame.
            flags[head < np.maximum.accumulate(head)] = NOPAGE
        return Heads(head, compound, (flags & LRU) != _ZERO)

    def _find_heads(self, tails: IntColumn) -> tuple[IntColumn, WordColumn]:
        """Return the heads of tails and their flags."""
        # Nearly all are parts of huge pages. Then between the tail and where a huge page would
        # begin there is no head of a smaller one; the first place for such is the farthest.
        heads = tails >> _HUGE_ORDER << _HUGE_ORDER
        within = tails - heads
        smaller = heads + (1 << np.log2(np.maximum(within, 1)).astype(np.int64))
        flags = self._flags_of_any(np.concatenate((heads, smaller)))
        flags, of_smaller = flags[: len(tails)], flags[len(tails) :]
        others = ((flags & TAIL) != _ZERO) | ((of_smaller & TAIL) == _ZERO)
        if np.count_nonzero(others):
            heads[others] = self._halve(tails[others])
            flags[others] = self._flags_of_any(heads[others])
        # A head that is none by now changed under our eyes: nothing is known of its page.
        flags[(flags & HEAD) == _ZERO] = NOPAGE
        return heads, flags

    def _halve(self, tails: IntColumn) -> IntColumn:
        """Return the heads of tails of pages of any order."""
        low, high = np.ones(len(tails), dtype=np.int64), np.full(len(tails), _ORDERS)
        while np.count_nonzero(low < high):
            guess = (low + high) // 2
            head_at_most = (self._flags_of_any(tails >> guess << guess) & TAIL) == _ZERO
            high = np.where(head_at_most, guess, high)
            low = np.where(head_at_most, low, guess + 1)
        heads: IntColumn = tails >> high << high
        return heads

    def _flags_of_any(self, frames: IntColumn) -> WordColumn:
        """Return the flags of frames in any order."""
        ordered = np.sort(frames)
        return self.flags(ordered)[ordered.searchsorted(frames)]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
