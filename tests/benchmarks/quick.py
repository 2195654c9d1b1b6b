"""Quick runs of benchmarks, and the tables that they print."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows_of(benchmark: str, *options: str, timeout_s: float = 120) -> list[list[str]]:
    """Run a benchmark quickly; return the cells of all rows of its tables, headings included."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", "--quick", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.rstrip()[1:-1].split("|")] for line in lines]
