"""A part of what `python -m tests.faults` and `python -m tests.faults.kills` do in full."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, *options: str) -> None:
    """Run a command to its end; what it prints, the seed too, is the reason if it fails."""
    command = [sys.executable, "-m", module, *options]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_faults_in_hooks_are_contained() -> None:
    """A tenth of the matrix, another one in each run."""
    run("tests.faults", "--share", "0.1")


@pytest.mark.slow_in_lab
@pytest.mark.needs("idle-page-tracking", "root")
def test_a_fault_in_physical_memory_is_contained() -> None:
    """One cell of a part that most machines don't have; a person runs all of them in the lab."""
    run("tests.faults", "--part", "paddr.idle", "--only", "check_accesses, raise", "--jobs", "1")


@pytest.mark.slow
def test_a_kill_costs_no_acknowledged_row() -> None:
    """A tenth of the kills, at other moments in each run."""
    run("tests.faults.kills", "--kills", "100")
