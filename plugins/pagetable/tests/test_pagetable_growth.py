"""How much isn't accessed again, by how much was first accessed late."""

import math

import pytest
from damon_pagetable.growth import Growth
from hypothesis import given
from hypothesis import strategies as st

LOOKS_US = [5_000 << number for number in range(8)] + [1_000_000]


def grown(*rates: float) -> Growth:
    """Return what looks find of a million pages at each rate, accesses a second, at random."""
    growth, before = Growth(), 0
    for at_us in LOOKS_US:
        count = round(1e6 * sum(1 - math.exp(-rate * at_us / 1e6) for rate in rates))
        growth.add(count - before, at_us)
        before = count
    return growth


@pytest.mark.parametrize("rate", [5, 6, 8])
def test_pages_that_are_alike(rate: float) -> None:
    """What is missed is what would have been in the first aggregation."""
    missed, touched = grown(rate).missed(1_000_000)
    assert missed / touched == pytest.approx(math.exp(-rate), rel=0.25)


def test_pages_in_use_all_the_time() -> None:
    """Nothing of them is missed."""
    assert grown(10_000).missed(1_000_000) == (0.0, 1_000_000)


def test_some_pages_in_use_now_and_then() -> None:
    """However often the others are accessed."""
    missed, _ = grown(1_000, 1).missed(1_000_000)
    assert missed > 50_000


def test_a_shorter_time() -> None:
    """Only looks in it count, and more is missed in it."""
    growth = grown(6)
    assert growth.missed(320_000)[1] == pytest.approx(1e6 * (1 - math.exp(-6 * 0.32)), abs=1)
    assert growth.missed(320_000)[0] > growth.missed(1_000_000)[0]


@pytest.mark.parametrize("looks", [0, 1])
def test_one_look_says_nothing(looks: int) -> None:
    """Nothing is missed then, as far as is known."""
    growth = Growth()
    for _ in range(looks):
        growth.add(7, 5_000)
    assert growth.missed(5_000) == (0.0, 7 * looks)


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=9), st.integers(1, 1_000_000))
def test_no_more_is_missed_than_was_accessed(new: list[int], interval_us: int) -> None:
    """Whatever was found when."""
    growth = Growth()
    for count, at_us in zip(new, LOOKS_US, strict=False):
        growth.add(count, at_us)
    missed, touched = growth.missed(interval_us)
    assert 0 <= missed <= touched <= sum(new)
