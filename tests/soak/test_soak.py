"""Three minutes of the half hour, one of them with a service that restarts."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.needs("root", "redis-server", "prometheus", "pgbench")
def test_services_are_watched_through_a_restart(tmp_path: Path) -> None:
    """Each minute is in the records and in Prometheus, and there is data after the restart."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", "3", "--into", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
