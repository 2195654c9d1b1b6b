"""The programs, and how long each is watched."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.slowdown.loads import Load, counted, redis
from benchmarks.slowdown.monitors import Foretold
from damon_core import format_size

MIB = 1 << 20
GIB = 1 << 30
#: The first aggregations are shorter than the intervals that keep what a program may lose.
START_S = 2.0
#: Where aggregations are short, there are many of them.
LEAST_S = 8.0


@frozen
class Case:
    """A program, and how long it is watched.

    Attributes:
        kind: "redis", or one of those of benchmarks/slowdown/programs.c.
        size_bytes: Its memory.
        results: For how many clearings of accessed bits each monitor watches it in a round.
        most_seconds: How long at most.
        rounds: How often.
        huge: Whether its memory is in huge pages, as far as there are any.
        always: Whether it is measured if nobody asks for it.
    """

    kind: str
    size_bytes: int
    results: int = 1
    most_seconds: float = 36
    rounds: int = 1
    huge: bool = False
    always: bool = True

    def __str__(self) -> str:
        size = format_size(self.size_bytes).replace(".0 ", " ")
        return f"{self.kind}, {size}{', huge pages' if self.huge else ''}"

    def seconds(self, foretold: Foretold) -> float:
        """Return how long it is watched."""
        interval_us = foretold.idle_us if self.kind == "map" else foretold.clearing_us
        whole_s = max(1.1 * self.results * interval_us / 1e6, LEAST_S)
        return min(START_S + whole_s, self.most_seconds)


CASES = (
    Case("random", 256 * MIB, results=3, rounds=2),
    Case("random", 2 * GIB),
    Case("random", 2 * GIB, huge=True),
    Case("random", 8 * GIB),
    Case("chase", 256 * MIB, results=3),
    Case("sweep", 2 * GIB),
    Case("map", 8 * GIB),
    Case("redis", 9 * GIB // 2, most_seconds=30),
    Case("chase", 2 * GIB, always=False),
    Case("chase", 8 * GIB, always=False),
    Case("sweep", 256 * MIB, results=3, always=False),
    Case("sweep", 8 * GIB, always=False),
    *(
        Case(kind, size, huge=True, always=False)
        for kind in ("random", "chase", "sweep")
        for size in (256 * MIB, 2 * GIB, 8 * GIB)
        if (kind, size) != ("random", 2 * GIB)
    ),
)
QUICK = (Case("map", 16 * MIB, most_seconds=1),)


@contextmanager
def running(case: Case, program: Path, folder: Path) -> Iterator[Load]:
    """Run the program of a case during the block."""
    if case.kind == "redis":
        with redis(folder, case.size_bytes) as server:
            yield server
    else:
        with counted(program, folder, case.kind, case.size_bytes, case.huge) as load:
            yield load
