"""A sample of the pages of a process, by short reads of pagemap that don't hold it up."""

import contextlib
import fcntl
import io
import os
import random
import statistics
import struct
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import PAGE_SIZE_BYTES, Range
from damon_vaddr.mappings import parse_accessible
from damon_vaddr.processes import Process

#: A read takes less than a tenth of a millisecond, as a rule; how many are made, and how many must
#: find memory.
_PAGES_A_READ = 512
_READS = 64
_ENOUGH_READS = 8
_PRESENT = np.uint64(1 << 63)

#: PAGEMAP_SCAN, Linux 6.7: the ranges of pages by category.
_SCAN = 0xC0606610
_SCAN_ARGUMENT = struct.Struct("=12Q")
_IS_PRESENT, _IS_HUGE = 1 << 3, 1 << 6


@frozen
class PageSample:
    """What was found in a sample.

    Attributes:
        page_us: What walking a page of 4 KiB takes; None if too few were found. Where pages lie in
            memory makes a difference. It is a median, because single reads may be disturbed.
        huge_share: The share of its memory that is in huge pages; 0 before Linux 6.7, which doesn't
            show it.
    """

    page_us: float | None = None
    huge_share: float = 0.0


def sample_pages(pid: int) -> PageSample:
    """Look at some pages of a process; of one that may not be read nothing is found."""
    times_us = []
    present = huge = 0
    try:
        with contextlib.closing(Process.open(pid)) as process:
            mappings = parse_accessible(process.maps())
            file = process.open_file("pagemap")
        with open(file, "rb", buffering=0) as pagemap:
            for address in _places(mappings):
                begun_ns = time.thread_time_ns()
                entries = os.pread(
                    pagemap.fileno(), _PAGES_A_READ * 8, address // PAGE_SIZE_BYTES * 8
                )
                took_ns = time.thread_time_ns() - begun_ns
                found = int(np.count_nonzero(np.frombuffer(entries, np.uint64) & _PRESENT))
                huge_here = _huge_pages(pagemap, address)
                present, huge = present + found, huge + huge_here
                if found > _PAGES_A_READ // 2 and not huge_here:
                    times_us.append(took_ns / 1_000 / found)
    except OSError:
        return PageSample()
    page_us = statistics.median(times_us) if len(times_us) >= _ENOUGH_READS else None
    return PageSample(page_us, min(huge / present, 1.0) if present else 0.0)


def resident_within(process: Process, mappings: Sequence[Range]) -> int:
    """Return how many bytes of some mappings of a process are in memory.

    Of more than 128 MiB a sample is looked at.

    Raises:
        OSError: The process may not be read, or has ended.
    """
    size = sum(end - start for start, end in mappings)
    reads = [
        (start, min(end - start, _PAGES_A_READ * PAGE_SIZE_BYTES))
        for first, end in mappings
        for start in range(first, end, _PAGES_A_READ * PAGE_SIZE_BYTES)
    ]
    if len(reads) > _READS:
        reads = [(place, _PAGES_A_READ * PAGE_SIZE_BYTES) for place in _places(mappings)]
    present = looked_at = 0
    with open(process.open_file("pagemap"), "rb", buffering=0) as pagemap:
        for address, length in reads:
            entries = os.pread(
                pagemap.fileno(), length // PAGE_SIZE_BYTES * 8, address // PAGE_SIZE_BYTES * 8
            )
            present += int(np.count_nonzero(np.frombuffer(entries, np.uint64) & _PRESENT))
            looked_at += length // PAGE_SIZE_BYTES
    return round(size * present / looked_at) if looked_at else 0


def huge_at(pagemap: int, addresses: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
    """Return whether the page at each address is part of a huge one.

    Args:
        pagemap: An open pagemap.
        addresses: Addresses of pages.

    Returns:
        None before Linux 6.7, which doesn't say it.
    """
    found = np.zeros(len(addresses), dtype=np.bool_)
    region = np.zeros((1, 3), dtype=np.uint64)
    wanted = _IS_PRESENT | _IS_HUGE
    try:
        for row, address in enumerate(addresses.tolist()):
            argument = bytearray(
                _SCAN_ARGUMENT.pack(
                    *(_SCAN_ARGUMENT.size, 0, address, address + PAGE_SIZE_BYTES, 0),
                    *(region.ctypes.data, 1, 1, 0, wanted, 0, wanted),
                )
            )
            found[row] = fcntl.ioctl(pagemap, _SCAN, argument) > 0
    except OSError:
        return None
    return found


def _huge_pages(pagemap: io.FileIO, address: int) -> int:
    """Return how many pages of 4 KiB from an address on are parts of huge pages."""
    regions = np.zeros((_PAGES_A_READ, 3), dtype=np.uint64)  # start, end, categories
    end = address + _PAGES_A_READ * PAGE_SIZE_BYTES
    wanted = _IS_PRESENT | _IS_HUGE
    argument = bytearray(
        _SCAN_ARGUMENT.pack(
            *(_SCAN_ARGUMENT.size, 0, address, end, 0),
            *(regions.ctypes.data, len(regions), 0),
            *(0, wanted, 0, wanted),  # inverted, all of, any of, returned
        )
    )
    try:
        count = fcntl.ioctl(pagemap.fileno(), _SCAN, argument)
    except OSError:
        return 0
    return int((regions[:count, 1] - regions[:count, 0]).sum()) // PAGE_SIZE_BYTES


def _places(mappings: Sequence[tuple[int, int]]) -> list[int]:
    """Return random addresses of mappings, from which a read of pagemap fits if they are larger."""
    rng = random.Random(0)
    sizes = [end - start for start, end in mappings]
    places = []
    for start, end in rng.choices(mappings, weights=sizes, k=_READS) if mappings else ():
        last = max(end - _PAGES_A_READ * PAGE_SIZE_BYTES, start)
        places.append(rng.randrange(start, last + 1, PAGE_SIZE_BYTES))
    return places
