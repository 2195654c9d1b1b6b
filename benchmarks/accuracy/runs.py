"""Runs of policies, and of an oracle, on patterns: policies are driven by hand, without threads."""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen

from benchmarks.accuracy.patterns import AGGREGATION_US, Case, cases, held_out_cases
from benchmarks.accuracy.truth import AreaTruth, PageTruth, Score, Told
from damon_core import Intervals, Plugins, Range, RegionLimits, RegionPolicy, Regions, Target

LIMITS = RegionLimits()
CHECKS = AGGREGATION_US // Intervals().sampling_us

POLICIES = ("kernel", "evidence")
ORACLE = "oracle"


@frozen
class Run:
    """What came of one policy on one pattern with one seed.

    Attributes:
        pattern: The name of the pattern.
        policy: The name of the policy.
        change_every: After how many aggregations the pattern changes.
        scores: Of each aggregation.
        checks: Pages looked at in each aggregation.
        told: The answers themselves.
        looked_at: The addresses of all checks of each aggregation.
    """

    pattern: str
    policy: str
    change_every: int | None
    scores: Sequence[Score]
    checks: Sequence[int]
    told: Sequence[Told] = field(default=(), repr=False)
    looked_at: Sequence[np.ndarray] = field(default=(), repr=False)

    def f1(self) -> list[float | None]:
        """Return F1 of hot for each aggregation; None where nothing is hot."""
        return [
            2 * score.both / (score.told_hot + score.true_hot) if score.true_hot else None
            for score in self.scores
        ]

    def until_found(self, f1: float = 0.9) -> list[tuple[int, bool]]:
        """Return, for the start and each change, how many aggregations it took to reach an F1.

        With each number comes whether it was reached; if not, the number is one more than the
        aggregations that there were.
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

    Raises:
        InputError: There is none of that name.
    """
    return Plugins.discover().make_policy(name, {"seed": seed})


def find_case(name: str, seed: int) -> Case:
    """Return the pattern of a name."""
    return next(case for case in (*cases(seed), *held_out_cases(seed)) if case.name == name)


def run_policy(case: Case, name: str, seed: int, aggregations: int, keep: bool = False) -> Run:
    """Let a policy look at a pattern; `keep` its answers and where it looked."""
    policy = make_policy(name, seed)
    policy.begin(LIMITS)
    # Not the generator of the policy, which begins with the same seed.
    rng = np.random.default_rng((seed, 1))
    target = Target("benchmark")
    size = 0
    scores, checks, told, looked_at = [], [], [], []
    for aggregation in range(aggregations):
        truth = case.truth_at(aggregation)
        if case.size_at(aggregation) != size:
            size = case.size_at(aggregation)
            target.regions = (
                target.regions.cover([Range(0, size)], LIMITS)
                if aggregation
                else Regions.evenly([Range(0, size)], LIMITS)
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
        answer = Told.of(target.regions, CHECKS)
        if answer.borders[0] != 0 or answer.borders[-1] != size:
            raise ValueError(f"the policy {name} doesn't cover the memory")
        scores.append(truth.score(answer))
        checks.append(sum(map(len, pages)))
        if keep:
            told.append(answer)
            looked_at.append(np.concatenate(pages))
        target.regions.reset_aggregated()
        policy.adapt([target])
    return Run(case.name, name, case.change_every, scores, checks, told, looked_at)


def run_oracle(case: Case, seed: int, checks: Sequence[int]) -> Run:
    """Return what one would say who knows all borders, and when they change.

    It spreads as many checks by size over the areas, and adds up what it saw of each area as
    long as that stays as it is: its error is the noise of drawing. Of random pages it knows that
    regions tell nothing, and says of all what is true of most.
    """
    rng = np.random.default_rng((seed, 2))
    scores = []
    known: dict[tuple[int, int, float], tuple[int, int]] = {}
    for aggregation, count in enumerate(checks):
        truth = case.truth_at(aggregation)
        if isinstance(truth, PageTruth):
            usual = float(np.median(truth.page_rates))
            scores.append(
                truth.score(Told(np.array([0, case.size_at(aggregation)]), np.array([usual])))
            )
            continue
        assert isinstance(truth, AreaTruth)
        share = np.cumsum(np.diff(truth.borders) / truth.borders[-1]) * count
        looks = np.diff(np.floor(share + rng.random()), prepend=0.0).astype(np.int64)
        hits = rng.binomial(looks, truth.rate)
        known = {
            area: (seen + int(new), looked + int(n))
            for area, new, n in zip(truth.areas, hits, looks, strict=True)
            for seen, looked in (known.get(area, (0, 0)),)
        }
        seen, looked = np.array(list(known.values()), dtype=np.float64).T
        guess = seen.sum() / max(looked.sum(), 1.0)
        frequency = np.where(looked > 0, seen / np.maximum(looked, 1.0), guess)
        scores.append(truth.score(Told(truth.borders, frequency)))
    return Run(case.name, ORACLE, case.change_every, scores, checks)


def run_all(pattern: str, policies: Sequence[str], seed: int, aggregations: int) -> list[Run]:
    """Return the runs of all policies on one pattern with one seed, and that of the oracle."""
    case = find_case(pattern, seed)
    runs = [run_policy(case, policy, seed, aggregations) for policy in policies]
    return [*runs, run_oracle(case, seed, runs[0].checks)]
