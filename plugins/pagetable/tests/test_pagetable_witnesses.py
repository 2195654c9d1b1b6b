"""Witnesses in real processes: which bits are cleared, and what that shows."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Protocol, cast

import numpy as np
import pytest
from damon_pagetable import PageTable, PageTableOptions
from damon_vaddr import LayoutInput, Process, ProcessTarget

from damon_core import HookContext, Intervals, RegionLimits, SystemClock

pytestmark = pytest.mark.needs("root", "page-tables")

PAGE = 4096
#: Long enough that witnesses count: nothing waits for it.
INTERVALS = Intervals(100_000, 1_000_000, 1_000_000)


class Worker(Protocol):
    """What the fixture `process` starts."""

    pid: int

    def ask(self, statements: str) -> int: ...


class Watched:
    """A process that a backend looks at, aggregation by aggregation.

    Args:
        worker: The process.
        options: The options of the backend.

    Attributes:
        backend: The backend.
        target: The process as a target.
        address: Where its memory is.
    """

    address = 0

    def __init__(self, worker: Worker, options: PageTableOptions | None = None) -> None:
        self._worker = worker
        self._process = Process.open(worker.pid)
        self.backend = PageTable(options)
        self._clock = SystemClock()
        self._number = 0
        self._first_s = 0.0  # how long the first aggregation was
        self.target = ProcessTarget("process", process=self._process)
        self.backend.add(self.target)

    def close(self) -> None:
        self.backend.close()
        self._process.close()

    def aggregation(self, statements: str = "", *, epoch: int = 1) -> tuple[int, int]:
        """Let the process execute statements in an aggregation.

        Returns:
            How many of its pages count as touched in it, and how many were witnesses.
        """
        context = cast(
            HookContext,
            SimpleNamespace(
                clock=self._clock,
                cpu_budget=None,
                intervals=INTERVALS,
                snapshot=SimpleNamespace(number=self._number),
            ),
        )
        self._number += 1
        self.target.layout_input = LayoutInput(self._process.maps())
        self.backend.layout.lay_out(self.target, self.target.layout_input, RegionLimits(10, 1_000))
        self.target.epoch = epoch
        self.backend.prepare([self.target], context)
        begun_s = time.monotonic()
        self._worker.ask(statements)
        # What was touched in one aggregation would have been in a longer one, too.
        least_s = 3 * self._first_s or 0.1
        time.sleep(max(begun_s + least_s - time.monotonic(), 0.0))
        self._first_s = self._first_s or time.monotonic() - begun_s
        self.backend.check([self.target], context)
        self.backend.layout.describe([self.target], self._clock.now_us())
        witnesses = self.backend.witnesses(self.target)
        return self.touched_from(self.address), 0 if witnesses is None else len(witnesses)

    def touched_from(self, address: int) -> int:
        """Return how many of 2 000 pages from an address on count as touched."""
        known = self.target.page_map
        assert known is not None
        periods = known.periods_at(address + np.arange(2_000) * PAGE)
        return int(np.count_nonzero((periods > 0) & (periods <= known.longest)))


@pytest.fixture
def watched(process: Worker) -> Iterator[Watched]:
    """A process with 2 000 pages."""
    opened = Watched(process)
    opened.address = process.ask(
        "area = anonymous(2000)\n"
        # The last pages that each processor has made aren't advised until it makes others.
        "all = os.sched_getaffinity(0)\n"
        "for each in all: os.sched_setaffinity(0, {each}); anonymous(64)\n"
        "os.sched_setaffinity(0, all)\n"
        "answer = address(area)"
    )
    yield opened
    opened.close()


def use(first: int, last: int) -> str:
    """Return statements that use pages."""
    return f"for page in range({first}, {last}): area[page * 4096] = 1"


def test_what_is_used_stays_touched(watched: Watched) -> None:
    """In later aggregations, though only witnesses can show it."""
    watched.aggregation(use(0, 1_000))
    for _ in range(2):
        touched, witnesses = watched.aggregation(use(0, 1_000))
        assert touched == pytest.approx(1_000, abs=16)
        assert witnesses


def test_what_isn_t_used_any_more_is_cold(watched: Watched) -> None:
    """But for cells that are hot in part: they are judged by the part with the witnesses.

    They have some 110 pages. One has the end of the hot pages, another that of the area, with pages
    of Python's own behind it.
    """
    watched.aggregation(use(0, 1_000))
    assert watched.aggregation(use(0, 300))[0] == pytest.approx(300, abs=250)
    assert watched.aggregation(use(0, 300))[0] == pytest.approx(300, abs=250)


def test_what_is_used_again_is_new(watched: Watched) -> None:
    """The bits of what was cold were cleared."""
    watched.aggregation(use(0, 1_000))
    watched.aggregation(use(0, 300))
    assert watched.aggregation(use(0, 1_000))[0] == pytest.approx(1_000, abs=16)


def test_new_epoch_clears_all(watched: Watched) -> None:
    """There are no witnesses in its first aggregation."""
    watched.aggregation(use(0, 1_000))
    touched, witnesses = watched.aggregation(use(0, 100), epoch=2)
    assert touched == pytest.approx(100, abs=16)
    assert not witnesses


def test_bits_of_others_are_left_alone(watched: Watched) -> None:
    """What was touched by the beginning of the epoch is seen until its end."""
    watched.aggregation(use(0, 1_000))
    watched.aggregation(use(0, 1_000))
    bits = watched.target.toll.cpu_us
    # Only witnesses are set again.
    watched.aggregation(use(0, 1_000))
    assert watched.target.toll.cpu_us - bits < bits / 3


def test_huge_pages_are_no_witnesses(process: Worker) -> None:
    """The advice would split them."""
    opened = Watched(process)
    process.ask("area, start = huge(4)\nanswer = start")
    before = _huge_bytes(process.pid)
    for _ in range(3):
        opened.aggregation("for page in range(0, 2048): area[page * 4096] = 1")
    assert _huge_bytes(process.pid) == before
    opened.close()


def test_shared_memory_has_no_witnesses(process: Worker, tmp_path: object) -> None:
    """The advice skips it, or does more than wanted."""
    opened = Watched(process)
    opened.address = process.ask(
        f"open('{tmp_path}/file', 'wb').write(bytes(2000 * 4096))\n"
        f"area = mapped('{tmp_path}/file', 2000)\n"
        "answer = address(area)"
    )
    opened.aggregation(use(0, 1_000))
    opened.aggregation(use(0, 500))
    found = opened.backend.witnesses(opened.target)
    assert found is not None
    inside = (found.addresses >= opened.address) & (found.addresses < opened.address + 2_000 * PAGE)
    assert not inside.any()
    opened.close()


def test_witnesses_can_be_switched_off(process: Worker) -> None:
    """Then what was touched counts until the next epoch."""
    opened = Watched(process, PageTableOptions(witnesses=False))
    opened.address = process.ask("area = anonymous(2000)\nanswer = address(area)")
    opened.aggregation(use(0, 1_000))
    touched, witnesses = opened.aggregation(use(0, 500))
    assert touched == pytest.approx(1_000, abs=16)
    assert not witnesses
    opened.close()


def _huge_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonHugePages:"))
