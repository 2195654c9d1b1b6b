"""Memory that several processes map counts once."""

import numpy as np
import pytest
from damon_pagetable.pages import PageCodes
from damon_pagetable.sharing import count_once
from damon_vaddr import SharedMapping

from damon_core import BLOCK_BYTES, PAGE_SIZE_BYTES, PageMap, Range

FILE = (b"08:01", b"42")
OTHER = (b"08:01", b"43")
HOT, COLD = 13, 25


def known(start: int, periods: list[int], longest: int = COLD - 1) -> PageCodes:
    """Return all pages of a process with some pages from an address on."""
    first = start // BLOCK_BYTES * BLOCK_BYTES
    before = (start - first) // PAGE_SIZE_BYTES
    flat = np.zeros(-(-(before + len(periods)) // 512) * 512, dtype=np.uint8)
    flat[before : before + len(periods)] = periods
    rows = flat.reshape(-1, 512)
    blocks = first + np.arange(len(rows)) * BLOCK_BYTES
    made = PageMap.of_periods(blocks, rows, shortest=HOT, longest=longest, watched_us=1)
    return PageCodes(blocks, made.codes.copy(), made.code_idle_us, longest)


def periods(of: PageCodes, start: int, count: int) -> list[int]:
    """Return the periods of some pages."""
    as_map = PageMap(*of[:3], shortest=HOT, longest=of.longest, watched_us=1)
    found: list[int] = as_map.periods_at(start + np.arange(count) * PAGE_SIZE_BYTES).tolist()
    return found


def mapping(
    start: int, pages: int, offset: int = 0, source: tuple[bytes, bytes] = FILE
) -> SharedMapping:
    """Return a mapping; its size and its offset are in pages."""
    return SharedMapping(
        Range(start, start + pages * PAGE_SIZE_BYTES), source, offset * PAGE_SIZE_BYTES
    )


A, B = 1 << 40, (1 << 41) + 77 * PAGE_SIZE_BYTES


def test_accesses_of_all_count_in_the_first_process() -> None:
    """Whatever the addresses are."""
    maps = [known(A, [HOT, COLD, COLD]), known(B, [COLD, HOT, COLD])]
    count_once(maps, [[mapping(A, 3)], [mapping(B, 3)]])
    assert periods(maps[0], A, 3) == [HOT, HOT, COLD]
    assert periods(maps[1], B, 3) == [0, 0, 0]


@pytest.mark.parametrize(
    ("own_longest", "longest", "period", "expected"),
    [(14, 17, 17, 14), (14, 17, 13, 13), (17, 13, 14, 18), (17, 17, 18, 18), (17, 13, 20, 20)],
)
def test_touched_stays_touched_and_idle_idle(
    own_longest: int, longest: int, period: int, expected: int
) -> None:
    """Though the two are looked at at different times after their clearings."""
    maps = [
        known(A, [COLD], own_longest),
        known(B, [period], longest),
    ]
    count_once(maps, [[mapping(A, 1)], [mapping(B, 1)]])
    assert periods(maps[0], A, 1) == [expected]


def test_parts_of_a_file_are_found_by_their_offset() -> None:
    """The second process maps pages 2 to 5, the first 0 to 3."""
    maps = [known(A, [COLD] * 4), known(B, [HOT] * 4)]
    count_once(maps, [[mapping(A, 4)], [mapping(B, 4, offset=2)]])
    assert periods(maps[0], A, 4) == [COLD, COLD, HOT, HOT]
    assert periods(maps[1], B, 4) == [0, 0, HOT, HOT]


def test_pages_that_the_first_process_doesn_t_have_stay_where_they_are() -> None:
    """Memory isn't lost."""
    maps = [known(A, [COLD, 0, COLD]), known(B, [HOT, HOT, 0])]
    count_once(maps, [[mapping(A, 3)], [mapping(B, 3)]])
    assert periods(maps[0], A, 3) == [HOT, 0, COLD]
    assert periods(maps[1], B, 3) == [0, HOT, 0]


def test_other_files_are_others() -> None:
    """Each counts."""
    maps = [known(A, [COLD]), known(B, [HOT])]
    count_once(maps, [[mapping(A, 1)], [mapping(B, 1, source=OTHER)]])
    assert periods(maps[0], A, 1) == [COLD]
    assert periods(maps[1], B, 1) == [HOT]


def test_mapped_twice_by_one_process_counts_twice() -> None:
    """As in its Rss."""
    maps = [known(A, [HOT, HOT])]
    count_once(maps, [[mapping(A, 1), mapping(A + PAGE_SIZE_BYTES, 1)]])
    assert periods(maps[0], A, 2) == [HOT, HOT]


def test_many_processes() -> None:
    """All of them have the first one's memory, over the border of a block."""
    starts = [(number + 1 << 41) + 500 * PAGE_SIZE_BYTES for number in range(20)]
    maps = [known(start, [COLD] * 20) for start in starts]
    maps[7].codes.ravel()[512] = HOT
    count_once(maps, [[mapping(start, 20)] for start in starts])
    assert periods(maps[0], starts[0], 20) == [COLD] * 12 + [HOT] + [COLD] * 7
    assert not any(each.codes.any() for each in maps[1:])


def test_process_without_memory_in_the_tables() -> None:
    """Mapped, but never touched."""
    maps = [known(A, []), known(B, [HOT])]
    count_once(maps, [[mapping(A, 1)], [mapping(B, 1)]])
    assert periods(maps[1], B, 1) == [HOT]
