"""The bitmap of idle page tracking: `/sys/kernel/mm/page_idle/bitmap`.

One bit a page frame. Writing a 1 clears the accessed bits in all mappings of the page and marks
it idle; a 0 changes nothing. A bit read is 1 as long as the page is marked and no mapping was
used since. The mark goes when the page is freed, and moves with it to another frame.
"""

import os
from pathlib import Path

import numpy as np
from attrs import frozen

from damon_idle.words import BoolColumn, IntColumn, Places, WordColumn

BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")

_ONE = np.uint64(1)
_IN_WORD = np.uint64(63)


@frozen(eq=False)
class Bits:
    """The bits of some frames in the bitmap.

    Each word that is read costs a look at 64 pages, so words between are never read.

    Attributes:
        words: The places of their words.
        masks: The bit of each frame in its word.
    """

    words: Places
    masks: WordColumn

    @classmethod
    def of(cls, frames: IntColumn) -> "Bits":
        """Return the bits of frames, ascending."""
        return cls(Places.of(frames >> 6, near=1), _ONE << (frames.view(np.uint64) & _IN_WORD))


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

    def mark(self, bits: Bits) -> BoolColumn | None:
        """Mark frames as idle, and no others; return where it worked, None if everywhere."""
        return bits.words.write(self.descriptor, bits.masks)

    def idle(self, bits: Bits) -> tuple[BoolColumn, BoolColumn]:
        """Return which frames are still idle, and which were used: neither if it isn't told."""
        words, told = bits.words.read(self.descriptor)
        idle = (words & bits.masks) != 0
        return idle, ~idle if told is None else told & ~idle

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
