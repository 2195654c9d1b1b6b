"""Three minutes of the half hour, one of them with a service that restarts."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder that PostgreSQL's own user reaches, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="damon-soak-") as made:
        yield made


@pytest.mark.slow
@pytest.mark.needs("root", "redis-server", "prometheus", "pgbench")
def test_services_are_watched_through_a_restart(folder: str) -> None:
    """Each minute is in the records and in Prometheus, and there is data after the restart."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", "3", "--into", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
