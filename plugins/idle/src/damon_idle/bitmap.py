"""The bitmap of idle page tracking: `/sys/kernel/mm/page_idle/bitmap`.

It has one bit for each page frame. Writing a 1 clears the accessed bits in all mappings of the page
and marks it idle; a 0 changes nothing. The bit reads as 1 while the page is marked and hasn't been
accessed through any mapping since. A page that is freed loses its mark; a page that the kernel
moves to another frame takes its mark along.
"""

import os
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from damon_idle.words import BoolColumn, IntColumn, Places, WordColumn, as_number, as_word

BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")

_ONE = as_word(1)
_IN_WORD = as_word(63)
_PER_WORD = as_number(6)
_NEXT = as_number(1)
_ZERO = as_word(0)


class Bits(NamedTuple):
    """The bits of some frames in the bitmap.

    For each word that is read the kernel checks 64 pages, so unneeded words are never read.

    Attributes:
        words: The places of their words in the file.
        masks: The bit of each frame in its word.
    """

    words: Places
    masks: WordColumn

    @classmethod
    def of(cls, frames: IntColumn) -> Self:
        """Return the bits of ascending frames."""
        masks = _ONE << (frames.view(np.uint64) & _IN_WORD)
        return cls(Places.of(frames >> _PER_WORD, _NEXT), masks)


class Bitmap:
    """The idle marks of page frames.

    Args:
        path: The file, in the format of `/sys/kernel/mm/page_idle/bitmap`.

    Attributes:
        descriptor: Its file descriptor.

    Raises:
        OSError: The file can't be opened.
    """

    def __init__(self, path: Path = BITMAP) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def mark(self, bits: Bits) -> BoolColumn | None:
        """Mark frames as idle; return which marks were written, None if all."""
        return bits.words.write(self.descriptor, bits.masks)

    def used(self, bits: Bits) -> tuple[BoolColumn | None, BoolColumn | None]:
        """Return which frames were used since they were marked, and which are unknown.

        All others are still idle. None means no frame.
        """
        words, readable = bits.words.read(self.descriptor)
        used = (words & bits.masks) == _ZERO
        if not np.count_nonzero(used):
            return None, None
        if readable is None:
            return used, None
        return used & readable, ~readable

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
