"""Clearing accessed bits by range: `process_madvise(MADV_COLD)`, and where it does no harm.

The advice clears the accessed bits of a range and makes x86 flush translations. It also moves the
pages to the inactive list, from which a machine short of memory takes pages first. It skips pages
that several processes map, and splits a larger page of which the range has a part. So it is given
for few pages at once, in private anonymous memory.
"""

import ctypes
import errno
import os
import re
from collections.abc import Sequence

import numpy as np
from damon_vaddr import Mapped

from damon_core import PAGE_SIZE_BYTES, Range
from damon_pagetable.tables import IntColumn

# The number of this system call is the same on all architectures but alpha.
_SYS_PROCESS_MADVISE = 440
_MADV_COLD = 20
#: The most ranges of a call (UIO_MAXIOV).
_MOST_RANGES = 1024

_ENTRY_BYTES = 8
_PRESENT, _EXCLUSIVE = 1 << 63, 1 << 56
_FRAME = (1 << 55) - 1
#: Heads and tails of compound pages; include/uapi/linux/kernel-page-flags.h.
_COMPOUND = 1 << 15 | 1 << 16

# Private, writable, without a file: "7f…-7f… rw-p 00000000 00:00 0", with or without a name.
_ANONYMOUS = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) .w.p [0-9a-f]+ [0-9a-f:]+ 0\b")

_NEEDS = {errno.EPERM: "CAP_SYS_NICE", errno.EACCES: "CAP_SYS_NICE", errno.ENOSYS: "Linux 5.10"}


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Adviser:
    """Gives the advice to processes, until the kernel refuses.

    Attributes:
        refused: Why the kernel refuses: an error and what it needs; empty while it doesn't.
    """

    def __init__(self) -> None:
        self.refused = ""
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall

    def cold(self, pidfd: int, ranges: Sequence[Range]) -> int:
        """Advise ranges, one after the other; return the bytes of those that were advised."""
        advised = 0
        for first in range(0, len(ranges), _MOST_RANGES):
            some = ranges[first : first + _MOST_RANGES]
            if self.refused:
                break
            vector = (_Iovec * len(some))(
                *(_Iovec(each.start, each.end - each.start) for each in some)
            )
            done = self._syscall(_SYS_PROCESS_MADVISE, pidfd, vector, len(some), _MADV_COLD, 0)
            if done < 0:
                code = ctypes.get_errno()
                if code in _NEEDS:
                    self.refused = f"{os.strerror(code)} (needs {_NEEDS[code]})"
                break
            advised += done
            if done < sum(each.end - each.start for each in some):
                break
        return advised


def anonymous(maps: bytes) -> Mapped:
    """Return the private anonymous memory in `/proc/PID/maps`."""
    return Mapped.of([Range(int(a, 16), int(b, 16)) for a, b in _ANONYMOUS.findall(maps)])


def are_small_and_own(pagemap: int, addresses: IntColumn) -> list[bool]:
    """Return whether each page is a small one that no other process has, as far as is known.

    Args:
        pagemap: The open pagemap of the process. Frames aren't shown without CAP_SYS_ADMIN: then no
            page is known to be.
        addresses: The pages.
    """
    found = [False] * len(addresses)
    try:
        with open("/proc/kpageflags", "rb", buffering=0) as file:
            flags = file.fileno()
            for index, address in enumerate(addresses.tolist()):
                place = address // PAGE_SIZE_BYTES * _ENTRY_BYTES
                entry = int.from_bytes(os.pread(pagemap, _ENTRY_BYTES, place), "little")
                frame = entry & _FRAME
                if entry & _PRESENT and entry & _EXCLUSIVE and frame:
                    bits = os.pread(flags, _ENTRY_BYTES, frame * _ENTRY_BYTES)
                    found[index] = not int.from_bytes(bits, "little") & _COMPOUND
    except OSError:
        pass  # What isn't known isn't advised.
    return found


def is_of_small_pages(pagemap: int, addresses: Range) -> bool:
    """Return whether what is there of a range is small pages, as far as this user may know."""
    count = (addresses.end - addresses.start) // PAGE_SIZE_BYTES
    place = addresses.start // PAGE_SIZE_BYTES * _ENTRY_BYTES
    try:
        entries = np.frombuffer(os.pread(pagemap, count * _ENTRY_BYTES, place), np.uint64)
        there = (entries & np.uint64(_PRESENT)) != 0
        frames = (entries & np.uint64(_FRAME))[there].tolist()
        if 0 in frames:  # They aren't shown without CAP_SYS_ADMIN.
            return False
        with open("/proc/kpageflags", "rb", buffering=0) as file:
            flags = [os.pread(file.fileno(), 8, frame * _ENTRY_BYTES) for frame in frames]
    except OSError:
        return False
    return not any(int.from_bytes(each, "little") & _COMPOUND for each in flags)
