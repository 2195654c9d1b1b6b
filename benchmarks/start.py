"""How long people wait for short commands: CPU time, as ratios to Python with numpy alone.

A simulated record of ten seconds, as CSV and as Parquet, is reported. Whole commands are measured,
from their start to their end, in turns with a Python that imports numpy. The first rows import
what commands can't do without: that is the floor below theirs.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

from damon_csv import CsvWriter
from damon_parquet.writer import ParquetWriter

from benchmarks.commands import DAMON, run
from benchmarks.measure import Comparison, is_quick, print_table, progress
from benchmarks.records import CASES, snapshots_of
from damon_core import RecordInfo

#: Without the threads that numpy starts for large matrices: commands have none either.
_PYTHON = ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, "-c"]
_BASELINE = [*_PYTHON, "import numpy"]
_COMMANDS = {
    "import numpy, pyarrow.parquet": [*_PYTHON, "import numpy, pyarrow.parquet"],
    "import numpy, matplotlib.figure": [*_PYTHON, "import numpy, matplotlib.figure"],
    "import damon_core": [*_PYTHON, "import damon_core"],
    "damon --help": [DAMON, "--help"],
    "damon report summary, CSV": [DAMON, "report", "summary", "a.csv"],
    "damon report regions, CSV": [DAMON, "report", "regions", "a.csv"],
    "damon report summary, Parquet": [DAMON, "report", "summary", "a.parquet"],
    "damon report wss, Parquet": [DAMON, "report", "wss", "a.parquet"],
    "damon report regions, Parquet": [DAMON, "report", "regions", "a.parquet"],
    "damon report heatmap, Parquet": [DAMON, "report", "heatmap", "a.parquet"],
    "a picture of it": [DAMON, "report", "heatmap", "a.parquet", "-o", "a.png"],
    "a picture of working sets": [DAMON, "report", "wss", "a.parquet", "-o", "b.png"],
}


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


def cpu_s(command: list[str], folder: Path) -> float:
    return run(command, folder).cpu_s


def main() -> None:
    quick = is_quick(__doc__)
    runs, seconds = (1, 1) if quick else (9, 10)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        count = write_records(folder, seconds)
        rows = []
        for name, command in _COMMANDS.items():
            progress(name)
            if not quick:
                cpu_s(command, folder)  # compiles, and fills the caches
            result = Comparison.of(
                partial(cpu_s, command, folder), partial(cpu_s, _BASELINE, folder), runs
            )
            rows.append([name, f"{result.figure:.2f}", f"{result.baseline:.2f}", result.ratio])
    print_table(
        f"CPU time of commands, for a record of {seconds} s and {count} rows "
        f"(medians of {runs} alternating runs)",
        ["", "s", "numpy alone, s", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
