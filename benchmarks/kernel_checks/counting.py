"""The policy `evidence`, which is given counts of single pages."""

import numpy as np

from benchmarks.beside_kernel.monitors import LIMITS
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicy, EvidencePolicyOptions
from damon_core.policies.evidence.learner import Learner
from damon_core.policies.evidence.rounds import Results


class _CountingLearner(Learner):
    """A learner for which a page that was checked often counts as several checks.

    Args:
        rng: The policy's random number generator.
        weight: As how many.

    Attributes:
        shares: The share of checks that saw an access, of each page of the aggregation.
    """

    def __init__(self, rng: np.random.Generator, weight: int) -> None:
        super().__init__(rng)
        self.weight = weight
        self.shares: dict[int, float] = {}

    def _results(self) -> Results:
        results, weight = super()._results(), self.weight
        shares = np.array([self.shares[page] for page in results.addresses.tolist()])
        self.shares.clear()
        # Rounded at random, so that the mean is right.
        hits = (shares * weight + self._rng.random(len(shares))).astype(np.int64)
        return Results(
            results.addresses.repeat(weight),
            (np.arange(weight) < hits[:, None]).ravel(),
            results.stands_for_bytes.repeat(weight),
            results.unknown,
        )


class CountingPolicy(EvidencePolicy):
    """The policy `evidence` with counts of pages, of one target."""

    def __init__(self, options: EvidencePolicyOptions, target: Target, weight: int) -> None:
        super().__init__(options)
        self.begin(LIMITS)
        self.learner = self._learners[target] = _CountingLearner(self._rng, weight)
