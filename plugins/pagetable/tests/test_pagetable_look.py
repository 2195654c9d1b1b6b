"""Looks at real processes, beside what they did and what the kernel's other files say."""

import os
from collections.abc import Callable, Iterator
from json import JSONDecodeError
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from damon_pagetable.look import Look, Looks, accessed, look, resident
from damon_pagetable.tables import Bits, PageTables, entry_bytes, table_bytes
from damon_pagetable.walking import BATCH, Bit, State

from damon_core import Range
from damon_core.testing import eventually
from tests.workers import Worker

pytestmark = pytest.mark.needs("root", "page-tables")

PAGE = 4096
HUGE = 2 << 20


@pytest.fixture
def pagemap(process: Worker) -> Iterator[int]:
    """The open pagemap of the process."""
    descriptor = os.open(f"/proc/{process.pid}/pagemap", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def pages_of(found: Look, which: Callable[[Bits], npt.NDArray[Any]]) -> set[int]:
    """Return the addresses of small pages."""
    block, page = np.nonzero(which(found.bits))
    addresses: list[int] = (found.blocks[block] + page * PAGE).tolist()
    return set(addresses)


def between(pages: set[int], start: int, count: int) -> list[int]:
    """Return the numbers of those pages that are among `count` from an address on."""
    return sorted((page - start) // PAGE for page in pages if start <= page < start + count * PAGE)


def accessed_after(
    process: Worker, statements: str, looks: Callable[[], Look], start: int, count: int
) -> list[int]:
    """Return which small pages from an address on looks find accessed after statements.

    A kernel that watches the machine's memory for itself clears single bits now and then. Pages
    that weren't seen are tried again: what is seen only grows, up to what is accessed.
    """
    seen: set[int] = set()
    for _ in range(5):
        process.ask(statements)
        seen.update(between(pages_of(looks(), accessed), start, count))
    return sorted(seen)


def huge_accessed_after(
    process: Worker, statements: str, looks: Callable[[], Look], start: int, count: int
) -> list[int]:
    """Return which huge pages looks find accessed after statements; tried again likewise."""
    seen: set[int] = set()
    for _ in range(5):
        process.ask(statements)
        seen.update(used_among(looks(), start, count))
    return sorted(seen)


def test_pages_in_memory(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Only pages that were touched are there."""
    start = process.ask(
        "area = anonymous(2000, fill=False)\n"
        "for page in (0, 1, 511, 700, 1999): area[page * 4096] = 1\n"
        "answer = address(area)"
    )
    pages = pages_of(look(tables, pagemap), resident)
    assert between(pages, start, 2000) == [0, 1, 511, 700, 1999]


def test_pages_accessed_since_the_bits_were_cleared(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """Exact to the page."""
    start = process.ask("area = anonymous(2000); answer = address(area)")
    process.clear()
    statements = "for page in range(3, 2000, 97): area[page * 4096] = 2"
    pages = accessed_after(process, statements, lambda: look(tables, pagemap), start, 2000)
    assert pages == list(range(3, 2000, 97))


def test_reads_count_as_accesses(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Not only writes set the accessed bit."""
    start = process.ask("area = anonymous(600); answer = address(area)")
    process.clear()
    assert accessed_after(process, "area[5 * 4096]", lambda: look(tables, pagemap), start, 600) == [
        5
    ]


def test_looks_don_t_change_anything(tables: PageTables, process: Worker, pagemap: int) -> None:
    """A second look finds what the first found."""
    start = process.ask("area = anonymous(600); answer = address(area)")
    process.clear()

    def second() -> Look:
        look(tables, pagemap)
        return look(tables, pagemap)

    assert accessed_after(process, "area[5 * 4096] = 1", second, start, 600) == [5]


def test_all_of_a_process_is_seen(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Beside Rss of smaps, at rest."""
    process.ask("area = anonymous(5000)")
    found = look(tables, pagemap)
    with open(f"/proc/{process.pid}/smaps_rollup") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
    seen = np.count_nonzero(resident(found.bits)) * PAGE + len(found.huge.addresses) * HUGE
    assert seen == rss * 1024


def test_page_of_zeros_is_nobody_s_memory(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """Pages that were only read take no memory."""
    start = process.ask(
        "area = anonymous(600, fill=False)\n"
        "answer = sum(area[page * 4096] for page in range(600))\n"
        "answer = address(area)"
    )
    found = look(tables, pagemap)
    assert between(pages_of(found, resident), start, 600) == []
    present = pages_of(found, lambda bits: bits & Bit.PRESENT.value)
    assert len(between(present, start, 600)) == 600


def test_huge_pages(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Each is one entry, with one accessed bit."""
    start = process.ask("area, answer = huge(4)")
    process.clear()
    statement = f"area[{start} - address(area) + (2 << 20) + 12345] = 1"
    seen = huge_accessed_after(process, statement, lambda: look(tables, pagemap), start, 4)
    addresses = look(tables, pagemap).huge.addresses
    ours = addresses[(addresses >= start) & (addresses < start + 4 * HUGE)]
    if not len(ours):
        pytest.skip("this machine gives no transparent huge pages")
    assert ours.tolist() == [start + number * HUGE for number in range(4)]
    assert seen == [1]


def test_memory_without_permission_is_still_there(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """Its entries are marked as absent for the processor, as are those of NUMA balancing."""
    start = process.ask(
        "area = anonymous(600)\n"
        "ctypes.CDLL(None).mprotect(ctypes.c_void_p(address(area)), 600 * 4096, 0)\n"
        "answer = address(area)"
    )
    assert len(between(pages_of(look(tables, pagemap), resident), start, 600)) == 600


def test_only_ranges_are_looked_at(tables: PageTables, process: Worker, pagemap: int) -> None:
    """To the page, in the first look and in those that read the same tables again."""
    start = process.ask("area = anonymous(2000); answer = address(area)")
    looks = Looks(tables, pagemap, [Range(start + 300 * 4096, start + 1100 * 4096)])
    for _ in range(2):
        pages = pages_of(looks.look(), resident)
        assert between(pages, start, 2000) == list(range(300, 1100))
        assert len(pages) == 800


def test_memory_that_was_given_back(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Pages that are gone aren't found."""
    start = process.ask("area = anonymous(2000); answer = address(area)")
    process.ask("area.madvise(mmap.MADV_DONTNEED, 0, 1000 * 4096)")
    pages = pages_of(look(tables, pagemap), resident)
    assert between(pages, start, 2000) == list(range(1000, 2000))


def test_looks_share_what_has_not_changed(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """So that what follows from it isn't computed again."""
    looks = Looks(tables, pagemap)
    assert looks.look().blocks is looks.look().blocks


def test_looks_follow_memory_that_is_new(tables: PageTables, process: Worker, pagemap: int) -> None:
    """In the same tables, and far away, where there are no tables yet."""
    looks = Looks(tables, pagemap)
    looks.look()
    for place in (0, 1 << 40, 1 << 45):
        statements = "area = anonymous(1000); answer = address(area)"
        if place:
            fixed = f"ctypes.c_void_p({place}), 4096, 3, 0x100022, -1, 0"
            statements = (
                "mmap64 = ctypes.CDLL(None).mmap; mmap64.restype = ctypes.c_void_p\n"
                f"answer = mmap64({fixed}); ctypes.memset(answer, 1, 4096)"
            )
        start = process.ask(statements)
        again = looks.look()
        assert between(pages_of(again, resident), start, 1)
        assert again.blocks.tolist() == look(tables, pagemap).blocks.tolist()


def test_looks_see_huge_pages_in_use(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Though which ones there are hasn't changed."""
    start = process.ask("area, answer = huge(3)")
    looks = Looks(tables, pagemap)
    if start not in looks.look().huge.addresses.tolist():
        pytest.skip("the kernel had no huge pages to give")
    process.clear()
    assert used_among(looks.look(), start, 3) == []
    statement = f"area[{start} - address(area) + {HUGE} + 5] = 2"
    assert huge_accessed_after(process, statement, looks.look, start, 3) == [1]


def test_some_blocks_stand_for_all(tables: PageTables, process: Worker, pagemap: int) -> None:
    """Of 256 MiB, half of which was used, and some more that Python has."""
    process.ask("area = anonymous(256 * 256)")
    process.clear()
    process.ask(f"area[: {128 << 20} : 4096] = b'y' * {128 << 8}")
    everything, looks = look(tables, pagemap), Looks(tables, pagemap)
    looks.limit(48)
    some = looks.look()
    assert some.cells is not None
    assert len(some.blocks) <= 48
    weights = some.cells.at(some.blocks).weights
    estimated = weights @ np.count_nonzero(accessed(some.bits), axis=1)
    assert some.cells.weights.sum() == len(everything.blocks) + len(everything.huge.addresses)
    assert estimated == pytest.approx(np.count_nonzero(accessed(everything.bits)), rel=0.15)


def test_terabytes_that_are_not_there_cost_nothing(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """64 TiB, of which a page every 4 TiB is in memory: three tables each, at most."""
    looks = Looks(tables, pagemap)
    looks.look()
    before = sum(map(len, looks.addresses().values()))
    start = process.ask(
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000\n"
        "area = mmap.mmap(-1, 64 << 40, flags=flags)\n"
        "area.madvise(mmap.MADV_NOHUGEPAGE)\n"
        "for place in range(0, 64 << 40, 4 << 40): area[place] = 1\n"
        "answer = address(area)"
    )
    pages = pages_of(looks.look(), resident)
    assert len([page for page in pages if start <= page < start + (64 << 40)]) == 16
    assert sum(map(len, looks.addresses().values())) - before <= 3 * 16 + 3


def used_among(found: Look, start: int, count: int) -> list[int]:
    """Return the numbers of the accessed ones among some huge pages."""
    used = found.huge.addresses[found.huge.accessed]
    return [int(page - start) // HUGE for page in used if start <= page < start + count * HUGE]


def test_process_that_has_ended_has_no_pages(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """Its open file keeps its top table, which is empty."""
    process.ask("area = anonymous(2000)")
    assert len(look(tables, pagemap).blocks)
    with pytest.raises(JSONDecodeError):
        process.ask("os._exit(0)")
    eventually(lambda: not len(look(tables, pagemap)[0]))


def test_process_that_executes_another_program_has_no_pages(
    tables: PageTables, process: Worker, pagemap: int
) -> None:
    """The open file is of the memory before."""
    with pytest.raises(JSONDecodeError):
        process.ask("os.execvp('true', ['true'])")
    eventually(lambda: not len(look(tables, pagemap)[0]))


def test_states_of_tables(tables: PageTables, process: Worker, pagemap: int) -> None:
    """A table, no table, and a huge page in the place of one."""
    start = process.ask("area, answer = huge(1)")
    block = process.ask("small = anonymous(1024); answer = address(small)")
    unused = 1 << 40
    found = tables.read(pagemap, 1, np.array([block, unused, start]))
    huge = look(tables, pagemap).huge.addresses
    of_huge = State.HUGE if start in huge.tolist() else State.READ
    assert found.states.tolist() == [State.READ, State.ABSENT, of_huge]


def test_many_tables_in_any_order(tables: PageTables, process: Worker, pagemap: int) -> None:
    """More than a run of the program reads, and not a multiple of that."""
    count = 2 * BATCH + 3
    start = process.ask(
        f"area = anonymous({count + 1} * 512, fill=False)\n"
        "first = -(-address(area) // (2 << 20)) * (2 << 20)\n"
        f"for block in range({count}):\n"
        "    area[first - address(area) + (block << 21) + block * 4096] = 1\n"
        "answer = first"
    )
    order = np.random.default_rng(1).permutation(count)
    _, bits = tables.read(pagemap, 1, start + order * table_bytes(1))
    rows, pages = np.nonzero(bits & Bit.PRESENT.value)
    assert rows.tolist() == list(range(count))
    assert pages.tolist() == order.tolist()


def test_fewer_tables_in_a_run(process: Worker, pagemap: int) -> None:
    """What is read is the same."""
    block = process.ask("small = anonymous(4096); answer = address(small)")
    addresses = block + np.arange(5) * table_bytes(1)
    opened = PageTables(most=1)
    try:
        found = opened.read(pagemap, 1, addresses)
    finally:
        opened.close()
    assert found.states[1:].tolist() == [State.READ] * 4
    assert (found.bits[1:] & Bit.PRESENT).all()


def test_kernel_s_half_of_the_top_table_stays_unknown(tables: PageTables, pagemap: int) -> None:
    """Nothing about the kernel's own memory is returned."""
    _, bits = tables.read(pagemap, tables.machine.levels, np.zeros(1, dtype=np.int64))
    assert not bits[:, 256:].any()


def test_sizes_of_entries() -> None:
    """4 KiB, 2 MiB, 1 GiB."""
    assert [entry_bytes(level) for level in (1, 2, 3)] == [PAGE, HUGE, 1 << 30]
