"""Programs to monitor, and a look at what is left behind, for tests in the lab's machines."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_sysfs.tree import Tree

from tests.hot_and_cold import program_of_two_areas
from tests.kernel_lab import INSTANCES, KDAMONDS, Program, Start


@pytest.fixture
def program() -> Iterator[Start]:
    """Return a function that starts such a process; all are killed after the test.

    With a cgroup as argument, all its memory is charged to that. With `leave`, its first thread
    exits when it reads a line.
    """
    started: list[subprocess.Popen[str]] = []

    def start(cgroup: Path | None = None, leave: bool = False) -> Program:
        enter = f"open({str(cgroup / 'cgroup.procs')!r}, 'w').write('0')\n" if cgroup else ""
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                enter + program_of_two_areas(0.01),
                *(["leave"] if leave else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return Program(process, *map(int, process.stdout.readline().split()))

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def nothing_left() -> Iterator[Callable[[], list[str]]]:
    """Return a function that lists directories of kdamonds and trace instances.

    After the test there must be none.
    """

    def left() -> list[str]:
        names = [entry.name for entry in KDAMONDS.iterdir() if entry.name != "nr_kdamonds"]
        return sorted(names) + [name for name in os.listdir(INSTANCES) if "damon-" in name]

    yield left
    found = left()
    # Remove them, so that the next test can run.
    for slot in Tree().running():
        Tree().write(f"kdamonds/{slot}/state", "off")
    Tree().write("kdamonds/nr_kdamonds", 0)
    assert found == []
