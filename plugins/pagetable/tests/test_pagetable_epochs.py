"""Epochs of several aggregations, with simulated memory whose accesses are known exactly."""

from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from damon_pagetable.layout import BestCut, Known
from damon_pagetable.look import HugePages, Look
from damon_pagetable.pages import Pages
from damon_pagetable.walking import Bit
from damon_pagetable.witnesses import choose
from damon_vaddr import LayoutInput, Mapped, Process, ProcessTarget
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import BLOCK_BYTES, PAGE_SIZE_BYTES, Range, RegionLimits

Bools = npt.NDArray[np.bool_]
#: Returns which pages are accessed from one time to another, in microseconds.
Accesses = Callable[[int, int], Bools]

NONE = HugePages(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_))
NOTHING = np.zeros(0, dtype=np.int64)
SECOND = 1_000_000
SAMPLING_US = 5_000
START = 1_000 * BLOCK_BYTES
BLOCKS = 16
PAGES = BLOCKS * 512
#: All of the memory may have witnesses, or none of it.
EVERYWHERE = Mapped.of([Range(START, START + BLOCKS * BLOCK_BYTES)])
NOWHERE = Mapped()


class Simulation:
    """Memory that is accessed as given, and looked at as the backend does it.

    Args:
        accesses: What is accessed when.
        usable: Where witnesses may be.
        interval_us: The aggregation interval.

    Attributes:
        target: The target.
        known: What is known of it.
        truth: What was accessed in the last aggregation.
        interval_us: The aggregation interval.
        now_us: The time.
    """

    def __init__(
        self, accesses: Accesses, usable: Mapped = EVERYWHERE, interval_us: int = SECOND
    ) -> None:
        self.target = ProcessTarget("process", process=cast(Process, None))
        self.known = Known()
        self.truth: Bools = np.zeros(PAGES, dtype=np.bool_)
        self._cut = BestCut({self.target: self.known})
        self._cut.lay_out(self.target, LayoutInput(b""), RegionLimits(10, 1_000))
        self.interval_us = interval_us
        self._accesses, self._usable = accesses, usable
        self._rng = np.random.default_rng(1)
        self._bits: Bools = np.zeros(PAGES, dtype=np.bool_)
        self.now_us = 1_000 * SECOND

    def epoch(self, aggregations: int) -> list[int]:
        """Run an epoch; return the touched pages of each aggregation."""
        return [self.aggregation(first=not number) for number in range(aggregations)]

    def aggregation(self, *, first: bool = False) -> int:
        """Run an aggregation, the first one of an epoch or a later one; return touched pages."""
        known = self.known
        pages, inference = known.pages, known.inference
        if first:
            self._bits[:] = False
            pages.clear()
            known.cleared_us, known.first_us = self.now_us, 0
            inference.begin_epoch(self.now_us)
        else:
            inference.begin(pages, self.now_us)
            for each in inference.cooled:
                self._clear(pages, each)
            inference.witnesses = choose(
                pages,
                self._usable,
                self.target.regions,
                longest=inference.longest,
                recent_us=known.last_us,
                interval_us=self.interval_us,
                rng=self._rng,
            )
            self._bits[(inference.witnesses.addresses - START) // PAGE_SIZE_BYTES] = False
            pages.settle(inference.settled(known.last_us))
        self.truth = np.zeros(PAGES, dtype=np.bool_)
        passed_us = 0
        for distance_us in self._distances(first=first):
            self._pass(distance_us - passed_us)
            passed_us = distance_us
            self._look(later=not first)
        self._cut.describe([self.target], self.now_us)
        touched = self.target.regions.touched_bytes
        assert touched is not None
        self.target.regions.reset_aggregated()
        return int(touched.sum()) // PAGE_SIZE_BYTES

    def _distances(self, *, first: bool) -> list[int]:
        if not first:
            return [self.interval_us]
        looks = [SAMPLING_US << number for number in range(20)]
        return [*(each for each in looks if each < self.interval_us * 2 / 3), self.interval_us]

    def _pass(self, us: int) -> None:
        accessed = self._accesses(self.now_us, self.now_us + us)
        self._bits |= accessed
        self.truth |= accessed
        self.now_us += us

    def _look(self, *, later: bool) -> None:
        bits = (np.uint8(Bit.PRESENT) | self._bits * np.uint8(Bit.ACCESSED)).reshape(BLOCKS, 512)
        blocks = START + np.arange(BLOCKS) * BLOCK_BYTES
        look = Look(blocks, bits.astype(np.uint8), NONE, NONE, NOTHING)
        known = self.known
        known.last_us = self.now_us - known.cleared_us
        known.first_us = known.first_us or known.last_us
        known.since_us = known.since_us or self.now_us
        known.checks = self.interval_us // SAMPLING_US
        new = known.pages.add(look, known.last_us, self.now_us, later=later)
        known.inference.look(new, known.last_us)
        if known.inference.witnesses is not None:
            known.inference.witnesses.look(look)

    def _clear(self, pages: Pages, addresses: Range) -> None:
        found = pages.places(addresses, 49)
        assert found is not None
        first, last = ((each - START) // PAGE_SIZE_BYTES for each in found)
        self._bits[first : last + 1] = False

    def touched_pages(self) -> Bools:
        """Return which pages the map has as touched."""
        known = self.target.page_map
        assert known is not None
        periods = known.periods.reshape(-1)
        found: Bools = (periods > 0) & (periods <= known.longest)
        return found


def always(*ranges: tuple[int, int]) -> Accesses:
    """Pages that are accessed all the time."""
    pages = np.zeros(PAGES, dtype=np.bool_)
    for first, last in ranges:
        pages[first:last] = True
    return lambda _, __: pages


def changing(at_us: int, before: Accesses, after: Accesses) -> Accesses:
    """Accesses that are others from a time on."""

    def accesses(begin_us: int, end_us: int) -> Bools:
        if end_us <= at_us:
            return before(begin_us, end_us)
        if begin_us >= at_us:
            return after(begin_us, end_us)
        return before(begin_us, at_us) | after(at_us, end_us)

    return accesses


def at_random(rates: npt.NDArray[np.float64]) -> Accesses:
    """Pages that are accessed at random, so many times a second on average."""
    rng = np.random.default_rng(1)

    def accesses(begin_us: int, end_us: int) -> Bools:
        seconds = (end_us - begin_us) / SECOND
        found: Bools = rng.random(PAGES) < 1 - np.exp(-rates * seconds)
        return found

    return accesses


def bursts(every_us: int, first_us: int) -> Accesses:
    """All pages at once, now and then: first so long after the simulation begins."""

    def accesses(begin_us: int, end_us: int) -> Bools:
        since_us = 1_000 * SECOND + first_us
        is_due = (end_us - since_us) // every_us > (begin_us - since_us) // every_us
        return np.full(PAGES, is_due)

    return accesses


def mean_rate(simulation: Simulation) -> float:
    """Return the mean nr_accesses of all memory."""
    regions = simulation.target.regions
    return float(np.average(regions.last_nr_accesses, weights=regions.resident_bytes))


def sweeping(seconds: float) -> Accesses:
    """One page after the other, all within some time, again and again."""

    def accesses(begin_us: int, end_us: int) -> Bools:
        first, last = (int(us / SECOND / seconds * PAGES) for us in (begin_us, end_us))
        found = np.zeros(PAGES, dtype=np.bool_)
        found[np.arange(first, last) % PAGES] = True
        return found

    return accesses


#: When the second epoch's fourth aggregation begins in a simulation of epochs of ten.
FOURTH_US = (1_000 + 3) * SECOND


def test_what_is_steady_stays_as_it_was_found() -> None:
    """In every aggregation of the epoch, with its rate."""
    simulation = Simulation(always((777, 1_777)))
    assert simulation.epoch(10) == [1_000] * 10
    regions = simulation.target.regions
    row = int(np.flatnonzero(regions.start == START + 777 * PAGE_SIZE_BYTES)[0])
    assert regions.last_nr_accesses[row] == SECOND // SAMPLING_US
    assert int(regions.age[row]) == 9


def test_rate_of_what_the_first_look_misses_follows_from_later_ones() -> None:
    """Used every 20 ms, first 12 ms after the clearing: a quarter of 200 checks find it."""
    simulation = Simulation(bursts(20_000, 12_000))
    simulation.epoch(1)
    assert mean_rate(simulation) == pytest.approx(50)


def test_rates_at_random_are_right() -> None:
    """A check of 5 ms finds 1 - exp(-0.05) of what is accessed ten times a second at random."""
    simulation = Simulation(at_random(np.full(PAGES, 10.0)))
    simulation.epoch(1)
    assert mean_rate(simulation) == pytest.approx(200 * 0.0488, rel=0.15)


def test_what_is_new_is_exact() -> None:
    """Though its bits can be seen only once in the epoch."""
    more = changing(FOURTH_US, always((777, 1_777)), always((777, 1_777), (5_000, 5_300)))
    simulation = Simulation(more)
    assert simulation.epoch(3) == [1_000] * 3
    assert simulation.aggregation() == 1_300
    assert np.array_equal(simulation.touched_pages(), simulation.truth)


def test_what_has_become_hot_stays_hot() -> None:
    """Witnesses come back; their rate is taken to be that of the others."""
    more = changing(FOURTH_US, always((777, 1_777)), always((777, 1_777), (5_000, 5_300)))
    simulation = Simulation(more)
    assert simulation.epoch(8)[4:] == pytest.approx([1_300] * 4, abs=8)
    regions = simulation.target.regions
    row = int(np.flatnonzero(regions.start == START + 5_000 * PAGE_SIZE_BYTES)[0])
    assert regions.last_nr_accesses[row] == SECOND // SAMPLING_US


def test_what_has_become_cold_is_noticed_in_the_next_aggregation() -> None:
    """Witnesses don't come back."""
    less = changing(FOURTH_US, always((777, 1_777)), always((777, 1_277)))
    simulation = Simulation(less)
    assert simulation.epoch(3) == [1_000] * 3
    assert simulation.aggregation() == pytest.approx(500, abs=16)
    assert simulation.target.outdated
    assert simulation.aggregation() == 500


def test_cold_memory_is_idle_from_the_beginning_of_the_aggregation_on() -> None:
    """Not since the first look that found it accessed."""
    less = changing(FOURTH_US, always((777, 1_777)), always((777, 1_277)))
    simulation = Simulation(less)
    simulation.epoch(6)
    regions = simulation.target.regions
    row = int(regions.holding(np.array([START + 1_500 * PAGE_SIZE_BYTES]))[0])
    assert regions.idle_us[row] == 3 * SECOND


def test_a_moving_area_is_where_it_is() -> None:
    """Within one aggregation; so is one that comes back within the epoch."""
    places = [always((first, first + 1_000)) for first in (500, 3_000, 6_000)]
    there = changing(FOURTH_US, places[0], places[1])
    back = changing(FOURTH_US + 5 * SECOND, places[2], places[0])
    moves = changing(FOURTH_US + 3 * SECOND, there, back)
    simulation = Simulation(moves)
    found = simulation.epoch(12)
    assert found == pytest.approx([1_000] * 12, abs=32)
    assert np.count_nonzero(simulation.touched_pages() ^ simulation.truth) <= 16


def test_an_area_that_moves_within_an_aggregation_is_where_it_is_in_the_next() -> None:
    """Though as much is new in the one as isn't accessed any more in the other."""
    there = changing(FOURTH_US + SECOND // 2, always((500, 1_500)), always((3_000, 4_000)))
    simulation = Simulation(there)
    assert simulation.epoch(6)[3:] == pytest.approx([2_000, 1_000, 1_000], abs=32)
    assert np.count_nonzero(simulation.touched_pages() ^ simulation.truth) <= 16


@pytest.mark.parametrize("usable", [EVERYWHERE, NOWHERE])
@pytest.mark.parametrize(
    "rates",
    [
        np.full(PAGES, 0.1),
        np.full(PAGES, 1.0),
        np.where(np.arange(PAGES) < 1_000, 100.0, 0.1),
        1_000 / np.arange(1, PAGES + 1),
        10 ** np.linspace(2, -3, PAGES),
    ],
    ids=["rare", "often", "two", "zipf", "any"],
)
def test_working_set_at_random_is_right(rates: npt.NDArray[np.float64], usable: Mapped) -> None:
    """As the truth on average, though ever more bits are set."""
    simulation = Simulation(at_random(rates), usable)
    excess = []
    for _ in range(3):
        for number in range(10):
            found = simulation.aggregation(first=not number)
            excess.append(found / np.count_nonzero(simulation.truth) - 1)
    assert abs(float(np.mean(excess))) < 0.05  # the truth itself varies by 4 %
    assert float(np.std(excess)) < 0.09


def test_a_sweep_is_as_wide_as_it_is() -> None:
    """All memory in 20 s: a twentieth each aggregation, never the same."""
    simulation = Simulation(sweeping(20))
    found = simulation.epoch(10)
    assert found == pytest.approx([PAGES / 20] * 10, rel=0.12)


def test_without_witnesses_what_is_more_counts_and_asks_for_a_clearing() -> None:
    """It isn't known whether it has replaced something."""
    more = changing(FOURTH_US, always((777, 1_777)), always((777, 1_777), (5_000, 6_000)))
    simulation = Simulation(more, NOWHERE)
    simulation.epoch(3)
    assert not simulation.target.outdated
    assert simulation.aggregation() == 2_000
    assert simulation.target.outdated


def test_without_witnesses_a_clearing_shows_what_is_cold() -> None:
    """Until then it counts as hot."""
    less = changing(FOURTH_US, always((777, 1_777)), always((777, 1_277)))
    simulation = Simulation(less, NOWHERE)
    assert simulation.epoch(5) == [1_000] * 5
    assert simulation.epoch(2) == [500] * 2


def test_longer_aggregations_within_an_epoch() -> None:
    """What is hot stays hot."""
    simulation = Simulation(always((777, 1_777)))
    simulation.epoch(2)
    simulation.interval_us = 3 * SECOND
    assert simulation.aggregation() == 1_000


def test_map_has_about_as_much_as_is_touched() -> None:
    """Also in longer aggregations, in which pages with longer periods may have been accessed."""
    simulation = Simulation(at_random(1_000 / np.arange(1, PAGES + 1)))
    simulation.epoch(1)
    simulation.interval_us = 3 * SECOND // 2
    found = simulation.aggregation()
    assert np.count_nonzero(simulation.touched_pages()) == pytest.approx(found, rel=0.15)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, PAGES), st.integers(0, PAGES)), max_size=4),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_touched_is_never_less_than_what_is_new(
    steps: list[list[tuple[int, int]]], has_witnesses: bool
) -> None:
    """Whatever is accessed, in whatever aggregation; and never more than there is."""
    ranges = [[(min(each), max(each)) for each in step] for step in steps]
    accesses = [always(*each) for each in ranges]
    begun_us = 1_000 * SECOND

    def any_of(begin_us: int, end_us: int) -> Bools:
        number = min((begin_us - begun_us) // SECOND, len(accesses) - 1)
        return accesses[number](begin_us, end_us)

    simulation = Simulation(any_of, EVERYWHERE if has_witnesses else NOWHERE)
    seen = np.zeros(PAGES, dtype=np.bool_)
    for number in range(len(accesses)):
        found = simulation.aggregation(first=not number)
        new = simulation.truth & ~seen
        seen |= new
        assert np.count_nonzero(new) <= found <= np.count_nonzero(seen)
        assert simulation.touched_pages()[new].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_epochs_of_one_aggregation_are_exact(seed: int) -> None:
    """Nothing is inferred: what was accessed is what is found, to the page."""
    rng = np.random.default_rng(seed)
    simulation = Simulation(at_random(10 ** rng.uniform(-2, 3, PAGES)))
    for _ in range(3):
        found = simulation.aggregation(first=True)
        assert found == np.count_nonzero(simulation.truth)
        assert np.array_equal(simulation.touched_pages(), simulation.truth)


@pytest.mark.parametrize(
    ("rates", "doubtful"),
    [
        (np.where(np.arange(PAGES) < 1_000, 100.0, 0.0), False),
        (np.where(np.arange(PAGES) < 1_000, 12.0, 0.0), False),
        (np.where(np.arange(PAGES) < 1_000, 3.0, 0.0), True),
        (1_000 / np.arange(1, PAGES + 1), True),
    ],
    ids=["often", "some times", "now and then", "zipf"],
)
def test_what_is_accessed_about_once_an_aggregation_can_t_be_inferred(
    rates: npt.NDArray[np.float64], doubtful: bool
) -> None:
    """It asks for a clearing in each, if that is to be had."""
    simulation = Simulation(at_random(rates))
    simulation.epoch(2)
    assert simulation.target.doubtful == doubtful


def test_longer_aggregations_don_t_end_the_doubt() -> None:
    """In shorter ones it would be there again."""
    simulation = Simulation(at_random(np.full(PAGES, 3.0)))
    simulation.epoch(1)
    simulation.interval_us = 4 * SECOND
    simulation.epoch(1)
    assert simulation.target.doubtful


def test_doubt_ends_when_accesses_are_regular() -> None:
    """With the next clearing."""
    simulation = Simulation(changing(FOURTH_US, at_random(np.full(PAGES, 3.0)), always((0, 99))))
    simulation.epoch(4)
    simulation.epoch(1)
    assert not simulation.target.doubtful


def test_a_map_isn_t_empty_where_less_than_half_of_a_period_is_touched() -> None:
    """Too much is nearer to the truth than nothing at all."""
    hot = np.arange(PAGES) < 1_600
    some = hot & (np.random.default_rng(1).random(PAGES) < 0.3)
    simulation = Simulation(changing(1_001 * SECOND, lambda _, __: hot, lambda _, __: some))
    for number in range(4):
        simulation.aggregation(first=not number)
        assert np.count_nonzero(simulation.touched_pages() & some) > 300
