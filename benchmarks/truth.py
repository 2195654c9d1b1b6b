"""Working sets of real processes beside the truth, to the byte.

The processes (benchmarks/truth.c) write to pages that they know, and log when. `damon record`
watches each with one budget of CPU time, with the usual intervals otherwise. Then the same process
is watched by what wss.pl and cAdvisor do (benchmarks/peers.py), for as long as an aggregation took,
but at most 2 s. The truth of a result is the memory that was touched within its time. Clearing and
reading take a while: where it isn't sure whether a touch was just within it, anything between is
right, and the column "unsure" shows how much that is.

Only the mappings of the workload count: the pages of the C library, the log and the stack don't.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen

from benchmarks.measure import command_line, print_table, progress
from benchmarks.peers import Look, cadvisor, referenced, wss
from benchmarks.programs import DAMON, compiled, line_of, started
from damon_core import PAGE_SIZE_BYTES, Plugins, Range, Snapshot, format_duration, format_of
from tests.lab.needs import GUEST

MIB = 1 << 20
#: How long wss.pl and cAdvisor may wait for a result.
LONGEST_WAIT_S = 2.0
#: cAdvisor clears the bits after so many results here.
RESET_EVERY = 3
#: The intervals in which a result of `damon record` may really have begun and ended.
SLACK_US = 2_000


@frozen
class Load:
    """A process, and how it is watched.

    Attributes:
        size_bytes: Its memory.
        hot: The share of it in use.
        budget: The share of a processor for the monitor.
        mappings: The number of its mappings.
        on_ms: How long it uses it, in turns with `off_ms`; 0 for without any pause.
        off_ms: How long it doesn't; 0 for never, but for the 10 ms between two sweeps.
        places: Whether hot pages are "together" or "scattered" at random.
        seconds: How long it is watched.
        intervals: The sampling and the aggregation interval, if they aren't the usual ones.
    """

    size_bytes: int
    hot: float
    budget: float
    mappings: int = 1
    on_ms: int = 1_000
    off_ms: int = 0
    places: str = "scattered"
    seconds: float = 8.0
    intervals: tuple[str, str] = ("5ms", "100ms")

    @property
    def hot_pages(self) -> int:
        pages = self.size_bytes // PAGE_SIZE_BYTES // self.mappings * self.mappings
        return max(round(pages * self.hot), 1)

    @property
    def when(self) -> str:
        """When it uses its hot pages, as text."""
        if not self.on_ms:
            return "without a pause"
        if not self.off_ms:
            return "always"
        return f"{self.on_ms / 1e3:g} of {(self.on_ms + self.off_ms) / 1e3:g} s"

    def __str__(self) -> str:
        turns = f", {self.when}" if self.off_ms or not self.on_ms else ""
        several = f" in {self.mappings:,}".replace(",", " ") if self.mappings > 1 else ""
        together = ", together" if self.places == "together" else ""
        mib = self.size_bytes // MIB
        size = f"{mib // 1024} GiB" if mib >= 1024 else f"{mib} MiB"
        return f"{size}{several}, {self.hot * 100:g} % hot{together}{turns}"


LOADS = (
    Load(256 * MIB, 0.1, 0.02),
    # Each dimension by itself:
    Load(256 * MIB, 0.01, 0.02),
    Load(256 * MIB, 0.5, 0.02),
    Load(256 * MIB, 1.0, 0.02, seconds=10),
    Load(16 * MIB, 0.1, 0.02, seconds=5),
    Load(4096 * MIB, 0.1, 0.02, seconds=30),
    Load(256 * MIB, 0.1, 0.02, mappings=1_000, seconds=12),
    Load(256 * MIB, 0.1, 0.02, off_ms=2_000, seconds=12),
    Load(256 * MIB, 0.1, 0.02, on_ms=0),
    Load(256 * MIB, 0.1, 0.01, seconds=20),
    Load(256 * MIB, 0.1, 0.10, seconds=5),
    # Corners:
    Load(16 * MIB, 0.01, 0.10, seconds=5),
    Load(16 * MIB, 0.01, 0.10, on_ms=0, seconds=5),
    Load(16 * MIB, 0.01, 0.01, mappings=1_000, seconds=15),
    # Long enough for the accessed bits to add up for 10 s once, for idle memory.
    Load(16 * MIB, 1.0, 0.10, off_ms=2_000, seconds=30),
    Load(16 * MIB, 1.0, 0.01, mappings=1_000, off_ms=2_000, seconds=15),
    Load(4096 * MIB, 0.01, 0.10, mappings=1_000, off_ms=2_000, seconds=20),
    Load(4096 * MIB, 0.5, 0.10, seconds=30),
    Load(4096 * MIB, 1.0, 0.01, seconds=60),
)
#: For the lab, where everything takes ten times as long.
LAB = tuple(
    Load(64 * MIB, hot, 0.5, places=places, seconds=40, intervals=("50ms", "1s"))
    for hot, places in ((0.1, "together"), (0.5, "together"), (0.1, "scattered"))
)
LAB_BACKENDS = ("idle", "kernel")
QUICK = (
    Load(16 * MIB, 0.1, 0.10, seconds=1.5),
    Load(16 * MIB, 1.0, 0.10, mappings=100, on_ms=200, off_ms=300, seconds=1.5),
)


@frozen
class Window:
    """A result: what was said of which time.

    Attributes:
        begin_us: When it began, at the earliest and at the latest: Unix microseconds.
        end_us: When it ended, at the earliest and at the latest.
        said_bytes: The working set that was said.
    """

    begin_us: tuple[int, int]
    end_us: tuple[int, int]
    said_bytes: int

    @classmethod
    def of(cls, look: Look) -> "Window":
        return cls(look.cleared_us, look.read_us, look.referenced_bytes)


class Log:
    """What the process really touched.

    Args:
        path: Its log.
        hot_pages: The number of its hot pages.
    """

    def __init__(self, path: Path, hot_pages: int) -> None:
        done, chunks, of_chunk = (int(n) for n in np.fromfile(path, dtype=np.int64, count=3))
        entries = np.fromfile(path, dtype=np.int64, offset=24, count=2 * done).reshape(-1, 2)
        self._begin_ns, self._end_ns = entries[:, 0], entries[:, 1]
        pages = np.full(chunks, of_chunk, dtype=np.int64)
        pages[-1] = hot_pages - (chunks - 1) * of_chunk
        self._chunk_bytes: npt.NDArray[np.int64] = pages * PAGE_SIZE_BYTES

    def touched(self, window: Window) -> tuple[int, int]:
        """Return the bytes touched in a window, at least and at most."""
        surely = self._bytes(
            np.searchsorted(self._begin_ns, window.begin_us[1] * 1_000),
            np.searchsorted(self._end_ns, window.end_us[0] * 1_000, side="right"),
        )
        maybe = self._bytes(
            np.searchsorted(self._end_ns, window.begin_us[0] * 1_000),
            np.searchsorted(self._begin_ns, window.end_us[1] * 1_000, side="right"),
        )
        return surely, maybe

    def _bytes(self, first: np.intp, last: np.intp) -> int:
        """Return the bytes of the chunks that were done from one number to before another."""
        count = min(max(int(last - first), 0), len(self._chunk_bytes))
        chunks = (int(first) + np.arange(count)) % len(self._chunk_bytes)
        return int(self._chunk_bytes[chunks].sum())


@frozen
class Error:
    """How far results are off.

    Attributes:
        true_bytes: The mean truth; where that is a range, what of it is nearest to the result.
        range_bytes: The mean size of that range.
        said_bytes: The mean result.
        off: The sum of the differences by the sum of the truths.
        worst: The largest difference of one result, by the largest truth.
    """

    true_bytes: float
    range_bytes: float
    said_bytes: float
    off: float
    worst: float

    @classmethod
    def of(cls, windows: Sequence[Window], log: Log) -> "Error":
        said = np.array([window.said_bytes for window in windows], dtype=np.float64)
        low, high = np.array([log.touched(window) for window in windows]).T
        true = np.clip(said, low, high)
        off = np.abs(said - true)
        return cls(
            float(true.mean()),
            float((high - low).mean()),
            float(said.mean()),
            _share(off.sum(), true.sum()),
            _share(off.max(), true.max()),
        )


def _share(part: float, whole: float) -> float:
    """Return a part as a share: not a number if nothing of it was in use."""
    return float(part / whole) if whole else math.nan


class Process:
    """A running load."""

    def __init__(self, load: Load, pid: int, line: str, log: Path) -> None:
        start, end, self._hot_pages = map(int, line.split())
        self.pid = pid
        self.inside = Range(start, end)
        self._log = log

    def log(self) -> Log:
        """Return what it has touched so far."""
        return Log(self._log, self._hot_pages)


@contextmanager
def running(load: Load, program: Path, folder: Path) -> Iterator[Process]:
    """Run a load during the block."""
    log = folder / "log"
    command = [
        *(program, log, load.size_bytes, load.mappings, load.hot_pages),
        *(load.places, load.on_ms, load.off_ms),
    ]
    with started([str(each) for each in command]) as process:
        yield Process(load, process.pid, line_of(process), log)
    log.unlink()


def recorded(load: Load, process: Process, folder: Path, backend: str) -> list[Snapshot]:
    """Return what `damon record` writes of a process."""
    path = folder / "record.parquet"
    done = subprocess.run(
        [
            *(DAMON, "record", "--pid", str(process.pid), "--backend", backend, "-o", str(path)),
            *("--for", f"{load.seconds:g}s", "--cpu-budget", f"{load.budget * 100:g}%"),
            *("--sampling", load.intervals[0], "--aggregation", load.intervals[1]),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        progress(f"nothing: {done.stderr.splitlines()[-1]}")
        return []
    with format_of(path, Plugins.discover().formats()).read(path) as reader:
        snapshots = list(reader.snapshots())
    path.unlink()
    return snapshots


def window_of(snapshot: Snapshot, process: Process, walk_us: int) -> Window:
    """Return an aggregation; when its walks began and ended isn't known exactly."""
    inside = (snapshot.end > process.inside.start) & (snapshot.start < process.inside.end)
    # The end is known after the last walk, and how long it took until before that.
    begin_us = snapshot.time_us - snapshot.elapsed_us
    return Window(
        (begin_us - walk_us - SLACK_US, begin_us + walk_us + SLACK_US),
        (snapshot.time_us - walk_us - SLACK_US, snapshot.time_us + SLACK_US),
        round(float(snapshot.working_set()[inside].sum())),
    )


def measured(load: Load, program: Path, folder: Path, backend: str) -> list[str]:
    """Return one row of the table."""
    with running(load, program, folder) as process:
        never_cleared, _ = referenced(process.pid, process.inside)
        snapshots = recorded(load, process, folder, backend)
        size = str(load).split(", ")
        cells = [
            size[0],
            f"{load.hot * 100:g} %" + (" together" if load.places == "together" else ""),
            load.when,
            f"{load.budget * 100:g} %",
        ]
        if not snapshots:
            return [*cells, "-", "nothing in time", *["-"] * 8]
        interval_s = statistics.median(snapshot.elapsed_us for snapshot in snapshots) / 1e6
        wait_s = min(interval_s, LONGEST_WAIT_S)
        # Where memory is in use in turns, two turns of it at least.
        turns_s = 2 * (load.on_ms + load.off_ms) / 1e3 if load.off_ms else 0
        count = max(RESET_EVERY + 1, round(turns_s / wait_s))
        once = count if load.off_ms else 2
        looks = [wss(process.pid, wait_s, process.inside) for _ in range(once)]
        walk_us = max(
            end - begin for look in looks for begin, end in (look.cleared_us, look.read_us)
        )
        cycled = cadvisor(process.pid, wait_s, count, RESET_EVERY, process.inside)
        log = process.log()
    ours = Error.of([window_of(snapshot, process, walk_us) for snapshot in snapshots], log)
    theirs = [Error.of([Window.of(look) for look in each], log) for each in (looks, cycled)]
    return [
        *cells,
        format_duration(round(interval_s * 1e6), 3),
        str(len(snapshots)),
        f"{ours.true_bytes / MIB:.2f}",
        f"{ours.range_bytes / MIB:.2f}",
        f"{ours.said_bytes / MIB:.2f}",
        percent(ours.off),
        percent(ours.worst),
        *(percent(error.off) for error in theirs),
        percent(_share(never_cleared, ours.true_bytes) - 1),
    ]


def percent(share: float) -> str:
    if math.isnan(share):
        return "-"
    return f"{share * 100:.1f} %" if share < 10 else f"{share * 100:.0f} %"


COLUMNS = [
    "memory",
    "in use",
    "when",
    "budget",
    "interval",
    "results",
    "true, MiB",
    "unsure",
    "reported, MiB",
    "error",
    "worst",
    "wss.pl",
    f"cAdvisor, reset every {RESET_EVERY}rd",
    "cAdvisor, never reset",
]


def measure_all(loads: Sequence[Load], backend: str) -> None:
    """Print the table of a backend."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(Path(__file__).with_suffix(".c"), folder)
        for number, load in enumerate(loads, 1):
            progress(f"{number} of {len(loads)}: {load}, budget {load.budget * 100:g} %")
            rows.append(measured(load, program, folder, backend))
            progress("  " + " | ".join(rows[-1][4:]))
    print_table(
        f"Working sets reported with the backend `{backend}`: errors of the results to the truth "
        "of their time, and those of what wss.pl and cAdvisor do",
        COLUMNS,
        rows,
    )


def main() -> None:
    parser = command_line("truth", __doc__)
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only loads with this text, such as '4 GiB'"
    )
    parser.add_argument(
        "--lab",
        action="store_true",
        help=f"{' and '.join(LAB_BACKENDS)}, in the lab's machine: see tests/lab/README.md",
    )
    options = parser.parse_args()
    every = QUICK if options.quick else LAB if options.lab else LOADS
    loads = [load for load in every if options.only in str(load)]
    if not loads:
        parser.error(f"there is no load with {options.only!r}: {'; '.join(map(str, every))}")
    if options.lab and GUEST not in os.environ:
        inside = [sys.executable, "-m", "benchmarks.truth", *sys.argv[1:]]
        machine = [sys.executable, "-m", "tests.lab", "--"]
        sys.exit(subprocess.run([*machine, *inside], check=False).returncode)
    for backend in LAB_BACKENDS if options.lab else ("referenced",):
        measure_all(loads, backend)


if __name__ == "__main__":
    main()
