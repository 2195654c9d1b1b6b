"""The processor time of the backend `idle` per check, against bare C.

The baseline is benchmarks/idle.c: the same kernel calls on the same pages, one for each page and
step, and nothing done with what they return. It needs idle page tracking, so it runs in the lab:
`python -m tests.lab -- .venv/bin/python -m benchmarks.idle`, the C program compiled there.
"""

import mmap
import os
import shutil
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from damon_idle import IdleOptions, ProcessIdle
from damon_vaddr import Mapped, Process, ProcessTarget, parse_maps

from benchmarks.measure import Comparison, is_quick, print_table, progress
from benchmarks.referenced import Size, process_of
from damon_core import Samples

MIB = 1 << 20
Pages = npt.NDArray[np.int64]
BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")


def addresses_in(pid: int, pages: int) -> Pages:
    """Return addresses of pages at random in the large mappings of a process."""
    mappings = parse_maps(Path(f"/proc/{pid}/maps").read_bytes())
    # Those of the program proper; the interpreter's are smaller.
    large = [m for m in mappings if m.end - m.start >= 6 * MIB]
    every = np.concatenate([np.arange(m.start, m.end, mmap.PAGESIZE) for m in large])
    return np.random.default_rng(1).choice(every, pages, replace=False)


def c_us(program: Path, pid: int, addresses: list[str], checks: int) -> float:
    """Return the processor time per round of the C program, microseconds."""
    done = subprocess.run(
        [program, str(pid), str(checks), *addresses], stdout=subprocess.PIPE, check=True, text=True
    )
    return int(done.stdout) / 1_000


def backend_us(pid: int, pages: Pages, others: Pages, checks: int) -> float:
    """Return the processor time per check of the backend, microseconds.

    Two sets of pages take turns, so that no mark stands from the check before.
    """
    process = Process.open(pid)
    target = ProcessTarget(
        "benchmark", adaptive=True, process=process, mapped=Mapped.of(process.mappings())
    )
    backend = ProcessIdle(IdleOptions(flush_tlb=False))
    backend.add(target)
    try:
        for number in range(checks + 5):
            if number == 5:
                began_ns = time.thread_time_ns()
            target.samples = Samples(pages if number % 2 else others)
            if backend.prepare([target]) or backend.check([target]):
                raise SystemExit(f"process {pid} has ended")
        return (time.thread_time_ns() - began_ns) / checks / 1_000
    finally:
        backend.close()
        process.close()


def main() -> None:
    quick = is_quick(__doc__)
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc) for the baseline: apt-get install gcc")
        return
    if not os.access(BITMAP, os.W_OK):
        print("skipped: needs root and idle page tracking: run it in the lab, tests/lab/README.md")
        return
    runs, checks = (1, 2) if quick else (9, 20)
    rows = []
    size = Size(64 * MIB, 10)
    with tempfile.TemporaryDirectory() as directory, process_of(size) as pid:
        program = Path(directory) / "idle"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        for pages in (100, 1_000):
            progress(f"{pages} pages")
            addresses = addresses_in(pid, 2 * pages)
            chosen, others = np.sort(addresses[:pages]), np.sort(addresses[pages:])
            result = Comparison.of(
                partial(backend_us, pid, chosen, others, checks),
                partial(c_us, program, pid, [str(page) for page in chosen.tolist()], checks),
                runs,
            )
            rows.append(
                [f"{pages} pages", f"{result.figure:.0f}", f"{result.baseline:.0f}", result.ratio]
            )
    print_table(
        f"Processor time per check of {size} (medians of {runs} alternating runs)",
        ["", "Python, us", "bare C, us", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
