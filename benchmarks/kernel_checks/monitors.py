"""The monitors: the kernel's DAMON with its own regions, and with pages that our policy chooses."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attrs import define, field
from damon_sysfs.events import Aggregation
from damon_sysfs.sampler import KernelTarget, Sampler
from damon_sysfs.sampler import Plan as Settings
from damon_vaddr.mappings import parse_maps, range_regions

from benchmarks.beside_kernel.answers import Answer
from benchmarks.beside_kernel.monitors import LIMITS, Plan
from benchmarks.beside_kernel.workloads import FOR_US
from benchmarks.kernel_checks.counting import CountingPolicy
from benchmarks.kernel_checks.pages import Cost, Meter, Pages
from damon_core import Intervals, Regions
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicyOptions

#: Since Linux 6.14 the kernel has this function, and takes a commit in at the next check. Before,
#: it does so when an aggregation ends, whose counts of replaced pages are then gone.
_COMMITS_AT_ONCE = b" damon_call\n"


class KernelRegions:
    """The kernel's DAMON with its own regions.

    Args:
        often: How many times as often as planned it checks.

    Attributes:
        costs: What each run cost.
    """

    def __init__(self, often: int = 1) -> None:
        self.often = often
        self.costs: list[Cost] = []

    def __call__(self, pid: int, plan: Plan) -> tuple[int, list[Answer]]:
        """Monitor a process as planned; return the CPU time and the answers."""
        intervals = plan.intervals
        checks = intervals.checks
        answers, counts = [], []
        with Meter(self.costs) as meter:
            sampler = meter.sampler
            sampler.apply(Settings("vaddr", intervals, LIMITS, (KernelTarget(pid),)), {})
            begin_ns = meter.began_ns
            for each in _aggregations(sampler, plan.seconds):
                table = each.tables[0]
                frequency = np.minimum(table.nr_accesses / checks, 1)
                times = (meter.unix_us(begin_ns), meter.unix_us(each.time_ns))
                answers.append(Answer(*times, checks, table.start, table.end, frequency))
                # Regions are cut in two after that, unless they are many.
                halves = len(table.start) <= LIMITS.max_regions // 2
                counts.append(len(table.start) * (1 + halves))
                begin_ns = each.time_ns
            meter.regions = statistics.mean(counts)
        return meter.cpu_us, answers


@define
class PolicyChecks:
    """The policy `evidence` with the kernel's DAMON as a checker of pages.

    Attributes:
        pages: How many pages are checked at a time.
        checks: How often each is checked before it is replaced.
        weight: As how many checks the policy counts them.
        costs: What each run cost.
    """

    pages: int
    checks: int
    weight: int = 1
    costs: list[Cost] = field(factory=list)

    def __call__(self, pid: int, plan: Plan) -> tuple[int, list[Answer]]:
        """Monitor a process as planned; return the CPU time and the answers."""
        at_once = _commits_at_once()
        sampling_us = plan.intervals.sampling_us
        # One check is lost while pages are replaced.
        round_checks = self.checks + at_once
        intervals = Intervals(sampling_us, round_checks * sampling_us, FOR_US)
        rounds = max(1, plan.intervals.checks // (round_checks if at_once else 2 * round_checks))
        maps = Path(f"/proc/{pid}/maps").read_bytes()
        target = Target("workload", range_regions(Regions(), parse_maps(maps), LIMITS))
        chosen = EvidencePolicyOptions(checks_per_interval=self.pages)
        policy = CountingPolicy(chosen, target, self.weight)
        answers = []
        with Meter(self.costs) as meter:
            pages = Pages(meter, pid, intervals, self.pages, at_once=at_once)
            begin_ns, until_ns = meter.began_ns, meter.began_ns + int(plan.seconds * 1e9)
            while begin_ns < until_ns:
                for _ in range(rounds):
                    policy.choose([target])
                    samples = target.samples
                    assert samples is not None
                    end_ns, counts = pages.counts(samples.addresses)
                    shares = np.minimum(counts / self.checks, 1).tolist()
                    policy.learner.shares.update(
                        zip(samples.addresses.tolist(), shares, strict=True)
                    )
                    policy.observe([target])
                policy.aggregate([target], rounds, (end_ns - begin_ns) // 1_000)
                regions = target.regions
                times = (meter.unix_us(begin_ns), meter.unix_us(end_ns))
                frequency = regions.nr_accesses / rounds
                answers.append(Answer(*times, rounds, regions.start, regions.end, frequency))
                regions.reset_aggregated()
                begin_ns = end_ns
            meter.regions = self.pages
            pages.close()
        return meter.cpu_us, answers


def _commits_at_once() -> bool:
    try:
        return _COMMITS_AT_ONCE in Path("/proc/kallsyms").read_bytes()
    except FileNotFoundError:  # the lab's own kernel, which is old enough
        return False


def _aggregations(sampler: Sampler, seconds: float) -> Iterator[Aggregation]:
    """Yield the aggregations of a kdamond for some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield from sampler.collect()
