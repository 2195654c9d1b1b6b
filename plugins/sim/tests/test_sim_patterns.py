"""Patterns: pure, exact at any size, and consistent with their areas."""

import itertools
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from damon_sim import (
    Area,
    Moving,
    Pattern,
    PiecewisePattern,
    RandomPages,
    Stairs,
    Uniform,
    Zigzag,
    Zone,
    Zones,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import PAGE_SIZE_BYTES, Bytes, Microseconds

PAGE = Bytes(PAGE_SIZE_BYTES)
SECOND = Microseconds(1_000_000)
PIB = 1 << 50

rates = st.floats(0, 1)
pages = st.integers(1, PIB // PAGE)
sizes = pages.map(lambda count: Bytes(count * PAGE))
times = st.integers(0, 10**15)
zones = st.builds(Zones, st.lists(st.builds(Zone, sizes, rates), max_size=5).map(tuple))
hot_areas = st.sampled_from([Stairs, Zigzag, Moving]).flatmap(
    lambda kind: st.builds(
        kind,
        area=st.integers(1, 1 << 20).map(lambda count: Bytes(count * PAGE)),
        places=st.integers(1, 100),
        period=st.integers(1, 10**9).map(Microseconds),
        rate=rates,
    )
)
piecewise = zones | hot_areas | st.builds(Uniform, rates)


def addresses_of(numbers: list[int]) -> npt.NDArray[np.int64]:
    """Return the addresses of pages."""
    return np.array(numbers, dtype=np.int64) * PAGE


@settings(deadline=None)
@given(piecewise, times, st.lists(pages, min_size=1))
def test_rates_are_those_of_the_areas(
    pattern: PiecewisePattern, time_us: int, numbers: list[int]
) -> None:
    """A pattern returns the rate of the area that holds an address, and 0 outside of all areas."""
    addresses = addresses_of(numbers)
    areas = pattern.areas(time_us)
    expected = [
        next((area.rate for area in areas if area.start <= address < area.end), 0.0)
        for address in addresses.tolist()
    ]
    assert np.asarray(pattern(addresses, time_us)).tolist() == expected


@settings(deadline=None)
@given(piecewise, times)
def test_areas_are_disjoint_sorted_whole_pages(pattern: PiecewisePattern, time_us: int) -> None:
    """No area is empty, and none has a rate of 0."""
    areas = pattern.areas(time_us)
    borders = [border for area in areas for border in (area.start, area.end)]
    assert borders == sorted(borders)
    assert all(area.start < area.end and area.rate > 0 for area in areas)
    assert all(border % PAGE == 0 for border in borders)


@settings(deadline=None)
@given(zones | hot_areas, times)
def test_areas_never_leave_the_extent(pattern: PiecewisePattern, time_us: int) -> None:
    """So that a memory of this size holds the pattern at any time."""
    assert all(area.end <= pattern.extent_bytes for area in pattern.areas(time_us))


@settings(deadline=None)
@given(piecewise | st.builds(RandomPages, rates, rates, st.integers(-5, 5)), times, st.data())
def test_a_pattern_is_a_pure_function_of_each_address(
    pattern: Pattern, time_us: int, data: st.DataObject
) -> None:
    """Neither the order of addresses nor the other addresses matter."""
    numbers = data.draw(st.lists(pages, min_size=1))
    together = np.asarray(pattern(addresses_of(numbers), time_us)).tolist()
    alone = [np.asarray(pattern(addresses_of([number]), time_us)).item() for number in numbers]
    assert together == alone


def test_zones_lie_side_by_side_from_0() -> None:
    """A cold zone takes up addresses but isn't among the areas."""
    pattern = Zones((Zone(PAGE, 1.0), Zone(Bytes(2 * PAGE), 0.0), Zone(PAGE, 0.25)))
    assert pattern.areas(0) == [Area(0, PAGE, 1.0), Area(3 * PAGE, 4 * PAGE, 0.25)]
    assert np.asarray(pattern(addresses_of([0, 1, 2, 3, 4]), 0)).tolist() == [1, 0, 0, 0.25, 0]


def places(pattern: Stairs | Zigzag | Moving, periods: int) -> list[int]:
    """Return at which place the hot area is in each of the first periods."""
    return [pattern.areas(period * SECOND)[0].start // PAGE for period in range(periods)]


def test_stairs_climb_and_begin_again() -> None:
    """0 1 2 3 0 1 …."""
    assert places(Stairs(PAGE, 4, SECOND), 6) == [0, 1, 2, 3, 0, 1]


def test_zigzag_climbs_up_and_down() -> None:
    """The ends are not visited twice in a row."""
    assert places(Zigzag(PAGE, 4, SECOND), 9) == [0, 1, 2, 3, 2, 1, 0, 1, 2]


@pytest.mark.parametrize("count", range(1, 30))
def test_moving_visits_every_place_once_a_round(count: int) -> None:
    """And never stays where it is, if there is another place."""
    visited = places(Moving(PAGE, count, SECOND), 2 * count)
    assert Counter(visited) == dict.fromkeys(range(count), 2)
    assert count == 1 or all(a != b for a, b in itertools.pairwise(visited))


@pytest.mark.parametrize("kind", [Stairs, Zigzag])
def test_one_place_is_always_the_same(kind: type[Stairs | Zigzag]) -> None:
    """With only one place the area never moves."""
    assert places(kind(PAGE, 1, SECOND), 3) == [0, 0, 0]


def test_a_hot_area_moves_exactly_at_the_period() -> None:
    """Not a microsecond before."""
    pattern = Stairs(PAGE, 4, SECOND)
    assert [pattern.areas(time_us)[0].start for time_us in (SECOND - 1, SECOND)] == [0, PAGE]


@settings(deadline=None)
@given(st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.integers(0, 99), st.sampled_from([0, PIB]))
def test_the_share_of_random_pages_is_hot(share: float, seed: int, base: int) -> None:
    """Within five standard deviations, anywhere in memory; exactly for none and all."""
    count = 20_000
    hot = np.asarray(RandomPages(share, 1.0, seed)(base + addresses_of(list(range(count))), 0))
    assert abs(hot.mean() - share) <= 5 * (share * (1 - share) / count) ** 0.5


def test_random_pages_differ_by_seed_alone() -> None:
    """Time changes nothing; another seed chooses other pages."""
    addresses = addresses_of(list(range(1000)))
    first = np.asarray(RandomPages(0.5)(addresses, 0))
    assert np.array_equal(first, np.asarray(RandomPages(0.5)(addresses, 10**12)))
    assert not np.array_equal(first, np.asarray(RandomPages(0.5, seed=1)(addresses, 0)))


def test_all_addresses_of_a_page_have_the_same_rate() -> None:
    """Randomness is by page, not by byte."""
    addresses = np.arange(0, 64 * PAGE, 64, dtype=np.int64)
    hot = np.asarray(RandomPages(0.5)(addresses, 0)).reshape(64, -1)
    assert (hot == hot[:, :1]).all()
    assert 0 < hot[:, 0].sum() < 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1.5), "from 0 to 1"),
        (lambda: Uniform(float("nan")), "from 0 to 1"),
        (lambda: Zone(Bytes(100), 1.0), "multiple of 4096"),
        (lambda: Zone(Bytes(0), 1.0), "multiple of 4096"),
        (lambda: Stairs(PAGE, 0, SECOND), "above 0"),
        (lambda: Stairs(PAGE, 1, Microseconds(0)), "above 0"),
    ],
)
def test_parameters_out_of_range_are_refused(make: object, message: str) -> None:
    """Each with what would be allowed."""
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
