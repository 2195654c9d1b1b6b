"""Arithmetic of ranges, compared with sets of numbers."""

import itertools

from damon_paddr.ranges import (
    difference,
    intersection,
    join_nearest,
    merged,
    size_bytes,
    whole_pages,
)
from hypothesis import given
from hypothesis import strategies as st

from damon_core import PAGE_SIZE_BYTES, Range

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=8)


def any_order(pairs: list[tuple[int, int]]) -> list[Range]:
    """Return pairs of a start and a length as ranges."""
    return [Range(start, start + length) for start, length in pairs]


def members(ranges: list[Range]) -> set[int]:
    """Return the numbers in ranges."""
    return {number for start, end in ranges for number in range(start, end)}


def is_sorted(ranges: list[Range]) -> bool:
    """Return whether ranges are ascending and disjoint."""
    return all(start < end for start, end in ranges) and all(
        left.end <= right.start for left, right in itertools.pairwise(ranges)
    )


@given(PAIRS)
def test_merged(pairs: list[tuple[int, int]]) -> None:
    """The same members, ascending, and no two ranges touch."""
    result = merged(any_order(pairs))
    assert members(result) == members(any_order(pairs))
    assert all(left.end < right.start for left, right in itertools.pairwise(result))


@given(PAIRS, PAIRS)
def test_intersection(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    """The members of both, in ascending order."""
    one, other = merged(any_order(left)), merged(any_order(right))
    result = intersection(one, other)
    assert members(result) == members(one) & members(other)
    assert is_sorted(result)


@given(PAIRS, PAIRS)
def test_difference(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    """The members of only the first, in ascending order."""
    one, other = merged(any_order(left)), merged(any_order(right))
    result = difference(one, other)
    assert members(result) == members(one) - members(other)
    assert is_sorted(result)


@given(PAIRS, st.integers(0, 9))
def test_join_nearest(pairs: list[tuple[int, int]], limit: int) -> None:
    """At most `limit` ranges are left, with all members; the smallest holes are closed."""
    ranges = merged(any_order(pairs))
    result = join_nearest(ranges, limit)
    assert len(result) == min(len(ranges), max(limit, 1))
    assert members(ranges) <= members(result)
    added = difference(result, ranges)
    stay = [right.start - left.end for left, right in itertools.pairwise(result)]
    assert max((end - start for start, end in added), default=0) <= min(stay, default=99)


@given(st.integers(0, 5 * PAGE_SIZE_BYTES), st.integers(1, 5 * PAGE_SIZE_BYTES))
def test_whole_pages(start: int, length: int) -> None:
    """Pages that are only partly inside are left out."""
    result = whole_pages([Range(start, start + length)])
    pages = [
        page
        for page in range(10)
        if start <= page * PAGE_SIZE_BYTES and (page + 1) * PAGE_SIZE_BYTES <= start + length
    ]
    assert size_bytes(result) == len(pages) * PAGE_SIZE_BYTES
    assert [part.start for part in result] == [page * PAGE_SIZE_BYTES for page in pages[:1]]
