"""Writes to pages of processes, by soft-dirty bits: which were written since they were cleared.

Writing 4 to `/proc/PID/clear_refs` takes the permission to write away from all pages of a process
and flushes its TLBs; the first write to each page after that is a fault, in which the kernel sets
the page's bit and gives the permission back. So looks see every write, and nothing hides in a TLB;
the process pays for the faults.

Bits are read by PAGEMAP_SCAN (Linux 6.8 and later show them there), which returns ranges of pages
alike, or as entries of pagemap, eight bytes a page.
"""

import errno
import fcntl
import functools
import itertools
import mmap
import os
import statistics
import struct
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from damon_vaddr import Mapped

from damon_core import BLOCK_BYTES, BLOCK_PAGES, PAGE_SIZE_BYTES, Range
from damon_pagetable.look import HugePages, Look
from damon_pagetable.tables import IntColumn
from damon_pagetable.walking import Bit

_CLEAR_SOFT_DIRTY = b"4"
_SOFT_DIRTY, _PRESENT = np.uint64(1 << 55), np.uint64(1 << 63)
_ENTRY_BYTES = 8

#: PAGEMAP_SCAN, and categories of pages.
_SCAN = 0xC0606610
_ARGUMENT = struct.Struct("=12Q")
_WALK_END = 4  # its place in the argument
_IS_PRESENT, _IS_ZEROS, _IS_HUGE, _IS_WRITTEN = 1 << 3, 1 << 5, 1 << 6, 1 << 7
#: How many ranges a call may return.
_RANGES = 1 << 14
#: User space of four-level page tables, which a process leaves only if it asks for it.
_TOP: Final = (1 << 47) - PAGE_SIZE_BYTES
#: A call walks at most about so much of what is mapped: meanwhile the memory map is locked.
_MAPPED_BYTES = 1 << 30
#: How many entries of pagemap are read at once.
_ENTRIES = 1 << 15

#: How many pages are written to measure what a fault takes, and how often.
_PAGES, _ROUNDS = 4_096, 5

_NOTHING: IntColumn = np.zeros(0, dtype=np.int64)
_NO_HUGE = HugePages(_NOTHING, np.zeros(0, dtype=np.bool_))
_Words = npt.NDArray[np.uint64]


def has_soft_dirty() -> bool:
    """Return whether this kernel has soft-dirty bits (CONFIG_MEM_SOFT_DIRTY).

    A page that was written for the first time has one, and nothing has to be cleared for that.
    """
    with mmap.mmap(-1, PAGE_SIZE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        view = np.frombuffer(page, dtype=np.uint8)
        address = view.ctypes.data
        del view
        try:
            with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
                entry = os.pread(pagemap.fileno(), 8, address // PAGE_SIZE_BYTES * _ENTRY_BYTES)
        except OSError:
            return False
    return len(entry) == _ENTRY_BYTES and bool(np.frombuffer(entry, np.uint64)[0] & _SOFT_DIRTY)


@functools.cache
def fault_us() -> float:
    """Return what the first write to a page costs after a clearing, in microseconds.

    It is 0 where this process can't clear its bits. It is measured on memory of this process: the
    first call takes some tens of milliseconds.
    """
    if not has_soft_dirty():
        return 0.0
    area = mmap.mmap(-1, _PAGES * PAGE_SIZE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    memory = np.frombuffer(area, dtype=np.uint8)
    places = np.random.default_rng(1).permutation(_PAGES) * PAGE_SIZE_BYTES
    memory[places] += 1
    extra_us = []
    for _ in range(_ROUNDS):
        try:
            with open("/proc/self/clear_refs", "wb", buffering=0) as clear_refs:
                clear_refs.write(_CLEAR_SOFT_DIRTY)
        except OSError:
            return 0.0
        with_faults_us = _write_us(memory, places)
        extra_us.append(with_faults_us - _write_us(memory, places))
    return max(statistics.median(extra_us), 0.0) / _PAGES


def _write_us(memory: npt.NDArray[np.uint8], places: npt.NDArray[np.int64]) -> float:
    begun_ns = time.thread_time_ns()
    memory[places] += 1
    return (time.thread_time_ns() - begun_ns) / 1_000


class WrittenLooks:
    """Looks at which pages of one process were written, again and again.

    Args:
        pagemap: Its pagemap, opened by this program.
        scans: Whether to use PAGEMAP_SCAN where this kernel has it.

    Attributes:
        longest_us: The CPU time of the longest call of the last look, in microseconds: meanwhile
            the process can't change its mappings.
    """

    def __init__(self, pagemap: int, *, scans: bool = True) -> None:
        self._pagemap = pagemap
        self._scans = scans
        self._ranges = np.zeros((_RANGES, 3), dtype=np.uint64)  # start, end, categories
        self.longest_us = 0

    def look(self, mappings: Sequence[Range]) -> Look:
        """Look at the process.

        Args:
            mappings: Its mappings, as far as they are known. Without PAGEMAP_SCAN nothing else is
                looked at.

        Raises:
            OSError: Its pagemap can't be read.
        """
        self.longest_us = 0
        found = self._scanned(mappings) if self._scans else None
        if found is None:
            found = self._read(mappings)
        return look_of(found)

    def _scanned(self, mappings: Sequence[Range]) -> _Words | None:
        """Return ranges with categories; None if the kernel doesn't show them so."""
        parts = []
        try:
            for start, end in windows_of(mappings):
                position = start
                while position < end:
                    ranges, position = self._scan(position, end)
                    parts.append(ranges)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            self._scans = False
            return None
        return np.concatenate(parts)

    def _scan(self, start: int, end: int) -> tuple[_Words, int]:
        """Return ranges of pages in memory, and where the call has ended."""
        argument = bytearray(
            _ARGUMENT.pack(
                *(_ARGUMENT.size, 0, start, end, 0),
                *(self._ranges.ctypes.data, len(self._ranges), 0),
                # Present and not the page of zeros; and which of these are huge, or written.
                *(_IS_ZEROS, _IS_PRESENT | _IS_ZEROS, 0, _IS_PRESENT | _IS_HUGE | _IS_WRITTEN),
            )
        )
        begun_ns = time.thread_time_ns()
        count = fcntl.ioctl(self._pagemap, _SCAN, argument)
        self._took(begun_ns)
        ranges = self._ranges[:count].copy()
        # Linux collects 512 ranges at a time. If the last of these parts ends the walk, the place
        # where the part before it has ended is left in the argument.
        if count < len(self._ranges):
            return ranges, end
        return ranges, max(int(ranges[-1, 1]), _ARGUMENT.unpack(argument)[_WALK_END])

    def _read(self, mappings: Sequence[Range]) -> _Words:
        """Return ranges with categories, from entries of pagemap; it doesn't show huge pages."""
        parts = [np.zeros((0, 3), dtype=np.uint64)]
        for start, end in mappings:
            for first in range(start // PAGE_SIZE_BYTES, end // PAGE_SIZE_BYTES, _ENTRIES):
                count = min(_ENTRIES, end // PAGE_SIZE_BYTES - first)
                begun_ns = time.thread_time_ns()
                text = os.pread(self._pagemap, count * _ENTRY_BYTES, first * _ENTRY_BYTES)
                self._took(begun_ns)
                parts.append(runs_of_entries(first, np.frombuffer(text, dtype=np.uint64)))
        return np.concatenate(parts)

    def _took(self, begun_ns: int) -> None:
        self.longest_us = max(self.longest_us, (time.thread_time_ns() - begun_ns) // 1_000)


def windows_of(mappings: Sequence[Range]) -> list[Range]:
    """Cut the address space into parts with a limited number of mapped bytes each."""
    mapped = Mapped.of(mappings)
    total = int((mapped.end - mapped.start).sum())
    cuts = mapped.at(np.arange(_MAPPED_BYTES, max(total, 1), _MAPPED_BYTES)) if total else _NOTHING
    cuts = cuts - cuts % PAGE_SIZE_BYTES
    borders = [0, *(cut for cut in np.unique(cuts).tolist() if 0 < cut < _TOP), _TOP]
    return [Range(*each) for each in itertools.pairwise(borders)]


def runs_of_entries(first: int, entries: _Words) -> _Words:
    """Return entries of pagemap as ranges with categories.

    Args:
        first: The number of the first page.
        entries: The entries.
    """
    there = (entries & _PRESENT) != 0
    written = there & ((entries & _SOFT_DIRTY) != 0)
    categories = there * np.uint64(_IS_PRESENT) | written * np.uint64(_IS_WRITTEN)
    begins = np.flatnonzero(np.diff(categories, prepend=np.uint64(1 << 63)))
    ends = np.append(begins[1:], len(entries))
    rows = np.stack((first + begins, first + ends, categories[begins]), axis=1).astype(np.uint64)
    rows[:, :2] *= np.uint64(PAGE_SIZE_BYTES)
    kept: _Words = rows[rows[:, 2] != 0]
    return kept


def look_of(ranges: _Words) -> Look:
    """Return a look made of ranges with categories: what was written counts as accessed."""
    bounds = ranges[:, :2].astype(np.int64)
    categories = ranges[:, 2]
    huge = (categories & np.uint64(_IS_HUGE)) != 0
    written = (categories & np.uint64(_IS_WRITTEN)) != 0
    blocks, bits = _small(bounds[~huge], written[~huge])
    pages = _huge(bounds[huge], written[huge])
    # A block may have a huge page at one look, and small ones where the kernel has split it.
    keep = ~np.isin(pages.addresses, blocks)
    return Look(
        blocks, bits, HugePages(pages.addresses[keep], pages.accessed[keep]), _NO_HUGE, _NOTHING
    )


def _small(
    bounds: npt.NDArray[np.int64], written: npt.NDArray[np.bool_]
) -> tuple[IntColumn, npt.NDArray[np.uint8]]:
    """Return blocks and the bits of their pages."""
    if not len(bounds):
        return _NOTHING, np.zeros((0, BLOCK_PAGES), dtype=np.uint8)
    first, last = bounds[:, 0] // BLOCK_BYTES, (bounds[:, 1] - 1) // BLOCK_BYTES
    counts = last - first + 1
    origin = np.repeat(first - np.append(0, counts.cumsum()[:-1]), counts)
    blocks = np.unique(origin + np.arange(counts.sum()))
    # Each range is contiguous in blocks, too, as all of its blocks are there.
    row = np.searchsorted(blocks, first) * BLOCK_PAGES
    begin = row + (bounds[:, 0] - first * BLOCK_BYTES) // PAGE_SIZE_BYTES
    end = begin + (bounds[:, 1] - bounds[:, 0]) // PAGE_SIZE_BYTES
    value = np.where(written, Bit.PRESENT | Bit.ACCESSED, Bit.PRESENT).astype(np.int16)
    steps = np.zeros(len(blocks) * BLOCK_PAGES + 1, dtype=np.int16)
    np.add.at(steps, begin, value)
    np.subtract.at(steps, end, value)
    bits = steps[:-1].cumsum(dtype=np.int16).astype(np.uint8).reshape(-1, BLOCK_PAGES)
    return blocks * BLOCK_BYTES, bits


def _huge(bounds: npt.NDArray[np.int64], written: npt.NDArray[np.bool_]) -> HugePages:
    """Return huge pages; of one that is mapped in part, all of it."""
    first, last = bounds[:, 0] // BLOCK_BYTES, (bounds[:, 1] - 1) // BLOCK_BYTES
    counts = last - first + 1
    origin = np.repeat(first - np.append(0, counts.cumsum()[:-1]), counts)
    addresses = origin + np.arange(counts.sum())
    unique, begin = np.unique(addresses, return_index=True)
    of_each = np.repeat(written, counts)
    accessed = np.logical_or.reduceat(of_each, begin) if len(begin) else of_each
    return HugePages(unique * BLOCK_BYTES, accessed)
