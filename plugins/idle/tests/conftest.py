"""Processes that do what a test says, when it says it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

#: Executes statements, one a line, and answers each with the value of `answer`.
_OBEDIENT = """
import ctypes, json, mmap, os, sys

def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))

def anonymous(pages, advice=mmap.MADV_NOHUGEPAGE, fill=True):
    size = pages * 4096
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(advice)
    if fill:
        area[::4096] = b"x" * pages
    return area

def mapped(path, pages, flags=mmap.MAP_SHARED):
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), pages * 4096, flags=flags)

def huge(count):
    # Room to align: the areas themselves begin anywhere.
    area = anonymous((count + 1) * 512, mmap.MADV_HUGEPAGE, fill=False)
    start = -(-address(area) // (2 << 20)) * (2 << 20)
    for number in range(count):
        area[start - address(area) + number * (2 << 20)] = 1
    return area, start

print("ready", flush=True)
for line in sys.stdin:
    answer = None
    exec(json.loads(line))
    print(json.dumps(answer), flush=True)
"""


class Obedient:
    """A process that executes what it is told."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self.program = program
        self.pid = program.pid

    def do(self, statements: str) -> None:
        """Have statements executed, and wait for that."""
        self.ask(statements)

    def ask(self, statements: str) -> int:
        """Have statements executed, and return the whole number that they name `answer`."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(statements) + "\n")
        self.program.stdin.flush()
        answer = json.loads(self.program.stdout.readline())
        return answer if isinstance(answer, int) else 0

    def area(self, pages: int) -> int:
        """Have private memory, `area`, filled; return where it begins.

        Its pages are on the LRU lists then: each processor takes fresh ones there in batches.
        """
        return self.ask(
            f"area = anonymous({pages}); filler = anonymous(64); answer = address(area)"
        )


@pytest.fixture
def obedient() -> Iterator[Callable[[], Obedient]]:
    """Return a function that starts an obedient process; all are ended after the test."""
    programs: list[subprocess.Popen[str]] = []

    def start() -> Obedient:
        program = subprocess.Popen(
            [sys.executable, "-u", "-c", _OBEDIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        return Obedient(program)

    yield start
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture
def process(obedient: Callable[[], Obedient]) -> Obedient:
    """Return an obedient process."""
    return obedient()
