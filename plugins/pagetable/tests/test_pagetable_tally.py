"""Counts of pages between borders, beside those made one page after the other."""

import numpy as np
import numpy.typing as npt
import pytest
from damon_pagetable.tally import Tally

#: More pages than are counted at once, in spans of all sizes; one of them has none in memory.
PAGES = 200_000
FIRST = np.array([0, 1, 700, 701, 66_000, 70_000, 199_999])
SPANS = list(zip(FIRST.tolist(), [*FIRST[1:].tolist(), PAGES], strict=True))


@pytest.fixture(scope="module")
def codes() -> npt.NDArray[np.uint8]:
    """Codes at random, none of them small, and a hole over the border of two spans."""
    found = np.random.default_rng(1).integers(1, 256, PAGES, dtype=np.uint8)
    found[65_900:70_100] = 0
    return found


@pytest.mark.parametrize(("least", "most"), [(1, 255), (1, 17), (48, 255), (255, 255), (0, 0)])
def test_pages_with_some_codes(codes: npt.NDArray[np.uint8], least: int, most: int) -> None:
    """From one code to another."""
    expected = [int(((codes[a:b] >= least) & (codes[a:b] <= most)).sum()) for a, b in SPANS]
    assert Tally(codes, FIRST).count(least, most).tolist() == expected


def test_no_code_is_above_the_greatest(codes: npt.NDArray[np.uint8]) -> None:
    """As where nothing has been idle for so long."""
    assert not Tally(codes, FIRST).count(256).any()


def test_smallest_code(codes: npt.NDArray[np.uint8]) -> None:
    """That of the page accessed last; 0 where nothing is in memory."""
    parts = [codes[a:b] for a, b in SPANS]
    expected = [int(part[part > 0].min()) if part.any() else 0 for part in parts]
    assert Tally(codes, FIRST).smallest().tolist() == expected


def test_bounds_are_pages_in_memory(codes: npt.NDArray[np.uint8]) -> None:
    """Of the spans that have some."""
    tally = Tally(codes, FIRST)
    start, end = tally.bounds(tally.count(1) > 0)
    assert start.tolist() == [0, 1, 700, 701, 70_100, 199_999]
    assert end.tolist() == [1, 700, 701, 65_900, 199_999, 200_000]


def test_spans_may_begin_after_the_first_page(codes: npt.NDArray[np.uint8]) -> None:
    """What is before them isn't counted."""
    assert Tally(codes, np.array([150_000])).count(1).tolist() == [50_000]


def test_no_spans(codes: npt.NDArray[np.uint8]) -> None:
    """No counts."""
    assert not len(Tally(codes, FIRST[:0]).count(1))
