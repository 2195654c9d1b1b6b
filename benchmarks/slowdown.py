"""The cost of monitoring for the monitored program: its speed with and without it, in turns.

The program reads random words in 256 MiB, each through a different translation: clearing accessed
bits, and with them the TLB's entries, slows such a program down most. The monitor is a context of
`vaddr` with the backend `referenced` and the usual intervals.
"""

import mmap
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from damon_vaddr import PidSource, ProcessMemory, Referenced

from benchmarks.measure import Comparison, is_quick, print_table, progress, with_quartiles
from damon_core import Context, start, stop

#: It counts its rounds in a shared file.
PROGRAM = """
import mmap, sys
import numpy as np
with open(sys.argv[1], "r+b") as file:
    rounds = np.frombuffer(mmap.mmap(file.fileno(), 8), dtype=np.int64)
words = np.ones((256 << 20) // 8)
somewhere = np.random.default_rng(1).integers(0, len(words), 1 << 16)
while True:
    words.take(somewhere, mode="clip").sum()
    rounds[0] += 1
"""
#: The time until a monitor keeps its budget.
SETTLE_S = 1.0
BUDGETS = {"2 % of one core (default)": 0.02, "no budget": None}


class Program:
    """The running program.

    Attributes:
        pid: Its process.
    """

    def __init__(self, pid: int, rounds: mmap.mmap) -> None:
        self.pid = pid
        self._rounds = rounds

    def speed(self, seconds: float) -> float:
        """Return its number of rounds per second."""
        first, begin = self._count(), time.monotonic()
        time.sleep(seconds)
        return (self._count() - first) / (time.monotonic() - begin)

    def _count(self) -> int:
        (count,) = struct.unpack("=q", self._rounds[:8])
        return int(count)


@contextmanager
def program() -> Iterator[Program]:
    """Run the program during the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rounds"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            rounds = mmap.mmap(file.fileno(), 8)
        with subprocess.Popen([sys.executable, "-c", PROGRAM, path]) as process:
            try:
                running = Program(process.pid, rounds)
                while process.poll() is None and not running.speed(0.5):
                    pass
                yield running
            finally:
                process.kill()


class Monitor:
    """A monitor that is started for each measurement.

    Attributes:
        cpu: The share of one core that it used, each time.
        checks: Its checks per second, each time.
    """

    def __init__(self, budget: float | None) -> None:
        self.cpu: list[float] = []
        self.checks: list[float] = []
        self._budget = budget

    def speed(self, monitored: Program, seconds: float) -> float:
        """Return the speed of the program while it is monitored."""
        context = Context(
            ProcessMemory(PidSource([monitored.pid]), Referenced()), cpu_budget=self._budget
        )
        start(context)
        time.sleep(SETTLE_S)
        before = context.stats
        speed = monitored.speed(seconds)
        after = context.stats
        stop(context)
        self.cpu.append((after.cpu_us - before.cpu_us) / 1e6 / seconds)
        self.checks.append((after.samples - before.samples) / seconds)
        return speed


def main() -> None:
    quick = is_quick(__doc__)
    runs, seconds = (1, 0.5) if quick else (60, 1.0)
    rows = []
    with program() as running:
        for name, budget in BUDGETS.items():
            progress(name)
            monitor = Monitor(budget)
            result = Comparison.of(
                partial(monitor.speed, running, seconds), partial(running.speed, seconds), runs
            )
            rows.append(
                [
                    name,
                    f"{statistics.median(monitor.checks):.1f}",
                    f"{100 * statistics.median(monitor.cpu):.1f} %",
                    f"{result.figure:.0f}",
                    f"{result.baseline:.0f}",
                    with_quartiles(result.ratios),
                ]
            )
    print_table(
        f"Speed of a monitored program (medians of {runs} alternating runs of {seconds:g} s; "
        "quartiles of the ratios)",
        ["", "checks/s", "CPU", "rounds/s, monitored", "alone", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
