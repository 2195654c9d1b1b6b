"""What resetting the accessed bit of a page costs the process that accesses the page again.

The processor sets the bit again. That takes a locked update of the page table, and on a virtual
machine much more. So it is measured on memory of this process, once.
"""

import functools
import mmap
import statistics
import time

import numpy as np
import numpy.typing as npt

_PAGE_BYTES = 4096
_PAGES = 16_384
_ROUNDS = 3
#: Programs that access gigabytes at random pay up to twice what is measured here, because their
#: page tables don't fit into the caches (0.54 us a page at 2 GiB, 0.26 at 64 MiB on one machine).
_LARGE = 2.0


@functools.cache
def reset_us() -> float:
    """Return what a reset accessed bit costs at most, in microseconds a page of 4 KiB.

    Measuring takes some 50 ms, once. Where this process may not reset its bits, it is 0.
    """
    area = mmap.mmap(-1, _PAGES * _PAGE_BYTES)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    memory = np.frombuffer(area, dtype=np.uint8)
    places = np.random.default_rng(1).permutation(_PAGES) * _PAGE_BYTES
    memory[places] += 1
    extra_us = []
    for _ in range(_ROUNDS):
        try:
            with open("/proc/self/clear_refs", "wb", buffering=0) as clear_refs:
                clear_refs.write(b"1")
        except OSError:
            return 0.0
        after_reset_us = _sweep_us(memory, places)
        extra_us.append(after_reset_us - _sweep_us(memory, places))
    return _LARGE * max(statistics.median(extra_us), 0.0) / _PAGES


def _sweep_us(memory: npt.NDArray[np.uint8], places: npt.NDArray[np.int64]) -> float:
    begun_ns = time.perf_counter_ns()
    memory[places] += 1
    return (time.perf_counter_ns() - begun_ns) / 1_000
