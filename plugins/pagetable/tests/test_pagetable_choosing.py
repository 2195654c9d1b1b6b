"""Memory of which only some blocks are looked at: what is chosen, and what it says of the rest."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from damon_pagetable.choosing import BLOCK_SHIFT, Cells
from damon_pagetable.layout import BestCut, Known
from damon_pagetable.look import Look, Looks
from damon_pagetable.machine import Machine
from damon_pagetable.tables import IntColumn, PageTables, Tables, entry_bytes
from damon_pagetable.walking import Bit, State
from damon_vaddr import LayoutInput, Process, ProcessTarget
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import BLOCK_BYTES, PAGE_SIZE_BYTES, Range, RegionLimits, Regions

GIB = 1 << 30
TIB = 1 << 40
BASE = 16 * TIB
SECOND = 1_000_000

Used = Callable[[IntColumn], npt.NDArray[np.bool_]]


class FakeTables:
    """Page tables of memory that is made up.

    Args:
        memory: What is in memory.
        used: Which pages are used, by their addresses.
        leaves: The level of whose entries pages are.

    Attributes:
        reads: How many tables were read.
    """

    machine = Machine(4, 0, 0)

    def __init__(
        self, memory: Sequence[Range], used: Used = lambda each: each < 0, leaves: int = 1
    ) -> None:
        self.memory = memory
        self._used = used
        self._leaves = leaves
        self.reads = 0

    def read(self, _descriptor: int, level: int, addresses: IntColumn) -> Tables:
        """Read tables."""
        self.reads += len(addresses)
        size = entry_bytes(level)
        entries = addresses[:, np.newaxis] + np.arange(512) * size
        present = np.zeros(entries.shape, dtype=np.bool_)
        for start, end in self.memory:
            present |= (entries < end) & (entries + size > start)
        bits = present * np.uint8(Bit.PRESENT.value)
        if level == self._leaves:
            bits |= (present & self._used(entries)) * np.uint8(Bit.ACCESSED.value)
            if level > 1:
                bits |= present * np.uint8(Bit.LEAF.value)
        return Tables(np.full(len(addresses), State.READ.value, dtype=np.uint64), bits)

    def read_again(
        self, descriptor: int, parts: Sequence[tuple[int, IntColumn]]
    ) -> Callable[[], Tables]:
        """Return a function that reads tables."""

        def read() -> Tables:
            found = [self.read(descriptor, *each) for each in parts]
            states = np.concatenate([each.states for each in found])
            return Tables(states, np.concatenate([each.bits for each in found]))

        return read


def looks_at(tables: FakeTables, most: float) -> Looks:
    """Return looks that are limited."""
    looks = Looks(cast(PageTables, tables), 0)
    looks.limit(most)
    return looks


def cells_of(look: Look) -> Cells:
    """Return what the blocks of a look stand for."""
    assert look.cells is not None
    return look.cells


# -------------------------------------------------------------------------
# The choice
# -------------------------------------------------------------------------

blocks_anywhere = st.sets(st.integers(0, 1 << 26), min_size=1, max_size=200).map(
    lambda numbers: np.array(sorted(numbers), dtype=np.int64) << BLOCK_SHIFT
)
limits = st.integers(1, 250)


@settings(max_examples=50)
@given(blocks_anywhere, limits)
def test_chosen_blocks_stand_for_all(blocks: IntColumn, most: int) -> None:
    """Each is one of those for which it stands, and these don't overlap."""
    chosen = Cells.alone(blocks, BLOCK_BYTES).chosen(most)
    assert chosen.weights.sum() == len(blocks)
    assert np.isin(chosen.blocks, blocks).all()
    assert ((chosen.start <= chosen.blocks) & (chosen.blocks < chosen.end)).all()
    assert (chosen.end[:-1] <= chosen.start[1:]).all()


@settings(max_examples=50)
@given(blocks_anywhere, limits)
def test_no_more_are_chosen_than_allowed(blocks: IntColumn, most: int) -> None:
    """But more than half as many, wherever they are."""
    count = len(Cells.alone(blocks, BLOCK_BYTES).chosen(most).blocks)
    assert min(len(blocks), most) / 2 <= count <= most


@settings(max_examples=50)
@given(blocks_anywhere, limits, limits)
def test_more_blocks_are_those_and_others(blocks: IntColumn, most: int, other: int) -> None:
    """What is known of blocks isn't lost when the limit rises."""
    alone = Cells.alone(blocks, BLOCK_BYTES)
    fewer, more = (alone.chosen(each).blocks for each in sorted((most, other)))
    assert np.isin(fewer, more).all()


def test_dense_memory_is_chosen_up_to_the_limit() -> None:
    """Wherever it begins."""
    blocks = (7 + np.arange(8_192)) * BLOCK_BYTES
    counts = [
        len(Cells.alone(blocks, BLOCK_BYTES).chosen(most).blocks)
        for most in (512, 700, 5_000, 8_191)
    ]
    assert counts == [512, 700, 5_000, 8_191]


def test_few_blocks_that_come_change_little() -> None:
    """Nearly all that was chosen still is."""
    blocks = np.arange(10_000) * BLOCK_BYTES
    before = Cells.alone(blocks[:9_900], BLOCK_BYTES).chosen(1_000).blocks
    after = Cells.alone(blocks, BLOCK_BYTES).chosen(1_000).blocks
    assert np.isin(before, after).mean() > 0.98


def test_all_blocks_of_a_cell_are_as_likely() -> None:
    """So estimates are right on average: 256 cells of 4."""
    chosen = Cells.alone(np.arange(1_024) * BLOCK_BYTES, BLOCK_BYTES).chosen(256)
    counts = np.bincount((chosen.blocks >> BLOCK_SHIFT) % 4)
    assert (abs(counts - 64) < 28).all()


# -------------------------------------------------------------------------
# The cost
# -------------------------------------------------------------------------


def cost_of(size: int, most: int) -> list[int]:
    """Return how many tables the first look at a process takes, and the second."""
    tables = FakeTables([Range(BASE, BASE + size)])
    looks = looks_at(tables, most)
    counts = []
    for _ in range(2):
        before = tables.reads
        looks.look()
        counts.append(tables.reads - before)
    return counts


def test_cost_of_a_look_is_flat() -> None:
    """16 times as much memory: tables of 512 GiB are all that is read more."""
    for small, large in zip(cost_of(TIB // 2, 1_000), cost_of(8 * TIB, 1_000), strict=True):
        assert large - small < 100
        assert large < 1_300


def test_memory_that_is_not_there_costs_next_to_nothing() -> None:
    """A block in each of 100 mappings of a TiB: three tables each."""
    sparse = [Range(TIB * n, TIB * n + BLOCK_BYTES) for n in range(1, 101)]
    tables = FakeTables(sparse)
    found = looks_at(tables, 1_000).look()
    assert found.cells is None
    assert len(found.blocks) == 100
    assert tables.reads == 301


def test_without_a_limit_everything_is_looked_at() -> None:
    """However much it is."""
    found = looks_at(FakeTables([Range(BASE, BASE + TIB)], leaves=2), math.inf).look()
    assert found.cells is None
    assert len(found.huge.addresses) == TIB / BLOCK_BYTES


def test_as_long_as_all_fits_all_is_looked_at() -> None:
    """And nothing is estimated."""
    found = looks_at(FakeTables([Range(BASE, BASE + GIB)]), 512).look()
    assert found.cells is None
    assert len(found.blocks) == 512


def test_limit_may_rise_and_fall() -> None:
    """From one aggregation to the next."""
    looks = looks_at(FakeTables([Range(BASE, BASE + 4 * GIB)]), 100)
    counts = []
    for most in (100, 5_000, 1_000, 100):
        looks.limit(most)
        counts.append(len(looks.look().blocks))
    assert counts == [100, 2_048, 1_000, 100]


def test_blocks_stay_the_same_from_look_to_look() -> None:
    """So bits add up, and what follows from them isn't computed again."""
    looks = looks_at(FakeTables([Range(BASE, BASE + 4 * GIB)]), 100)
    assert looks.look().blocks is looks.look().blocks


def test_number_of_blocks_is_known() -> None:
    """For the shares of several processes: exactly, or of very much memory as an estimate."""
    for size in (4 * GIB, 8 * TIB):
        looks = looks_at(FakeTables([Range(BASE, BASE + size)]), 100)
        looks.look()
        assert looks.blocks == pytest.approx(size / BLOCK_BYTES, rel=0.01)


# -------------------------------------------------------------------------
# What is made of it
# -------------------------------------------------------------------------


def regions_of(tables: FakeTables, most: float, max_regions: int = 1_000) -> Regions:
    """Return the regions of an aggregation of one look."""
    target, known = ProcessTarget("1", process=Process(1, 0)), Known()
    layout = BestCut({target: known})
    layout.lay_out(target, LayoutInput(), RegionLimits(1, max_regions))
    known.first_us = known.last_us = SECOND
    known.since_us, now_us = 1, 1_000 * SECOND
    known.pages.add(looks_at(tables, most).look(), SECOND, now_us)
    layout.describe([target], now_us)
    return target.regions


def areas(*parts: tuple[int, int]) -> Used:
    """Return what is used: parts in MiB."""

    def used(pages: IntColumn) -> npt.NDArray[np.bool_]:
        place = (pages - BASE) >> 20
        hot = np.zeros(pages.shape, dtype=np.bool_)
        for begin, end in parts:
            hot |= (begin <= place) & (place < end)
        return hot

    return used


def a_tenth(pages: IntColumn) -> npt.NDArray[np.bool_]:
    """Use a tenth of all pages, at random but always the same."""
    mixed = (pages >> 12).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray((mixed >> np.uint64(40)) % np.uint64(10) == 0)


PATTERNS: dict[str, tuple[Used, float]] = {
    "three areas": (areas((1_000, 3_500), (6_000, 6_900), (12_000, 15_000)), 6_400 / 16_384),
    "a half": (areas((0, 8_192)), 0.5),
    "a tenth of the pages": (a_tenth, 0.1),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_working_set_from_a_sixteenth(pattern: str) -> None:
    """Of 16 GiB, within 3 %."""
    used, share = PATTERNS[pattern]
    size = 16 * GIB
    regions = regions_of(FakeTables([Range(BASE, BASE + size)], used), size / BLOCK_BYTES / 16)
    assert regions.touched_bytes is not None
    assert int(regions.touched_bytes.sum()) == pytest.approx(size * share, rel=0.03)
    assert int(regions.resident_bytes.sum()) == size


def test_working_set_of_8_tib() -> None:
    """Of which a thousand blocks are looked at, in 256 parts: within 3 %, too."""
    size = 8 * TIB
    half = areas((0, size >> 21))
    regions = regions_of(FakeTables([Range(BASE, BASE + size)], half), 1_000)
    assert regions.touched_bytes is not None
    assert int(regions.touched_bytes.sum()) == pytest.approx(size / 2, rel=0.03)
    assert int(regions.resident_bytes.sum()) == size


@pytest.mark.parametrize("size", [16 * GIB, 8 * TIB])
@pytest.mark.parametrize("max_regions", [10, 1_000])
def test_regions_are_those_that_could_be(size: int, max_regions: int) -> None:
    """In order, within the memory, none with more in memory than its size."""
    tables = FakeTables([Range(BASE, BASE + size)], a_tenth)
    regions = regions_of(tables, 512, max_regions)
    assert 0 < len(regions) <= max_regions
    assert (regions.end[:-1] <= regions.start[1:]).all()
    assert regions.start[0] >= BASE
    assert regions.end[-1] <= BASE + size
    assert (regions.resident_bytes <= regions.end - regions.start).all()
    assert regions.touched_bytes is not None
    assert (regions.touched_bytes <= regions.resident_bytes).all()


def test_regions_show_where_the_areas_are() -> None:
    """To the size of a cell: 32 MiB."""
    used = areas((1_000, 3_500))
    regions = regions_of(FakeTables([Range(BASE, BASE + 16 * GIB)], used), 512)
    hot = np.flatnonzero(regions.nr_accesses > 0.5)
    assert (int(regions.start[hot[0]]) - BASE) >> 20 == pytest.approx(1_000, abs=32)
    assert (int(regions.end[hot[-1]]) - BASE) >> 20 == pytest.approx(3_500, abs=32)


def test_memory_that_is_alone_in_its_cell_is_exact() -> None:
    """Beside much that isn't looked at: a small mapping far away."""
    alone = Range(BASE + TIB + 5 * PAGE_SIZE_BYTES, BASE + TIB + 9 * PAGE_SIZE_BYTES)
    tables = FakeTables([Range(BASE, BASE + 16 * GIB), alone], a_tenth)
    regions = regions_of(tables, 512)
    assert (int(regions.start[-1]), int(regions.end[-1])) == alone


@pytest.mark.parametrize(("leaves", "size"), [(2, 16 * GIB), (3, 100 * GIB), (3, 8 * TIB)])
def test_huge_pages_are_chosen_as_others(leaves: int, size: int) -> None:
    """Pages of 2 MiB and of 1 GiB, of which a half is used."""
    half = areas((0, size >> 21))
    tables = FakeTables([Range(BASE, BASE + size)], half, leaves)
    found = looks_at(tables, 512).look()
    assert 150 < len(found.huge.addresses) <= 512
    assert cells_of(found).weights.sum() == size / BLOCK_BYTES
    used = cells_of(found).weights[found.huge.accessed].sum()
    assert used == pytest.approx(size / BLOCK_BYTES / 2, rel=0.03)


def test_chosen_blocks_keep_what_is_known_of_them_when_cells_grow() -> None:
    """Idle times of those that stay."""
    tables = FakeTables([Range(BASE, BASE + 4 * GIB)])
    looks, known = looks_at(tables, 512), Known()
    for second, most in enumerate((512, 512, 100)):
        looks.limit(most)
        known.pages.clear()
        known.pages.add(looks.look(), SECOND, second * SECOND)
    found = known.pages.found(SECOND, 2 * SECOND)
    assert len(found.blocks) == 100
    assert (found.code_idle_us[found.codes] == 2 * SECOND).all()
