"""What the backends `pagetable` and `referenced` find of memory whose use is known, to the page.

A C program uses some of its pages all the time. After some aggregations with the default intervals
and budgets the results are compared with these pages: the map of the backend, where it has one, and
the regions, of which those count as used of which at least half was touched. It needs
root and what `pagetable` needs.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_pagetable import PageTable
from damon_pagetable.errors import ObstacleError
from damon_vaddr import PidSource, ProcessMemory, Referenced

from benchmarks.measure import is_quick, print_table, progress
from damon_core import Context, HookContext, PluginError, Stats, hookimpl, start, stop

MIB = 1 << 20
PAGE = 4096
#: Pages in a MiB.
EACH = MIB // PAGE

Pages = npt.NDArray[np.int64]


@frozen
class Pattern:
    """Memory, and the numbers of the pages that are used."""

    name: str
    mib: int
    pages: Pages
    pause_us: int = 0


def patterns() -> Iterator[Pattern]:
    """Yield the patterns."""
    rng = np.random.default_rng(1)
    areas = ((20, 60), (150, 160), (300, 310))
    three = np.concatenate([np.arange(first * EACH, last * EACH) for first, last in areas])
    yield Pattern("three areas in 400 MiB", 400, three)
    cells = rng.choice(400 * EACH // 16, 400 * EACH // 160, replace=False)
    yield Pattern("a tenth in 64 KiB", 400, (cells[:, np.newaxis] * 16 + np.arange(16)).ravel())
    tenth = rng.choice(400 * EACH, 40 * EACH, replace=False)
    yield Pattern("a tenth of the pages", 400, tenth)
    yield Pattern("20 MiB of 2 GiB", 2_048, np.arange(20 * EACH) + 1_234 * EACH + 77)
    yield Pattern("2 MiB in a loop", 400, np.arange(2 * EACH) + 100 * EACH)
    yield Pattern("16 MiB every 10 ms", 400, np.arange(16 * EACH) + 100 * EACH, 10_000)


@contextmanager
def process_of(program: Path, pattern: Pattern) -> Iterator[tuple[int, int]]:
    """Run the program; return its pid and where its memory is."""
    command = [str(program), str(pattern.mib), str(pattern.pause_us)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pattern.pages.astype(np.uint32).tobytes())
        process.stdin.close()
        address = int(process.stdout.readline())
        try:
            yield process.pid, address
        finally:
            process.kill()


class Judge:
    """Compares results with the truth, in each aggregation.

    Attributes:
        map_f1: The F1 of pages of the backend's map; None where it has none.
        regions_f1: That of the pages of regions in use.
        found_bytes: The working set that was found in the memory.
        aggregation_us: How long the last aggregation took.
        aggregations: Their number.
    """

    def __init__(self, pattern: Pattern, address: int) -> None:
        self._used = np.zeros(pattern.mib * EACH, dtype=np.bool_)
        self._used[pattern.pages] = True
        self._address = address
        self.map_f1: float | None = None
        self.regions_f1 = 0.0
        self.found_bytes = 0
        self.aggregation_us = self.aggregations = 0

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        snapshot = context.snapshot
        assert snapshot is not None
        assert snapshot.touched_bytes is not None
        self.aggregations += 1
        self.aggregation_us = snapshot.elapsed_us
        first = (snapshot.start - self._address) // PAGE
        last = (snapshot.end - self._address) // PAGE
        inside = (first < len(self._used)) & (last > 0)
        self.found_bytes = int(snapshot.touched_bytes[inside].sum())
        guess = np.zeros(len(self._used), dtype=np.bool_)
        hot = inside & (snapshot.touched_bytes * 2 >= snapshot.resident_bytes)
        for begin, end in zip(first[hot].tolist(), last[hot].tolist(), strict=True):
            guess[max(begin, 0) : end] = True
        self.regions_f1 = self._f1(guess)
        known = snapshot.targets[0].page_map()
        if known is not None:
            periods = known.periods_at(self._address + np.arange(len(self._used)) * PAGE)
            self.map_f1 = self._f1((periods > 0) & (periods <= known.longest))

    def _f1(self, guess: npt.NDArray[np.bool_]) -> float:
        right = int(np.count_nonzero(guess & self._used))
        return 2 * right / max(int(np.count_nonzero(guess)) + int(self._used.sum()), 1)


def judged(
    pattern: Pattern, program: Path, backend: PageTable | Referenced, seconds: float
) -> tuple[Judge, Stats]:
    """Monitor a pattern for some seconds, and as long as the first aggregation takes."""
    with process_of(program, pattern) as (pid, address):
        judge = Judge(pattern, address)
        with Context(ProcessMemory(PidSource([pid]), backend), [judge]) as context:
            start(context)
            time.sleep(seconds)
            while not judge.aggregations and context.error is None:
                time.sleep(0.1)
            stats = context.stats
            stop(context)
    return judge, stats


def main() -> None:
    quick = is_quick(__doc__)
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc) for the program: apt-get install gcc")
        return
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "page_accuracy"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        for pattern in list(patterns())[: 1 if quick else None]:
            for make in (PageTable, Referenced):
                try:
                    backend = make()
                except (ObstacleError, PluginError) as error:
                    print(f"skipped: {error}")
                    return
                progress(f"{pattern.name}, {backend.name}")
                seconds = 1.0 if quick else 10.0
                judge, stats = judged(pattern, program, backend, seconds)
                excess = judge.found_bytes / (len(pattern.pages) * PAGE) - 1
                rows.append(
                    [
                        f"{pattern.name}, {backend.name}",
                        "" if judge.map_f1 is None else f"{judge.map_f1:.4f}",
                        f"{judge.regions_f1:.4f}",
                        f"{excess:+.2%}",
                        f"{judge.aggregation_us / 1e6:.2f} s",
                        f"{stats.cpu_us / seconds / 1e6:.2%}",
                        f"{stats.slowdown:.2%}",
                    ]
                )
    print_table(
        "Pages in use, found with the default intervals and budgets",
        ["", "F1 map", "F1 regions", "working set", "aggregation", "CPU", "slow-down"],
        rows,
    )


if __name__ == "__main__":
    main()
