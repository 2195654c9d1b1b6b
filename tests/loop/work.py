"""What tests of pacing have run: memory that is looked at for the costs that they say."""

from collections.abc import Callable

from damon_core import (
    AccumulatingSampling,
    Context,
    Intervals,
    IntervalsGoal,
    PageSampling,
    Regions,
    RegionSampling,
    SamplingFactory,
    Snapshot,
    Target,
    hookimpl,
    start,
)
from damon_core.memory.target import Toll
from tests.cpu_clock import CpuClock

SECOND = 1_000_000


class EvenRegions(RegionSampling):
    """Whole regions, with intervals that are stretched evenly, as for single pages."""

    needed_factor = PageSampling.needed_factor
    stretched = PageSampling.stretched


class Work:
    """A primitive whose operations have given costs, with regions accessed as given.

    Args:
        check_us: What a check costs; a function of its number, or always the same.
        aggregate_us: What the end of an aggregation costs.
        update_us: What an update costs.
        init_us: What it costs to begin.
        share: The share of the checks that see an access, at a sampling interval.
        checks: How many checks to make.
        until_us: How long to go on, if longer.
        most_checks: After how many checks to end nevertheless.
    """

    sampling: SamplingFactory = EvenRegions

    def __init__(
        self,
        check_us: int | Callable[[int], int] = 0,
        *,
        aggregate_us: int = 0,
        update_us: int = 0,
        init_us: int = 0,
        share: Callable[[int], float] = lambda _: 0.0,
        checks: int = 100,
        until_us: int = 0,
        most_checks: int = 1_000_000,
    ) -> None:
        self.check_us = check_us
        self.aggregate_us, self.update_us, self.init_us = aggregate_us, update_us, init_us
        self.share, self.checks, self.until_us = share, checks, until_us
        self.most_checks = most_checks
        self.snapshots: list[Snapshot] = []
        self.checked_us: list[int] = []
        self.updated_us: list[int] = []

    @staticmethod
    def _work(context: Context, us: int) -> None:
        assert isinstance(context.clock, CpuClock)
        context.clock.work(us)

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(Target("work", Regions([0], [1 << 30])))
        self._work(context, self.init_us)

    @hookimpl
    def target_valid(self, context: Context) -> bool:
        checks = len(self.checked_us)
        return checks < self.checks or (
            context.clock.now_us() < self.until_us and checks < self.most_checks
        )

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        cost_us = self.check_us
        self._work(context, cost_us if isinstance(cost_us, int) else cost_us(len(self.checked_us)))
        self.checked_us.append(context.clock.now_us())
        context.targets[0].regions.nr_accesses += self.share(context.intervals.sampling_us)

    @hookimpl
    def reset_aggregated(self, context: Context) -> None:
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)
        self._work(context, self.aggregate_us)

    @hookimpl
    def update(self, context: Context) -> None:
        self.updated_us.append(context.clock.now_us())
        self._work(context, self.update_us)


def run(
    work: Work,
    *callbacks: object,
    intervals: Intervals | None = None,
    goal: IntervalsGoal | None = None,
    cpu_budget: float | None = 0.02,
    group_budget: float | None = None,
) -> Context:
    """Run some work until it is done."""
    context = Context(
        work,
        callbacks,
        intervals=intervals,
        clock=CpuClock(),
        goal=goal,
        cpu_budget=cpu_budget,
    )
    start(context, cpu_budget=group_budget)
    assert context.wait(60)
    assert context.error is None
    return context


def spent(context: Context) -> float:
    """Return the share of a processor that a run has spent."""
    return context.stats.cpu_us / context.clock.now_us()


class Act:
    """A callback that acts after the check of each number given."""

    def __init__(self, actions: dict[int, Callable[[Context], object]]) -> None:
        self._actions = actions

    @hookimpl
    def after_sampling(self, context: Context) -> None:
        action = self._actions.get(context.stats.samples)
        if action is not None:
            action(context)


def proportional(sampling_us: int) -> float:
    """Return a share of accesses that grows with the interval: 1 % at 5 ms, all from 500 ms on."""
    return min(1.0, sampling_us / 500_000)


class Taking(Work):
    """What adds up is looked at twice; each aggregation costs the target the same."""

    sampling = AccumulatingSampling

    def __init__(self, check_us: int, toll: Toll, checks: int) -> None:
        super().__init__(check_us, checks=checks)
        self._toll = toll

    @hookimpl
    def describe_regions(self, context: Context) -> None:
        target = context.targets[0]
        target.toll = Toll(
            target.toll.cpu_us + self._toll.cpu_us,
            target.toll.held_us + self._toll.held_us,
            self._toll.longest_us,
        )
