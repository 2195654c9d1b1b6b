"""What the tests of this package share: snapshots, and damo itself."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from damon_core import Snapshot
from damon_core.testing import RegionRow, make_snapshot

#: Start, end, nr_accesses, age.
Row = tuple[int, int, float, int]


@pytest.fixture
def make() -> Callable[..., Snapshot]:
    """Return a function that makes the snapshot of an aggregation of these regions."""

    def make(targets: Mapping[str, list[Row]], number: int = 1, **others: Any) -> Snapshot:
        regions = {name: [RegionRow(*row) for row in rows] for name, rows in targets.items()}
        return make_snapshot(regions, number=number, **{"context": "db", **others})

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
