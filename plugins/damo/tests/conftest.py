"""What the tests of this package share: snapshots, and damo itself."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from damon_core import Intervals, Snapshot
from damon_core.testing import RegionRow, make_snapshot

T0_US = 1_700_000_000_000_000
#: Start, end, nr_accesses, age.
Row = tuple[int, int, float, int]


@pytest.fixture
def make() -> Callable[..., Snapshot]:
    """Return a function that makes the snapshot of an aggregation of these regions."""

    def make(
        targets: Mapping[str, list[Row]],
        number: int = 1,
        *,
        context: str = "db",
        time_us: int | None = None,
        intervals: Intervals | None = None,
        max_nr_accesses: int | None = None,
    ) -> Snapshot:
        return make_snapshot(
            {name: [RegionRow(*row) for row in rows] for name, rows in targets.items()},
            context=context,
            number=number,
            time_us=T0_US + number * 100_000 if time_us is None else time_us,
            intervals=intervals,
            max_nr_accesses=max_nr_accesses,
        )

    return make


@pytest.fixture
def damo(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs damo in the test's folder and returns its output."""

    def run(*arguments: object) -> str:
        program = Path(sys.executable).with_name("damo")
        done = subprocess.run(
            [program, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
