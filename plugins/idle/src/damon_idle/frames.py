"""The flags of page frames, from `/proc/kpageflags`, and the heads of compound pages.

A compound page (a huge page, a large folio) is one page to the kernel. Its first frame is the head,
and the idle mark of the head is that of the whole page. Idle page tracking skips its other frames,
the tails.
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

#: A system call costs about as much as reading five words.
_NEAR = as_number(4)
#: Compound pages on an LRU list have at most 2**_ORDERS frames. With 4 KiB pages the greatest
#: order is 9 for anonymous memory, and the same or a little more for files.
_ORDERS = 13
_HUGE_ORDER = 9


class Heads(NamedTuple):
    """The heads of some frames.

    Attributes:
        head: The head of each frame's page; the frame itself if its page isn't compound.
        compound: Whether the page is compound.
        tracked: Whether idle page tracking covers the page: it is user memory, on an LRU list.
    """

    head: IntColumn
    compound: BoolColumn
    tracked: BoolColumn


class Frames:
    """The flags of page frames.

    Args:
        path: The file, in the format of `/proc/kpageflags`.

    Attributes:
        descriptor: Its file descriptor.

    Raises:
        OSError: The file can't be opened.
    """

    def __init__(self, path: Path = Path("/proc/kpageflags")) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def flags(self, frames: IntColumn) -> WordColumn:
        """Return the flags of ascending frames; `NOPAGE` for those that don't exist."""
        flags, readable = Places.of(frames, _NEAR).read(self.descriptor)
        return flags if readable is None else np.where(readable, flags, NOPAGE)

    def heads(self, frames: IntColumn) -> Heads | None:
        """Return the heads of ascending frames; None if all pages are small and tracked.

        A compound page of 2**order frames starts at a multiple of 2**order. Rounding a tail's
        number down to a multiple of 2**k gives another tail of its page if k is below the order,
        and the head if k is the order. So a binary search over the orders finds the head.
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
            # Heads ascend as frames do. A head that doesn't has changed during the search.
            flags[head < np.maximum.accumulate(head)] = NOPAGE
        return Heads(head, compound, (flags & LRU) != _ZERO)

    def _find_heads(self, tails: IntColumn) -> tuple[IntColumn, WordColumn]:
        """Return the heads of tails, and the flags of the heads."""
        # Nearly all tails are parts of huge pages, so this is tried first. A smaller page can't
        # reach over the last power of two between the start of the huge page and the tail: if the
        # frame there is a tail, the page is huge.
        heads = tails >> _HUGE_ORDER << _HUGE_ORDER
        within = tails - heads
        smaller = heads + (1 << np.log2(np.maximum(within, 1)).astype(np.int64))
        flags = self._flags_of_any(np.concatenate((heads, smaller)))
        flags, of_smaller = flags[: len(tails)], flags[len(tails) :]
        others = ((flags & TAIL) != _ZERO) | ((of_smaller & TAIL) == _ZERO)
        if np.count_nonzero(others):
            heads[others] = self._search(tails[others])
            flags[others] = self._flags_of_any(heads[others])
        # What is no longer a head has changed during the search: its page is unknown.
        flags[(flags & HEAD) == _ZERO] = NOPAGE
        return heads, flags

    def _search(self, tails: IntColumn) -> IntColumn:
        """Return the heads of tails by binary search over the orders."""
        low, high = np.ones(len(tails), dtype=np.int64), np.full(len(tails), _ORDERS)
        while np.count_nonzero(low < high):
            guess = (low + high) // 2
            head_at_most = (self._flags_of_any(tails >> guess << guess) & TAIL) == _ZERO
            high = np.where(head_at_most, guess, high)
            low = np.where(head_at_most, low, guess + 1)
        heads: IntColumn = tails >> high << high
        return heads

    def _flags_of_any(self, frames: IntColumn) -> WordColumn:
        """Return the flags of frames that needn't ascend."""
        ordered = np.sort(frames)
        return self.flags(ordered)[ordered.searchsorted(frames)]

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
