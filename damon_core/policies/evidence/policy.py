"""The policy `evidence` for targets: how many checks and regions each gets."""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from attrs.validators import optional

from damon_core.attributes import RegionLimits
from damon_core.memory.regions import PAGE_SIZE_BYTES
from damon_core.memory.target import Target
from damon_core.policies.evidence.learner import Learner
from damon_core.policies.evidence.pool import CAPACITY
from damon_core.validators import at_least, positive

#: On uniform memory Linux keeps two to three regions per min_regions, and checks each in every
#: sampling interval: three checks are never more than Linux would make.
_CHECKS_PER_MIN_REGION = 3
#: With many regions, one of ten is checked in each sampling interval.
_REGIONS_PER_CHECK = 10
#: The number of sampling intervals expected in the first aggregation: the default intervals'.
_FIRST_CHECKS = 20
#: Checks are shared by size, by number of regions, and this part evenly, so that a small target
#: isn't neglected beside a huge one.
_EVEN_SHARE = 0.2
#: Linux's rule: a frequency has changed if by more than a tenth of the largest one.
_AGE_TOLERANCE = 0.1


@frozen
class EvidencePolicyOptions:
    """Options of the policy."""

    seed: int | None = field(
        default=None,
        validator=optional(at_least(0)),
        metadata={"help": "Seed of the random choices, for repeatable runs; none: random."},
    )
    checks_per_interval: int | None = field(
        default=None,
        validator=optional(positive),
        metadata={
            "help": "Pages checked in each sampling interval, at most max_regions; none: three "
            "per min_regions, at least a tenth of the number of regions, and at most 2000 in an "
            "aggregation."
        },
    )


class EvidencePolicy:
    """Adapts regions to all checks that are still valid.

    Args:
        options: The seed and the number of checks.
    """

    name = "evidence"

    def __init__(self, options: EvidencePolicyOptions | None = None) -> None:
        self._options = options or EvidencePolicyOptions()
        self.begin(RegionLimits())

    def begin(self, limits: RegionLimits) -> None:
        """Start a new run: forget all targets and reseed the random numbers."""
        self._limits = limits
        self._rng = np.random.default_rng(self._options.seed)
        self._learners: dict[Target, Learner] = {}
        self._expected_checks = _FIRST_CHECKS

    def set_limits(self, limits: RegionLimits) -> None:
        """Apply other limits from the next aggregation on."""
        self._limits = limits

    def choose(self, targets: Sequence[Target]) -> None:
        """Choose the next pages of the plan, which is made at an aggregation's first check."""
        learners = self._follow(targets)
        if not all(learner.planned for learner in learners):
            for learner, checks in zip(learners, self._checks_each(learners), strict=True):
                if not learner.planned:
                    learner.make_plan(checks, self._expected_checks)
        for target, learner in zip(targets, learners, strict=True):
            target.samples = learner.next_samples()

    def observe(self, targets: Sequence[Target]) -> None:
        """Record the results of the samples."""
        for target in targets:
            learner = self._learners.get(target)
            if learner is not None and target.samples is not None:
                learner.observe(target.samples)

    def aggregate(self, targets: Sequence[Target], checks: int, elapsed_us: int) -> None:
        """Learn from all checks and update the regions.

        Regions age by Linux's rule. A region is idle as long as none of its valid checks saw an
        access: since the last one that did was forgotten. A region without any valid check, and a
        target without any answer in this aggregation, keeps nr_accesses, age and idle time.
        """
        self._expected_checks = checks
        learners = self._follow(targets)
        if not learners:  # as where the kernel samples
            return
        limit_bytes = self._limit_bytes(sum(learner.areas.total_bytes for learner in learners))
        any_known = []
        for learner, most in zip(learners, self._most_each(learners), strict=True):
            any_known.append(learner.learn(most, limit_bytes))
        for target, learner in zip(targets, learners, strict=True):
            target.regions = learner.write(checks)
        largest = max((target.regions.nr_accesses.max(initial=0) for target in targets), default=0)
        for target, learner, is_known in zip(targets, learners, any_known, strict=True):
            if is_known:
                regions = target.regions
                unknown = (learner.areas.weight == 0).nonzero()[0]
                age, idle_us = regions.age[unknown], regions.idle_us[unknown]
                regions.grow_older(elapsed_us, _AGE_TOLERANCE * largest)
                regions.age[unknown], regions.idle_us[unknown] = age, idle_us

    def adapt(self, targets: Sequence[Target]) -> None:
        """Do nothing: `aggregate` has already adapted the regions."""

    def _follow(self, targets: Sequence[Target]) -> list[Learner]:
        """Return the targets' learners, adopting replaced tables; forget targets that are gone."""
        if list(self._learners) != list(targets):
            self._learners = {
                target: self._learners.get(target) or Learner(self._rng) for target in targets
            }
        replaced = [
            item for item in self._learners.items() if item[1].regions is not item[0].regions
        ]
        if replaced:
            limit_bytes = self._limit_bytes(
                sum(int(target.regions.size_bytes.sum()) for target in targets)
            )
            for target, learner in replaced:
                learner.adopt(target.regions, limit_bytes)
        return list(self._learners.values())

    def _limit_bytes(self, total_bytes: int) -> int:
        """Return the largest size of a region: 1 / min_regions of the size of all targets."""
        pages = total_bytes // PAGE_SIZE_BYTES
        return max(1, -(-pages // self._limits.min_regions)) * PAGE_SIZE_BYTES

    def _checks_each(self, learners: Sequence[Learner]) -> list[int]:
        """Return the number of checks of each target in an aggregation."""
        count = sum(len(learner.areas) for learner in learners)
        per_interval = self._options.checks_per_interval or min(
            max(_CHECKS_PER_MIN_REGION * self._limits.min_regions, count // _REGIONS_PER_CHECK),
            # With more, the pool would hold only the last aggregation.
            max(1, CAPACITY // (2 * self._expected_checks)),
        )
        # Slices of a plan differ by one check: this keeps all targets' together within the limit.
        per_interval = min(per_interval, max(1, self._limits.max_regions - len(learners) + 1))
        total = per_interval * self._expected_checks
        even = _EVEN_SHARE / len(learners)
        return [
            max(1, int(((1 - _EVEN_SHARE) * weight + even) * total))
            for weight in _weights(learners)
        ]

    def _most_each(self, learners: Sequence[Learner]) -> list[int]:
        """Return each target's share of max_regions: what it has, and a part of the rest."""
        counts = [len(learner.areas) for learner in learners]
        room = self._limits.max_regions - sum(counts)
        if room >= 0:
            weights = _weights(learners)
            return [
                count + int(room * weight) for count, weight in zip(counts, weights, strict=True)
            ]
        # Too many: the limit was lowered or ranges were added. Ranges can't be joined, areas can.
        ranges = [len(learner.areas.ranges()[0]) for learner in learners]
        spare = max(0, self._limits.max_regions - sum(ranges))
        joinable = max(1, sum(counts) - sum(ranges))
        return [
            least + (count - least) * spare // joinable
            for count, least in zip(counts, ranges, strict=True)
        ]


def _weights(learners: Sequence[Learner]) -> list[float]:
    """Return the weight of each target, half by size and half by number of areas; the sum is 1."""
    sizes = [learner.areas.total_bytes for learner in learners]
    counts = [len(learner.areas) for learner in learners]
    size, count = max(1, sum(sizes)), max(1, sum(counts))
    return [
        (own_size / size + own_count / count) / 2
        for own_size, own_count in zip(sizes, counts, strict=True)
    ]
