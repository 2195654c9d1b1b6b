"""Runs of policies, and of an oracle, on patterns; policies are called without threads."""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from damon_sim import RandomPages

from benchmarks.accuracy.best import best_regions
from benchmarks.accuracy.patterns import AGGREGATION_US, Case, cases, hard_cases, held_out_cases
from benchmarks.accuracy.truth import AreaTruth, Estimate, PageTruth, Score
from damon_core import Intervals, Plugins, Range, RegionPolicy, Regions, Target

CHECKS = AGGREGATION_US // Intervals().sampling_us

POLICIES = ("kernel", "evidence")
ORACLE = "oracle"
BEST = "best regions"


@frozen
class Run:
    """The results of one policy on one pattern with one seed.

    Attributes:
        pattern: The name of the pattern.
        policy: The name of the policy.
        change_every: The number of aggregations after which the pattern changes.
        scores: The score of each aggregation.
        checks: The number of pages checked in each aggregation.
        estimates: The policy's estimate in each aggregation.
        checked: The addresses of all checks of each aggregation.
    """

    pattern: str
    policy: str
    change_every: int | None
    scores: Sequence[Score]
    checks: Sequence[int]
    estimates: Sequence[Estimate] = field(default=(), repr=False)
    checked: Sequence[np.ndarray] = field(default=(), repr=False)

    def f1(self) -> list[float | None]:
        """Return the F1 of hot memory in each aggregation; None where nothing is hot."""
        return [
            2 * score.both / (score.reported_hot + score.true_hot) if score.true_hot else None
            for score in self.scores
        ]

    def until_found(self, f1: float = 0.9) -> list[tuple[int, bool]]:
        """Return, for the start and each change, the number of aggregations until an F1.

        With each number comes whether the F1 was reached; if not, the number is one more than
        that of the aggregations until the next change or the end.
        """
        values = self.f1()
        period = self.change_every or len(values)
        found = []
        for begin in range(0, len(values), period):
            phase = values[begin : begin + period]
            if all(value is None for value in phase):
                continue
            reached = [n for n, value in enumerate(phase, 1) if value is not None and value >= f1]
            found.append((reached[0], True) if reached else (len(phase) + 1, False))
        return found


def make_policy(name: str, seed: int) -> RegionPolicy:
    """Return a policy of any installed package that has the option ``seed``.

    Args:
        name: Its name, and if it has the option ``checks_per_interval``, that after an @, such as
            evidence@300.
        seed: The seed.

    Raises:
        InputError: There is no policy with this name, or it hasn't this option.
    """
    policy, _, checks = name.partition("@")
    options: dict[str, object] = {"seed": seed}
    if checks:
        options["checks_per_interval"] = int(checks) if checks.isdecimal() else checks
    return Plugins.discover().make_policy(policy, options)


def all_cases(seed: int) -> Sequence[Case]:
    """Return all patterns."""
    return (*cases(seed), *held_out_cases(seed), *hard_cases(seed))


def find_case(name: str, seed: int) -> Case:
    """Return the pattern with this name."""
    return next(case for case in all_cases(seed) if case.name == name)


def run_policy(case: Case, name: str, seed: int, aggregations: int, keep: bool = False) -> Run:
    """Return a run of a policy on a pattern; `keep` its estimates and the pages checked."""
    policy = make_policy(name, seed)
    policy.begin(case.limits)
    # Not the generator of the policy, which begins with the same seed.
    rng = np.random.default_rng((seed, 1))
    target = Target("benchmark")
    size = 0
    scores, checks, estimates, checked = [], [], [], []
    for aggregation in range(aggregations):
        truth = case.truth_at(aggregation)
        if case.size_at(aggregation) != size:
            size = case.size_at(aggregation)
            target.regions = (
                target.regions.cover([Range(0, size)], case.limits)
                if aggregation
                else Regions.evenly([Range(0, size)], case.limits)
            )
        pages = []
        for check in range(CHECKS):
            policy.choose([target])
            samples = target.samples
            assert samples is not None
            samples.accessed[:] = case.accessed(truth, samples.addresses, check / CHECKS, rng)
            policy.observe([target])
            pages.append(samples.addresses)
        policy.aggregate([target], CHECKS, AGGREGATION_US)
        estimate = Estimate.of(target.regions, CHECKS)
        if estimate.borders[0] != 0 or estimate.borders[-1] != size:
            raise ValueError(f"the policy {name} doesn't cover the memory")
        scores.append(truth.score(estimate))
        checks.append(sum(map(len, pages)))
        if keep:
            estimates.append(estimate)
            checked.append(np.concatenate(pages))
        target.regions.reset_aggregated()
        policy.adapt([target])
    return Run(case.name, name, case.change_every, scores, checks, estimates, checked)


def run_oracle(case: Case, seed: int, checks: Sequence[int]) -> Run:
    """Return the run of an oracle, which knows all borders and when they change.

    It spreads the same number of checks over the areas, by size, and adds up the results of each
    area while that doesn't change: its error is only that of random sampling. For random pages,
    which regions can't describe, it reports the median rate everywhere.
    """
    rng = np.random.default_rng((seed, 2))
    scores = []
    known: dict[tuple[int, int, float], tuple[int, int]] = {}
    for aggregation, count in enumerate(checks):
        truth = case.truth_at(aggregation)
        if isinstance(truth, PageTruth):
            usual = float(np.median(truth.page_rates))
            scores.append(
                truth.score(Estimate(np.array([0, case.size_at(aggregation)]), np.array([usual])))
            )
            continue
        assert isinstance(truth, AreaTruth)
        share = np.cumsum(np.diff(truth.borders) / truth.borders[-1]) * count
        drawn = np.diff(np.floor(share + rng.random()), prepend=0.0).astype(np.int64)
        hits = rng.binomial(drawn, truth.rate)
        known = {
            area: (seen + int(new), total + int(n))
            for area, new, n in zip(truth.areas, hits, drawn, strict=True)
            for seen, total in (known.get(area, (0, 0)),)
        }
        seen, total = np.array(list(known.values()), dtype=np.float64).T
        guess = seen.sum() / max(total.sum(), 1.0)
        frequency = np.where(total > 0, seen / np.maximum(total, 1.0), guess)
        scores.append(truth.score(Estimate(truth.borders, frequency)))
    return Run(case.name, ORACLE, case.change_every, scores, checks)


def run_best(case: Case, aggregations: int) -> Run | None:
    """Return the run of the best max_regions regions; None if regions always suffice.

    They report their true means, without any check.
    """
    scores: list[Score] = []
    is_limited = False
    for aggregation in range(aggregations):
        if scores and (case.is_fixed or isinstance(case.pattern, RandomPages)):
            scores.append(scores[-1])
            continue
        truth = case.truth_at(aggregation)
        best = best_regions(truth, case.limits.max_regions)
        if best is None:
            assert isinstance(truth, AreaTruth)
            best = Estimate(truth.borders, truth.rate)
        else:
            is_limited = True
        scores.append(truth.score(best))
    return (
        Run(case.name, BEST, case.change_every, scores, [0] * aggregations) if is_limited else None
    )


def run_all(pattern: str, policies: Sequence[str], seed: int, aggregations: int) -> list[Run]:
    """Return the runs of all policies on one pattern with one seed, and those of the bounds."""
    case = find_case(pattern, seed)
    runs = [run_policy(case, policy, seed, aggregations) for policy in policies]
    runs.append(run_oracle(case, seed, runs[0].checks))
    best = run_best(case, aggregations)
    return runs if best is None else [*runs, best]
