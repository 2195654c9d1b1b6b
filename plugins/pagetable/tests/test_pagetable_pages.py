"""What is known of each page after several looks."""

import numpy as np
import numpy.typing as npt
import pytest
from damon_pagetable.look import HugePages, Look
from damon_pagetable.pages import PageCodes, Pages, Times
from damon_pagetable.tables import Bits
from damon_pagetable.walking import Bit

from damon_core import BLOCK_BYTES, PageMap, period_of

NONE = HugePages(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_))
NOTHING = np.zeros(0, dtype=np.int64)
SECOND = 1_000_000
#: A late start: times aren't small.
BEGIN = 100 * SECOND


def block(present: range, used: tuple[int, ...] = ()) -> Bits:
    """Return the bits of a block of which some pages are there, and some of them used."""
    bits = np.zeros(512, dtype=np.uint8)
    bits[list(present)] = Bit.PRESENT.value
    bits[list(used)] |= Bit.ACCESSED.value
    return bits


def look(
    blocks: dict[int, Bits],
    huge: HugePages = NONE,
    giant: HugePages = NONE,
    missed: tuple[int, ...] = (),
) -> Look:
    """Return a look; blocks are numbered."""
    addresses = np.array(sorted(blocks), dtype=np.int64) * BLOCK_BYTES
    bits = np.array([blocks[number] for number in sorted(blocks)], dtype=np.uint8).reshape(-1, 512)
    return Look(addresses, bits, huge, giant, np.array(missed, dtype=np.int64) * BLOCK_BYTES)


def as_map(known: PageCodes) -> PageMap:
    """Return a map; its shortest period and the time of watching don't matter here."""
    return PageMap(*known[:3], shortest=1, longest=known.longest, watched_us=1)


def periods(known: PageCodes, number: int) -> npt.NDArray[np.uint8]:
    """Return the periods of a block."""
    row: npt.NDArray[np.uint8] = as_map(known).periods[
        known.blocks.tolist().index(number * BLOCK_BYTES)
    ]
    return row


def idle_us(known: PageCodes, number: int) -> npt.NDArray[np.int64]:
    """Return the idle times of a block."""
    row = known.codes[known.blocks.tolist().index(number * BLOCK_BYTES)]
    found: npt.NDArray[np.int64] = known.code_idle_us[row]
    return found


def test_period_is_that_of_the_first_look_that_found_the_page_accessed() -> None:
    """Bits stay set, so later looks find it as well."""
    pages = Pages()
    pages.clear()
    pages.add(look({1: block(range(512), (3,))}), 5_000, BEGIN)
    pages.add(look({1: block(range(512), (3, 4))}), 10_000, BEGIN)
    found = periods(pages.found(100_000, BEGIN), 1)
    assert found[[3, 4]].tolist() == [period_of(5_000), period_of(10_000)]


def test_pages_that_are_not_there_have_no_period() -> None:
    """The others have."""
    pages = Pages()
    pages.add(look({1: block(range(10), (3,))}), 5_000, BEGIN)
    known = pages.found(5_000, BEGIN)
    assert np.count_nonzero(periods(known, 1)) == 10


def test_untouched_page_has_the_period_of_its_idle_time() -> None:
    """Over aggregations."""
    pages = Pages()
    pages.add(look({1: block(range(512), (3,))}), 5_000, BEGIN)
    pages.clear()
    now_us = BEGIN + 60 * SECOND
    pages.add(look({1: block(range(512))}), 5_000, now_us)
    known = pages.found(5_000, now_us)
    assert periods(known, 1)[3] == period_of(60 * SECOND)
    assert idle_us(known, 1)[3] == 60 * SECOND


def test_untouched_page_has_a_longer_period_than_any_touched_one() -> None:
    """Even where it was accessed just before the clearing."""
    pages = Pages()
    pages.add(look({1: block(range(512), (3,))}), 5_000, BEGIN)
    pages.clear()
    pages.add(look({1: block(range(512))}), SECOND, BEGIN + SECOND)
    assert periods(pages.found(SECOND, BEGIN + SECOND), 1)[3] == period_of(SECOND) + 1


def test_new_pages_are_counted_once() -> None:
    """The cost to the process: bits that its processors had to set again."""
    pages = Pages()
    pages.clear()
    counts = [
        pages.add(look({1: block(range(512), used)}), 5_000, BEGIN)
        for used in ((3,), (3, 4, 5), (3, 4, 5))
    ]
    assert counts == [1, 2, 0]


def test_huge_page_is_512_pages_with_one_bit() -> None:
    """And its processor sets one bit."""
    huge = HugePages(np.array([2, 4]) * BLOCK_BYTES, np.array([True, False]))
    pages = Pages()
    pages.clear()
    count = pages.add(look({3: block(range(512), (1,))}, huge), 5_000, BEGIN)
    known = pages.found(5_000, BEGIN)
    assert (known.blocks // BLOCK_BYTES).tolist() == [2, 3, 4]
    touched = np.count_nonzero(as_map(known).periods == period_of(5_000), axis=1)
    assert touched.tolist() == [512, 1, 0]
    assert count == 2


def test_huge_pages_that_are_the_same_ones_again() -> None:
    """As in most looks, which then share their addresses."""
    addresses, pages = np.array([2, 4]) * BLOCK_BYTES, Pages()
    counts: list[int] = []
    for used in ([True, False], [True, True], [True, True]):
        found = look({}, HugePages(addresses, np.array(used)))._replace(blocks=NOTHING)
        counts.append(pages.add(found, 5_000 << len(counts), BEGIN))
    known = pages.found(20_000, BEGIN)
    assert periods(known, 2).tolist() == [period_of(5_000)] * 512
    assert periods(known, 4).tolist() == [period_of(10_000)] * 512
    assert counts == [1, 1, 0]


def test_pages_that_became_a_huge_one_keep_what_is_known_of_each() -> None:
    """Until it is accessed."""
    pages = Pages()
    pages.clear()
    pages.add(look({2: block(range(512), (3,))}), 5_000, BEGIN)
    huge = HugePages(np.array([2]) * BLOCK_BYTES, np.array([False]))
    pages.add(look({}, huge), 10_000, BEGIN)
    before = periods(pages.found(10_000, BEGIN), 2)[:4].tolist()
    pages.add(look({}, huge._replace(accessed=np.array([True]))), 20_000, BEGIN)
    after = periods(pages.found(20_000, BEGIN), 2)[:4].tolist()
    assert before == [period_of(10_000) + 1] * 3 + [period_of(5_000)]
    assert after == [period_of(20_000)] * 3 + [period_of(5_000)]


def test_giant_page_is_512_blocks() -> None:
    """Each of which has what the page has."""
    giant = HugePages(np.array([512]) * BLOCK_BYTES, np.array([True]))
    pages = Pages()
    pages.add(look({1: block(range(512))}, giant=giant), 5_000, BEGIN)
    known = pages.found(5_000, BEGIN)
    assert (known.blocks // BLOCK_BYTES).tolist() == [1, *range(512, 1024)]
    assert as_map(known).periods.all()


def test_blocks_come_and_go() -> None:
    """What is known of those that stay stays."""
    pages = Pages()
    pages.clear()
    pages.add(look({1: block(range(9), (1,)), 3: block(range(9), (2,))}), 5_000, BEGIN)
    pages.add(look({2: block(range(9)), 3: block(range(9), (2,))}), 10_000, BEGIN)
    known = pages.found(10_000, BEGIN)
    assert (known.blocks // BLOCK_BYTES).tolist() == [2, 3]
    assert periods(known, 3)[2] == period_of(5_000)


def test_new_memory_has_just_been_used() -> None:
    """It isn't idle since the beginning of time."""
    pages = Pages()
    pages.clear()
    pages.add(look({1: block(range(9))}), 5_000, BEGIN)
    assert idle_us(pages.found(5_000, BEGIN), 1)[:9].tolist() == [0] * 9


def test_block_that_couldn_t_be_read_stays_as_it_was() -> None:
    """The others are updated."""
    pages = Pages()
    pages.clear()
    pages.add(look({1: block(range(9), (1,)), 3: block(range(9))}), 5_000, BEGIN)
    pages.add(look({3: block(range(9), (2,))}, missed=(1, 7)), 10_000, BEGIN)
    known = pages.found(10_000, BEGIN)
    assert (known.blocks // BLOCK_BYTES).tolist() == [1, 3]
    assert periods(known, 1)[1] == period_of(5_000)
    assert periods(known, 3)[2] == period_of(10_000)


def test_process_without_memory() -> None:
    """Nothing is known of nothing."""
    pages = Pages()
    pages.clear()
    assert pages.add(look({}), 5_000, BEGIN) == 0
    known = pages.found(5_000, BEGIN)
    assert not known.codes.size


def test_page_that_comes_back_is_new() -> None:
    """It was read from where it was swapped to."""
    pages = Pages()
    for now, present in enumerate((range(9), range(1, 9), range(9))):
        pages.clear()
        pages.add(look({1: block(present)}), 5_000, BEGIN + now * SECOND)
    known = pages.found(5_000, BEGIN + 2 * SECOND)
    assert idle_us(known, 1)[:2].tolist() == [0, 2 * SECOND]


def test_idle_times_of_the_last_200_aggregations_are_exact() -> None:
    """Page n was last accessed n aggregations ago."""
    pages, now_us = run_of(200)
    known = pages.found(SECOND, now_us)
    assert idle_us(known, 1)[:200].tolist() == [number * SECOND for number in range(200)]


@pytest.mark.parametrize("aggregations", [300, 511])
def test_longer_idle_times_are_within_an_eighth(aggregations: int) -> None:
    """Of a byte for each page."""
    pages, now_us = run_of(aggregations)
    found = idle_us(pages.found(SECOND, now_us), 1)[:aggregations] / SECOND
    assert found == pytest.approx(np.arange(aggregations), rel=1 / 8)


def run_of(aggregations: int) -> tuple[Pages, int]:
    """Let each page be accessed in one of some aggregations of a second, the last of them first."""
    pages = Pages()
    for number in range(aggregations):
        pages.clear()
        found = look({1: block(range(512), (aggregations - 1 - number,))})
        pages.add(found, SECOND, BEGIN + number * SECOND)
    return pages, BEGIN + (aggregations - 1) * SECOND


def test_table_of_times_keeps_a_year_of_half_seconds_within_an_eighth() -> None:
    """As long as the monitor runs."""
    times, interval_us = Times(), SECOND // 2
    codes = np.zeros(0, dtype=np.int64)  # the place of each time
    truth = np.zeros(0, dtype=np.int64)
    for number in range(2_000):
        # Ever longer aggregations stand for a long run.
        now_us = int(BEGIN + interval_us * (number + 1.0092**number))
        moved = times.add(now_us)
        codes[codes < moved] += 1
        codes, truth = np.append(0, codes), np.append(now_us, truth)
    known = now_us - times.values_us()[codes]
    assert now_us - truth[-1] > 365 * 86_400 * SECOND
    assert known == pytest.approx(now_us - truth, rel=1 / 8)


def test_codes_are_in_the_order_of_last_accesses() -> None:
    """So that the smallest one is that of the page accessed last."""
    pages, now_us = run_of(400)
    known = pages.found(SECOND, now_us)
    assert (np.diff(known.code_idle_us) >= 0).all()
    assert (np.diff(known.codes[0, :400].astype(int)) >= 0).all()
