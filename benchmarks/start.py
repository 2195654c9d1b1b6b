"""How long people wait for short commands: wall and CPU time, as ratios to Python with numpy alone.

A simulated record of ten seconds, as CSV and as Parquet, is reported. Whole commands are measured,
from their start to their end, in turns with a Python that imports numpy. The first rows import
what commands can't do without, and draw the simplest picture of the same size: that is the floor
below theirs. All run as they do for users: their modules are compiled, as pip leaves them.

Those that monitor watch a program that only sleeps, with what they take by themselves, for a short
time that is part of their wall time. `damon top` is left as soon as its first picture is there.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen
from damon_csv import CsvWriter
from damon_parquet.writer import ParquetWriter

from benchmarks.commands import run
from benchmarks.measure import Comparison, is_quick, print_table, progress
from benchmarks.programs import DAMON, started
from benchmarks.records import CASES, snapshots_of
from damon_core import RecordInfo

#: Without the threads that numpy starts for large matrices: commands have none either.
_PYTHON = ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, "-c"]
_BASELINE = [*_PYTHON, "import numpy"]
#: A picture of the same size, of an image and a line.
_PICTURE = """
import numpy
from matplotlib.figure import Figure
figure = Figure(figsize=(10, 5.75), dpi=160)
figure.add_axes((0.2, 0.25, 0.7, 0.6)).imshow(numpy.eye(580, 1080), aspect="auto")
figure.add_axes((0.2, 0.1, 0.7, 0.1)).plot(numpy.arange(1080))
figure.savefig("c.png")
"""
#: Runs a command in a terminal, and presses q as soon as it shows which keys there are.
_VIEW = """
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if not pid:
    os.execvpe(sys.argv[1], sys.argv[1:], {**os.environ, "TERM": "xterm-256color"})
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
shown = b""
try:
    while read := os.read(terminal, 1 << 16):
        if b"quit" not in shown and b"quit" in shown + read:
            os.write(terminal, b"q")
        shown += read
except OSError:  # It has ended.
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
_CONFIG = """
[[context]]
name = "sleeping"
[context.primitive]
use = "vaddr"
pid = {pid}
[[context.callback]]
use = "csv"
path = "run.csv"
"""
_TABLE = "damon report summary, CSV"
_IMAGE = "a picture of it"
_RUN = "damon run, for 0.1 s"
_COMMANDS = {
    "import numpy, pyarrow.parquet": [*_PYTHON, "import numpy, pyarrow.parquet"],
    "import numpy, matplotlib.figure": [*_PYTHON, "import numpy, matplotlib.figure"],
    "the simplest picture": [*_PYTHON, _PICTURE],
    "import damon_core": [*_PYTHON, "import damon_core"],
    "damon --help": [DAMON, "--help"],
    _TABLE: [DAMON, "report", "summary", "a.csv"],
    "damon report regions, CSV": [DAMON, "report", "regions", "a.csv"],
    "damon report summary, Parquet": [DAMON, "report", "summary", "a.parquet"],
    "damon report wss, Parquet": [DAMON, "report", "wss", "a.parquet"],
    "damon report regions, Parquet": [DAMON, "report", "regions", "a.parquet"],
    "damon report heatmap, Parquet": [DAMON, "report", "heatmap", "a.parquet"],
    _IMAGE: [DAMON, "report", "heatmap", "a.parquet", "-o", "a.png"],
    "a picture of working sets": [DAMON, "report", "wss", "a.parquet", "-o", "b.png"],
    "damon check": [DAMON, "check", "a.toml"],
    "damon doctor": [DAMON, "doctor"],
    "damon doctor --pid": [DAMON, "doctor", "--pid", "{pid}"],
    _RUN: [DAMON, "run", "--for", "100ms", "a.toml"],
    "damon record, CSV, for 1 s": [DAMON, "record", "--pid", "{pid}", "--for", "1s", "-o", "b.csv"],
    "damon record, Parquet, for 1 s": [
        *(DAMON, "record", "--pid", "{pid}", "--for", "1s", "-o", "b.parquet"),
    ],
    "damon top, its first picture": [
        *(sys.executable, "-I", "-S", "-c", _VIEW, DAMON, "top", "--pid", "{pid}"),
    ],
}


@frozen
class Cost:
    """What one run of a command took, in seconds."""

    wall_s: float
    cpu_s: float

    @classmethod
    def of(cls, command: list[str], folder: Path) -> "Cost":
        begin_s = time.perf_counter()
        cpu_s = run(command, folder).cpu_s
        return cls(time.perf_counter() - begin_s, cpu_s)


def write_records(folder: Path, seconds: int) -> int:
    """Write the same record as `a.csv` and `a.parquet`; return the number of its rows."""
    snapshots = snapshots_of(CASES[1], seconds)
    info = RecordInfo.here()
    with (
        CsvWriter(folder / "a.csv", info) as csv,
        ParquetWriter(folder / "a.parquet", info) as ours,
    ):
        for snapshot in snapshots:
            csv.write(snapshot)
            ours.write(snapshot)
    return sum(map(len, snapshots))


def backend_of(command: list[str], folder: Path) -> str:
    """Return which backend `damon run` takes."""
    found = re.search(r"vaddr through (\S+)", run(command, folder).output)
    return found[1] if found else "unknown"


def compared(command: list[str], folder: Path, runs: int) -> list[str]:
    """Return the cells of a command: least and median times, and the ratio of CPU time."""
    costs: list[Cost] = []

    def cpu_s() -> float:
        costs.append(Cost.of(command, folder))
        return costs[-1].cpu_s

    result = Comparison.of(cpu_s, lambda: Cost.of(_BASELINE, folder).cpu_s, runs)
    walls_s = sorted(cost.wall_s for cost in costs)
    figures = (
        walls_s[0],
        walls_s[len(walls_s) // 2],
        min(result.figures),
        result.figure,
        min(result.baselines),
    )
    return [*(f"{figure:.2f}" for figure in figures), result.ratio]


def main() -> None:
    quick = is_quick("start", __doc__)
    runs, seconds = (1, 1) if quick else (9, 10)
    names = (_TABLE, _IMAGE, _RUN) if quick else tuple(_COMMANDS)
    # Users' modules are compiled when they are installed; compiling ours takes a fifth of a table.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as directory, started(["sleep", "infinity"]) as target:
        folder = Path(directory)
        count = write_records(folder, seconds)
        (folder / "a.toml").write_text(_CONFIG.format(pid=target.pid))
        backend = backend_of(_COMMANDS[_RUN], folder)
        rows = []
        for name in names:
            progress(name)
            command = [str(target.pid) if each == "{pid}" else each for each in _COMMANDS[name]]
            if not quick:
                Cost.of(command, folder)  # compiles, and fills the caches
            rows.append([name, *compared(command, folder, runs)])
    load, *_ = os.getloadavg()
    print_table(
        f"Wall and CPU time of commands, for a record of {seconds} s and {count} rows "
        f"(seconds; {runs} alternating runs; monitors take the backend {backend}; a load of "
        f"{load:.0f} on {os.cpu_count()} processors)",
        ["", "wall least", "median", "CPU least", "median", "numpy alone", "ratio of CPU"],
        rows,
    )


if __name__ == "__main__":
    main()
