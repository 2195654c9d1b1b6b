"""The benchmarks run and tell ratios; what they measure is for people to judge."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _ratios(benchmark: str) -> list[str]:
    """Run a benchmark quickly and return the last column of its table."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    header, marks, *figures = [row.strip("| ").split("|")[-1].strip() for row in rows]
    assert header == "ratio"
    assert set(marks) == {"-", ":"}
    return figures


@pytest.mark.parametrize("benchmark", ["loop", "jitter"])
def test_benchmark_prints_ratios(benchmark: str) -> None:
    """Each row ends with a ratio to a baseline of the same run."""
    ratios = _ratios(benchmark)
    assert ratios
    assert all(re.match(r"\d", ratio) for ratio in ratios)


@pytest.mark.needs("gcc")
def test_referenced_prints_ratios_to_c() -> None:
    """Each row ends with a ratio to the C program of the same run."""
    ratios = _ratios("referenced")
    assert len(ratios) == 6
    assert all(re.match(r"\d", ratio) for ratio in ratios)


def test_referenced_without_a_compiler_says_what_to_do(tmp_path: Path) -> None:
    """Nothing fails for want of a compiler; one line names the package that has one."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.referenced", "--quick"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "skipped: there is no C compiler (cc) for the baseline: apt-get install gcc"
    ]
