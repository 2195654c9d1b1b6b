"""The bitmap of idle page tracking: `/sys/kernel/mm/page_idle/bitmap`.

One bit a page frame. Writing a 1 clears the accessed bits in all mappings of the page and marks
it idle; a 0 changes nothing. A bit read is 1 as long as the page is marked and no mapping was
used since. The mark goes when the page is freed, and moves with it to another frame.
"""

import os
from pathlib import Path

import numpy as np

from damon_idle.words import BoolColumn, IntColumn, distinct, read_words, write_words

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
        words, place = distinct(frames >> 6)
        bits = _ONE << (frames & 63).astype(np.uint64)
        masks = np.zeros(len(words), dtype=np.uint64)
        np.bitwise_or.at(masks, place, bits)
        written: BoolColumn = write_words(self.descriptor, words, masks)[place]
        return written

    def idle(self, frames: IntColumn) -> tuple[BoolColumn, BoolColumn]:
        """Return which frames, ascending, each once, are still idle, and of which it is told.

        Each word that is read costs a look at 64 pages, so words between are never read.
        """
        index, place = distinct(frames >> 6)
        words, told = read_words(self.descriptor, index, near=1)
        bits = words[place] >> (frames & 63).astype(np.uint64) & _ONE
        return bits != 0, told[place]

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
