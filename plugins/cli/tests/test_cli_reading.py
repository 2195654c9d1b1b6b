"""The progress display of those who read records."""

import subprocess
import sys
from collections.abc import Callable

import pytest

_CODE = """
import time
from damon_cli.reading import reading_progress
with reading_progress("reading", (1_000, 2_000)) as advance:
    for time_us in range(1_000, 2_000, 100):
        time.sleep({pause})
        advance(time_us)
"""


@pytest.mark.slow
def test_what_takes_long_shows_how_far_it_is(in_terminal: Callable[..., str]) -> None:
    """By the time of what was read."""
    shown = in_terminal([sys.executable, "-c", _CODE.format(pause=0.2)])
    assert "reading" in shown
    assert "90%" in shown


def test_what_is_short_shows_nothing(in_terminal: Callable[..., str]) -> None:
    """So that nothing flickers."""
    assert in_terminal([sys.executable, "-c", _CODE.format(pause=0)]) == ""


@pytest.mark.slow
def test_nothing_is_shown_elsewhere() -> None:
    """Programs that read the output aren't disturbed."""
    command = [sys.executable, "-c", _CODE.format(pause=0.2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
