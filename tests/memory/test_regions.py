"""Regions as columns: cutting, following changes of the address space, ages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    PAGE_SIZE_BYTES,
    UNKNOWN,
    AttributeValueError,
    Range,
    RegionLimits,
    Regions,
)

MOST_PAGES = 1 << 34  # 64 TiB


def ranges_of(gaps_and_sizes: list[tuple[int, int]]) -> list[Range]:
    """Return page-aligned ranges of these numbers of pages, each after a gap."""
    ranges: list[Range] = []
    position = 0
    for gap, size in gaps_and_sizes:
        start = position + gap * PAGE_SIZE_BYTES
        position = start + size * PAGE_SIZE_BYTES
        ranges.append(Range(start, position))
    return ranges


#: Sorted, disjoint, page-aligned ranges; some touch each other.
pages = st.one_of(st.integers(1, 20), st.integers(1, MOST_PAGES))
page_ranges = st.lists(st.tuples(st.one_of(st.just(0), pages), pages), min_size=1, max_size=5).map(
    ranges_of
)
limits = st.builds(
    lambda least, more: RegionLimits(least, least + more), st.integers(1, 200), st.integers(0, 100)
)


def counted(ranges: list[Range], number: RegionLimits) -> Regions:
    """Return regions whose counters all differ."""
    regions = Regions.evenly(ranges, number)
    numbers = np.arange(1, len(regions) + 1)
    regions.nr_accesses = numbers.astype(np.float64)
    regions.last_nr_accesses = regions.nr_accesses + 0.5
    regions.nr_checks = numbers + 1
    regions.age = numbers * 10
    regions.idle_us = numbers * 100
    regions.resident_bytes = regions.size_bytes // 2
    return regions


def covered(regions: Regions) -> list[tuple[int, int]]:
    """Return the address space of regions, with touching ones joined."""
    joined: list[tuple[int, int]] = []
    for start, end in zip(regions.start.tolist(), regions.end.tolist(), strict=True):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def union(ranges: list[Range]) -> list[tuple[int, int]]:
    """Return ranges, with touching ones joined."""
    return covered(Regions([r.start for r in ranges], [r.end for r in ranges]))


# -- making --------------------------------------------------------------------------------


def test_a_table_may_be_empty() -> None:
    """An address space without any memory has no regions."""
    assert len(Regions()) == 0
    Regions().grow_older(1)
    assert Regions().random_pages(np.random.default_rng(1)).tolist() == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param([5], [5], id="empty"),
        pytest.param([6], [5], id="backwards"),
        pytest.param([0, 4], [5, 9], id="overlapping"),
        pytest.param([5, 0], [9, 4], id="unsorted"),
        pytest.param([0, 5], [5], id="different lengths"),
        pytest.param([[0]], [[5]], id="two dimensions"),
    ],
)
def test_invalid_ranges_are_refused(start: list[int], end: list[int]) -> None:
    """Ranges must be sorted, disjoint and not empty."""
    with pytest.raises(AttributeValueError):
        Regions(start, end)


def test_an_empty_range_is_refused() -> None:
    """There is nothing to cut."""
    with pytest.raises(AttributeValueError):
        Regions.evenly([Range(4096, 4096)], RegionLimits())


def test_regions_may_touch() -> None:
    """Half-open ranges that touch share no address."""
    assert Regions([0, 5], [5, 9]).size_bytes.tolist() == [5, 4]


@given(page_ranges, limits)
def test_even_cuts_cover_the_ranges_exactly(ranges: list[Range], number: RegionLimits) -> None:
    """No byte is lost or added."""
    assert covered(Regions.evenly(ranges, number)) == union(ranges)


@given(page_ranges, limits)
def test_even_cuts_are_page_aligned(ranges: list[Range], number: RegionLimits) -> None:
    """No page belongs to two regions."""
    regions = Regions.evenly(ranges, number)
    assert not np.any(regions.start % PAGE_SIZE_BYTES)
    assert not np.any(regions.end % PAGE_SIZE_BYTES)


@given(page_ranges, limits)
def test_even_cuts_keep_to_the_limits(ranges: list[Range], number: RegionLimits) -> None:
    """There is at least one region for each range, and otherwise at most the number wanted."""
    regions = Regions.evenly(ranges, number)
    assert len(ranges) <= len(regions) <= max(number.min_regions, len(ranges))


@given(st.integers(1, MOST_PAGES), limits)
def test_even_cuts_of_one_range_differ_by_a_page(pages: int, number: RegionLimits) -> None:
    """There are as many regions as wanted or as there are pages, and they are of equal size."""
    regions = Regions.evenly([Range(0, pages * PAGE_SIZE_BYTES)], number)
    assert len(regions) == min(pages, number.min_regions)
    assert np.ptp(regions.size_bytes) <= PAGE_SIZE_BYTES


# -- random pages ----------------------------------------------------------------------------


@given(page_ranges, limits, st.integers(0, 2**32))
def test_random_pages_lie_in_their_regions(
    ranges: list[Range], number: RegionLimits, seed: int
) -> None:
    """Each is the first address of a page of its region."""
    regions = Regions.evenly(ranges, number)
    pages = regions.random_pages(np.random.default_rng(seed))
    assert np.all((regions.start <= pages) & (pages + PAGE_SIZE_BYTES <= regions.end))
    assert not np.any(pages % PAGE_SIZE_BYTES)


def test_random_pages_reach_the_whole_of_a_huge_region() -> None:
    """Each sixteenth of 64 TiB is drawn about equally often (32 bits would miss most of it)."""
    size = 1 << 46
    regions, rng = Regions([0], [size]), np.random.default_rng(1)
    drawn = np.concatenate([regions.random_pages(rng) for _ in range(1_600)])
    counts = np.bincount(drawn * 16 // size, minlength=16)
    assert 60 < counts.min() <= counts.max() < 140


# -- following the address space -----------------------------------------------------------


@given(page_ranges, page_ranges, limits)
def test_cover_covers_the_new_ranges_exactly(
    old: list[Range], new: list[Range], number: RegionLimits
) -> None:
    """The address space is the new one, whatever the old one was."""
    assert covered(counted(old, number).cover(new, number)) == union(new)


@given(page_ranges, page_ranges, limits)
def test_cover_keeps_the_counters_of_old_regions(
    old: list[Range], new: list[Range], number: RegionLimits
) -> None:
    """Each region has the counters of the old region that it lies in, or 0 outside of all."""
    before = counted(old, number)
    after = before.cover(new, number)
    for index in range(len(after)):
        start, end = after.start[index], after.end[index]
        inside = np.flatnonzero((before.start < end) & (start < before.end))
        counters = (
            after.nr_accesses[index],
            after.last_nr_accesses[index],
            after.age[index],
            after.idle_us[index],
        )
        if inside.size:
            (origin,) = inside.tolist()
            assert before.start[origin] <= start < end <= before.end[origin]
            assert counters == (
                before.nr_accesses[origin],
                before.last_nr_accesses[origin],
                before.age[origin],
                before.idle_us[origin],
            )
        else:
            assert counters == (0, 0, 0, 0)


@given(page_ranges, limits)
def test_cover_of_the_same_ranges_changes_nothing(
    ranges: list[Range], number: RegionLimits
) -> None:
    """An update without a change keeps every column."""
    before = counted(ranges, number)
    after = before.cover(ranges, number)
    for column in Regions.__slots__:
        np.testing.assert_array_equal(getattr(after, column), getattr(before, column))


def test_cover_fills_a_gap_with_one_fresh_region() -> None:
    """Memory that appears before, between or after known regions becomes one region each."""
    before = Regions([0x2000, 0x6000], [0x4000, 0x8000])
    before.age[:] = 7
    after = before.cover([Range(0x1000, 0x9000)], RegionLimits())
    assert after.start.tolist() == [0x1000, 0x2000, 0x4000, 0x6000, 0x8000]
    assert after.age.tolist() == [0, 7, 0, 7, 0]


def test_cover_cuts_an_unknown_range_by_its_share() -> None:
    """A range without known regions is cut into its share of min_regions."""
    before = Regions([0], [0x10000])
    after = before.cover([Range(0, 0x10000), Range(0x20000, 0x50000)], RegionLimits(8, 100))
    assert after.start.tolist() == [0, *range(0x20000, 0x50000, 0x8000)]


def test_cover_of_nothing_is_nothing() -> None:
    """A target whose memory is gone has no regions left."""
    assert len(Regions([0], [4096]).cover([], RegionLimits())) == 0


def test_matching_keeps_counters_of_regions_that_begin_where_they_did() -> None:
    """A mapping that grew is the same one; a mapping that begins elsewhere is new."""
    before = Regions([10, 30, 50], [20, 40, 60])
    before.age[:] = [1, 2, 3]
    before.resident_bytes[:] = 5
    after = before.matching([5, 30, 50], [8, 45, 60])
    assert after.end.tolist() == [8, 45, 60]
    assert after.age.tolist() == [0, 2, 3]
    # How much of a grown mapping is in memory is unknown until the next check.
    assert after.resident_bytes.tolist() == [3, 15, 5]


@pytest.mark.parametrize(("old", "new"), [(0, 2), (2, 0), (0, 0)])
def test_matching_accepts_empty_tables(old: int, new: int) -> None:
    """A target may have no mapping before, after, or both."""

    def table(count: int) -> Regions:
        return Regions(np.arange(count) * 10, np.arange(count) * 10 + 5)

    assert len(table(old).matching(table(new).start, table(new).end)) == new


# -- cutting and joining -------------------------------------------------------------------------


def test_holding_finds_the_region_that_contains_an_address() -> None:
    """The start belongs to a region, the end doesn't; addresses in gaps belong to none."""
    regions = Regions([0x1000, 0x3000, 0x4000], [0x2000, 0x4000, 0x5000])
    addresses = np.array([0, 0x1000, 0x1FFF, 0x2000, 0x3000, 0x3FFF, 0x4000, 0x5000])
    assert regions.holding(addresses).tolist() == [-1, 0, 0, -1, 1, 1, 2, -1]
    assert Regions().holding(addresses).tolist() == [-1] * len(addresses)


def test_cuts_at_borders_in_gaps_and_twice_change_nothing_more() -> None:
    """Regions are cut only inside, and once at each address, in any order."""
    regions = Regions([0x1000, 0x4000], [0x3000, 0x6000])
    cut = regions.cut_at(np.array([0x5000, 0x2000, 0x2000, 0x1000, 0x3000, 0x3800, 0x6000, 0]))
    assert cut.start.tolist() == [0x1000, 0x2000, 0x4000, 0x5000]
    assert cut.end.tolist() == [0x2000, 0x3000, 0x5000, 0x6000]
    assert len(Regions().cut_at(np.array([0x1000]))) == 0


@given(page_ranges, limits, st.lists(st.integers(0, MOST_PAGES * 5), max_size=20))
def test_cuts_keep_the_address_space_and_the_counters(
    ranges: list[Range], number: RegionLimits, pages: list[int]
) -> None:
    """Each part has the counters of the whole; joined again, the parts equal the whole."""
    before = counted(ranges, number)
    after = before.cut_at(np.array(pages, dtype=np.int64) * PAGE_SIZE_BYTES)
    origin = before.holding(after.start)
    assert covered(after) == union(ranges)
    for column in ("nr_accesses", "last_nr_accesses", "nr_checks", "age", "idle_us"):
        assert np.array_equal(getattr(after, column), getattr(before, column)[origin]), column
    joined = after.joined(np.flatnonzero(np.diff(origin, prepend=-1)))
    assert np.array_equal(joined.start, before.start)
    assert np.array_equal(joined.end, before.end)
    assert joined.nr_accesses == pytest.approx(before.nr_accesses)
    assert np.array_equal(joined.idle_us, before.idle_us)


def test_joined_regions_have_means_and_minimums() -> None:
    """3 pages and 1 page: mean frequencies and ages by size, minimum idle times and checks."""
    regions = Regions([0, 0x3000, 0x4000], [0x3000, 0x4000, 0x6000])
    regions.nr_accesses[:], regions.last_nr_accesses[:] = [4, 8, 1], [0, 4, 2]
    regions.nr_checks[:], regions.age[:] = [20, 10, 5], [3, 9, 7]
    regions.idle_us[:], regions.resident_bytes[:] = [50, 90, 10], [100, 200, 300]
    joined = regions.joined(np.array([0, 2]))
    assert joined.end.tolist() == [0x4000, 0x6000]
    assert joined.nr_accesses.tolist() == [5, 1]
    assert joined.last_nr_accesses.tolist() == [1, 2]
    assert joined.age.tolist() == [4, 7]
    assert joined.nr_checks.tolist() == [10, 5]
    assert joined.idle_us.tolist() == [50, 10]
    assert joined.resident_bytes.tolist() == [300, 300]
    assert joined.touched_bytes is None


def test_joined_regions_have_all_touched_bytes() -> None:
    """Where they are known, they add up as resident bytes do."""
    regions = Regions([0, 0x3000, 0x4000], [0x3000, 0x4000, 0x6000])
    regions.touched_bytes = np.array([100, 200, 300])
    joined = regions.joined(np.array([0, 2]))
    assert joined.touched_bytes is not None
    assert joined.touched_bytes.tolist() == [300, 300]


def test_joined_regions_have_all_idle_bytes() -> None:
    """Unless they aren't known of one of them."""
    regions = Regions([0, 0x3000, 0x4000], [0x3000, 0x4000, 0x6000])
    regions.idle_1m_bytes = np.array([100, 200, UNKNOWN])
    joined = regions.joined(np.array([0, 1]))
    assert joined.idle_1m_bytes is not None
    assert joined.idle_1m_bytes.tolist() == [100, UNKNOWN]


def test_idle_bytes_stay_with_regions_that_stay() -> None:
    """Of others nothing is known yet."""
    regions = Regions([0, 0x3000], [0x3000, 0x4000])
    regions.idle_10s_bytes = np.array([100, 200])
    found = regions.matching([0, 0x3000, 0x8000], [0x3000, 0x5000, 0x9000]).idle_10s_bytes
    assert found is not None
    assert found.tolist() == [100, UNKNOWN, UNKNOWN]


# -- ages ------------------------------------------------------------------------------------


def aged(now: list[float], last: list[float]) -> Regions:
    """Return regions of age 5, idle for 1000 us, after one more aggregation of 100 us."""
    start = np.arange(len(now)) * 10
    regions = Regions(start, start + 10)
    regions.nr_accesses[:], regions.last_nr_accesses[:] = now, last
    regions.age[:], regions.idle_us[:] = 5, 1_000
    regions.grow_older(100)
    return regions


def test_a_change_by_more_than_a_tenth_of_the_largest_resets_the_age() -> None:
    """With 20 as the largest, a change by 2 keeps the age and one by 3 resets it, up or down."""
    assert aged([20, 12, 13, 8, 7], [20, 10, 10, 10, 10]).age.tolist() == [6, 6, 0, 6, 0]


def test_a_small_change_of_shares_keeps_the_age() -> None:
    """The tenth isn't rounded down: a change by 0.05 with 0.9 as the largest is none."""
    assert aged([0.9, 0.4, 0.6], [0.85, 0.45, 0.4]).age.tolist() == [6, 6, 0]


def test_the_threshold_may_be_given() -> None:
    """The same change keeps the age or resets it."""
    for threshold, age in ((2, 1), (1, 0)):
        regions = Regions([0], [10])
        regions.nr_accesses[:], regions.last_nr_accesses[:] = 3, 5
        regions.grow_older(100, threshold)
        assert regions.age.tolist() == [age]


def test_any_access_resets_the_idle_time() -> None:
    """The smallest share of an access counts."""
    assert aged([0, 0.01], [0, 0]).idle_us.tolist() == [1_100, 0]


def test_regions_that_are_never_accessed_grow_old() -> None:
    """With 0 as the largest, 0 is not a change."""
    assert aged([0, 0], [0, 0]).age.tolist() == [6, 6]


def test_reset_keeps_the_counters_of_the_aggregation() -> None:
    """The next aggregation begins at 0 and is compared with this one."""
    regions = aged([3, 4], [1, 2])
    regions.nr_checks[:] = 20
    regions.reset_aggregated()
    assert regions.nr_checks.tolist() == [0, 0]
    assert regions.last_nr_accesses.tolist() == [3, 4]
    assert regions.nr_accesses.tolist() == [0, 0]


def test_rescaling_keeps_frequencies_and_times() -> None:
    """19 of 20 checks are 9.5 of 10; 5 aggregations of 100 ms are 2 whole ones of 200 ms."""
    regions = aged([19], [20])
    regions.age[:] = 5
    regions.reset_aggregated()
    regions.rescale_accesses(20, 10)
    regions.rescale_age(100_000, 200_000)
    assert (regions.last_nr_accesses.tolist(), regions.age.tolist()) == ([9.5], [2])
