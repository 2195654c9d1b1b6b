"""What the tests of this package share: snapshots, and damo itself."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from damon_core import Intervals, Snapshot, TargetRows, assemble_snapshot

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
        intervals = intervals or Intervals(5_000, 100_000, 1_000_000)
        rows = [row for each in targets.values() for row in each]
        start, end, age = (np.array([row[i] for row in rows], dtype=np.int64) for i in (0, 1, 3))
        nr_accesses = np.array([row[2] for row in rows], dtype=np.float64)
        idle_us = np.where(nr_accesses > 0, 0, (age + 1) * intervals.aggregation_us)
        return assemble_snapshot(
            {
                "start": start,
                "end": end,
                "nr_accesses": nr_accesses,
                "age": age,
                "idle_us": idle_us,
                "resident_bytes": end - start,
            },
            [TargetRows(name, len(each)) for name, each in targets.items()],
            context=context,
            number=number,
            time_us=T0_US + number * 100_000 if time_us is None else time_us,
            elapsed_us=intervals.aggregation_us,
            intervals=intervals,
            max_nr_accesses=intervals.checks if max_nr_accesses is None else max_nr_accesses,
        )

    return make


@pytest.fixture
def same() -> Callable[[Snapshot, Snapshot], None]:
    """Return a function that compares all that there is in two snapshots."""

    def compare(one: Snapshot, other: Snapshot) -> None:
        for name in ("context", "number", "time_us", "elapsed_us", "intervals", "max_nr_accesses"):
            assert getattr(one, name) == getattr(other, name), name
        assert [each.name for each in one.targets] == [each.name for each in other.targets]
        for left, right in zip([one, *one.targets], [other, *other.targets], strict=True):
            for name in ("start", "end", "nr_accesses", "age", "idle_us", "resident_bytes"):
                np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)

    return compare


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
