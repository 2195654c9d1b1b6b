"""Real processes with known memory accesses, for the tests of this package."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from damon_vaddr import read_stat

from damon_core.testing import eventually
from tests.hot_and_cold import program_of_two_areas

#: Its first thread exits; the other maps and touches 8 MiB for each line that it reads.
_WITHOUT_FIRST_THREAD = """
import ctypes, mmap, sys, threading
def work():
    areas = []
    for line in sys.stdin:
        areas.append(mmap.mmap(-1, 8 << 20))
        areas[-1][::4096] = b"x" * 2048
        print("mapped", flush=True)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""

StartProgram = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Return a function that starts a Python program; all are killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, **options: object) -> "subprocess.Popen[str]":
        program = subprocess.Popen(  # type: ignore[call-overload]
            [sys.executable, "-u", "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(program)
        return program  # type: ignore[no-any-return]

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.fixture
def sleeper(start_program: StartProgram) -> "subprocess.Popen[str]":
    """Return a process that sleeps."""
    program = start_program("print('ready'); import time; time.sleep(600)")
    assert program.stdout is not None
    program.stdout.readline()
    return program


@pytest.fixture
def without_first_thread(start_program: StartProgram) -> "subprocess.Popen[str]":
    """Return a process whose first thread has exited; it maps 8 MiB more for each line."""
    program = start_program(_WITHOUT_FIRST_THREAD)
    eventually(lambda: read_stat(program.pid).has_exited)
    return program


@pytest.fixture
def hot_and_cold(start_program: StartProgram) -> tuple[int, int, int, int]:
    """Return a busy process's pid, the addresses of its hot and cold area, and their size."""
    program = start_program(program_of_two_areas(0.001))
    assert program.stdout is not None
    hot, cold, size = map(int, program.stdout.readline().split())
    return program.pid, hot, cold, size


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    """Return a function that counts this process's open files."""
    return lambda: len(os.listdir("/proc/self/fd"))
