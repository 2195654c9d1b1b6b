"""Kinds of memory of page frames, by their flags."""

import os
import sys
from typing import Final

import numpy as np
import numpy.typing as npt

_ENTRY_BYTES = 8
_HUGE_BYTES = 2 << 20
#: Bits of /proc/kpageflags: include/uapi/linux/kernel-page-flags.h, and of its hidden part.
_DIRTY, _LRU, _ANON, _SWAPBACKED = 1 << 4, 1 << 5, 1 << 12, 1 << 14
_HEAD, _TAIL, _THP = 1 << 15, 1 << 16, 1 << 22
_HUGE, _UNEVICTABLE, _MLOCKED = 1 << 17 | _THP, 1 << 18, 1 << 33
#: What programs and the page cache use has one of these.
_OF_USERS = _LRU | _ANON | _UNEVICTABLE | 1 << 17
#: Where the kernel's own objects are, newer kernels read some of these bits from something else:
#: on 6.18, a fifth of what was flagged as anonymous was that.
_SLAB = 1 << 7

#: The kinds, and what a frame is of, as bits of a small number.
KINDS: Final = ("anonymous", "shmem", "file", "huge", "dirty", "locked")
_ANONYMOUS, _SHMEM, _FILE, _IS_HUGE, _IS_DIRTY, _LOCKED = (1 << bit for bit in range(len(KINDS)))


def kinds_of(flags: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return of which kinds frames are, as bits in the order of `KINDS`, by their flags."""

    def has(bits: int) -> npt.NDArray[np.bool_]:
        any_of: npt.NDArray[np.bool_] = (flags & np.uint64(bits)) != 0
        return any_of

    found = np.where(has(_ANON), _ANONYMOUS, np.where(has(_SWAPBACKED), _SHMEM, _FILE))
    found |= np.where(has(_HUGE), _IS_HUGE, 0)
    # What is anonymous has to be written, too, before its frame can be another's.
    found |= np.where(has(_DIRTY | _ANON), _IS_DIRTY, 0)
    found |= np.where(has(_MLOCKED), _LOCKED, 0)
    return np.where(has(_OF_USERS) & ~has(_SLAB), found, 0).astype(np.uint8)


class FrameKinds:
    """Reads of which kinds frames are.

    Args:
        path: A file with the 64-bit flags of each page frame.

    Raises:
        OSError: It doesn't exist or may not be read.
    """

    def __init__(self, path: str = "/proc/kpageflags") -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def of(self, addresses: npt.NDArray[np.int64], page_bytes: int) -> npt.NDArray[np.uint8]:
        """Return of which kinds the frames at physical addresses are."""
        places = (addresses // page_bytes * _ENTRY_BYTES).tolist()
        words = [
            int.from_bytes(os.pread(self._descriptor, _ENTRY_BYTES, place), sys.byteorder)
            for place in places
        ]
        flags = np.array(words, dtype=np.uint64)
        found = kinds_of(flags)
        # Newer kernels flag all larger folios of the page cache so, not only those of 2 MiB.
        for row in np.flatnonzero((flags & np.uint64(_THP)) != 0).tolist():
            if not self._is_huge(places[row], _HUGE_BYTES // page_bytes):
                found[row] &= ~np.uint8(_IS_HUGE)
        return found

    def _is_huge(self, place: int, frames: int) -> bool:
        """Return whether a frame is in a compound page of 2 MiB, which has one head."""
        size = frames * _ENTRY_BYTES
        entries = os.pread(self._descriptor, size, place // size * size)
        flags = np.frombuffer(entries, dtype=np.uint64)
        is_head, is_tail = ((flags & np.uint64(bit)) != 0 for bit in (_HEAD, _TAIL))
        return len(flags) == frames and bool(is_head[0] and is_tail[1:].all())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
