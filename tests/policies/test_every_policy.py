"""Invariants that every policy must keep, under arbitrary histories."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    IDLE_SPANS,
    PAGE_SIZE_BYTES,
    Context,
    EvidencePolicy,
    EvidencePolicyOptions,
    Intervals,
    KernelPolicy,
    KernelPolicyOptions,
    PageSampling,
    Range,
    RegionLimits,
    RegionPolicy,
    Regions,
    Samples,
    Target,
    hookimpl,
)
from damon_core.testing import run_virtual

PAGE = PAGE_SIZE_BYTES
AGGREGATION_US = 100
#: 1 PiB.
MOST_PAGES = 1 << 38

#: What a policy doesn't know, as it checks single pages.
UNKNOWN_COLUMNS = ("touched_bytes", *(span.column for span in IDLE_SPANS), "kinds")
COLUMNS = [column for column in Regions.__slots__ if column not in UNKNOWN_COLUMNS]

POLICIES: dict[str, Callable[[int], RegionPolicy]] = {
    "kernel": lambda seed: KernelPolicy(KernelPolicyOptions(seed=seed)),
    "evidence": lambda seed: EvidencePolicy(EvidencePolicyOptions(seed=seed)),
}

every_policy = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)


def ranges_of(gaps_and_sizes: list[tuple[int, int]]) -> list[Range]:
    """Return page-aligned ranges of these numbers of pages, each after a gap."""
    ranges: list[Range] = []
    position = 0
    for gap, size in gaps_and_sizes:
        start = position + gap * PAGE
        position = start + size * PAGE
        ranges.append(Range(start, position))
    return ranges


pages = st.one_of(st.integers(1, 4), st.integers(1, 5_000), st.integers(1, MOST_PAGES))
gaps = st.one_of(st.just(0), pages)
address_spaces = st.lists(st.tuples(gaps, pages), min_size=0, max_size=4).map(ranges_of)
limits = st.builds(
    lambda least, more: RegionLimits(least, least + more), st.integers(1, 30), st.integers(0, 60)
)
seeds = st.integers(0, 2**32)


def covered(regions: Regions) -> list[tuple[int, int]]:
    """Return the address space of regions, with touching ones joined."""
    joined: list[tuple[int, int]] = []
    for first, end in zip(regions.start.tolist(), regions.end.tolist(), strict=True):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def all_covered(targets: Sequence[Target]) -> list[list[tuple[int, int]]]:
    """Return the address spaces of targets."""
    return [covered(target.regions) for target in targets]


def count(targets: Sequence[Target]) -> int:
    """Return the number of regions of targets."""
    return sum(len(target.regions) for target in targets)


def made(ranges: list[Range], number: RegionLimits, name: str = "target") -> Target:
    """Return a target of ranges that are cut evenly."""
    return Target(name, Regions.evenly(ranges, number))


def check_tables(targets: Sequence[Target]) -> None:
    """Assert what always holds for regions."""
    for target in targets:
        regions = target.regions
        assert all(getattr(regions, column) is None for column in UNKNOWN_COLUMNS)
        for column in COLUMNS:
            assert getattr(regions, column).shape == (len(regions),), column
        assert np.all(regions.start < regions.end)
        assert np.all(regions.end[:-1] <= regions.start[1:])
        assert not np.any(regions.start % PAGE)
        assert not np.any(regions.end % PAGE)


def check_samples(targets: Sequence[Target]) -> None:
    """Assert that a target's samples are pages of its regions, ascending, each with a result."""
    for target in targets:
        samples, regions = target.samples, target.regions
        assert samples is not None
        assert samples.accessed.shape == samples.known.shape == samples.addresses.shape
        assert not samples.accessed.any()
        assert samples.known.all()
        assert np.all(np.diff(samples.addresses) >= 0)
        assert not np.any(samples.addresses % PAGE)
        assert np.all(regions.holding(samples.addresses) >= 0)


def check_results(
    targets: Sequence[Target],
    checks: int,
    number: RegionLimits,
    oldest: int,
    elapsed_us: int,
) -> None:
    """Assert what holds for results after `oldest` aggregations of `elapsed_us` in all."""
    ranges = sum(len(space) for space in all_covered(targets))
    assert count(targets) <= max(number.max_regions, ranges)
    for target in targets:
        regions = target.regions
        assert np.all((regions.nr_accesses >= 0) & (regions.nr_accesses <= checks))
        assert np.all((regions.age >= 0) & (regions.age <= oldest))
        assert np.all((regions.idle_us >= 0) & (regions.idle_us <= elapsed_us))


class Monitor:
    """Calls a policy as the worker of a context does.

    Args:
        policy: The policy.
        number: The limits.
        seed: The seed for what is accessed.
        known_share: The share of samples with an answer.

    Attributes:
        targets: The targets; may be changed between calls.
        known_share: The share of samples with an answer; may be changed.
        meanwhile: Called between any two calls of the policy.
    """

    def __init__(
        self, policy: RegionPolicy, number: RegionLimits, seed: int, known_share: float = 1.0
    ) -> None:
        self.targets: list[Target] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.rng = np.random.default_rng(seed)
        self.policy = policy
        self.limits = number
        self.known_share = known_share
        self._aggregations = 0
        self._last_checks = 1
        policy.begin(number)

    def set_limits(self, number: RegionLimits) -> None:
        """Change the limits while running."""
        self.limits = number
        self.policy.set_limits(number)

    def aggregation(self, checks: int, rate: float = 0.5) -> None:
        """Run one aggregation, in which a checked page is accessed with probability `rate`."""
        for _ in range(checks):
            self.policy.choose(self.targets)
            check_samples(self.targets)
            self.meanwhile()
            for target in self.targets:
                self._look(target.samples, rate)
            self.meanwhile()
            self.policy.observe(self.targets)
            check_tables(self.targets)
            self.meanwhile()
        for target in self.targets:
            target.regions.rescale_accesses(self._last_checks, checks)
        spaces = all_covered(self.targets)
        self.policy.aggregate(self.targets, checks, AGGREGATION_US)
        self._aggregations += 1
        check_tables(self.targets)
        assert all_covered(self.targets) == spaces
        check_results(
            self.targets,
            checks,
            self.limits,
            self._aggregations,
            self._aggregations * AGGREGATION_US,
        )
        for target in self.targets:
            target.regions.reset_aggregated()
        self.meanwhile()
        spaces, before = all_covered(self.targets), count(self.targets)
        self.policy.adapt(self.targets)
        check_tables(self.targets)
        assert all_covered(self.targets) == spaces
        assert count(self.targets) <= max(self.limits.max_regions, before)
        self._last_checks = checks
        self.meanwhile()

    def _look(self, samples: Samples | None, rate: float) -> None:
        if samples is not None:
            samples.accessed[:] = self.rng.random(len(samples.addresses)) < rate
            samples.known[:] = self.rng.random(len(samples.addresses)) < self.known_share

    def columns(self) -> list[list[list[float]]]:
        """Return all columns of all regions."""
        return [
            [getattr(target.regions, column).tolist() for column in COLUMNS]
            for target in self.targets
        ]


# -- under arbitrary histories -------------------------------------------------------------------

histories = st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1)), min_size=1, max_size=6)


@every_policy
@given(
    spaces=st.lists(address_spaces, min_size=0, max_size=3),
    number=limits,
    seed=seeds,
    known_share=st.sampled_from([1.0, 0.5, 0.0]),
    history=histories,
)
def test_invariants_hold_whatever_is_seen(
    make: Callable[[int], RegionPolicy],
    *,
    spaces: list[list[Range]],
    number: RegionLimits,
    seed: int,
    known_share: float,
    history: list[tuple[int, float]],
) -> None:
    """Regions are sorted, disjoint, aligned, complete and few enough, counters within bounds."""
    monitor = Monitor(make(seed), number, seed, known_share)
    monitor.targets = [made(space, number, str(index)) for index, space in enumerate(spaces)]
    for checks, rate in history:
        monitor.aggregation(checks, rate)


@every_policy
@given(
    spaces=st.lists(address_spaces, min_size=1, max_size=6),
    number=limits,
    seed=seeds,
    history=histories,
)
def test_invariants_hold_while_targets_change(
    make: Callable[[int], RegionPolicy],
    spaces: list[list[Range]],
    number: RegionLimits,
    seed: int,
    history: list[tuple[int, float]],
) -> None:
    """Targets appear and disappear and their regions are replaced between any two calls."""
    monitor = Monitor(make(seed), number, seed)
    rng = np.random.default_rng(seed)

    def change() -> None:
        space = spaces[int(rng.integers(len(spaces)))]
        kind = int(rng.integers(6))
        if kind == 0 and len(monitor.targets) < 4:
            monitor.targets.append(made(space, number, str(rng.random())))
        elif monitor.targets:
            index = int(rng.integers(len(monitor.targets)))
            target = monitor.targets[index]
            if kind == 1:
                del monitor.targets[index]
            elif kind == 2:
                target.regions = target.regions.cover(space, number)

    monitor.meanwhile = change
    for checks, rate in history:
        monitor.aggregation(checks, rate)


@every_policy
@given(space=address_spaces, seed=seeds, numbers=st.lists(limits, min_size=2, max_size=5))
def test_limits_may_change_while_running(
    make: Callable[[int], RegionPolicy],
    space: list[Range],
    seed: int,
    numbers: list[RegionLimits],
) -> None:
    """The next results keep the new limits, lower or higher."""
    monitor = Monitor(make(seed), numbers[0], seed)
    monitor.targets = [made(space, numbers[0])]
    for number in numbers:
        monitor.set_limits(number)
        monitor.aggregation(3)
        monitor.aggregation(3)


@every_policy
@given(space=address_spaces, number=limits, seed=seeds, history=histories)
def test_the_same_seed_gives_the_same_result(
    make: Callable[[int], RegionPolicy],
    space: list[Range],
    number: RegionLimits,
    seed: int,
    history: list[tuple[int, float]],
) -> None:
    """The results are identical, also those of a second run of the same policy."""
    policy = make(seed)
    results = []
    for used in (policy, policy, make(seed)):
        monitor = Monitor(used, number, seed, known_share=0.9)
        monitor.targets = [made(space, number)]
        for checks, rate in history:
            monitor.aggregation(checks, rate)
        results.append(monitor.columns())
    assert results[0] == results[1] == results[2]


@every_policy
def test_another_seed_gives_another_choice(make: Callable[[int], RegionPolicy]) -> None:
    """The policy uses its seed."""
    chosen = []
    for seed in (1, 2):
        monitor = Monitor(make(seed), RegionLimits(), 1)
        monitor.targets = [made([Range(0, 1 << 40)], RegionLimits())]
        monitor.policy.choose(monitor.targets)
        samples = monitor.targets[0].samples
        assert samples is not None
        chosen.append(samples.addresses.tolist())
    assert chosen[0] != chosen[1]


# -- special targets -----------------------------------------------------------------------------


@every_policy
def test_a_target_of_one_page_is_monitored(make: Callable[[int], RegionPolicy]) -> None:
    """Its only page is checked, and there is nothing to cut."""
    monitor = Monitor(make(1), RegionLimits(), 1)
    monitor.targets = [made([Range(8 * PAGE, 9 * PAGE)], RegionLimits())]
    for _ in range(5):
        monitor.aggregation(4, rate=1.0)
    assert monitor.targets[0].regions.last_nr_accesses.tolist() == [4]
    assert monitor.targets[0].regions.start.tolist() == [8 * PAGE]


@every_policy
@pytest.mark.parametrize("size_bytes", [1 << 40, 1 << 50])
def test_regions_of_a_huge_target_are_sampled_over_their_whole_size(
    make: Callable[[int], RegionPolicy], size_bytes: int
) -> None:
    """Each sixteenth of the only region is checked about equally often."""
    monitor = Monitor(make(1), RegionLimits(1, 1), 1)
    monitor.targets = [made([Range(0, size_bytes)], RegionLimits(1, 1))]
    counts = np.zeros(16, dtype=np.int64)
    for _ in range(1_600):
        monitor.policy.choose(monitor.targets)
        samples = monitor.targets[0].samples
        assert samples is not None
        counts += np.bincount(samples.addresses // (size_bytes // 16), minlength=16)
        monitor.policy.observe(monitor.targets)
    assert counts.min() > counts.sum() / 16 / 2


@every_policy
def test_memory_that_is_always_accessed_has_as_many_accesses_as_checks(
    make: Callable[[int], RegionPolicy],
) -> None:
    """Memory that is never accessed has none, and its idle time grows."""
    for rate, accesses in ((1.0, 20.0), (0.0, 0.0)):
        monitor = Monitor(make(1), RegionLimits(), 1)
        monitor.targets = [made([Range(0, 1 << 30)], RegionLimits())]
        for _ in range(10):
            monitor.aggregation(20, rate)
        regions = monitor.targets[0].regions
        assert set(regions.last_nr_accesses.tolist()) == {accesses}
        assert set(regions.idle_us.tolist()) == {0 if rate else 10 * AGGREGATION_US}


@every_policy
def test_age_counts_aggregations_without_a_change(
    make: Callable[[int], RegionPolicy],
) -> None:
    """It grows by one in each, and is reset when the access frequency changes."""
    monitor = Monitor(make(1), RegionLimits(), 1)
    monitor.targets = [made([Range(0, 1 << 30)], RegionLimits())]
    ages = []
    for rate in [1.0] * 5 + [0.0] * 3:
        monitor.aggregation(20, rate)
        ages.append(monitor.targets[0].regions.age.tolist())
    assert [set(age) for age in ages[1:5]] == [{ages[0][0] + grown} for grown in range(1, 5)]
    assert [set(age) for age in ages[5:]] == [{0}, {1}, {2}]


@every_policy
def test_a_check_without_an_answer_counts_as_neither_accessed_nor_idle(
    make: Callable[[int], RegionPolicy],
) -> None:
    """Memory that is always accessed is reported so even if half of the checks have no answer."""
    monitor = Monitor(make(1), RegionLimits(), 1, known_share=0.5)
    monitor.targets = [made([Range(0, 1 << 30)], RegionLimits())]
    for _ in range(3):
        monitor.aggregation(20, rate=1.0)
    assert set(monitor.targets[0].regions.last_nr_accesses.tolist()) == {20}


@every_policy
def test_a_target_that_appears_late_is_judged_by_its_own_checks(
    make: Callable[[int], RegionPolicy],
) -> None:
    """Always accessed since it appeared, it has as many accesses as there were checks."""
    monitor = Monitor(make(1), RegionLimits(), 1)
    monitor.targets = [made([Range(0, 1 << 30)], RegionLimits())]
    calls = 0

    def appear() -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            monitor.targets.append(made([Range(0, 1 << 30)], RegionLimits(), "late"))

    monitor.meanwhile = appear
    monitor.aggregation(20, rate=1.0)
    assert set(monitor.targets[1].regions.last_nr_accesses.tolist()) == {20}


@every_policy
def test_results_stay_where_checks_no_longer_have_an_answer(
    make: Callable[[int], RegionPolicy],
) -> None:
    """An aggregation without any answer changes neither frequency, age nor idle time."""
    for rate in (1.0, 0.0):
        monitor = Monitor(make(1), RegionLimits(), 1)
        monitor.targets = [made([Range(0, 1 << 30)], RegionLimits())]
        for _ in range(3):
            monitor.aggregation(20, rate)
        before = distinct_results(monitor.targets[0].regions)
        monitor.known_share = 0.0
        monitor.aggregation(20, 1.0 - rate)
        assert distinct_results(monitor.targets[0].regions) == before


def distinct_results(regions: Regions) -> set[tuple[float, int, int]]:
    """Return the distinct results of regions: last nr_accesses, age and idle time."""
    return set(
        zip(
            regions.last_nr_accesses.tolist(),
            regions.age.tolist(),
            regions.idle_us.tolist(),
            strict=True,
        )
    )


# -- in a context --------------------------------------------------------------------------------


class HalfHot:
    """A primitive with 1 GiB of memory whose lower half is always accessed."""

    sampling = PageSampling

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(made([Range(0, 1 << 30)], context.limits))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        for target in context.targets:
            if target.samples is not None:
                target.samples.accessed[:] = target.samples.addresses < 1 << 29


@every_policy
def test_a_context_finds_what_is_hot(make: Callable[[int], RegionPolicy]) -> None:
    """The hot bytes are right within 5 % after 30 aggregations."""
    context = run_virtual(
        HalfHot(), aggregations=30, intervals=Intervals(5, 100, 1_000), policy=make(1)
    )
    assert context.snapshot is not None
    assert context.snapshot.working_set_bytes(at_least=10) == pytest.approx(1 << 29, rel=0.05)
