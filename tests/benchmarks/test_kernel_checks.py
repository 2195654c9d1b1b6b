"""How the benchmark of the kernel's checks counts for the policy."""

from benchmarks.kernel_checks.counting import CountingPolicy
from damon_core import PAGE_SIZE_BYTES, Regions
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicyOptions

PAGE = PAGE_SIZE_BYTES


def test_a_count_is_a_frequency() -> None:
    """Pages of which each was accessed in 14 of 20 checks make a region of that frequency."""
    target = Target("memory", Regions([0], [1_000 * PAGE]))
    options = EvidencePolicyOptions(seed=1, checks_per_interval=100)
    policy = CountingPolicy(options, target, weight=4)
    for _ in range(20):
        policy.choose([target])
        assert target.samples is not None
        policy.learner.shares = dict.fromkeys(target.samples.addresses.tolist(), 14 / 20)
        policy.observe([target])
        policy.aggregate([target], 1, 100_000)
    sizes = target.regions.size_bytes
    mean = float(target.regions.nr_accesses @ sizes) / float(sizes.sum())
    assert abs(mean - 0.7) < 0.05
