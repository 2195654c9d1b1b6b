"""Private memory that processes have in common since a fork counts once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from damon_pagetable import PageTable
from damon_pagetable.copies import count_copies_once
from damon_pagetable.pages import PageCodes
from damon_vaddr import PidSource, ProcessMemory

from damon_core import BLOCK_BYTES, PAGE_SIZE_BYTES, Context, PageMap
from damon_core.testing import StopAfter, run
from tests.prefork import prefork_server

HOT, COLD = 13, 25
BASE = 1 << 32
PRESENT, OF_FILE, EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
MIB = 1 << 20

Entries = Callable[[list[int]], int]


@pytest.fixture
def pagemap(tmp_path: Path) -> Iterator[Entries]:
    """Return a function that makes a pagemap with some entries at the base, and opens it."""
    opened: list[int] = []

    def make(entries: list[int]) -> int:
        path = tmp_path / str(len(opened))
        opened.append(os.open(path, os.O_RDWR | os.O_CREAT))
        data = np.array(entries, dtype=np.uint64).tobytes()
        os.pwrite(opened[-1], data, BASE // PAGE_SIZE_BYTES * 8)
        return opened[-1]

    yield make
    for each in opened:
        os.close(each)


def known(*periods: int, start: int = BASE) -> PageCodes:
    """Return all pages of a process with these periods, from an address on."""
    rows = np.zeros((1, 512), dtype=np.uint8)
    rows[0, : len(periods)] = periods
    blocks = np.array([start])
    made = PageMap.of_periods(blocks, rows, shortest=HOT, longest=COLD - 1, watched_us=1)
    return PageCodes(blocks, made.codes.copy(), made.code_idle_us, COLD - 1)


def periods(of: PageCodes, count: int) -> list[int]:
    """Return the periods of the first pages."""
    as_map = PageMap(*of[:3], shortest=HOT, longest=of.longest, watched_us=1)
    found: list[int] = as_map.periods_at(BASE + np.arange(count) * PAGE_SIZE_BYTES).tolist()
    return found


def test_a_page_counts_in_the_first_process_with_the_accesses_of_all(pagemap: Entries) -> None:
    """The same frame at the same address is one page."""
    maps = [known(COLD, COLD), known(HOT, COLD), known(COLD, COLD)]
    count_copies_once(maps, [pagemap([PRESENT | 7, PRESENT | 8]) for _ in maps])
    assert [periods(each, 2) for each in maps] == [[HOT, COLD], [0, 0], [0, 0]]


def test_a_page_that_was_changed_since_the_fork(pagemap: Entries) -> None:
    """It has another frame, and counts in its process."""
    maps = [known(HOT, HOT), known(HOT, COLD)]
    count_copies_once(
        maps, [pagemap([PRESENT | 7, PRESENT | 8]), pagemap([PRESENT | 7, PRESENT | 9])]
    )
    assert periods(maps[1], 2) == [0, COLD]


def test_a_page_that_the_first_process_does_not_have(pagemap: Entries) -> None:
    """It counts in the first of those that have it."""
    maps = [known(HOT, HOT), known(HOT, COLD), known(HOT, COLD)]
    pagemaps = [pagemap([PRESENT | 7, PRESENT | 8])]
    pagemaps += [pagemap([PRESENT | 9, PRESENT | 10]) for _ in range(2)]
    count_copies_once(maps, pagemaps)
    assert [periods(each, 2) for each in maps] == [[HOT, HOT], [HOT, COLD], [0, 0]]


@pytest.mark.parametrize(
    ("entry", "counts_once"),
    [(PRESENT, True), (PRESENT | EXCLUSIVE, False), (PRESENT | OF_FILE, False), (7, False)],
)
def test_where_frames_are_hidden(entry: int, counts_once: bool, pagemap: Entries) -> None:
    """Pages of no file that several processes map count as the same."""
    maps = [known(HOT), known(HOT)]
    count_copies_once(maps, [pagemap([entry]), pagemap([entry])])
    assert periods(maps[1], 1) == ([0] if counts_once else [HOT])


def test_pages_that_count_elsewhere_already(pagemap: Entries) -> None:
    """What is absent stays so."""
    maps = [known(0, HOT), known(HOT, HOT)]
    count_copies_once(maps, [pagemap([PRESENT | 7, PRESENT | 8]) for _ in maps])
    assert [periods(each, 2) for each in maps] == [[0, HOT], [HOT, 0]]


def test_processes_without_common_addresses(pagemap: Entries) -> None:
    """Nothing is read of them."""
    maps = [known(HOT), known(HOT, start=BASE + BLOCK_BYTES)]
    count_copies_once(maps, [-1, -1])
    assert maps[1].codes.any()


def test_processes_that_have_ended(pagemap: Entries) -> None:
    """Their pagemaps are empty."""
    maps = [known(HOT), known(HOT)]
    count_copies_once(maps, [pagemap([PRESENT | 7]), pagemap([])])
    assert periods(maps[1], 1) == [HOT]


@pytest.mark.slow_in_lab
@pytest.mark.needs("root", "page-tables")
def test_a_server_of_several_processes() -> None:
    """What they have in common counts once; in each it would be five times as much."""
    with prefork_server(32 * MIB) as pids:
        context = Context(ProcessMemory(PidSource(pids), PageTable()), [StopAfter(2)])
        run(context)
    assert context.snapshot is not None
    assert 32 * MIB < context.snapshot.total_bytes < 2 * 32 * MIB
