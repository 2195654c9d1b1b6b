"""What backends that check single pages say of resident memory: how wrong it is, what it costs.

Real processes of known layouts; what is in memory is read page by page, as the truth. Regions are
pieces of equal size, as a context has them at its start.
"""

import mmap
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_vaddr import LayoutInput, Process, ProcessTarget, Ranges

from benchmarks.measure import is_quick, print_table, progress
from damon_core import RegionLimits

MIB = 1 << 20
AGGREGATION_US = 100_000
#: When pages are all of one window: the number of aggregations.
SETTLED = 60

TARGET = """
import mmap, sys
PAGE = mmap.PAGESIZE
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
kept = []
def mapped(size, number=0):
    kind = mmap.PROT_READ | mmap.PROT_WRITE | (mmap.PROT_EXEC if number % 2 else 0)
    area = mmap.mmap(-1, size, flags=FLAGS, prot=kind)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    kept.append(area)
    return area
def touch(area, begin, end, step=1):
    for first in range(begin, end, step * PAGE):
        area[first] = 1
exec(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


@frozen
class Layout:
    """A layout of memory.

    Attributes:
        name: What it is.
        code: The statements that make it.
    """

    name: str
    code: str


LAYOUTS = (
    Layout("2 of 32 GiB touched, in one piece", "touch(mapped(32 << 30), 7 << 30, 9 << 30)"),
    Layout(
        "100 MiB of 1 TiB, in one piece",
        "touch(mapped(1 << 40), 77 << 30, (77 << 30) + (100 << 20))",
    ),
    Layout(
        "1 000 mappings of 8 MiB, 96 KiB of each",
        "[touch(mapped(8 << 20, n), (8 << 20) - (96 << 10), 8 << 20) for n in range(1000)]",
    ),
    Layout("every tenth page of 4 GiB", "touch(mapped(4 << 30), 0, 4 << 30, 10)"),
    Layout(
        "8 GiB in 64 mappings, each touched to another part",
        "[touch(mapped(128 << 20, n), 0, (n * 37 % 64) << 21, 1 + n % 3) for n in range(64)]",
    ),
    Layout("1 GiB, all of it", "touch(mapped(1 << 30), 0, 1 << 30)"),
    Layout("8 GiB, all of it", "touch(mapped(8 << 30), 0, 8 << 30)"),
)


@contextmanager
def process_of(layout: Layout) -> Iterator[Process]:
    """Run a process with this layout during the block."""
    arguments = [sys.executable, "-c", TARGET, layout.code]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        if program.stdout.readline() != b"ready\n":
            raise SystemExit(f"the process '{layout.name}' didn't start")
        process = Process.open(program.pid)
        yield process
        process.close()


def resident_by(process: Process, target: ProcessTarget) -> npt.NDArray[np.int64]:
    """Return the bytes of each region that are in memory, by all entries of pagemap."""
    regions, truth = target.regions, []
    with open(f"/proc/{process.pid}/pagemap", "rb", buffering=0) as file:
        for start, end in zip(regions.start.tolist(), regions.end.tolist(), strict=True):
            pages = 0
            inside = (target.mapped.start < end) & (target.mapped.end > start)
            lows = target.mapped.start[inside].clip(start)
            highs = target.mapped.end[inside].clip(max=end)
            for low, high in zip(lows.tolist(), highs.tolist(), strict=True):
                for begin in range(low, high, 1 << 30):
                    size = (min(begin + (1 << 30), high) - begin) // mmap.PAGESIZE * 8
                    file.seek(begin // mmap.PAGESIZE * 8)
                    entries = np.frombuffer(file.read(size), dtype=np.uint64)
                    pages += int(np.count_nonzero(entries >> np.uint64(63)))
            truth.append(pages * mmap.PAGESIZE)
    return np.array(truth)


def measured(layout: Layout, aggregations: int) -> list[str]:
    """Return one row of the table."""
    with process_of(layout) as process:
        target = ProcessTarget(layout.name, process=process)
        limits = RegionLimits(200, 1000)
        ranges = Ranges()
        ranges.lay_out(target, LayoutInput(process.maps(), 1000), limits)
        truth = resident_by(process, target)
        mapped = int((target.mapped.end - target.mapped.start).sum())
        errors, times_us, total = [], [], 0
        for number in range(aggregations):
            begun_ns = time.thread_time_ns()
            ranges.describe([target], number * AGGREGATION_US)
            times_us.append((time.thread_time_ns() - begun_ns) / 1_000)
            found = target.regions.resident_bytes
            total = int(found.sum())
            errors.append(float(np.abs(found - truth).sum()) / 2 / int(truth.sum()))
    return [
        layout.name,
        f"{mapped / MIB:.0f}",
        f"{int(truth.sum()) / MIB:.1f}",
        f"{total / MIB:.1f}",
        f"{errors[0]:.1%}",
        f"{np.mean(errors[-20:]):.1%}",
        f"{times_us[0] / 1_000:.1f}",
        f"{np.mean(times_us[1:]) / 1_000:.2f}",
    ]


def main() -> None:
    quick = is_quick("resident", __doc__)
    aggregations = 3 if quick else SETTLED
    rows = []
    for layout in LAYOUTS[1:3] if quick else LAYOUTS:
        progress(layout.name)
        rows.append(measured(layout, aggregations))
    print_table(
        "Resident memory of processes, MiB; misplaced: in another region than it is, of all of it",
        [
            "",
            "mapped",
            "in memory",
            "reported",
            "misplaced at first",
            "misplaced later",
            "first, ms",
            "an aggregation, ms",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
