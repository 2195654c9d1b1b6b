"""What walks of page tables cost, and cleared accessed bits: measured on memory of this process.

A process that accesses a page whose accessed bit was cleared pays for it: its processor sets the
bit again, by a locked update of the page table, which takes much longer in a virtual machine.
"""

import functools
import mmap
import os
import statistics
import time

import numpy as np
import numpy.typing as npt
from attrs import frozen

_PAGE_BYTES = 4096
#: 32 MiB: twice as much takes twice as long, and says the same within a twentieth.
_PAGES = 8_192
_ROUNDS = 3
#: Programs that access gigabytes at random pay up to twice what is measured here, because their
#: page tables don't fit into the caches (0.54 us a page at 2 GiB, 0.26 at 64 MiB on one machine).
_LARGE = 2.0
#: A mapping can't cost less: its 25 lines of smaps have to be written and parsed.
_LEAST_MAPPING_US = 3.0


@functools.cache
def reset_us() -> float:
    """Return the greatest cost of a cleared accessed bit, in microseconds per page of 4 KiB.

    It is 0 if this process may not clear its bits. The first call takes 25 to 50 ms.
    """
    memory = _small_pages()
    offsets = np.random.default_rng(1).permutation(_PAGES) * _PAGE_BYTES
    memory[offsets] += 1
    extra_us = []
    for _ in range(_ROUNDS):
        try:
            with open("/proc/self/clear_refs", "wb", buffering=0) as clear_refs:
                clear_refs.write(b"1")
        except OSError:
            return 0.0
        after_reset_us = _sweep_us(memory, offsets)
        extra_us.append(after_reset_us - _sweep_us(memory, offsets))
    return _LARGE * max(statistics.median(extra_us), 0.0) / _PAGES


def _sweep_us(memory: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> float:
    begun_ns = time.thread_time_ns()
    memory[offsets] += 1
    return (time.thread_time_ns() - begun_ns) / 1_000


def _small_pages() -> npt.NDArray[np.uint8]:
    """Return memory in pages of 4 KiB, none of which is there yet."""
    area = mmap.mmap(-1, _PAGES * _PAGE_BYTES)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(area, dtype=np.uint8)


@frozen
class WalkCosts:
    """CPU times of the kernel's walks of page tables, in microseconds.

    Attributes:
        page_us: Any walk, per page in memory: pagemap, smaps and clear_refs look at the same tables
            and page descriptors, and take the same within a quarter.
        mapping_us: Reading smaps and parsing it, per mapping.
    """

    page_us: float
    mapping_us: float


@functools.cache
def walk_costs() -> WalkCosts:
    """Measure what walks cost; the first call takes about 15 ms.

    Raises:
        OSError: This process may not read what is known of its memory.
    """
    memory = _small_pages()
    memory[::_PAGE_BYTES] = 1
    with open("/proc/self/maps", "rb") as file:
        mappings = file.read().count(b"\n")
    page_us = statistics.median(_pagemap_us(memory) for _ in range(_ROUNDS)) / _PAGES
    other_mappings_us = statistics.median(_look_us() for _ in range(_ROUNDS))
    text_us = other_mappings_us - page_us * (_resident_pages() - _PAGES)
    return WalkCosts(page_us, max(text_us / mappings, _LEAST_MAPPING_US))


def _look_us() -> float:
    """Read smaps; return the time that it took without the read in which the large mapping was.

    The kernel returns a few mappings a read.
    """
    times_ns = []
    with open("/proc/self/smaps", "rb", buffering=0) as file:
        begun_ns = time.thread_time_ns()
        while file.read(1 << 16):
            now_ns = time.thread_time_ns()
            times_ns.append(now_ns - begun_ns)
            begun_ns = now_ns
    return (sum(times_ns) - max(times_ns)) / 1_000


def _pagemap_us(memory: npt.NDArray[np.uint8]) -> float:
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        begun_ns = time.thread_time_ns()
        os.pread(file.fileno(), _PAGES * 8, memory.ctypes.data // _PAGE_BYTES * 8)
        return (time.thread_time_ns() - begun_ns) / 1_000


def _resident_pages() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1])
