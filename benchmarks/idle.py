"""The CPU time of the backend `idle` per check, in Python and compiled, compared with bare C.

The baseline is benchmarks/idle.c: the same kernel calls on the same pages, with neighbours joined
in the same way, and their results ignored. It needs idle page tracking, so it runs in the lab:
`python -m tests.lab -- .venv/bin/python -m benchmarks.idle`, which compiles the C program. With
--marks-in-file it runs anywhere as root: a file stands for the bitmap, and marks cost less.
"""

import argparse
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
from damon_idle.bitmap import BITMAP
from damon_idle.helper import Helper, find_helper
from damon_idle.marking import Marking
from damon_vaddr import Mapped, PidSource, Process, ProcessMemory, ProcessTarget, parse_maps

from benchmarks.measure import Comparison, command_line, print_table, progress
from benchmarks.referenced import Size, Timer, UnwaitingClock, process_of
from damon_core import Context, RegionLimits, Samples, Target, start

MIB = 1 << 20
Pages = npt.NDArray[np.int64]
#: Checks before those that are measured.
WARM_UP = 5


def addresses_in(pid: int, pages: int) -> Pages:
    """Return addresses of random pages in the large mappings of a process."""
    mappings = parse_maps(Path(f"/proc/{pid}/maps").read_bytes())
    # The interpreter's mappings are smaller.
    large = [m for m in mappings if m.end - m.start >= 6 * MIB]
    every = np.concatenate([np.arange(m.start, m.end, mmap.PAGESIZE) for m in large])
    return np.random.default_rng(1).choice(every, pages, replace=False)


def c_us(program: Path, bitmap: Path, pid: int, addresses: list[str], checks: int) -> float:
    """Return the CPU time per round of the C program, microseconds."""
    command: list[str | Path] = [program, bitmap, str(pid), str(checks), *addresses]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return int(done.stdout) / 1_000


def backend_us(bitmap: Path, helper: Helper, pid: int, sets: Sequence[Pages], checks: int) -> float:
    """Return the CPU time per check of the backend alone, microseconds.

    Two sets of pages take turns, so that no mark remains from the check before.
    """
    process = Process.open(pid)
    target = ProcessTarget("benchmark", process=process, mapped=Mapped.of(process.mappings()))
    backend = ProcessIdle(IdleOptions(flush_tlb=False), lambda: Marking(bitmap), helper)
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


def worker_us(bitmap: Path, helper: Helper, pid: int, sets: Sequence[Pages], checks: int) -> float:
    """Return the CPU time per iteration of a whole context, microseconds."""
    backend = ProcessIdle(IdleOptions(flush_tlb=False), lambda: Marking(bitmap), helper)
    primitive = ProcessMemory(PidSource([pid]), backend)
    timer = Timer(checks + WARM_UP + 1)
    with Context(
        primitive, [timer], clock=UnwaitingClock(), cpu_budget=None, policy=GivenPages(sets)
    ) as context:
        start(context)
        context.wait()
        if context.error is not None:
            raise context.error
    return (timer.times_ns[-1] - timer.times_ns[WARM_UP]) / checks / 1_000


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = command_line("idle", __doc__)
    parser.add_argument(
        "--marks-in-file", action="store_true", help="an ordinary file in place of the bitmap"
    )
    return parser.parse_args()


def main() -> None:
    given = arguments()
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc) for the baseline: apt-get install gcc")
        return
    if os.geteuid() != 0 or not (given.marks_in_file or os.access(BITMAP, os.W_OK)):
        print("skipped: needs root and idle page tracking: run it in the lab, tests/lab/README.md")
        return
    runs, checks = (1, 2) if given.quick else (9, 40)
    helpers = {"in Python": Helper()}
    if find_helper().mark is None:
        print("without the rows of compiled checks: damon-idle-native isn't installed\n")
    else:
        helpers["compiled"] = find_helper()
    rows = []
    size = Size(64 * MIB, 10)
    with tempfile.TemporaryDirectory() as directory, process_of(size) as pid:
        bitmap = BITMAP
        if given.marks_in_file:
            bitmap = Path(directory) / "bitmap"
            with bitmap.open("wb") as file:
                file.truncate((1 << 46) // mmap.PAGESIZE // 8)
        program = Path(directory) / "idle"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        for pages in (10, 30, 100, 1_000):
            addresses = addresses_in(pid, 2 * pages)
            sets = [np.sort(part) for part in np.split(addresses, 2)]
            baseline = partial(
                c_us, program, bitmap, pid, [str(page) for page in sets[0].tolist()], checks
            )
            for what, measure in (("backend", backend_us), ("whole worker", worker_us)):
                for how, helper in helpers.items():
                    name = f"{pages} pages, {what}, {how}"
                    progress(name)
                    figure = partial(measure, bitmap, helper, pid, sets, checks)
                    result = Comparison.of(figure, baseline, runs)
                    least = min(result.figures) / min(result.baselines)
                    us = (f"{each:.0f}" for each in (result.figure, result.baseline))
                    rows.append([name, *us, f"{least:.2f}", result.ratio])
    print_table(
        f"CPU time per check of {size} (medians of {runs} runs of {checks} checks)",
        ["", "us", "bare C, us", "least to least", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
