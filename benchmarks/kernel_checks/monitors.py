"""The monitors: the kernel's DAMON with its own regions, and with pages that our policy chooses."""

import statistics
from pathlib import Path

import numpy as np
from attrs import define, field
from damon_sysfs import KernelProcesses
from damon_sysfs.pages import KernelPages
from damon_vaddr import PidSource, ProcessMemory
from damon_vaddr.mappings import parse_maps, range_regions

from benchmarks.beside_kernel.answers import Answer
from benchmarks.beside_kernel.monitors import LIMITS, Keep, Plan
from benchmarks.beside_kernel.workloads import FOR_US
from benchmarks.contexts import run_for, unlimited
from benchmarks.kernel_checks.counting import CountingPolicy
from benchmarks.kernel_checks.pages import Cost, Meter, Pages
from damon_core import Intervals, Regions
from damon_core.memory.target import Target
from damon_core.policies.evidence import EvidencePolicyOptions

#: How many pages are checked at a time, so that the kdamond takes as much CPU time as with its own
#: regions.
PAGES = 40
#: Since Linux 6.14 the kernel has this function, and takes a commit in at the next check. Before,
#: it does so when an aggregation ends, whose counts of replaced pages are then gone.
_COMMITS_AT_ONCE = b" damon_call\n"


class Backend:
    """A context with a backend, without a CPU budget.

    Args:
        checks: The backend's option: ``pages`` or ``regions``.
        often: How many times as often as planned it checks.

    Attributes:
        costs: What each run cost.
    """

    def __init__(self, checks: str, often: float = 1) -> None:
        self.checks = checks
        self.often = often
        self.costs: list[Cost] = []

    def __call__(self, pid: int, plan: Plan) -> tuple[int, list[Answer]]:
        """Monitor a process as planned; return the CPU time and the answers."""
        backend = (KernelPages if self.checks == "pages" else KernelProcesses)()
        keep = Keep()
        memory = ProcessMemory(PidSource([pid]), backend)
        with unlimited(memory, [keep], intervals=plan.intervals, limits=LIMITS) as context:
            run_for(context, plan.seconds)
            cpu_us, kdamond_us = context.stats.cpu_us, backend.cpu_us
        wall_us = plan.seconds * 1e6
        regions = statistics.mean(len(each.start) for each in keep.answers)
        self.costs.append(Cost(kdamond_us / wall_us, (cpu_us - kdamond_us) / wall_us, regions))
        return cpu_us, keep.answers


@define
class PolicyChecks:
    """The policy `evidence` with pages that stay for an aggregation, so that each has a count.

    Attributes:
        checks: How often each is checked before it is replaced.
        weight: As how many checks the policy counts them.
        costs: What each run cost.
        often: How many times as often as planned it checks.
    """

    checks: int
    weight: int = 1
    costs: list[Cost] = field(factory=list)
    often: float = field(default=1, init=False)

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
        chosen = EvidencePolicyOptions(checks_per_interval=PAGES)
        policy = CountingPolicy(chosen, target, self.weight)
        answers = []
        with Meter(self.costs) as meter:
            pages = Pages(meter, pid, intervals, PAGES, at_once=at_once)
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
            meter.regions = PAGES
        return meter.cpu_us, answers


def _commits_at_once() -> bool:
    try:
        return _COMMITS_AT_ONCE in Path("/proc/kallsyms").read_bytes()
    except FileNotFoundError:  # the lab's own kernel, which is old enough
        return False
