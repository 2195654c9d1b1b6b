"""The policy `evidence`, glued to targets: who gets how many checks and regions."""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen, validators

from damon_core.attributes import RegionLimits, check_positive
from damon_core.memory.regions import PAGE_SIZE_BYTES
from damon_core.memory.target import Target
from damon_core.policies.evidence.learner import Learner
from damon_core.policies.evidence.pool import CAPACITY

#: Linux's idle state is two to three regions for each of min_regions, each checked in every
#: sampling interval: three checks are never more than it would spend.
_CHECKS_PER_MIN_REGION = 3
#: With many regions, one of ten is checked in each sampling interval.
_REGIONS_PER_CHECK = 10
#: The number of checks expected in the first aggregation: that of the default intervals.
_FIRST_CHECKS = 20
#: Checks are divided over targets by size, by number of regions, and this part evenly, so that
#: a small target is never lost beside a huge one.
_EVEN_SHARE = 0.2
#: Linux's rule: a frequency moved if by more than a tenth of the largest one.
_AGE_TOLERANCE = 0.1


@frozen
class EvidencePolicyOptions:
    """Options of the policy."""

    seed: int | None = field(
        default=None, metadata={"help": "The same seed gives the same choices; none: random."}
    )
    checks_per_interval: int | None = field(
        default=None,
        validator=validators.optional(check_positive),
        metadata={
            "help": "Pages checked in each sampling interval, at most max_regions; none: three "
            "for each of min_regions, and at least a tenth of the number of regions, but at most "
            "2000 in an aggregation."
        },
    )


class EvidencePolicy:
    """Adapts regions to all checks that are still believed.

    Args:
        options: The seed and the number of checks.
    """

    name = "evidence"

    def __init__(self, options: EvidencePolicyOptions | None = None) -> None:
        self._options = options or EvidencePolicyOptions()
        self.begin(RegionLimits())

    def begin(self, limits: RegionLimits) -> None:
        """Forget all targets and begin a new sequence of random numbers."""
        self._limits = limits
        self._rng = np.random.default_rng(self._options.seed)
        self._learners: dict[Target, Learner] = {}
        self._expected_checks = _FIRST_CHECKS

    def set_limits(self, limits: RegionLimits) -> None:
        """Keep within other limits from the next aggregation on."""
        self._limits = limits

    def choose(self, targets: Sequence[Target]) -> None:
        """Hand out the next pages of the plan, which is made at the first check."""
        learners = self._follow(targets)
        if not all(learner.planned for learner in learners):
            for learner, checks in zip(learners, self._checks_each(learners), strict=True):
                if not learner.planned:
                    learner.make_plan(checks, self._expected_checks)
        for target, learner in zip(targets, learners, strict=True):
            target.samples = learner.next_samples()

    def observe(self, targets: Sequence[Target]) -> None:
        """Take in what was seen."""
        for target in targets:
            learner = self._learners.get(target)
            if learner is not None and target.samples is not None:
                learner.observe(target.samples)

    def aggregate(self, targets: Sequence[Target], checks: int, elapsed_us: int) -> None:
        """Learn from all checks and write the regions.

        Regions age by the rule of Linux. One is idle as long as no access is believed in it:
        since its last access was seen, or since later checks made that too old to count. Where
        no check is believed, and in a target that no check told anything of, nr_accesses, age
        and idle time stay.
        """
        self._expected_checks = checks
        learners = self._follow(targets)
        if not learners:  # as where the kernel samples
            return
        limit_bytes = self._limit_bytes(sum(learner.areas.total_bytes for learner in learners))
        told = []
        for learner, most in zip(learners, self._most_each(learners), strict=True):
            told.append(learner.learn(most, limit_bytes))
        for target, learner in zip(targets, learners, strict=True):
            target.regions = learner.write(checks)
        largest = max((target.regions.nr_accesses.max(initial=0) for target in targets), default=0)
        for target, learner, anything in zip(targets, learners, told, strict=True):
            if anything:
                regions = target.regions
                untold = (learner.areas.believed == 0).nonzero()[0]
                age, idle_us = regions.age[untold], regions.idle_us[untold]
                regions.grow_older(elapsed_us, _AGE_TOLERANCE * largest)
                regions.age[untold], regions.idle_us[untold] = age, idle_us

    def adapt(self, targets: Sequence[Target]) -> None:
        """Nothing is left to prepare."""

    def _follow(self, targets: Sequence[Target]) -> list[Learner]:
        """Return the learners of the targets, which know their ranges; forget other targets."""
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
        """Return the size limit: no region is larger than 1 / min_regions of all targets."""
        pages = total_bytes // PAGE_SIZE_BYTES
        return max(1, -(-pages // self._limits.min_regions)) * PAGE_SIZE_BYTES

    def _checks_each(self, learners: Sequence[Learner]) -> list[int]:
        """Divide the checks of an aggregation over the targets."""
        count = sum(len(learner.areas) for learner in learners)
        per_interval = self._options.checks_per_interval or min(
            max(_CHECKS_PER_MIN_REGION * self._limits.min_regions, count // _REGIONS_PER_CHECK),
            # With more, nothing seen before the last aggregation would be remembered.
            max(1, CAPACITY // (2 * self._expected_checks)),
        )
        # Slices of a plan differ by one check: then those of all targets keep within the limit.
        per_interval = min(per_interval, max(1, self._limits.max_regions - len(learners) + 1))
        total = per_interval * self._expected_checks
        even = _EVEN_SHARE / len(learners)
        return [
            max(1, int(((1 - _EVEN_SHARE) * weight + even) * total))
            for weight in _weights(learners)
        ]

    def _most_each(self, learners: Sequence[Learner]) -> list[int]:
        """Divide max_regions over the targets: to each what it has, and a share of the rest."""
        counts = [len(learner.areas) for learner in learners]
        room = self._limits.max_regions - sum(counts)
        if room >= 0:
            weights = _weights(learners)
            return [
                count + int(room * weight) for count, weight in zip(counts, weights, strict=True)
            ]
        # Too many: a limit was lowered, or ranges came. Ranges can't be joined, areas can.
        ranges = [len(learner.areas.ranges()[0]) for learner in learners]
        spare = max(0, self._limits.max_regions - sum(ranges))
        joinable = max(1, sum(counts) - sum(ranges))
        return [
            least + (count - least) * spare // joinable
            for count, least in zip(counts, ranges, strict=True)
        ]


def _weights(learners: Sequence[Learner]) -> list[float]:
    """Return the weight of each target, half by size and half by number of areas; 1 in all."""
    sizes = [learner.areas.total_bytes for learner in learners]
    counts = [len(learner.areas) for learner in learners]
    size, count = max(1, sum(sizes)), max(1, sum(counts))
    return [
        (own_size / size + own_count / count) / 2
        for own_size, own_count in zip(sizes, counts, strict=True)
    ]
