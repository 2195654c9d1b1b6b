"""The cost of clearing the accessed bit of a page, for the process that accesses it next.

Its processor sets the bit again, by a locked update of the page table, which takes much longer in
a virtual machine. So the cost is measured once, on memory of this process.
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
    """Return the greatest cost of a cleared accessed bit, in microseconds per page of 4 KiB.

    It is 0 if this process may not clear its bits. The first call takes about 50 ms.
    """
    area = mmap.mmap(-1, _PAGES * _PAGE_BYTES)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    memory = np.frombuffer(area, dtype=np.uint8)
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
