"""The policy `kernel`, compared with examples worked out by hand."""

import numpy as np
import pytest

from damon_core import (
    PAGE_SIZE_BYTES,
    KernelPolicy,
    KernelPolicyOptions,
    Range,
    RegionLimits,
    Regions,
    Samples,
    Target,
)

PAGE = PAGE_SIZE_BYTES
CHECKS = 20
#: With these limits no region of these tests reaches the size limit.
UNLIMITED = RegionLimits(1, 1_000)


def table(
    *sizes: int, accesses: list[float] | None = None, last: list[float] | None = None
) -> Regions:
    """Return touching regions of these numbers of pages, whose checks all had an answer.

    Without `last` the aggregation before had the same nr_accesses.
    """
    borders = np.cumsum([0, *sizes]) * PAGE
    regions = Regions(borders[:-1], borders[1:])
    regions.nr_checks[:] = CHECKS
    regions.nr_accesses[:] = 0 if accesses is None else accesses
    regions.last_nr_accesses[:] = regions.nr_accesses if last is None else last
    return regions


def aggregated(*tables: Regions, limits: RegionLimits = UNLIMITED) -> list[Regions]:
    """Return the regions of targets, one for each table, after one aggregation of 100 us."""
    targets = [Target(str(number), regions) for number, regions in enumerate(tables)]
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    policy.begin(limits)
    policy.aggregate(targets, CHECKS, 100)
    return [target.regions for target in targets]


def sizes(regions: Regions) -> list[int]:
    """Return the sizes of regions in pages."""
    pages: list[int] = (regions.size_bytes // PAGE).tolist()
    return pages


class Split:
    """A policy that splits the regions of targets in each call.

    Args:
        limits: The limits.
        seed: The seed of the cuts.
    """

    def __init__(self, limits: RegionLimits = UNLIMITED, seed: int = 1) -> None:
        self.policy = KernelPolicy(KernelPolicyOptions(seed=seed))
        self.policy.begin(limits)

    def __call__(self, *tables: Regions) -> list[Regions]:
        targets = [Target(str(index), regions) for index, regions in
                   enumerate(tables)]  # fmt: skip
        self.policy.adapt(targets)
        return [target.regions for target in targets]


# -- which neighbours are merged -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("accesses", "expected"),
    [
        pytest.param([20, 10, 12], [20, 11], id="20: a difference of 2 is merged"),
        pytest.param([20, 10, 13], [20, 10, 13], id="20: one of 3 is not"),
        pytest.param([19, 10, 11], [19, 10], id="19: the tenth is rounded down, 1 is merged"),
        pytest.param([19, 10, 12], [19, 10, 12], id="19: 2 is not"),
        pytest.param([9, 5, 6, 6], [9, 5, 6], id="9: only equal ones are merged"),
        pytest.param([0, 0, 0], [0], id="0: never accessed is merged"),
    ],
)
def test_neighbours_within_a_tenth_of_the_largest_are_merged(
    accesses: list[float], expected: list[float]
) -> None:
    """The threshold is the largest nr_accesses, divided by 10 and rounded down."""
    (regions,) = aggregated(table(*[1] * len(accesses), accesses=accesses))
    assert regions.nr_accesses.tolist() == expected


def test_the_largest_is_that_of_all_targets() -> None:
    """20 in one target lets 2 and 4 of another be merged, and 2 after 4 is not a change."""
    _, other = aggregated(table(1, accesses=[20]), table(1, 1, accesses=[2, 4], last=[4, 4]))
    assert other.nr_accesses.tolist() == [3]
    assert other.age.tolist() == [1]


def test_each_region_is_compared_with_the_mean_so_far() -> None:
    """From left to right: the mean of 10 and 12 is 11, so 13 is merged, and 14 then is not."""
    (regions,) = aggregated(table(1, 1, 1, 1, 1, accesses=[20, 10, 12, 13, 14]))
    # (10 + 12) // 2 = 11; (11 * 2 + 13) // 3 = 11; 14 - 11 > 2.
    assert regions.nr_accesses.tolist() == [20, 11, 14]
    assert sizes(regions) == [1, 3, 1]


def test_the_mean_can_bring_a_region_within_the_threshold() -> None:
    """12 and 9 differ by 3, but the mean of 10 and 12 is 11, and 11 and 9 differ by 2."""
    (regions,) = aggregated(table(1, 1, 1, 1, accesses=[20, 10, 12, 9]))
    # (11 * 2 + 9) // 3 = 10
    assert regions.nr_accesses.tolist() == [20, 10]


def test_means_are_weighted_by_size_and_rounded_down_step_by_step() -> None:
    """18 on 1 page, 19 on 2 and 20 on 1 give 18: the first mean is rounded before the next."""
    regions = table(1, 2, 1, accesses=[18, 19, 20], last=[18, 19, 20])
    regions.age[:] = [9, 1, 4]
    (regions,) = aggregated(regions)
    # (18 * 1 + 19 * 2) // 3 = 18, (18 * 3 + 20 * 1) // 4 = 18; all at once would give 19.
    assert regions.nr_accesses.tolist() == [18]
    # Ages are now 10, 2 and 5: (10 * 1 + 2 * 2) // 3 = 4, (4 * 3 + 5 * 1) // 4 = 4.
    assert regions.age.tolist() == [4]


def test_means_are_exact_in_huge_regions() -> None:
    """The mean of 1 EiB with 20 and a page with 19 is a little below 20: 19."""
    regions = table(1 << 48, 1, accesses=[20, 19])
    (regions,) = aggregated(regions)
    assert regions.nr_accesses.tolist() == [19]


def test_merged_regions_are_not_larger_than_the_limit() -> None:
    """With 16 pages and min_regions 4, no region is merged beyond 4 pages."""
    (regions,) = aggregated(table(1, 1, 1, 3, *[1] * 10), limits=RegionLimits(4, 1_000))
    assert sizes(regions) == [3, 4, 4, 4, 1]


def test_the_size_limit_counts_all_targets() -> None:
    """With 8 and 24 pages and min_regions 4, a region has up to 8 pages."""
    first, second = aggregated(table(*[2] * 4), table(*[2] * 12), limits=RegionLimits(4, 1_000))
    assert (sizes(first), sizes(second)) == ([8], [8, 8, 8])


def test_the_size_limit_is_at_least_a_page() -> None:
    """With more min_regions than there are pages, regions stay as they are."""
    (regions,) = aggregated(table(1, 1, 2), limits=RegionLimits(100, 1_000))
    assert sizes(regions) == [1, 1, 2]


def test_regions_larger_than_the_limit_stay() -> None:
    """Merging never splits."""
    (regions,) = aggregated(table(9, 1, 1, 1), limits=RegionLimits(4, 1_000))
    assert sizes(regions) == [9, 3]


def test_regions_with_a_gap_between_them_are_never_merged() -> None:
    """They stay apart even if they are similar and exceed max_regions."""
    start = np.arange(10) * 2 * PAGE
    regions = Regions(start, start + PAGE)
    (after,) = aggregated(regions, limits=RegionLimits(1, 3))
    assert after.start.tolist() == start.tolist()


def test_targets_may_have_no_regions() -> None:
    """A target without memory is aggregated and split, and so are no targets at all."""
    assert [len(regions) for regions in aggregated(Regions())] == [0]
    assert aggregated() == []
    assert [len(regions) for regions in Split()(Regions())] == [0]
    assert Split()() == []


# -- ageing --------------------------------------------------------------------------------------


def test_age_grows_while_the_frequency_stays_similar() -> None:
    """With 20 as the largest, a change by 2 keeps the age and one by 3 resets it."""
    regions = table(1, 1, 1, 1, accesses=[20, 0, 10, 20], last=[18, 3, 8, 17])
    regions.age[:] = 7
    (regions,) = aggregated(regions)
    assert regions.age.tolist() == [8, 0, 8, 0]


def test_regions_age_once_however_often_merging_is_repeated() -> None:
    """With [20, 0, 20, 0] and max_regions 1, merging is repeated to the end; ages grow by 1."""
    regions = table(1, 1, 1, 1, accesses=[20, 0, 20, 0])
    regions.age[:] = 3
    (regions,) = aggregated(regions, limits=RegionLimits(1, 1))
    assert (sizes(regions), regions.age.tolist()) == ([4], [4])


def test_ages_are_joined_after_they_have_grown() -> None:
    """An age that is reset lowers the mean: (0 + 8) // 2 = 4."""
    regions = table(1, 1, accesses=[20, 20], last=[0, 20])
    regions.age[:] = 7
    (regions,) = aggregated(regions)
    assert regions.age.tolist() == [4]


def test_idle_time_is_the_shortest_of_what_is_merged() -> None:
    """No part of the merged region was accessed during its idle time."""
    regions = table(1, 1)
    regions.idle_us[:] = [900, 300]
    (regions,) = aggregated(regions)
    assert regions.idle_us.tolist() == [400]


# -- too many regions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        pytest.param(3, [20, 15, 8], id="2: 8 and 8"),
        pytest.param(2, [17, 8], id="4: none more, 8: 20 and 15"),
        pytest.param(1, [12], id="16: all"),
    ],
)
def test_merging_is_repeated_with_twice_the_threshold(most: int, expected: list[float]) -> None:
    """It ends as soon as there are at most max_regions."""
    (regions,) = aggregated(
        table(1, 1, 1, 1, accesses=[20, 15, 8, 8]), limits=RegionLimits(1, most)
    )
    assert regions.nr_accesses.tolist() == expected


def test_the_threshold_is_at_least_one_when_repeated() -> None:
    """With 9 as the largest, the first threshold is 0 and the next are 1, 2, 4."""
    accesses: list[float] = [9, 8, 6, 5, 2, 1]
    regions = table(*[1] * 6, accesses=accesses)
    (regions,) = aggregated(regions, limits=RegionLimits(1, 3))
    assert regions.nr_accesses.tolist() == [8, 5, 1]


def test_repeating_ends_when_half_the_threshold_is_the_number_of_checks() -> None:
    """A last threshold of 32 with 20 checks merges all regions that the size limit allows."""
    regions = table(*[1] * 8, accesses=[20, 0, 20, 0, 20, 0, 20, 0])
    (regions,) = aggregated(regions, limits=RegionLimits(4, 4))
    assert sizes(regions) == [2, 2, 2, 2]


def test_max_regions_takes_precedence_over_the_size_limit() -> None:
    """Where the size limit leaves too many regions, the most similar are joined beyond it."""
    # At most (3 + 3 + 3 + 3 + 3) // 3 = 5 pages per region: none can be merged.
    regions = table(3, 3, 3, 3, 3, accesses=[20, 0, 15, 10, 0])
    (regions,) = aggregated(regions, limits=RegionLimits(3, 4))
    assert sizes(regions) == [3, 3, 6, 3]
    assert regions.nr_accesses.tolist() == [20, 0, 12, 0]


def test_the_most_similar_of_all_targets_are_joined_first() -> None:
    """One limit holds for all targets together: a uniform target loses regions first."""
    first, second = aggregated(
        table(3, 3, 3, 3, accesses=[20, 0, 20, 0]),
        table(3, 3, 3, 3, accesses=[5, 5, 5, 5]),
        limits=RegionLimits(5, 5),
    )
    assert (sizes(first), sizes(second)) == ([3, 3, 3, 3], [12])


def test_ranges_that_do_not_touch_leave_the_others_to_be_joined() -> None:
    """A target of three ranges keeps them; the other target is joined to keep the limit."""
    start = np.arange(3) * 10 * PAGE
    first, second = aggregated(
        Regions(start, start + PAGE), table(*[1] * 6), limits=RegionLimits(4, 4)
    )
    assert (len(first), len(second)) == (3, 1)


def test_lower_limits_hold_from_the_next_aggregation_on() -> None:
    """Limits may change during a run."""
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    policy.begin(RegionLimits(10, 1_000))
    target = Target("target", table(*[1] * 100, accesses=[20, 0] * 50))
    policy.set_limits(RegionLimits(2, 5))
    policy.aggregate([target], CHECKS, 100)
    assert len(target.regions) <= 5


# -- splitting -----------------------------------------------------------------------------------


def test_regions_are_split_in_two() -> None:
    """Each is split once, if there are at most half of max_regions."""
    (regions,) = Split(RegionLimits(1, 4))(table(100, 100))
    assert len(regions) == 4
    assert 100 * PAGE in regions.start


def test_more_than_half_the_limit_is_not_split() -> None:
    """3 regions with max_regions 5 could become 6."""
    (regions,) = Split(RegionLimits(1, 5))(table(100, 100, 100))
    assert len(regions) == 3


def test_the_limit_counts_all_targets() -> None:
    """2 and 1 regions with max_regions 5 could become 6."""
    assert [len(regions) for regions in Split(RegionLimits(1, 5))(table(100, 100), table(100))] == [
        2,
        1,
    ]


def test_a_count_that_stays_the_same_is_split_in_three() -> None:
    """Splitting in two found no difference: perhaps only the middle of a region differs."""
    split = Split(RegionLimits(1, 100))
    assert [len(split(table(100, 100))[0]) for _ in range(2)] == [4, 6]
    assert len(split(table(100, 100, 100))[0]) == 6, "another count than at the last split"


def test_three_parts_need_a_count_below_a_third_of_the_limit() -> None:
    """2 of 6 is a third (so is 2 of 8, rounded down), and 2 of 9 is less."""
    for most, parts in ((6, 4), (8, 4), (9, 6)):
        split = Split(RegionLimits(1, most))
        split(table(100, 100))
        assert len(split(table(100, 100))[0]) == parts, most


def test_a_count_too_large_to_split_is_not_remembered() -> None:
    """The last count is that of the last split."""
    split = Split(RegionLimits(1, 6))
    split(table(100))
    split(table(*[100] * 4))
    assert len(split(table(100))[0]) == 3


def test_the_last_count_is_the_context_s_own() -> None:
    """A split in another context has no effect."""
    one, other = Split(), Split()
    one(table(100, 100))
    assert len(other(table(100, 100))[0]) == 4


def test_a_new_run_forgets_the_last_count() -> None:
    """`begin` also resets the random numbers."""
    split = Split()
    first = split(table(100, 100))[0].start.tolist()
    split.policy.begin(UNLIMITED)
    assert split(table(100, 100))[0].start.tolist() == first


def test_cuts_are_at_whole_tenths() -> None:
    """Each of one to nine tenths of the size, rounded down to pages, is about equally frequent."""
    (regions,) = Split(RegionLimits(1, 20_000))(table(*[1_005] * 9_000))
    cuts = sizes(regions)[::2]
    counts = np.bincount(cuts, minlength=1_005)
    assert np.flatnonzero(counts).tolist() == [100, 201, 301, 402, 502, 603, 703, 804, 904]
    assert 850 < counts[counts > 0].min() <= counts.max() < 1_150


def test_the_first_part_is_cut_again_for_three() -> None:
    """The second cut is at a tenth of the first part."""
    split = Split()
    split(table(1_000))
    (regions,) = split(table(1_000))
    first, second, third = sizes(regions)
    assert (first + second) % 100 == 0
    assert (first * 10) % (first + second) == 0
    assert first + second + third == 1_000


def test_only_regions_of_more_than_two_pages_are_split() -> None:
    """Regions of 1 and 2 pages stay; one of 3 pages is cut after the first or the second."""
    pages = set()
    for seed in range(30):
        (regions,) = Split(seed=seed)(table(1, 2, 3))
        pages.add(tuple(sizes(regions)))
    # Below 4 tenths the cut would leave an empty part: then there is none.
    assert pages == {(1, 2, 3), (1, 2, 1, 2), (1, 2, 2, 1)}


def test_a_cut_that_would_leave_nothing_is_tried_again_for_three() -> None:
    """3 of 9 cuts of 3 pages are empty: two tries leave a ninth of such regions whole."""
    split = Split(RegionLimits(1, 100_000))
    split(table(*[3] * 9_000))
    (regions,) = split(table(*[3] * 9_000))
    assert 850 < 2 * 9_000 - len(regions) < 1_150


def test_parts_inherit_all_counters() -> None:
    """The parts are assumed to be like the whole."""
    regions = table(100, accesses=[3], last=[7])
    regions.age[:], regions.idle_us[:] = 5, 11
    (parts,) = Split()(regions)
    assert len(parts) == 2
    for column, value in (
        ("nr_accesses", 3),
        ("last_nr_accesses", 7),
        ("age", 5),
        ("idle_us", 11),
        ("nr_checks", CHECKS),
    ):
        assert getattr(parts, column).tolist() == [value] * 2, column


def test_the_largest_address_space_is_split_exactly() -> None:
    """9 times 4 EiB doesn't fit in 64 bits, so cuts are computed in pages."""
    for seed in range(20):
        (regions,) = Split(seed=seed)(table(1 << 50))
        assert len(regions) == 2
        assert regions.start[1] // PAGE in [(1 << 50) * tenths // 10 for tenths in range(1, 10)]


# -- counting checks -----------------------------------------------------------------------------


def checked(
    regions: Regions, *checks: tuple[list[bool], list[bool]], elapsed_us: int = 100
) -> Regions:
    """Return regions after an aggregation of checks, each given as `accessed` and `known`."""
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    policy.begin(UNLIMITED)
    target = Target("target", regions)
    for accessed, known in checks:
        policy.choose([target])
        assert target.samples is not None
        target.samples.accessed[:] = accessed
        target.samples.known[:] = known
        policy.observe([target])
    policy.aggregate([target], len(checks), elapsed_us)
    return target.regions


def fresh(*pages: int) -> Regions:
    """Return touching regions without any results."""
    return Regions.evenly([Range(0, sum(pages) * PAGE)], RegionLimits(len(pages), len(pages)))


def test_each_check_of_an_accessed_page_counts_one() -> None:
    """nr_accesses is the number of checks that saw an access."""
    regions = checked(
        fresh(9, 9), ([True, False], [True] * 2), ([True, True], [True] * 2),
        ([True, False], [True] * 2), ([True, False], [True] * 2),
    )  # fmt: skip
    assert regions.nr_accesses.tolist() == [4, 1]


def test_unknown_checks_count_neither_way() -> None:
    """2 of 3 checks with an answer become 4 of 6; `accessed` without an answer is ignored."""
    known = [([True], [True]), ([True], [True]), ([False], [True])]
    assert checked(fresh(9), *known, *[([True], [False])] * 3).nr_accesses.tolist() == [4]


def test_a_counter_stays_a_whole_number() -> None:
    """1 of 3 checks with an answer is 1.67 of 5: 2."""
    known = [([True], [True]), ([False], [True]), ([False], [True])]
    assert checked(fresh(9), *known, *[([False], [False])] * 2).nr_accesses.tolist() == [2]


def test_a_single_access_is_never_rounded_away() -> None:
    """Scaling up gives at least the number counted."""
    checks = [([True], [True]), *[([False], [True])] * 18, ([False], [False])]
    assert checked(fresh(9), *checks).nr_accesses.tolist() == [1]


def test_a_region_without_any_answer_stays_as_it_was() -> None:
    """Frequency, age and idle time neither grow nor fall."""
    regions = fresh(9, 9)
    regions.last_nr_accesses[:] = [0, 2]
    regions.age[:], regions.idle_us[:] = 5, [1_000, 0]
    regions = checked(regions, *[([False, False], [False, False])] * 4)
    assert regions.nr_accesses.tolist() == [0, 2]
    assert regions.age.tolist() == [5, 5]
    assert regions.idle_us.tolist() == [1_000, 0]


def test_a_region_without_any_answer_keeps_a_whole_number_of_accesses() -> None:
    """The last nr_accesses, converted to another number of checks, is rounded."""
    regions = fresh(9)
    regions.last_nr_accesses[:] = 3.6
    assert checked(regions, *[([False], [False])] * 4).nr_accesses.tolist() == [4]


def test_a_region_that_appears_late_is_judged_by_its_own_checks() -> None:
    """Accessed in both of its 2 checks, it is reported as accessed in all 20."""
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    policy.begin(RegionLimits(2, 1_000))
    target = Target("target", Regions([0], [9 * PAGE]))
    for check in range(CHECKS):
        if check == 18:
            ranges = [Range(0, 9 * PAGE), Range(20 * PAGE, 29 * PAGE)]
            target.regions = target.regions.cover(ranges, RegionLimits(1, 1_000))
        policy.choose([target])
        assert target.samples is not None
        target.samples.accessed[:] = target.samples.addresses >= 20 * PAGE
        policy.observe([target])
    policy.aggregate([target], CHECKS, 100)
    assert target.regions.nr_accesses.tolist() == [0, 20]


def test_samples_count_in_the_regions_that_contain_them_now() -> None:
    """After the table was replaced between choice and result, they are counted by address."""
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    policy.begin(UNLIMITED)
    target = Target("target", table(4, 4, 4))
    target.regions.nr_checks[:] = 0
    target.samples = Samples(np.array([1, 5, 9]) * PAGE, np.array([True, True, False]))
    target.regions = Regions([4 * PAGE], [12 * PAGE])
    policy.observe([target])
    assert target.regions.nr_accesses.tolist() == [1]
    assert target.regions.nr_checks.tolist() == [2]


def test_every_part_of_a_huge_region_is_checked() -> None:
    """Each 64 GiB of 1 TiB is checked about equally often; a 32-bit offset ends at 4 GiB."""
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    target = Target("target", Regions([0], [1 << 40]))
    counts = np.zeros(16, dtype=np.int64)
    for _ in range(1_600):
        policy.choose([target])
        assert target.samples is not None
        counts[target.samples.addresses[0] >> 36] += 1
    assert 60 < counts.min() <= counts.max() < 140
