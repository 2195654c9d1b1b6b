"""The CPU time of a look of the backend `pagetable`, compared with bare C, smaps and pagemap.

The baseline of looks is benchmarks/pagetable.c, which makes the same system calls on the same
process. Then looks at some of its memory, the end of an aggregation, and the cut of a million pages
into regions. It needs root, x86-64 and a kernel with BPF. What doesn't fit into 7/8 of the memory
that is available is left out.
"""

import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_pagetable import PageTables, look
from damon_pagetable.choosing import Cells, FloatColumn
from damon_pagetable.errors import ObstacleError
from damon_pagetable.layout import BestCut, Known
from damon_pagetable.look import Looks
from damon_pagetable.pages import Pages
from damon_pagetable.regions import Runs, cut
from damon_pagetable.walking import ADDRESSES, ENTRY_BITS, WINDOW, batch_of
from damon_vaddr import LayoutInput, Process, ProcessTarget

from benchmarks.measure import Comparison, is_quick, print_table, progress
from damon_core import BLOCK_BYTES, PageMap, RegionLimits

MIB = 1 << 20
PAGE = mmap.PAGESIZE

TARGET = """
import mmap, sys
import numpy as np
size = int(sys.argv[1])
area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_HUGEPAGE if sys.argv[2] == "huge" else mmap.MADV_NOHUGEPAGE)
np.frombuffer(area, np.uint8)[::4096] = 1
print("ready", flush=True)
sys.stdin.read()
"""

SPARSE = """
import mmap, sys
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
area = mmap.mmap(-1, 64 << 40, flags=flags)
area.madvise(mmap.MADV_NOHUGEPAGE)
for place in range(0, 64 << 40, 4 << 40):
    area[place] = 1
print("ready", flush=True)
sys.stdin.read()
"""


@frozen
class Size:
    """The size of the process, and of its pages."""

    total_bytes: int
    huge: bool = False

    def __str__(self) -> str:
        return f"{self.total_bytes // MIB} MiB of {'2 MiB' if self.huge else '4 KiB'}"


@contextmanager
def process_of(size: Size) -> Iterator[int]:
    """Run a process of this size during the block, and return its pid."""
    kind = "huge" if size.huge else "small"
    arguments = [sys.executable, "-c", TARGET, str(size.total_bytes), kind]
    with running(arguments) as pid:
        yield pid


@contextmanager
def sparse_process() -> Iterator[int]:
    """Run a process with 64 TiB of which next to nothing is in memory; return its pid."""
    with running([sys.executable, "-c", SPARSE]) as pid:
        yield pid


@contextmanager
def running(arguments: Sequence[str]) -> Iterator[int]:
    """Run a target during the block, once it is ready; return its pid."""
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("the process to look at didn't start")
        yield process.pid
        # Leaving closes its standard input, which ends it.


def available_bytes() -> int:
    """Return how much memory programs can still get."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_us(action: Callable[[], object], rounds: int) -> float:
    """Return the CPU time of an action, in microseconds."""
    began_ns = time.thread_time_ns()
    for _ in range(rounds):
        action()
    return (time.thread_time_ns() - began_ns) / rounds / 1_000


def c_us(program: Path, pid: int, tables: PageTables, looks: Looks, rounds: int) -> float:
    """Return the CPU time per round of the C program, in microseconds."""
    programs, map_file, base = tables.handles()
    command = [program, pid, rounds, map_file, WINDOW, ADDRESSES, ENTRY_BITS]
    numbers: list[int] = []
    for level, addresses in looks.addresses().items():
        numbers += programs[level], batch_of(level), len(addresses), *addresses.tolist()
    done = subprocess.run(
        [*map(str, command), str(base), str(tables.machine.top)],
        input=np.array(numbers, dtype=np.uint64).tobytes(),
        stdout=subprocess.PIPE,
        check=True,
        pass_fds=(*programs.values(), map_file),
    )
    return int(done.stdout) / 1_000


def read_whole(path: str) -> int:
    """Read a file; return its size."""
    with open(path, "rb", buffering=0) as file:
        return sum(iter(lambda: len(file.read(1 << 20)), 0))


def read_pagemap(pagemap: int, blocks: Sequence[int]) -> None:
    """Read the entries of the memory that is there."""
    for address in blocks:
        os.pread(pagemap, BLOCK_BYTES // PAGE * 8, address // PAGE * 8)


def rows_of(
    size: Size, pid: int, program: Path, tables: PageTables, *, runs: int, rounds: int
) -> list[str]:
    """Measure a process; return a line of the table."""
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        looks = Looks(tables, pagemap)
        looks.look()
        own = partial(cpu_us, looks.look, rounds)
        found = Comparison.of(own, partial(c_us, program, pid, tables, looks, rounds), runs)
        blocks = look(tables, pagemap).blocks.tolist()
        smaps_us = cpu_us(partial(read_whole, f"/proc/{pid}/smaps"), 1)
        pagemap_us = cpu_us(partial(read_pagemap, pagemap, blocks), 1)
        target, known = ProcessTarget(str(pid), process=Process(pid, 0)), Known()
        layout = BestCut({target: known})
        layout.lay_out(target, LayoutInput(), RegionLimits(10, 1_000))
        seen = looks.look()
        add_us = cpu_us(partial(known.pages.add, seen, 5_000, 10**9), rounds)
        known.since_us, known.first_us, known.last_us = 1, 5_000, 100_000
        end_us = cpu_us(partial(layout.describe, [target], 10**9), rounds)
    finally:
        os.close(pagemap)
    each = [found.figure, found.baseline, add_us, end_us, smaps_us, pagemap_us]
    count = size.total_bytes / PAGE
    return [str(size), *(f"{us * 1_000 / count:.2f}" for us in each), found.ratio]


def limited_rows(size: Size, runs: int, tables: PageTables) -> Iterator[list[str]]:
    """Measure looks that take some blocks only; yield lines of the table."""
    with process_of(size) as pid, open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        whole_us = 0.0
        for part in (1, 4, 16, 64):
            looks, pages = Looks(tables, pagemap.fileno()), Pages()
            if part > 1:
                looks.limit(size.total_bytes // BLOCK_BYTES // part)

            def look_and_keep(looks: Looks = looks, pages: Pages = pages) -> None:
                pages.add(looks.look(), 5_000, 10**9)

            look_and_keep()
            found = sum(map(len, looks.addresses().values()))
            took_us = statistics.median(cpu_us(look_and_keep, 3) for _ in range(runs))
            whole_us = whole_us or took_us
            share = f"{took_us / whole_us:.3f}"
            yield [str(size), f"1/{part}", str(found), f"{took_us / 1_000:.2f}", share]
    with sparse_process() as pid, open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        looks = Looks(tables, pagemap.fileno())
        looks.look()
        found = sum(map(len, looks.addresses().values()))
        took_us = statistics.median(cpu_us(looks.look, 3) for _ in range(runs))
        name = "64 TiB, 16 pages in memory"
        yield [name, "1/1", str(found), f"{took_us / 1_000:.2f}", f"{took_us / whole_us:.3f}"]


def used_shares(blocks: int, rng: np.random.Generator) -> Iterator[tuple[str, FloatColumn]]:
    """Yield how much of each of neighbouring blocks is used."""
    areas = np.zeros(blocks)
    for begin, end in ((0.05, 0.15), (0.4, 0.45), (0.7, 0.72)):
        areas[int(blocks * begin) : int(blocks * end)] = 1
    yield "three areas", areas
    yield "a tenth in 64 KiB", rng.binomial(32, 0.1, blocks) / 32
    yield "a tenth of the pages", rng.binomial(512, 0.1, blocks) / 512
    yield "a tenth in 2 MiB", (rng.random(blocks) < 0.1).astype(np.float64)
    yield "1 % in one piece", (np.arange(blocks) // (blocks // 100) == 42).astype(np.float64)


def error_rows(runs: int) -> Iterator[list[str]]:
    """Compare working sets of 16 GiB with those estimated from some blocks; yield lines."""
    count, rng = (16 << 30) // BLOCK_BYTES, np.random.default_rng(1)
    errors: dict[str, list[str]] = {}
    for part in (4, 16, 64):
        found: dict[str, list[float]] = {}
        for _ in range(runs):
            begin = int(rng.integers(1 << 20))  # It decides what is chosen.
            alone = Cells.alone((begin + np.arange(count)) * BLOCK_BYTES, BLOCK_BYTES)
            chosen = alone.chosen(count / part)
            for name, used in used_shares(count, rng):
                estimate = float(chosen.weights @ used[chosen.blocks // BLOCK_BYTES - begin])
                found.setdefault(name, []).append(100 * (estimate / float(used.sum()) - 1))
        for name, each in found.items():
            typical = float(np.sqrt(np.mean(np.square(each))))
            most = max(map(abs, each))
            errors.setdefault(name, []).append(f"{typical:.1f} % ({most:.1f} %)")
    yield from ([name, *each] for name, each in errors.items())


def patterns(pages: int) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yield periods of pages."""
    rng = np.random.default_rng(1)
    cold = np.full(pages, 24, dtype=np.uint8)
    areas = cold.copy()
    for first, last, period in ((5, 15, 13), (40, 45, 13), (70, 72, 17)):
        areas[pages * first // 100 : pages * last // 100] = period
    yield "three areas", areas
    scattered = cold.copy()
    scattered.reshape(-1, 16)[rng.random(pages // 16) < 0.1] = 13
    yield "a tenth in 64 KiB", scattered
    yield "a tenth of the pages", np.where(rng.random(pages) < 0.1, 13, cold).astype(np.uint8)
    yield "any period", rng.integers(13, 25, pages, dtype=np.uint8)


def region_rows(pages: int, runs: int) -> Iterator[list[str]]:
    """Measure the cut of pages into regions; yield lines of the table."""
    for name, periods in patterns(pages):
        rows = periods.reshape(-1, 512)
        blocks = (1 << 40) + np.arange(len(rows)) * BLOCK_BYTES
        times_ms = []
        for _ in range(runs):
            # A new one each time: it keeps its runs.
            known = PageMap.of_periods(blocks, rows, shortest=13, longest=20, watched_us=1 << 24)
            began_ns = time.thread_time_ns()
            starts = cut(Runs.of(known), 1_000)
            times_ms.append((time.thread_time_ns() - began_ns) / 1e6)
        middle = f"{statistics.median(times_ms):.1f} ({min(times_ms):.1f} to {max(times_ms):.1f})"
        yield [name, str(len(starts)), middle]


def main() -> None:
    quick = is_quick("pagetable", __doc__)
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc) for the baseline: apt-get install gcc")
        return
    try:
        began_ns = time.thread_time_ns()
        tables = PageTables()
        opened_ms = (time.thread_time_ns() - began_ns) / 1e6
    except ObstacleError as error:
        print(f"skipped: {error}")
        return
    free_bytes = available_bytes()
    wanted = [64] if quick else [64, 1024, 4096, 16_384]
    sizes = [Size(mib * MIB, huge) for mib in wanted for huge in (False, True)]
    runs, rounds = (1, 2) if quick else (9, 10)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "pagetable"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        for size in sizes:
            if size.total_bytes > free_bytes // 8 * 7:
                progress(f"left out, for want of memory: {size}")
                continue
            progress(str(size))
            with process_of(size) as pid:
                rows.append(rows_of(size, pid, program, tables, runs=runs, rounds=rounds))
    limited = list(limited_rows(Size((64 if quick else 4096) * MIB), runs, tables))
    tables.close()
    print_table(
        "CPU time per page of 4 KiB, in nanoseconds",
        ["process", "look", "look in C", "keeping", "end", "smaps", "pagemap", "ratio of looks"],
        rows,
    )
    print_table(
        "Looks at some of the blocks of 2 MiB, kept: ms of CPU time, and beside all blocks",
        ["process", "blocks", "tables read", "ms", "ratio"],
        limited,
    )
    print_table(
        "Error of the working set of 16 GiB from some of its blocks: root mean square (greatest)",
        ["used", "1/4", "1/16", "1/64"],
        list(error_rows(2 if quick else 100)),
    )
    pages = 1 << (14 if quick else 20)
    print_table(
        f"The cut of {pages} pages into at most 1 000 regions, in ms of CPU time",
        ["pages", "regions", "median (from, to)"],
        list(region_rows(pages, runs)),
    )
    print(f"To begin took {opened_ms:.0f} ms of CPU time.")


if __name__ == "__main__":
    main()
