"""The policy `evidence`: its statistics, its pool, and how fast and precisely it finds areas."""

from collections.abc import Callable

import numpy as np
import pytest

from damon_core import RegionLimits
from damon_core.memory.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn, Range, Regions
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicy, EvidencePolicyOptions
from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.division import Division
from damon_core.policies.evidence.estimate import mixed_rates
from damon_core.policies.evidence.plan import plan
from damon_core.policies.evidence.pool import FADE, NEW, Pool
from damon_core.policies.evidence.rounds import Results, Round
from damon_core.policies.evidence.statistics import (
    best_of_each,
    bounds,
    first_of_each,
    gain_of_two,
    largest,
    log_likelihood,
    may_gain,
    ragged,
    rising_runs,
)

CHECKS = 20
GIB = 1 << 30
Rate = Callable[[IntColumn], FloatColumn]


def target_of(size_bytes: int, name: str = "t") -> Target:
    """Return an adaptive target of one range, cut as a primitive does."""
    return Target(name, Regions.evenly([Range(0, size_bytes)], RegionLimits()))


def policy_of(limits: RegionLimits | None = None, seed: int = 1) -> EvidencePolicy:
    """Return a policy that has begun a run."""
    policy = EvidencePolicy(EvidencePolicyOptions(seed=seed))
    policy.begin(limits or RegionLimits())
    return policy


def _everywhere(pages: IntColumn) -> FloatColumn:
    return np.ones(len(pages))


class Run:
    """Targets under one policy, accessed with a probability for each address."""

    def __init__(self, policy: EvidencePolicy, *targets: Target) -> None:
        self.policy = policy
        self.targets = list(targets)
        self.rng = np.random.default_rng(7)

    def check(self, rate: Rate, known: Rate = _everywhere) -> list[IntColumn]:
        """Make one check; return the pages of each target."""
        self.policy.choose(self.targets)
        checked = []
        for target in self.targets:
            assert target.samples is not None
            pages = target.samples.addresses
            target.samples.accessed[:] = self.rng.random(len(pages)) < rate(pages)
            target.samples.known[:] = known(pages) > 0
            checked.append(pages)
        self.policy.observe(self.targets)
        return checked

    def aggregate(self, rate: Rate, known: Rate = _everywhere) -> Regions:
        """Monitor one aggregation; return the regions of the first target."""
        for target in self.targets:
            target.regions.reset_aggregated()
        for _ in range(CHECKS):
            self.check(rate, known)
        self.policy.aggregate(self.targets, CHECKS, 100_000)
        return self.targets[0].regions


def within(start: int, end: int, rate: float = 1.0) -> Rate:
    """Return the rate of a target that is accessed only from start to end."""
    return lambda pages: np.where((start <= pages) & (pages < end), rate, 0.0)


def hot_bytes(regions: Regions, start: int, end: int) -> tuple[int, int]:
    """Return the bytes reported hot inside the range, and those outside."""
    hot = regions.nr_accesses >= CHECKS / 2
    inside = np.clip(np.minimum(regions.end, end) - np.maximum(regions.start, start), 0, None)
    hot_inside = int(inside[hot].sum())
    return hot_inside, int(regions.size_bytes[hot].sum()) - hot_inside


# Statistics


def test_log_likelihood_is_that_of_the_best_rate() -> None:
    """3 of 4 has the likelihood (3/4)^3 (1/4); certain results have 1."""
    likelihood = log_likelihood(np.array([3.0, 0.0, 5.0]), np.array([4.0, 7.0, 5.0]))
    assert likelihood == pytest.approx([3 * np.log(0.75) + np.log(0.25), 0, 0], abs=1e-9)


def test_may_gain_finds_all_pairs_that_gain_enough() -> None:
    """Besides these it returns few pairs that gain less than half as much."""
    rng = np.random.default_rng(1)
    total, other_total = rng.integers(0, 40, (2, 500)).astype(float)
    hits, other_hits = np.floor(rng.random((2, 500)) * (np.stack((total, other_total)) + 1))
    gain = gain_of_two(hits, total, other_hits, other_total)
    may = may_gain(hits, total, other_hits, other_total, 12.0)
    assert may[gain > 12.0].all()
    assert may[gain < 6.0].mean() < 0.2


def test_ragged_lists_the_numbers_of_each_span() -> None:
    """Spans are listed one after the other, empty ones not at all."""
    assert ragged(np.array([5, 9, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]


def test_the_best_of_each_group_is_its_first_largest() -> None:
    """One position for each group."""
    value = np.array([1.0, 3.0, 3.0, -5.0, -7.0])
    assert best_of_each(value, np.array([0, 3])).tolist() == [1, 3]


def test_no_groups_have_no_first_and_no_best() -> None:
    """Where there are no values there are no positions."""
    none = np.zeros(0, dtype=np.int64)
    assert first_of_each(none).tolist() == []
    assert best_of_each(np.zeros(0), none).tolist() == []


def test_a_rising_run_goes_from_its_low_to_its_peak() -> None:
    """Falling scores before and after don't belong to it."""
    score = np.array([-1.0, 2.0, 2.0, -1.0, 2.0, -3.0, -3.0])
    first, last = rising_runs(score, np.zeros(7, dtype=np.int64), 4.5)
    assert (first.tolist(), last.tolist()) == ([1], [4])


def test_the_largest_are_found_in_their_order() -> None:
    """There are as many as asked for, the first of equal ones."""
    value = np.array([5, 1, 3, 9, 3, 3])
    assert largest(value, 2).tolist() == [0, 3]
    assert largest(value, 4).tolist() == [0, 2, 3, 4]


def test_runs_end_at_the_end_of_a_group() -> None:
    """The same scores exceed the threshold together, but not in two groups."""
    score = np.array([2.0, 2.0])
    assert rising_runs(score, np.array([0, 0]), 3.0)[0].tolist() == [0]
    assert rising_runs(score, np.array([0, 1]), 3.0)[0].tolist() == []


# Pool


def pool_of(addresses: list[int], hits: list[bool], before: Pool | None = None) -> Pool:
    """Return a pool with these checks and all of the pool before."""
    before = before or Pool.empty()
    kept = np.ones(len(before), dtype=np.bool_)
    stands_for_bytes = np.full(len(addresses), float(PAGE_SIZE_BYTES))
    return before.remembering(np.array(addresses), np.array(hits), stands_for_bytes, kept)


def test_remembered_checks_stay_sorted_and_fade() -> None:
    """New checks have weight 1, those of the previous aggregation FADE."""
    pool = pool_of([4096], [True], before=pool_of([0, 8192], [True, False]))
    assert pool.addresses.tolist() == [0, 4096, 8192]
    assert pool.weights == pytest.approx([FADE, 1, FADE], abs=1e-6)
    assert pool.hits == pytest.approx([FADE, 1, 0], abs=1e-6)


def test_sums_of_spans_are_those_of_their_checks() -> None:
    """They are the weight and hits of the checks from one position to another."""
    pool = pool_of([0, 4096, 8192], [True, False, True])
    weight, hits = pool.sums(np.array([0, 1]), np.array([3, 2]))
    assert (weight.tolist(), hits.tolist()) == ([3, 1], [2, 0])


def test_sums_of_faded_checks_are_exact() -> None:
    """So areas in which all checks saw an access, or none did, are recognized with certainty."""
    pool = pool_of([0, 4096, 8192], [True, True, False])
    for age in range(10):
        pool = pool_of([12288 + 4096 * age], [False], before=pool)
    weight, hits = pool.sums_between(np.array([0, 2, len(pool)]))
    assert hits.tolist() == [weight[0], 0]


def test_checks_that_are_not_kept_are_forgotten() -> None:
    """They are neither in the columns nor in the sums."""
    pool = pool_of([0, 4096], [True, False]).only(np.array([False, True]))
    assert pool.addresses.tolist() == [4096]
    assert pool.sums_between(np.array([0, 1]))[1].tolist() == [0]


def test_old_checks_are_forgotten_in_the_end() -> None:
    """A check that no other confirms or contradicts becomes too light."""
    pool = pool_of([0], [True])
    assert pool.heavy(1).all()
    for _ in range(50):
        pool = pool_of([4096], [False], before=pool)
    assert pool.heavy(1).tolist() == [False] + [age <= 35 for age in range(49, -1, -1)]


def test_a_division_keeps_its_checks_in_their_areas() -> None:
    """The bounds with new checks equal those found by a search."""
    rng = np.random.default_rng(1)
    start = np.arange(0, 100, 10) * PAGE_SIZE_BYTES
    areas = Areas(start, start + 10 * PAGE_SIZE_BYTES, np.zeros(10), np.zeros(10))
    division = Division.of(areas, Pool.empty())
    for _ in range(4):
        pages = np.sort(rng.integers(0, 100, 30)) * PAGE_SIZE_BYTES
        all_set = np.ones(30, dtype=np.bool_)
        results = Results(pages, all_set, np.ones(30), pages[:0])
        valid = rng.random(len(division.pool)) < 0.7
        division = division.remembering(results, valid, bounds(pages, start))
        assert np.all(np.diff(division.pool.addresses) >= 0)
        assert division.bound.tolist() == Division.of(areas, division.pool).bound.tolist()


# Areas


def test_few_checks_make_no_area_hot() -> None:
    """A rate of a half is reported lower if it is from 5 checks than from 50; 0 stays 0."""
    start = np.arange(3) * 100 * PAGE_SIZE_BYTES
    areas = Areas(
        start, start + 100 * PAGE_SIZE_BYTES, np.array([0.5, 0.5, 0.0]), np.array([5.0, 50.0, 5.0])
    )
    few, many, none = areas.reported_rate.tolist()
    assert none == 0 < few < many == 0.5


# Estimates


def mixed_rate(hits: list[bool], stands_for_bytes: list[float], age: list[int]) -> float:
    """Return the estimated rate of one area with these checks, all of weight 1."""
    count = len(hits)
    evidence = np.where(hits, NEW, -NEW)
    addresses = np.arange(count) * PAGE_SIZE_BYTES
    pool = Pool(addresses, evidence, np.array(stands_for_bytes, dtype=np.float64), np.array(age))
    ends = np.array([0]), np.array([count])
    return float(
        mixed_rates(pool, *ends, np.array([float(count)]), np.array([float(sum(hits))]))[0]
    )


def every(count: int, part: int) -> list[bool]:
    """Return the results of checks of which one in `part` saw an access."""
    return [number % part == 0 for number in range(count)]


def test_checks_around_hits_do_not_raise_the_mean() -> None:
    """A tenth of the checks chosen regardless of results are hits, and all of those around them."""
    hits = every(100, 10) + [True] * 100
    assert mixed_rate(hits, [4096.0] * 100 + [0.0] * 100, [0] * 200) == pytest.approx(0.1, abs=0.01)


def test_checks_around_hits_count_where_they_agree() -> None:
    """In an area whose pages are alike the rate is from all checks."""
    hits = every(20, 3) + every(99, 3)
    assert mixed_rate(hits, [4096.0] * 20 + [0.0] * 99, [0] * 119) == pytest.approx(40 / 119)


def test_parts_count_by_their_size_however_many_checks_each_had() -> None:
    """Ten checks of a tenth of an area are all hits, and ten of the rest none."""
    hits = [True] * 10 + [False] * 10
    stands_for_bytes = [1.0 * 4096] * 10 + [9.0 * 4096] * 10
    assert mixed_rate(hits, stands_for_bytes, [0] * 20) == pytest.approx(0.1, abs=0.03)


def test_a_trend_is_followed_to_the_last_aggregation() -> None:
    """Of each aggregation's 60 checks 10 more were hits than in the one before: now 50."""
    hits = [number < 50 - 10 * age for age in range(5) for number in range(60)]
    ages = [age for age in range(5) for _ in range(60)]
    assert mixed_rate(hits, [4096.0] * 300, ages) == pytest.approx(50 / 60, abs=0.05)


def test_without_a_trend_age_changes_nothing() -> None:
    """As many checks were hits in each aggregation: the rate is their share."""
    hits = [number < 20 for _ in range(5) for number in range(60)]
    ages = [age for age in range(5) for _ in range(60)]
    assert mixed_rate(hits, [4096.0] * 300, ages) == pytest.approx(1 / 3)


# Rounds


def a_round(pages: int, slices: int) -> Round:
    """Return a round over pages, every second of which stands for 4096 bytes."""
    column = np.arange(pages) * PAGE_SIZE_BYTES
    return Round(
        column, (np.arange(pages) % 2).astype(np.float64) * 4096, slices, np.random.default_rng(1)
    )


@pytest.mark.parametrize("pages", [0, 1, 19, 20, 21, 60])
def test_a_round_returns_every_page_once(pages: int) -> None:
    """This holds whether or not all slices have the same length."""
    each = a_round(pages, 20)
    slices = [each.next_samples().addresses for _ in range(20)]
    assert each.exhausted
    assert sorted(np.concatenate(slices).tolist()) == [n * PAGE_SIZE_BYTES for n in range(pages)]


def test_neighbouring_pages_are_in_different_slices() -> None:
    """Each slice has one page of every block of neighbours, ascending."""
    each = a_round(60, 20)
    for _ in range(20):
        pages = each.next_samples().addresses // PAGE_SIZE_BYTES
        assert (pages // 20).tolist() == [0, 1, 2]


def test_a_page_is_checked_once_in_a_slice() -> None:
    """A page that was planned twice is one sample of a slice."""
    pages = np.repeat(np.arange(2) * PAGE_SIZE_BYTES, 2)
    each = Round(pages, np.ones(4), 1, np.random.default_rng(1))
    assert each.next_samples().addresses.tolist() == [0, PAGE_SIZE_BYTES]


def test_a_round_separates_results_from_unknown_pages() -> None:
    """Pages not checked yet are left out; those without an answer are listed apart."""
    each = a_round(6, 2)
    samples = each.next_samples()
    samples.accessed[:] = [True, True, False]
    samples.known[:] = [False, True, True]
    each.observe(samples)
    each.next_samples()
    pages, hits, stands_for_bytes, unknown = each.results()
    assert pages.tolist() == samples.addresses[1:].tolist()
    assert hits.tolist() == [True, False]
    assert stands_for_bytes.tolist() == (pages // PAGE_SIZE_BYTES % 2 * 4096).tolist()
    assert unknown.tolist() == samples.addresses[:1].tolist()


def test_a_round_takes_results_of_its_own_slices_only() -> None:
    """Samples of an earlier round, which a restart leaves behind, are not counted."""
    each, other = a_round(6, 2), a_round(6, 2)
    each.next_samples()
    each.observe(other.next_samples())
    assert each.results().addresses.tolist() == []


# Plan


def test_probes_follow_a_hit_in_a_cold_area() -> None:
    """More pages near the only hit are chosen if it is new than if it is old."""
    size, hit = 1000 * PAGE_SIZE_BYTES, 500 * PAGE_SIZE_BYTES
    areas = Areas(np.array([0]), np.array([size]), np.array([0.05]), np.array([19.0]))
    pages = np.arange(0, size, 100 * PAGE_SIZE_BYTES)
    others = pages[pages != hit].tolist()
    new = pool_of([hit], [True], before=pool_of(others, [False] * len(others)))
    old = pool_of(others, [False] * len(others), before=pool_of([hit], [True]))
    near = []
    for pool in (new, old):
        division = Division.of(areas, pool)
        chosen, _ = plan(division, np.zeros(0, dtype=np.int64), 16, np.random.default_rng(1))
        near.append(int((np.abs(chosen - hit) <= 8 * PAGE_SIZE_BYTES).sum()))
    assert near[0] >= 2 > near[1]


def test_together_checks_stand_for_the_whole_target() -> None:
    """However unevenly areas are checked, on average the bytes add up to those of all areas."""
    pages = np.array([0, 10, 500, 520, 1000])
    start, end = pages[:-1] * PAGE_SIZE_BYTES, pages[1:] * PAGE_SIZE_BYTES
    areas = Areas(start, end, np.array([1.0, 0.2, 0.9, 0.0]), np.array([3.0, 20.0, 2.0, 9.0]))
    pool = pool_of((np.arange(0, 1000, 25) * PAGE_SIZE_BYTES).tolist(), every(40, 3))
    none = np.zeros(0, dtype=np.int64)
    total = [
        plan(Division.of(areas, pool), none, 40, np.random.default_rng(seed))[1].sum()
        for seed in range(200)
    ]
    assert np.mean(total) == pytest.approx(areas.total_bytes, rel=0.03)


# What it finds


@pytest.mark.parametrize("seed", range(5))
def test_a_hundredth_of_a_tebibyte_is_found_in_three_aggregations(seed: int) -> None:
    """Nine tenths of the hot bytes are reported hot, and little else."""
    start, end = 370 * GIB, 380 * GIB
    run = Run(policy_of(seed=seed), target_of(1 << 40))
    for _ in range(3):
        regions = run.aggregate(within(start, end))
    inside, outside = hot_bytes(regions, start, end)
    assert inside > 0.9 * (end - start)
    assert outside < 0.1 * (end - start)


@pytest.mark.parametrize("seed", range(5))
def test_borders_become_exact_to_the_page(seed: int) -> None:
    """After thirty aggregations both borders of a hot area are right."""
    start, end = 12_345 * PAGE_SIZE_BYTES, 23_456 * PAGE_SIZE_BYTES
    run = Run(policy_of(seed=seed), target_of(GIB))
    for _ in range(30):
        regions = run.aggregate(within(start, end))
    assert {start, end} <= set(regions.start.tolist())
    assert hot_bytes(regions, start, end) == (end - start, 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_move_is_followed_in_two_aggregations(seed: int) -> None:
    """A hot area that has moved is reported cold at the old place and hot at the new one."""
    run = Run(policy_of(seed=seed), target_of(64 * GIB))
    for _ in range(20):
        run.aggregate(within(8 * GIB, 16 * GIB))
    for _ in range(2):
        regions = run.aggregate(within(40 * GIB, 48 * GIB))
    assert hot_bytes(regions, 8 * GIB, 16 * GIB)[0] < GIB
    assert hot_bytes(regions, 40 * GIB, 48 * GIB)[0] > 7 * GIB


def test_chance_makes_no_regions() -> None:
    """A uniform target keeps about min_regions, however long it is monitored."""
    run = Run(policy_of(), target_of(64 * GIB))
    counts = [len(run.aggregate(within(0, 64 * GIB, 0.4))) for _ in range(60)]
    assert np.mean(counts[20:]) < 18


def test_the_rate_is_the_mean_of_the_pages() -> None:
    """The pool's checks of many aggregations estimate a rate better than those of one."""
    run = Run(policy_of(), target_of(64 * GIB))
    for _ in range(20):
        regions = run.aggregate(within(0, 64 * GIB, 0.3))
    mean = float(np.average(regions.nr_accesses, weights=regions.size_bytes)) / CHECKS
    assert mean == pytest.approx(0.3, abs=0.03)


PIECE_BYTES = 2 << 20
HOT_PIECES = (np.random.default_rng(1).random(40_960) < 0.1).astype(np.float64)


def scattered(page: IntColumn) -> FloatColumn:
    """Return the rate of pages of 80 GiB: a tenth of its pieces of 2 MiB are hot."""
    rate: FloatColumn = HOT_PIECES[page // PIECE_BYTES]
    return rate


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("checks_per_interval", [10, 30, 100])
def test_the_mean_is_right_with_more_hot_pieces_than_regions(
    checks_per_interval: int, seed: int
) -> None:
    """More checks make it no worse: what surprising hits attract isn't typical."""
    size_bytes = 20 * GIB
    options = EvidencePolicyOptions(seed=seed, checks_per_interval=checks_per_interval)
    policy = EvidencePolicy(options)
    policy.begin(RegionLimits(10, 100))
    run = Run(policy, target_of(size_bytes))
    means = []
    for _ in range(30):
        regions = run.aggregate(scattered)
        means.append(float(np.average(regions.nr_accesses, weights=regions.size_bytes)) / CHECKS)
    true = HOT_PIECES[: size_bytes // PIECE_BYTES].mean()
    assert np.mean(means[10:]) == pytest.approx(true, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_more_checks_find_more_of_many_hot_pieces(seed: int) -> None:
    """Ten times the checks find hot pieces with a higher F1, though they are forgotten sooner."""
    hot_before = np.append(0, np.cumsum(HOT_PIECES * PIECE_BYTES))
    places = np.arange(len(hot_before)) * PIECE_BYTES
    found = []
    for checks_per_interval in (30, 300):
        options = EvidencePolicyOptions(seed=seed, checks_per_interval=checks_per_interval)
        run = Run(EvidencePolicy(options), target_of(80 * GIB))
        both = reported = 0.0
        for _ in range(16):
            regions = run.aggregate(scattered)
            hot = regions.nr_accesses >= CHECKS / 2
            inside = np.interp(regions.end, places, hot_before)
            inside -= np.interp(regions.start, places, hot_before)
            both += float(inside[hot].sum())
            reported += float(regions.size_bytes[hot].sum())
        found.append(2 * both / (reported + 16 * hot_before[-1]))
    assert found[1] > 1.2 * found[0]


@pytest.mark.parametrize("period", [40, 120])
def test_rates_that_rise_and_fall_everywhere_are_followed(period: int) -> None:
    """The mean over all areas is at most a few hundredths off, at all times."""
    run = Run(policy_of(), target_of(64 * GIB))
    off = []
    for aggregation in range(period):
        wave = 0.5 + 0.4 * np.sin(2 * np.pi * aggregation / period)
        regions = run.aggregate(within(0, 64 * GIB, wave))
        off.append(
            float(np.average(regions.nr_accesses, weights=regions.size_bytes)) / CHECKS - wave
        )
    assert np.mean(np.abs(off)) < 0.025


# Checks


def test_every_region_is_checked_in_an_aggregation() -> None:
    """The slices of a plan together have a page of every region."""
    run = Run(policy_of(), target_of(64 * GIB))
    for _ in range(10):
        regions = run.aggregate(within(8 * GIB, 9 * GIB))
    pages = np.concatenate([run.check(within(0, 0))[0] for _ in range(CHECKS)])
    assert set(regions.holding(pages).tolist()) == set(range(len(regions)))


def test_unknown_pages_attract_no_more_checks_than_their_share() -> None:
    """Gaps in which checks have no answer aren't checked in each aggregation."""
    run = Run(policy_of(), target_of(64 * GIB))

    def known(pages: IntColumn) -> FloatColumn:
        return np.where(pages // (64 << 20) % 16 == 5, 0.0, 1.0)

    for _ in range(40):
        run.aggregate(within(8 * GIB, 9 * GIB), known)
    pages = np.concatenate([run.check(within(0, 0))[0] for _ in range(CHECKS)])
    assert (1 - known(pages)).mean() < 1.5 / 16


def test_more_checks_than_planned_look_at_new_pages() -> None:
    """An aggregation longer than its plan goes on with the same number of pages per check."""
    run = Run(policy_of(), target_of(64 * GIB))
    pages = [set(run.check(within(0, 0))[0].tolist()) for _ in range(3 * CHECKS)]
    planned, further = set().union(*pages[:CHECKS]), set().union(*pages[CHECKS:])
    assert len(further) > 1.9 * len(planned)
    assert len(planned & further) < 10


def test_the_option_sets_the_number_of_checks() -> None:
    """It is the number of pages checked in each sampling interval."""
    policy = EvidencePolicy(EvidencePolicyOptions(seed=1, checks_per_interval=7))
    policy.begin(RegionLimits())
    run = Run(policy, target_of(64 * GIB))
    counts = [len(run.check(within(0, 0))[0]) for _ in range(CHECKS)]
    assert sum(counts) == pytest.approx(7 * CHECKS, abs=2)


@pytest.mark.parametrize("checks", [0, -1])
def test_the_number_of_checks_must_be_positive(checks: int) -> None:
    """The mistake is reported when the options are made."""
    with pytest.raises(ValueError, match="above 0"):
        EvidencePolicyOptions(checks_per_interval=checks)


# Targets


def test_known_borders_outlive_growth_of_the_target() -> None:
    """When the primitive adds a range, the old part keeps its results."""
    start, end = 1 * GIB, 2 * GIB
    run = Run(policy_of(), target_of(8 * GIB))
    for _ in range(20):
        run.aggregate(within(start, end))
    target = run.targets[0]
    ranges = [Range(0, 8 * GIB), Range(16 * GIB, 20 * GIB)]
    target.regions = target.regions.cover(ranges, RegionLimits())
    regions = run.aggregate(within(start, end))
    assert hot_bytes(regions, start, end) == (end - start, 0)
    assert int(regions.size_bytes.sum()) == 12 * GIB


def test_targets_share_the_limit_of_regions() -> None:
    """All targets together keep within max_regions, however many areas there are to find."""
    limits = RegionLimits(5, 20)
    run = Run(policy_of(limits), target_of(4 * GIB, "a"), target_of(GIB, "b"))
    striped: Rate = lambda pages: (pages // (GIB // 16) % 2).astype(float)  # noqa: E731
    most = 0
    for _ in range(20):
        run.aggregate(striped)
        count = sum(len(target.regions) for target in run.targets)
        assert count <= 20
        most = max(most, count)
    assert most > 15


def test_a_lowered_limit_holds_from_the_next_aggregation() -> None:
    """Neighbours are merged, however large they become."""
    run = Run(policy_of(), target_of(4 * GIB))
    striped: Rate = lambda pages: (pages // (GIB // 16) % 2).astype(float)  # noqa: E731
    for _ in range(10):
        run.aggregate(striped)
    run.policy.set_limits(RegionLimits(1, 3))
    assert len(run.aggregate(striped)) <= 3


def test_only_regions_without_accesses_have_idle_time() -> None:
    """The idle time of an accessed region is 0; that of a cold one grows."""
    run = Run(policy_of(), target_of(64 * GIB))
    for _ in range(10):
        regions = run.aggregate(within(0, 32 * GIB))
    assert (regions.idle_us[regions.nr_accesses > 0] == 0).all()
    assert regions.idle_us[-1] >= 900_000


def test_an_aggregation_without_any_answer_changes_nothing() -> None:
    """Results, ages and idle times stay."""
    run = Run(policy_of(), target_of(64 * GIB))
    for _ in range(10):
        before = run.aggregate(within(0, 32 * GIB))
    columns = ("start", "nr_accesses", "age", "idle_us")
    kept = {name: getattr(before, name).tolist() for name in columns}
    after = run.aggregate(within(0, 64 * GIB), known=within(0, 0))
    assert {name: getattr(after, name).tolist() for name in columns} == kept


def test_a_target_that_is_gone_is_forgotten() -> None:
    """When it comes back, the policy learns it again from the start."""
    run = Run(policy_of(), target_of(64 * GIB))
    for _ in range(10):
        run.aggregate(within(0, 32 * GIB))
    target = run.targets.pop()
    run.policy.choose([])
    run.targets.append(target)
    assert run.aggregate(within(0, 0)).nr_accesses.max() == 0
