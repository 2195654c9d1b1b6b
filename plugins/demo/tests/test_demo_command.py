"""``damon demo`` on the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from damon_core import Plugins, format_of

DAMON = Path(sys.executable).with_name("damon")


def run_demo(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``damon demo`` in a directory and return its output."""
    return subprocess.run(
        # Explicit: the automatic choice may be one that changes state of the whole machine.
        [DAMON, "demo", "--backend", "referenced", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which this module runs the demo."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(directory: Path) -> str:
    """The output of a demo of 19 seconds without a terminal."""
    done = run_demo(directory, "--for", "19s")
    assert done.returncode == 0, done.stderr
    # A busy machine makes the monitor take longer, which it says.
    assert all("one aggregation every" in line for line in done.stderr.splitlines()), done.stderr
    return done.stdout


@pytest.mark.slow
class TestDemo:
    def test_shows_all_parts(self, shown: str) -> None:
        """Heat map, working sets, phases, seen versus true and next steps are shown."""
        parts = ("Heat map", "Working set", "Phase by phase", "Seen versus true", "damon record")
        assert [part for part in parts if part not in shown] == []

    def test_most_bytes_are_correct(self, shown: str) -> None:
        """The kernel's view of the workload agrees with the truth."""
        shares = {
            name: float(re.search(rf"^{name} .* ([\d.]+) %$", shown, re.MULTILINE)[1])  # type: ignore[index]
            for name in ("hot", "cold")
        }
        # Nearly 100 on a quiet machine; a busy one may slow down the workload.
        assert min(shares.values()) > 60

    def test_no_control_codes(self, shown: str) -> None:
        """Without a terminal the text is plain and fits 80 columns."""
        assert "\x1b" not in shown
        assert "\r" not in shown
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80

    def test_rows_are_in_the_file(self, shown: str, directory: Path) -> None:
        """The record has the number of rows that the demo shows."""
        path = directory / "demo.parquet"
        with format_of(path, Plugins.discover().formats()).read(path) as record:
            rows = sum(len(snapshot) for snapshot in record.snapshots())
        assert f"{rows} rows are in demo.parquet" in shown

    def test_heat_maps_are_in_files(self, shown: str, directory: Path) -> None:
        """A picture and a page with the names of the areas lie beside the record."""
        assert (directory / "demo.png").read_bytes().startswith(b"\x89PNG")
        page = (directory / "demo.html").read_text()
        assert all(f'"{name}"' in page for name in ("steady", "moving-1", "moving-4", "cold"))
        assert "demo.png" in shown
        assert "demo.html" in shown

    def test_no_workload_is_left(self, shown: str) -> None:
        """The workload ends with the demo."""
        pid = re.search(r"Watched process (\d+)", shown)
        assert pid is not None
        assert not Path(f"/proc/{pid[1]}").exists()


def test_too_short_is_reported(tmp_path: Path) -> None:
    """A time without one aggregation is the user's mistake, reported in one line."""
    done = run_demo(tmp_path, "--for", "1ms")
    assert done.returncode == 2
    assert "watch for longer with --for" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_unwritable_output_is_reported(tmp_path: Path) -> None:
    """A file that can't be made is the user's mistake, reported before anything is watched."""
    done = run_demo(tmp_path, "-o", "none/demo.parquet")
    assert done.returncode == 2
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr
