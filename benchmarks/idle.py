"""The CPU time of the backend `idle` per check, compared with bare C.

The baseline is benchmarks/idle.c: the same kernel calls on the same pages, with neighbours joined
in the same way, and their results ignored. It needs idle page tracking, so it runs in the lab:
`python -m tests.lab -- .venv/bin/python -m benchmarks.idle`, which compiles the C program.
"""

import itertools
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from damon_idle import IdleOptions, ProcessIdle
from damon_vaddr import Mapped, PidSource, Process, ProcessMemory, ProcessTarget, parse_maps

from benchmarks.measure import Comparison, is_quick, print_table, progress
from benchmarks.referenced import Size, Timer, UnwaitingClock, process_of
from damon_core import Context, RegionLimits, Samples, Target, start

MIB = 1 << 20
Pages = npt.NDArray[np.int64]
BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")
#: Checks before those that are measured.
WARM_UP = 5


def addresses_in(pid: int, pages: int) -> Pages:
    """Return addresses of random pages in the large mappings of a process."""
    mappings = parse_maps(Path(f"/proc/{pid}/maps").read_bytes())
    # The interpreter's mappings are smaller.
    large = [m for m in mappings if m.end - m.start >= 6 * MIB]
    every = np.concatenate([np.arange(m.start, m.end, mmap.PAGESIZE) for m in large])
    return np.random.default_rng(1).choice(every, pages, replace=False)


def c_us(program: Path, pid: int, addresses: list[str], checks: int) -> float:
    """Return the CPU time per round of the C program, microseconds."""
    done = subprocess.run(
        [program, str(pid), str(checks), *addresses], stdout=subprocess.PIPE, check=True, text=True
    )
    return int(done.stdout) / 1_000


def backend_us(pid: int, sets: Sequence[Pages], checks: int) -> float:
    """Return the CPU time per check of the backend alone, microseconds.

    Two sets of pages take turns, so that no mark remains from the check before.
    """
    process = Process.open(pid)
    target = ProcessTarget("benchmark", process=process, mapped=Mapped.of(process.mappings()))
    backend = ProcessIdle(IdleOptions(flush_tlb=False))
    backend.add(target)
    try:
        for number in range(checks + WARM_UP):
            if number == WARM_UP:
                began_ns = time.thread_time_ns()
            target.samples = Samples(sets[number % 2])
            if backend.prepare([target]) or backend.check([target]):
                raise SystemExit(f"process {pid} has ended")
        return (time.thread_time_ns() - began_ns) / checks / 1_000
    finally:
        backend.close()
        process.close()


class GivenPages:
    """A policy that checks sets of pages in turn, regardless of the regions."""

    def __init__(self, sets: Sequence[Pages]) -> None:
        self._sets = itertools.cycle(sets)

    def choose(self, targets: Sequence[Target]) -> None:
        for target in targets:
            target.samples = Samples(next(self._sets))

    def begin(self, limits: RegionLimits) -> None: ...
    def set_limits(self, limits: RegionLimits) -> None: ...
    def observe(self, targets: Sequence[Target]) -> None: ...
    def aggregate(self, targets: Sequence[Target], checks: int, elapsed_us: int) -> None: ...
    def adapt(self, targets: Sequence[Target]) -> None: ...


def worker_us(pid: int, sets: Sequence[Pages], checks: int) -> float:
    """Return the CPU time per iteration of a whole context, microseconds."""
    primitive = ProcessMemory(PidSource([pid]), ProcessIdle(IdleOptions(flush_tlb=False)))
    timer = Timer(checks + WARM_UP + 1)
    with Context(
        primitive, [timer], clock=UnwaitingClock(), cpu_budget=None, policy=GivenPages(sets)
    ) as context:
        start(context)
        context.wait()
        if context.error is not None:
            raise context.error
    return (timer.times_ns[-1] - timer.times_ns[WARM_UP]) / checks / 1_000


def main() -> None:
    quick = is_quick(__doc__)
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc) for the baseline: apt-get install gcc")
        return
    if not os.access(BITMAP, os.W_OK):
        print("skipped: needs root and idle page tracking: run it in the lab, tests/lab/README.md")
        return
    runs, checks = (1, 2) if quick else (9, 40)
    rows = []
    size = Size(64 * MIB, 10)
    with tempfile.TemporaryDirectory() as directory, process_of(size) as pid:
        program = Path(directory) / "idle"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        for pages in (10, 30, 100, 1_000):
            addresses = addresses_in(pid, 2 * pages)
            sets = [np.sort(part) for part in np.split(addresses, 2)]
            texts = [str(page) for page in sets[0].tolist()]
            for what, measure in (("backend", backend_us), ("whole worker", worker_us)):
                progress(f"{pages} pages, {what}")
                result = Comparison.of(
                    partial(measure, pid, sets, checks),
                    partial(c_us, program, pid, texts, checks),
                    runs,
                )
                rows.append(
                    [
                        f"{pages} pages, {what}",
                        f"{result.figure:.0f}",
                        f"{result.baseline:.0f}",
                        result.ratio,
                    ]
                )
    print_table(
        f"CPU time per check of {size} (medians of {runs} runs of {checks} checks)",
        ["", "Python, us", "bare C, us", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
