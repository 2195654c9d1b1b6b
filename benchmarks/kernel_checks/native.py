"""What the backend `kernel` itself takes an aggregation, with pages and with regions.

Without emulation, and without the kernel's DAMON: settings go to files in a tmpfs, and results come
from one, as bytes of the kernel's trace. Counted is the CPU time of the context, less that of what
stands for the kernel.
"""

import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from damon_sysfs import KernelPages, KernelProcesses, Sampler
from damon_sysfs.events import Aggregation, Collector, EventFormat, Events, parse_page
from damon_sysfs.replacing import IntColumn, PageFiles
from damon_sysfs.sampler import Plan
from damon_vaddr import PidSource, ProcessMemory

from benchmarks.contexts import run_for
from benchmarks.measure import Comparison, is_quick, print_table, progress
from damon_core import PAGE_SIZE_BYTES, Context, Intervals, Range, RegionLimits

FORMAT = EventFormat.parse(
    (Path(__file__).parents[2] / "plugins/sysfs/tests/data/format").read_text()
)
INTERVALS = Intervals(10_000, 200_000, 1_000_000)
#: As many regions as the kernel has of memory of which a part is hot.
REGIONS = 40
SIZE_BYTES = 200 << 20
_PROGRAM = f"""
import ctypes, mmap, sys
area = mmap.mmap(-1, {SIZE_BYTES})
area[::4096] = b"x" * (len(area) // 4096)
print(ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)
sys.stdin.read()
"""


class StandIn(Sampler):
    """Files in place of a kdamond, in which every tenth of the memory is hot.

    Args:
        folder: Where they are.
        first: The address of the memory.

    Attributes:
        taken_us: The CPU time that it took to make up results.
    """

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__()
        self.taken_us = 0
        self._folder = folder
        self._trace = folder / "trace"
        (folder / "state").touch()
        edges = np.linspace(first, first + SIZE_BYTES, REGIONS + 1).astype(np.int64)
        self._regions = edges // PAGE_SIZE_BYTES * PAGE_SIZE_BYTES
        self._first = first
        self._files: PageFiles | None = None
        self._checked: Sequence[IntColumn] = ()
        self._collector = Collector()

    def claim(self) -> None:
        """Do nothing."""

    def apply(
        self,
        plan: Plan,
        initial: Mapping[int, Sequence[Range]],
        added: Mapping[int, Sequence[Range]] = MappingProxyType({}),
    ) -> None:
        """Do nothing: settings rarely change."""

    def check_pages(self, plan: Plan, pages: Sequence[IntColumn]) -> None:
        """Write pages as for a kdamond."""
        if self._files is None or not self._files.fits(pages):
            for region in range(len(pages[0])):
                folder = self._folder / f"contexts/0/targets/0/regions/{region}"
                folder.mkdir(parents=True, exist_ok=True)
                for name in ("start", "end"):
                    (folder / name).touch()
            self._files = PageFiles(self._folder, pages)
        self._files.write(pages)
        self._files.commit()
        self._checked = pages

    def collect(self) -> list[Aggregation]:
        """Return results: of pages twice, as after a commit."""
        began_ns = time.thread_time_ns()
        if self._checked:
            start = self._checked[0]
            trace = 2 * _events(start, start + PAGE_SIZE_BYTES, self._first)
        else:
            trace = _events(self._regions[:-1], self._regions[1:], self._first)
        trace = struct.pack("<QQ", time.monotonic_ns(), len(trace)) + trace
        self._trace.write_bytes(trace)
        self.taken_us += (time.thread_time_ns() - began_ns) // 1_000
        found = parse_page(self._trace.read_bytes(), FORMAT)
        return self._collector.take(Events.joined(found.events), 1, closed=True)

    def close(self) -> None:
        """Close the files."""
        if self._files is not None:
            self._files.close()
        self._files = None


def _events(start: IntColumn, end: IntColumn, first: int) -> bytes:
    """Return events of regions as the kernel writes them."""
    rows = np.zeros(len(start), FORMAT.row)
    rows["header"] = FORMAT.length
    rows["nr_regions"] = len(start)
    rows["start"], rows["end"] = start, end
    rows["nr_accesses"] = (start - first) // (SIZE_BYTES // 40) % 10 == 0
    return rows.tobytes()


def taken_us(checks: str, pid: int, first: int, seconds: float) -> float:
    """Return the CPU time of an aggregation."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        sampler = StandIn(Path(folder), first)
        backend = (KernelPages if checks == "pages" else KernelProcesses)(sampler=sampler)
        with Context(
            ProcessMemory(PidSource([pid]), backend),
            intervals=INTERVALS,
            limits=RegionLimits(10, 1000),
            cpu_budget=None,
        ) as context:
            run_for(context, seconds)
            stats = context.stats
    return (stats.cpu_us - sampler.taken_us) / stats.aggregations


def main() -> None:
    quick = is_quick("kernel_checks.native", __doc__)
    seconds, runs = (2.0, 1) if quick else (20.0, 5)
    program = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = int(process.stdout.readline())
        progress("pages and regions")
        found = Comparison.of(
            lambda: taken_us("pages", process.pid, first, seconds),
            lambda: taken_us("regions", process.pid, first, seconds),
            runs,
        )
        process.kill()
    print_table(
        f"CPU time of an aggregation, {INTERVALS.sampling_us / 1e3:g} ms and"
        f" {INTERVALS.aggregation_us / 1e3:g} ms ({runs} alternating runs of {seconds:g} s)",
        ["", "pages, us", "regions, us", "ratio"],
        [["the context", f"{found.figure:.0f}", f"{found.baseline:.0f}", found.ratio]],
    )


if __name__ == "__main__":
    main()
