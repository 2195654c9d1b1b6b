"""The CPU time of the backend `referenced` per check, compared with bare C.

The baseline is benchmarks/referenced.c: the same kernel calls on the same process, with their
results ignored. The processes are idle and completely resident.
"""

import mmap
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attrs import frozen
from damon_vaddr import PidSource, Process, ProcessMemory, ProcessTarget, Referenced, parse_maps

from benchmarks.measure import Comparison, is_quick, print_table, progress
from damon_core import Context, Regions, VirtualClock, hookimpl, start

MIB = 1 << 20

# Every second mapping is executable: otherwise the kernel would join neighbours.
TARGET = """
import mmap, sys
size, count = int(sys.argv[1]), int(sys.argv[2])
mappings = []
for number in range(count):
    kind = mmap.PROT_READ | mmap.PROT_WRITE | (mmap.PROT_EXEC if number % 2 else 0)
    mappings.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=kind))
    mappings[-1][:: mmap.PAGESIZE] = bytes(size // mmap.PAGESIZE)
print("ready", flush=True)
sys.stdin.read()
"""


@frozen
class Size:
    """The size of the monitored process."""

    total_bytes: int
    mappings: int

    def __str__(self) -> str:
        return f"{self.total_bytes // MIB} MiB in {self.mappings} mappings"


@contextmanager
def process_of(size: Size) -> Iterator[int]:
    """Run a process of this size during the block, and return its pid."""
    pages = size.total_bytes // size.mappings // mmap.PAGESIZE
    arguments = [sys.executable, "-c", TARGET, str(pages * mmap.PAGESIZE), str(size.mappings)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise SystemExit(f"the process of {size} didn't start")
        yield process.pid
        # Leaving closes its standard input, which ends it.


def c_us(program: Path, pid: int, checks: int) -> float:
    """Return the CPU time per round of the C program, microseconds."""
    done = subprocess.run(
        [program, str(pid), str(checks)], stdout=subprocess.PIPE, check=True, text=True
    )
    return int(done.stdout) / 1_000


def backend_us(pid: int, checks: int) -> float:
    """Return the CPU time per check of the backend alone, microseconds."""
    process = Process.open(pid)
    mappings = parse_maps(process.maps())
    regions = Regions([m.start for m in mappings], [m.end for m in mappings])
    targets = [ProcessTarget("benchmark", regions, process=process)]
    backend = Referenced()
    backend.add(targets[0])
    times_ns = []
    try:
        # One more than is measured: the first finds the regions of mappings, as after an update.
        for _ in range(checks + 1):
            if backend.prepare(targets) or backend.check(targets):
                raise SystemExit(f"process {pid} has ended")
            times_ns.append(time.thread_time_ns())
        return (times_ns[-1] - times_ns[0]) / checks / 1_000
    finally:
        backend.close()
        process.close()


class UnwaitingClock(VirtualClock):
    """A virtual clock with real CPU time: checks follow one another without a sleep."""

    def cpu_us(self) -> int:
        return time.thread_time_ns() // 1_000


class Timer:
    """Records the worker's CPU time between iterations, and stops after some."""

    def __init__(self, iterations: int) -> None:
        self._left = iterations
        self.times_ns: list[int] = []

    @hookimpl
    def after_sampling(self) -> bool:
        self.times_ns.append(time.thread_time_ns())
        self._left -= 1
        return self._left <= 0


def worker_us(pid: int, checks: int) -> float:
    """Return the CPU time per iteration of a whole context, microseconds."""
    primitive = ProcessMemory(PidSource([pid]), Referenced())
    timer = Timer(checks + 2)
    with Context(primitive, [timer], clock=UnwaitingClock(), cpu_budget=None) as context:
        start(context)
        context.wait()
        if context.error is not None:
            raise context.error
    return (timer.times_ns[-1] - timer.times_ns[1]) / checks / 1_000


def main() -> None:
    quick = is_quick("referenced", __doc__)
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc) for the baseline: apt-get install gcc")
        return
    sizes = [Size(64 * MIB, 10), Size(512 * MIB, 100), Size(64 * MIB, 2_000)]
    runs, checks = (1, 2) if quick else (25, 10)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "referenced"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        for size in sizes:
            with process_of(size) as pid:
                for what, measure in (("backend", backend_us), ("whole worker", worker_us)):
                    progress(f"{size}, {what}")
                    result = Comparison.of(
                        partial(measure, pid, checks), partial(c_us, program, pid, checks), runs
                    )
                    rows.append(
                        [
                            f"{size}, {what}",
                            f"{result.figure:.0f}",
                            f"{result.baseline:.0f}",
                            result.ratio,
                        ]
                    )
    print_table(
        f"CPU time per check (medians of {runs} alternating runs of {checks} checks)",
        ["", "Python, us", "bare C, us", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
