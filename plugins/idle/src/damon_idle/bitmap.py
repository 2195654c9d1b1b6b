"""The bitmap of idle page tracking: `/sys/kernel/mm/page_idle/bitmap`.

One bit a page frame. Writing a 1 clears the accessed bits in all mappings of the page and marks
it idle; a 0 changes nothing. A bit read is 1 as long as the page is marked and no mapping was
used since. The mark goes when the page is freed, and moves with it to another frame.
"""

import os
from pathlib import Path

import numpy as np

from damon_idle.words import BoolColumn, IntColumn, read_words, write_words

BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")

_ONE = np.uint64(1)


class Bitmap:
    """The idle marks of page frames.

    Args:
        path: The file, in the format of `/sys/kernel/mm/page_idle/bitmap`.

    Attributes:
        descriptor: Its descriptor.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: Path = BITMAP) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def mark(self, frames: IntColumn) -> BoolColumn:
        """Mark frames, ascending, each once, as idle, and no others; return where it worked."""
        if not len(frames):
            return np.zeros(0, dtype=np.bool_)
        word = frames >> 6
        first = np.concatenate(([True], np.diff(word) > 0))
        starts = np.flatnonzero(first)
        masks = np.bitwise_or.reduceat(_ONE << (frames & 63).astype(np.uint64), starts)
        written = write_words(self.descriptor, word[starts], masks)
        everywhere: BoolColumn = written[np.cumsum(first) - 1]
        return everywhere

    def idle(self, frames: IntColumn) -> tuple[BoolColumn, BoolColumn]:
        """Return which frames, ascending, each once, are still idle, and of which it is told.

        Each word that is read costs a look at 64 pages, so words between are never read.
        """
        if not len(frames):
            return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.bool_)
        word = frames >> 6
        first = np.concatenate(([True], np.diff(word) > 0))
        words, told = read_words(self.descriptor, word[first], near=1)
        place = np.cumsum(first) - 1
        bits = words[place] >> (frames & 63).astype(np.uint64) & _ONE
        return bits != 0, told[place]

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
