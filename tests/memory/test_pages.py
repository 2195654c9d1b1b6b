"""Every page of a target, and how it goes with snapshots."""

import gc
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from damon_core import (
    ABSENT,
    BLOCK_BYTES,
    BLOCK_PAGES,
    CODES,
    PAGE_SIZE_BYTES,
    SPECTRUM_US,
    UNTOUCHED,
    AttributeValueError,
    HookContext,
    PageMap,
    PartError,
    Spectrum,
    hookimpl,
    period_of,
)
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, run_virtual

BASE = 1 << 40
SECOND = 1_000_000
HOT, WARM, COLD = 13, 17, 26


def page_map(
    periods: Sequence[int],
    blocks: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
    watched_us: int = 1 << 32,
) -> PageMap:
    """Return a map of pages one behind the other, in numbered blocks."""
    rows = np.array(periods, dtype=np.uint8)
    rows = np.append(rows, np.zeros(-len(rows) % BLOCK_PAGES, dtype=np.uint8))
    rows = rows.reshape(-1, BLOCK_PAGES)
    numbers = np.arange(len(rows)) if blocks is None else np.array(blocks)
    return PageMap.of_periods(
        BASE + numbers * BLOCK_BYTES,
        rows,
        shortest=HOT,
        longest=COLD - 1,
        watched_us=watched_us,
        weights=None if weights is None else np.array(weights, dtype=np.float64),
    )


def numbers(addresses: npt.NDArray[np.int64]) -> list[int]:
    """Return numbers of pages."""
    found: list[int] = ((addresses - BASE) // PAGE_SIZE_BYTES).tolist()
    return found


@pytest.mark.parametrize(
    ("us", "period"), [(1, 0), (2, 1), (3, 2), (4, 2), (5_000, 13), (8_192, 13), (8_193, 14)]
)
def test_period(us: int, period: int) -> None:
    """The logarithm is rounded up."""
    assert period_of(us) == period


def test_period_of_an_address() -> None:
    """Any address of a page will do."""
    known = page_map([HOT] * 3 + [COLD], blocks=[5])
    addresses = BASE + 5 * BLOCK_BYTES + np.array([0, 2 * 4096 + 4095, 3 * 4096, 4 * 4096])
    assert known.periods_at(addresses).tolist() == [HOT, HOT, COLD, ABSENT]


def test_addresses_outside_of_all_blocks_have_no_period() -> None:
    """Below, between and behind them."""
    known = page_map([HOT] * 1024, blocks=[2, 4])
    assert known.periods_at(BASE + np.array([1, 3, 5]) * BLOCK_BYTES).tolist() == [ABSENT] * 3


def test_no_address_has_a_period_in_a_map_without_blocks() -> None:
    """Of a process without memory."""
    assert page_map([]).periods_at(np.array([BASE])).tolist() == [ABSENT]


def test_places_of_addresses() -> None:
    """In a block, between blocks, before and after all of them."""
    known = page_map([HOT] * 1024, blocks=[1, 5])
    addresses = BASE + np.array([0, 1, 1.5, 3, 5, 9]) * BLOCK_BYTES
    assert known.places(addresses.astype(np.int64)).tolist() == [0, 0, 256, 512, 512, 1024]


def test_addresses_of_places() -> None:
    """The other way."""
    known = page_map([HOT] * 1024, blocks=[1, 5])
    places = np.array([0, 3, 512, 1023])
    assert known.places(known.addresses(places)).tolist() == places.tolist()


def test_idle_time_is_finer_than_the_period() -> None:
    """Two codes with one period."""
    idle_us = np.zeros(CODES, dtype=np.int64)
    idle_us[UNTOUCHED:] = 100 * SECOND + np.arange(CODES - UNTOUCHED)
    codes = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
    codes[0, :4] = HOT, UNTOUCHED, UNTOUCHED + 7, ABSENT
    known = PageMap(np.array([BASE]), codes, idle_us, HOT, COLD - 1, 1 << 32)
    assert known.idle_us[0, :4].tolist() == [0, 100 * SECOND, 100 * SECOND + 7, 0]
    assert known.periods[0, :4].tolist() == [HOT, COLD + 1, COLD + 1, ABSENT]
    assert known.runs.pages.tolist() == [1, 2]


def test_untouched_pages_have_longer_periods_than_touched_ones() -> None:
    """Even those that came into memory just now."""
    known = PageMap(
        np.array([BASE]),
        np.full((1, BLOCK_PAGES), UNTOUCHED, dtype=np.uint8),
        np.zeros(CODES, dtype=np.int64),
        HOT,
        COLD - 1,
        watched_us=SECOND,
    )
    assert known.periods[0, 0] == COLD


def test_runs_are_neighbours_with_one_period() -> None:
    """Holes are in none, borders of blocks don't matter."""
    runs = page_map([HOT] * 3 + [COLD] * 2 + [ABSENT] * 5 + [COLD] * 600).runs
    assert numbers(runs.start) == [0, 3, 10]
    assert runs.pages.tolist() == [3, 2, 600]
    assert runs.period.tolist() == [HOT, COLD, COLD]


def test_runs_end_where_the_next_block_isn_t_a_neighbour() -> None:
    """Blocks 0 and 1 are neighbours, 5 isn't theirs."""
    runs = page_map([HOT] * 3 * BLOCK_PAGES, blocks=[0, 1, 5]).runs
    assert runs.pages.tolist() == [1024, 512]


def test_bytes_by_period() -> None:
    """And no memory that isn't there."""
    sums = page_map([HOT] * 3 + [COLD] * 2 + [ABSENT] * 5 + [COLD] * 4).bytes_by_period()
    assert np.flatnonzero(sums).tolist() == [HOT, COLD]
    assert sums[[HOT, COLD]].tolist() == [3 * PAGE_SIZE_BYTES, 6 * PAGE_SIZE_BYTES]


def test_blocks_that_stand_for_others_count_for_them() -> None:
    """The first stands for two, the second for ten, though they are neighbours."""
    known = page_map([HOT] * 2 * BLOCK_PAGES, weights=[2.0, 10.0])
    assert known.bytes_by_period()[HOT] == 12 * BLOCK_BYTES


def test_spectrum_is_cumulative() -> None:
    """What is accessed every 8 ms is also accessed every second."""
    spectrum = page_map([HOT] * 3 + [WARM] * 2 + [COLD] * 4).spectrum()
    pages = [None if size is None else size // PAGE_SIZE_BYTES for size in spectrum.within_bytes]
    assert dict(zip(SPECTRUM_US, pages, strict=True)) == {
        1 << 10: None,
        1 << 13: 3,
        1 << 16: 3,
        1 << 19: 5,
        1 << 22: 5,
        1 << 25: 5,
        1 << 28: 9,
        1 << 31: 9,
    }
    assert spectrum.total_bytes == 9 * PAGE_SIZE_BYTES


def test_times_for_which_nobody_has_watched_are_unknown() -> None:
    """Memory that wasn't accessed for 100 s may have been a minute before that."""
    spectrum = page_map([COLD + 1] * 9, watched_us=100 * SECOND).spectrum()
    known = [us for us, size in zip(SPECTRUM_US, spectrum.within_bytes, strict=True) if size == 0]
    assert known[-1] == 1 << 25
    assert spectrum.within_bytes[-2:] == (None, None)


def test_spectrum_of_no_memory() -> None:
    """There are 0 bytes of each class that can be known."""
    spectrum = page_map([]).spectrum()
    assert set(spectrum.within_bytes) == {None, 0}
    assert spectrum.total_bytes == 0


def test_spectra_add_up_where_all_are_known() -> None:
    """A process that has just begun makes long times unknown."""
    old = Spectrum((None, 1, 2, 3, 4, 5, 6, 7), 8)
    new = Spectrum((None, 10, 20, 30, 40, None, None, None), 50)
    assert Spectrum.sum([old, new]) == Spectrum((None, 11, 22, 33, 44, None, None, None), 58)


@pytest.mark.parametrize("others", [[], [None], [Spectrum((1,) * 8, 1), None]])
def test_no_spectrum_of_memory_that_isn_t_known(others: list[Spectrum | None]) -> None:
    """Not even of a part of it."""
    assert Spectrum.sum(others) is None


def test_maps_are_read_only() -> None:
    """So any thread may read one."""
    known = page_map([HOT])
    with pytest.raises(ValueError, match="read-only"):
        known.codes[0, 0] = COLD


@pytest.mark.parametrize(
    ("blocks", "rows", "weights", "message"),
    [
        ([0, 1], 1, None, "codes is of shape"),
        ([0, 1], 2, [1.0], "weights is of shape"),
        ([1, 0], 2, None, "ascending"),
        ([0, 0], 2, None, "ascending"),
    ],
)
def test_columns_that_don_t_match(
    blocks: list[int], rows: int, weights: list[float] | None, message: str
) -> None:
    """The message says which."""
    with pytest.raises(AttributeValueError, match=message):
        page_map([HOT] * rows * BLOCK_PAGES, blocks, weights)


# -- snapshots -------------------------------------------------------------------------


class Exact(ScriptedMemory):
    """Memory of which every page is known."""

    def __init__(self) -> None:
        super().__init__({"process": [ScriptedRegion(BASE, BASE + BLOCK_BYTES, heat=1.0)]})

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        context.targets[0].page_map = page_map([HOT] * BLOCK_PAGES)


class Asker:
    """A callback that asks for every page, and perhaps keeps them."""

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.asked = 0
        self.kept: list[PageMap] = []

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        assert context.snapshot is not None
        known = context.snapshot.targets[0].page_map()
        if known is not None:
            self.asked += 1
            if self.keeps:
                self.kept.append(known)


def test_callbacks_may_ask_for_every_page() -> None:
    """While they are called."""
    asker = Asker(keeps=False)
    run_virtual(Exact(), asker, aggregations=2)
    assert asker.asked == 2


def test_snapshots_don_t_keep_pages() -> None:
    """So that keeping snapshots costs what it did."""
    recorder = Recorder()
    run_virtual(Exact(), recorder, Asker(keeps=False), aggregations=2)
    gc.collect()
    assert [each.targets[0].page_map() for each in recorder.snapshots] == [None, None]


def test_pages_that_a_callback_keeps_stay_those_of_the_snapshot() -> None:
    """Each aggregation has its own."""
    recorder, asker = Recorder(), Asker(keeps=True)
    run_virtual(Exact(), recorder, asker, aggregations=2)
    assert [each.targets[0].page_map() for each in recorder.snapshots] == asker.kept
    assert asker.kept[0] is not asker.kept[1]


def test_snapshots_have_the_spectrum() -> None:
    """Whether anybody asks for pages or not; that of the context is the targets' sum."""
    recorder = Recorder()
    run_virtual(Exact(), recorder, aggregations=1)
    spectrum = page_map([HOT] * BLOCK_PAGES).spectrum()
    assert recorder.snapshots[0].targets[0].spectrum == spectrum
    assert recorder.snapshots[0].spectrum == spectrum


def test_backends_without_pages_have_none() -> None:
    """Nor a spectrum."""
    recorder, asker = Recorder(), Asker(keeps=True)
    memory = ScriptedMemory({"process": [ScriptedRegion(0, 1 << 20, heat=1.0)]})
    run_virtual(memory, recorder, asker, aggregations=1)
    assert not asker.kept
    assert recorder.snapshots[0].spectrum is None


def test_primitive_that_leaves_something_else_is_named() -> None:
    """Before any callback is given it."""

    class Wrong(Exact):
        @hookimpl
        def describe_regions(self, context: HookContext) -> None:
            context.targets[0].page_map = "pages"  # type: ignore[assignment]

    asker = Asker(keeps=True)
    with pytest.raises(PartError, match="page_map is str, not PageMap"):
        run_virtual(Wrong(), asker, aggregations=1)
    assert not asker.asked
