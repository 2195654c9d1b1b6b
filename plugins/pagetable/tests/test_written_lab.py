"""The backend `written` in real kernels: what was written is found to the page, nothing else."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from damon_pagetable import Written
from damon_pagetable.softdirty import WrittenLooks, fault_us
from damon_pagetable.walking import Bit
from damon_vaddr import PidSource, Process, ProcessMemory, clear_soft_dirty_bits, parse_maps

from damon_core import Context, Intervals, TargetSnapshot
from damon_core.testing import StopAfter, run

pytestmark = pytest.mark.needs("soft-dirty")

PAGE, MIB = 4096, 1 << 20
#: Two areas of 4 MiB and a huge one of 2: the first MiB of the first is written again and again, a
#: page of the huge one too, and the second is read.
_PROGRAM = """
import ctypes, mmap, time
def area(size, advice):
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.madvise(advice)
    made[::4096] = b"x" * (size // 4096)
    return made, ctypes.addressof(ctypes.c_char.from_buffer(made))
(written, a), (read, b), (huge, c) = area(4 << 20, 15), area(4 << 20, 15), area(4 << 20, 14)
print(a, b, c, flush=True)
while True:
    written[: 1 << 20 : 4096] = b"y" * 256
    huge[2 << 20] = 1
    read[::4096]
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def program() -> Iterator[tuple[int, int, int, int]]:
    """Return the pid of the program and the addresses of its areas."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, *map(int, process.stdout.readline().split())  # type: ignore[misc]
        process.kill()


@pytest.fixture(scope="module")
def target(program: tuple[int, int, int, int]) -> TargetSnapshot:
    """Return what the backend finds."""
    memory = ProcessMemory(PidSource([program[0]]), Written())
    context = Context(
        memory,
        [StopAfter(2)],
        intervals=Intervals(200_000, 2_000_000, 4_000_000),
        cpu_budget=None,
        max_slowdown=None,
        max_stall_us=None,
    )
    run(context, timeout_s=240)
    assert context.snapshot is not None
    return context.snapshot.targets[0]


def touched(target: TargetSnapshot, start: int, size: int) -> int:
    """Return how many bytes of a range count as accessed."""
    assert target.touched_bytes is not None
    inside = (target.start >= start) & (target.start < start + size)
    return int(target.touched_bytes[inside].sum())


def test_what_is_written_is_found_to_the_page(
    program: tuple[int, int, int, int], target: TargetSnapshot
) -> None:
    """All of it, and nothing beside it."""
    _, written, _, _ = program
    assert touched(target, written, 4 * MIB) == MIB


def test_what_is_only_read_is_not_found(
    program: tuple[int, int, int, int], target: TargetSnapshot
) -> None:
    """An accessed bit would show it."""
    _, _, read, _ = program
    assert touched(target, read, 4 * MIB) == 0


def test_the_faults_count_as_a_cost(target: TargetSnapshot) -> None:
    """One for each page in each aggregation, at least."""
    assert target.toll.cpu_us >= 2 * 256 * fault_us()
    assert target.toll.held_us > 0


def test_both_ways_of_reading_agree(program: tuple[int, int, int, int]) -> None:
    """PAGEMAP_SCAN and entries of pagemap say the same of what is written all the time."""
    pid, written, read, _ = program
    with contextlib.closing(Process.open(pid)) as process:
        clear_soft_dirty_bits(process)
        time.sleep(1)
        descriptor = process.open_kept("pagemap")
        mappings = parse_maps(process.maps())
        found = [WrittenLooks(descriptor, scans=scans).look(mappings) for scans in (True, False)]
    for start, pages in ((written, 256), (read, 0)):
        for look in found:
            addresses = look.blocks[:, np.newaxis] + np.arange(512) * PAGE
            inside = (addresses >= start) & (addresses < start + 4 * MIB)
            assert np.count_nonzero(look.bits[inside] & Bit.ACCESSED.value) == pages
            assert np.count_nonzero(look.bits[inside] & Bit.PRESENT.value) == 1024
