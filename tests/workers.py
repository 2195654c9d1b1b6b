"""A pytest plugin: processes that execute statements when a test sends them.

Tests of backends make memory of a known layout with them, and touch it when they say.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

#: Executes statements from its input, one per line, and prints the value of `answer` after each.
_WORKER = """
import ctypes, json, mmap, os, random, sys

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
        area = mmap.mmap(file.fileno(), pages * 4096, flags=flags)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    return area

def huge(count):
    # With room to align, as areas start at any page.
    area = anonymous((count + 1) * 512, mmap.MADV_HUGEPAGE, fill=False)
    start = -(-address(area) // (2 << 20)) * (2 << 20)
    for number in range(count):
        area[start - address(area) + number * (2 << 20)] = 1
    return area, start

spare = anonymous(64)

def flush_tlb():
    # Of the whole process: x86 does that where more than 33 pages change at once.
    for protection in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE):
        place = ctypes.c_void_p(address(spare))
        ctypes.CDLL(None).mprotect(place, len(spare), protection)

print("ready", flush=True)
for line in sys.stdin:
    answer = None
    flush_tlb()
    exec(json.loads(line))
    print(json.dumps(answer), flush=True)
"""


class Worker:
    """A process that executes statements.

    Before each, it flushes its TLB: a processor that knows a page's translation doesn't set the
    accessed bit again that was cleared since, so that accesses right after a clearing go unseen.
    """

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self.program = program
        self.pid = program.pid

    def do(self, statements: str) -> None:
        """Execute statements in the process, and wait until that is done."""
        self.ask(statements)

    def ask(self, statements: str) -> int:
        """Execute statements in the process; return the integer that they assign to `answer`."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(statements) + "\n")
        self.program.stdin.flush()
        answer = json.loads(self.program.stdout.readline())
        return answer if isinstance(answer, int) else 0

    def area(self, pages: int) -> int:
        """Make private memory `area` of a number of pages, filled; return its address.

        Its pages are on the LRU lists: processors add pages in batches, and another area follows.
        """
        return self.ask(
            f"area = anonymous({pages}); filler = anonymous(64); answer = address(area)"
        )

    def clear(self) -> None:
        """Clear its accessed bits."""
        with open(f"/proc/{self.pid}/clear_refs", "w") as file:
            file.write("1")


@pytest.fixture
def start_worker() -> Iterator[Callable[[], Worker]]:
    """Return a function that starts a worker; all are killed after the test."""
    programs: list[subprocess.Popen[str]] = []

    def start() -> Worker:
        program = subprocess.Popen(
            [sys.executable, "-u", "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        return Worker(program)

    yield start
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture
def process(start_worker: Callable[[], Worker]) -> Worker:
    """Return a worker."""
    return start_worker()
