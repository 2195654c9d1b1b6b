"""Flushing TLBs: where the advice is given, when, and when it ends."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from damon_pagetable.advice import Adviser
from damon_pagetable.flushing import FlushedProcess, Flusher, smallest_range
from damon_pagetable.look import Look, accessed, look, resident
from damon_pagetable.tables import PageTables
from damon_vaddr import LayoutInput, Mapped, Process, ProcessTarget

from damon_core import Range
from tests.workers import Worker

PAGE = 4096


class Flushing:
    """A process whose TLB may be flushed."""

    def __init__(self, tables: PageTables, worker: Worker) -> None:
        self.worker = worker
        self.process = Process.open(worker.pid)
        self.target = ProcessTarget("process", process=self.process)
        self.pagemap = self.process.open_file("pagemap")
        self.state = FlushedProcess()
        self._tables = tables
        self._flusher = Flusher(Adviser())

    def look(self) -> Look:
        return look(self._tables, self.pagemap)

    def flush(self, begin: bool = True) -> bool:
        """Flush after a look, in a new aggregation or in the same."""
        self.target.layout_input = LayoutInput(self.process.maps())
        if begin:
            self.state.begin()
        return self._flusher.flush(self.target, self.state, self.pagemap, self.look())

    def used(self, start: int, count: int) -> list[int]:
        """Return the numbers of those of `count` pages that are accessed."""
        found = self.look()
        block, page = np.nonzero(accessed(found.bits))
        number = (found.blocks[block] - start) // PAGE + page
        return sorted(number[(number >= 0) & (number < count)].tolist())


@pytest.fixture
def flushing(tables: PageTables, process: Worker) -> Iterator[Flushing]:
    """A process."""
    opened = Flushing(tables, process)
    yield opened
    os.close(opened.pagemap)
    opened.process.close()


needs_tables = pytest.mark.needs("root", "page-tables")


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ((0, 100, 134, 300), (100, 134)),
        ((0, 33), None),
        ((0, 40, 74, 990, 1_010, 1_024), (40, 74)),
        ((980, 1_020), None),
        ((), None),
    ],
)
def test_smallest_range_that_flushes(
    pages: tuple[int, ...], expected: tuple[int, int] | None
) -> None:
    """More than 33 pages from the first to the last, within one of two mappings."""
    usable = Mapped.of([Range(0, 1_000 * PAGE), Range(1_000 * PAGE, 2_000 * PAGE)])
    found = smallest_range(np.array(pages, dtype=np.int64) * PAGE, usable)
    if expected is None:
        assert found is None
    else:
        assert found == Range(expected[0] * PAGE, (expected[1] + 1) * PAGE)


@needs_tables
def test_only_accessed_bits_are_lost(flushing: Flushing, process: Worker) -> None:
    """Those of the range, and no page."""
    start = process.ask("area = anonymous(4096); answer = address(area)")
    process.clear()
    process.ask("for page in (3000, 3100, 3134, 3300): area[page * 4096] = 1")
    resident_before = np.count_nonzero(resident(flushing.look().bits))
    assert flushing.flush()
    assert set(flushing.used(start, 4096)) <= {3000, 3100, 3134, 3300}
    assert np.count_nonzero(resident(flushing.look().bits)) == resident_before


@needs_tables
def test_there_is_one_flush_an_aggregation(flushing: Flushing, process: Worker) -> None:
    """Further looks cause none."""
    process.ask("area = anonymous(4096)")
    assert [flushing.flush(), flushing.flush(begin=False), flushing.flush()] == [True, False, True]
    assert flushing.state.flushes == 2


@needs_tables
def test_no_flush_before_pages_in_use_were_found(flushing: Flushing, process: Worker) -> None:
    """There is a later look."""
    process.ask("area = anonymous(1024)")
    state, empty = flushing.state, flushing.look()
    state.begin()
    empty.bits.fill(1)
    flushing.target.layout_input = LayoutInput(flushing.process.maps())
    assert not Flusher(Adviser()).flush(flushing.target, state, flushing.pagemap, empty)
    assert state.wanted


@needs_tables
def test_only_private_anonymous_memory_is_advised(flushing: Flushing, process: Worker) -> None:
    """For shared memory and files the advice would do nothing."""
    start = process.ask("area = anonymous(512); answer = address(area)")
    shared = process.ask("shared = mmap.mmap(-1, 4096 * 512); answer = address(shared)")
    usable = flushing.state.usable(flushing.process.maps())
    assert usable.holds(np.array([start, shared])).tolist() == [True, False]


def state_after(shares: Callable[[bool], float], aggregations: int) -> FlushedProcess:
    """Return the state after aggregations that found what a function of "flushed" returns."""
    state = FlushedProcess()
    for _ in range(aggregations):
        state.begin()
        wanted = state.wanted
        if wanted:
            state.flushed()
        state.end(shares(wanted))
    return state


def test_one_aggregation_in_16_is_without_a_flush() -> None:
    """Where flushes help."""
    state = state_after(lambda flushed: 0.5 if flushed else 0.1, 160)
    assert state.flushes == 150
    assert state.stats.touched_with == pytest.approx(0.5)
    assert state.stats.touched_without == pytest.approx(0.1)


def test_where_flushes_make_no_difference_there_are_few() -> None:
    """After three trials."""
    state = state_after(lambda _: 0.5, 48 + 160)
    assert state.flushes == 45 + 10


def test_noise_is_no_difference() -> None:
    """Memory whose use varies by itself."""
    rng = np.random.default_rng(1)
    state = state_after(lambda _: 0.5 + 0.1 * float(rng.random()), 800)
    assert state.flushes < 300


def test_aggregation_in_which_no_flush_was_possible_is_no_trial() -> None:
    """It shows neither."""
    state = FlushedProcess()
    state.begin()
    state.end(0.3)
    assert state.stats == (0, None, None)
