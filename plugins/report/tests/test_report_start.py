"""What the report of a short record waits for besides its own work."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen
from click.testing import CliRunner
from damon_cli.main import main
from damon_csv import CsvWriter
from damon_parquet.writer import ParquetWriter

from damon_core import RecordInfo
from damon_core.testing import RegionRow, make_snapshot

#: What takes long to import, and no table of a record needs.
NEEDLESS = {
    "damon_core.deployment",
    "damon_core.loop",
    "damon_core.policies",
    "matplotlib",
    "numpy.ma",
    "numpy.random",
    "pandas",
    "psutil",
    "rich.progress",
}

_PROGRAM = """
import atexit, gc, os, sys
path, *arguments = sys.argv[1:]
def note():
    with open(path, "w") as file:
        searches = gc.get_stats()[2]["collections"]
        print(len(os.listdir("/proc/self/task")), searches, *sys.modules, file=file)
atexit.register(note)
from damon_cli.main import main
main(arguments)
"""


@frozen
class Started:
    """What a report has started with.

    Attributes:
        threads: The number of its threads.
        searches: How many times Python has searched all objects for garbage.
        modules: The modules that it imported.
    """

    threads: int
    searches: int
    modules: set[str]


def started(folder: Path, *report: str) -> Started:
    """Run a report."""
    noted = folder / "noted"
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, noted, "report", *report],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
    threads, searches, *modules = noted.read_text().split()
    assert "damon_report.record" in modules
    return Started(int(threads), int(searches), set(modules))


@pytest.fixture
def csv(tmp_path: Path) -> str:
    """A record of one aggregation."""
    path = tmp_path / "a.csv"
    with CsvWriter(path, RecordInfo()) as writer:
        writer.write(make_snapshot({"a": [RegionRow(0, 4096, 5)]}))
    return str(path)


@pytest.fixture
def parquet(tmp_path: Path) -> str:
    """A record of one aggregation."""
    path = tmp_path / "a.parquet"
    with ParquetWriter(path, RecordInfo()) as writer:
        writer.write(make_snapshot({"a": [RegionRow(0, 4096, 5)]}))
    return str(path)


def test_a_table_of_csv(csv: str, tmp_path: Path) -> None:
    """Neither what monitors, nor what reads other formats."""
    modules = started(tmp_path, "summary", csv).modules
    assert modules & (NEEDLESS | {"cattrs", "pyarrow"}) == set()


def test_a_table_of_parquet(parquet: str, tmp_path: Path) -> None:
    """What pyarrow can do besides reading a file takes as long as all of that."""
    modules = started(tmp_path, "summary", parquet).modules
    assert modules & (NEEDLESS | {"pyarrow.compute", "pyarrow.dataset"}) == set()


@pytest.mark.slow
def test_a_picture(csv: str, tmp_path: Path) -> None:
    """Of matplotlib nothing that is for windows."""
    modules = started(tmp_path, "heatmap", csv, "-o", str(tmp_path / "a.png")).modules
    # matplotlib has masked arrays.
    needless = NEEDLESS - {"matplotlib", "numpy.ma"} | {"matplotlib.pyplot", "pyarrow"}
    assert modules & needless == set()


def test_no_threads(csv: str, tmp_path: Path) -> None:
    """numpy's, for large matrices, take half as long to start as all of numpy."""
    assert started(tmp_path, "wss", csv, "--from", "0s").threads == 1


def test_no_search_for_garbage(parquet: str, tmp_path: Path) -> None:
    """All that a short report makes are modules and classes, which it keeps."""
    assert started(tmp_path, "summary", parquet).searches == 0


def test_garbage_is_searched_for_as_before_afterwards(csv: str) -> None:
    """A program may run a report and go on."""
    before = gc.get_threshold()
    CliRunner().invoke(main, ["report", "summary", csv], catch_exceptions=False)
    assert gc.get_threshold() == before
