"""Sampling at growing distances: when looks are, what they stand for, how they are stretched."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from damon_core import (
    Context,
    Costs,
    HookContext,
    Intervals,
    Limits,
    Regions,
    SpacedSampling,
    Target,
    Toll,
    VirtualClock,
    hookimpl,
    start,
)
from damon_core.loop.forecast import expect
from damon_core.policies.kernel import KernelPolicy
from damon_core.testing import Recorder, run_virtual
from tests.cpu_clock import CpuClock

MIB = 1 << 20


class SeesAll:
    """One region of 4 MiB; all of it is accessed in a quarter of the checks."""

    sampling = SpacedSampling

    def __init__(self, slow_us: int = 0) -> None:
        self.looked_us: list[int] = []
        self._slow_us = slow_us

    @hookimpl
    def init(self, context: HookContext) -> None:
        context.targets.append(Target("memory"))

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        self.looked_us.append(context.clock.now_us())
        if self._slow_us:
            assert isinstance(context.clock, VirtualClock)
            context.clock.advance(self._slow_us)

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        regions = Regions([0], [4 * MIB])
        regions.nr_accesses = np.array([context.intervals.checks / 4])
        regions.age = np.array([7])
        regions.idle_us = np.array([0])
        context.targets[0].regions = regions


def looks(intervals: Intervals, aggregations: int = 1) -> list[int]:
    """Return when looks are, in milliseconds."""
    memory = SeesAll()
    run_virtual(memory, aggregations=aggregations, intervals=intervals)
    return [at_us // 1_000 for at_us in memory.looked_us]


def test_each_look_is_twice_as_long_after_the_clearing_and_one_at_the_end() -> None:
    """None shortly before the end."""
    assert looks(Intervals()) == [5, 10, 20, 40, 100]


def test_every_aggregation_begins_anew() -> None:
    """The second like the first."""
    assert looks(Intervals(), aggregations=2)[5:] == [105, 110, 120, 140, 200]


@pytest.mark.parametrize(
    ("checks", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (5, [1, 2, 5])]
)
def test_few_checks(checks: int, expected: list[int]) -> None:
    """There are no more looks than checks."""
    intervals = Intervals(1_000, checks * 1_000, 1_000_000)
    assert looks(intervals) == expected


def test_looks_grow_with_the_logarithm_of_the_aggregation() -> None:
    """400 checks take ten looks."""
    assert len(looks(Intervals(5_000, 2_000_000, 2_000_000))) == 10


def test_regions_are_the_primitive_s() -> None:
    """Counted out of all checks, whatever the number of looks; their age isn't changed."""
    recorder = Recorder()
    run_virtual(SeesAll(), recorder, aggregations=2)
    assert [s.max_nr_accesses for s in recorder.snapshots] == [20, 20]
    assert [s.nr_accesses.tolist() for s in recorder.snapshots] == [[5.0], [5.0]]
    assert [s.age.tolist() for s in recorder.snapshots] == [[7], [7]]


def test_a_look_that_is_very_late_is_the_last_one() -> None:
    """It stands for all checks that are left."""
    recorder, memory = Recorder(), SeesAll(slow_us=150_000)
    run_virtual(memory, recorder, aggregations=2)
    assert memory.looked_us == [5_000, 155_000, 310_000, 460_000]
    assert [s.max_nr_accesses for s in recorder.snapshots] == [20, 20]


def test_to_save_time_aggregations_become_longer() -> None:
    """The sampling interval stays."""
    sampling = SpacedSampling(KernelPolicy())
    assert sampling.stretched(Intervals(), 3.5) == Intervals(5_000, 350_000, 1_000_000)


@pytest.mark.parametrize("share", [0.1, 0.02, 0.001])
def test_stretched_intervals_leave_a_quarter_to_clearings(share: float) -> None:
    """A look and the end take the rest, at most."""
    sampling = SpacedSampling(KernelPolicy())
    factor = sampling.needed_factor(Intervals(), 2_000.0, 1_000.0, share)
    stretched = sampling.stretched(Intervals(), factor)
    assert 3_000 / stretched.aggregation_us == pytest.approx(0.75 * share, rel=0.01)


class Costly(SeesAll):
    """Clearing and looking take CPU time, and clearing costs the target.

    Args:
        clear_us: CPU time of a clearing.
        look_us: That of a look.
        toll: What a clearing costs the target.
        outdated: In which aggregations much has changed.
        doubtful: In which what is accessed can't be inferred well.
    """

    def __init__(
        self,
        clear_us: int = 0,
        look_us: int = 0,
        toll: Toll | None = None,
        outdated: Callable[[int], bool] = lambda _: False,
        doubtful: Callable[[int], bool] = lambda _: False,
    ) -> None:
        super().__init__()
        self.cleared_us: list[int] = []
        self.numbers: list[int] = []  # of aggregations that began with a clearing
        self.clear_us, self._look_us, self.toll = clear_us, look_us, toll or Toll()
        self._outdated, self._doubtful = outdated, doubtful
        self._epoch = -1
        self.number = 0

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        target = context.targets[0]
        if target.epoch == self._epoch:
            return
        self._epoch = target.epoch
        assert isinstance(context.clock, CpuClock)
        context.clock.work(self.clear_us)
        self.cleared_us.append(context.clock.now_us())
        self.numbers.append(self.number)
        target.toll = target.toll.with_cpu(self.toll.cpu_us).with_held(self.toll.held_us)

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        super().check_accesses(context)
        assert isinstance(context.clock, CpuClock)
        context.clock.work(self._look_us)

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        super().describe_regions(context)
        self.number += 1
        context.targets[0].outdated = self._outdated(self.number)
        context.targets[0].doubtful = self._doubtful(self.number)


def run_costly(
    memory: Costly, seconds: int = 60, callbacks: Sequence[object] = (), **limits: float | None
) -> Context:
    """Run for some seconds of virtual time."""
    clock = CpuClock()

    class End:
        @hookimpl
        def after_aggregation(self, context: HookContext) -> bool:
            return context.clock.now_us() >= seconds * 1_000_000

    context = Context(memory, [*callbacks, End()], clock=clock, **limits)  # type: ignore[arg-type]
    start(context)
    assert context.wait(60)
    assert context.error is None
    return context


def distances(memory: Costly) -> list[float]:
    """Return how long it is from clearing to clearing, in seconds, once that has settled."""
    return [(b - a) / 1e6 for a, b in pairwise(memory.cleared_us[len(memory.cleared_us) // 2 :])]


def test_cheap_clearings_come_in_each_aggregation() -> None:
    """A clearing of 0.3 ms and five looks of 0.1 ms take less than 2 % of 100 ms."""
    memory = Costly(clear_us=300, look_us=100)
    context = run_costly(memory, seconds=10)
    assert memory.numbers == list(range(memory.number))
    assert context.stats.cpu_us / context.clock.now_us() <= 0.02


def test_dear_clearings_are_rarer_while_aggregations_stay() -> None:
    """50 ms and four looks of 0.5 ms, at the 1.5 % that one look each 100 ms leaves."""
    memory = Costly(clear_us=50_000, look_us=500)
    context = run_costly(memory)
    assert context.snapshot is not None
    assert context.snapshot.intervals == Intervals()
    assert distances(memory)[-1] == pytest.approx(1.15 * 0.052 / 0.015, rel=0.05)
    assert context.stats.cpu_us / context.clock.now_us() <= 0.022


def test_later_aggregations_of_an_epoch_have_one_look() -> None:
    """At their end."""
    memory = Costly(clear_us=50_000, look_us=500)
    run_costly(memory, seconds=10)
    cleared_us = memory.cleared_us[-2]
    looks_ms = [round((at - cleared_us) / 1e3) for at in memory.looked_us if at > cleared_us]
    assert looks_ms[:4] == [5, 10, 20, 40]
    assert np.diff(looks_ms[4:12]) == pytest.approx(100, abs=2)


def test_dear_looks_stretch_aggregations_and_leave_room_for_clearings() -> None:
    """10 ms a look: three quarters of 2 % of some 0.67 s."""
    memory = Costly(clear_us=50_000, look_us=10_000)
    context = run_costly(memory, seconds=120)
    assert context.snapshot is not None
    assert 667_000 <= context.snapshot.intervals.aggregation_us <= 800_000
    assert context.stats.cpu_us / context.clock.now_us() <= 0.022


def test_what_a_clearing_costs_the_target_makes_epochs_longer() -> None:
    """50 ms lost are 1 % of 5 s; aggregations stay."""
    memory = Costly(toll=Toll(cpu_us=50_000))
    context = run_costly(memory)
    assert context.snapshot is not None
    assert context.snapshot.intervals == Intervals()
    assert distances(memory)[-1] == pytest.approx(1.15 * 5, rel=0.05)


def test_long_stalls_make_epochs_longer() -> None:
    """For 5 ms each the map may be locked for 0.4 % of the time with a limit of 5 ms."""
    memory = Costly(toll=Toll(0, 5_000, 5_000))
    run_costly(memory, max_stall_us=5_000)
    assert distances(memory)[-1] == pytest.approx(1.15 * 1.25, rel=0.1)


def test_epochs_have_64_aggregations_at_most() -> None:
    """Then aggregations become longer: 1 s lost is 1 % of 100 s."""
    memory = Costly(toll=Toll(cpu_us=1_000_000))
    context = run_costly(memory, seconds=400)
    assert context.snapshot is not None
    assert context.snapshot.intervals.aggregation_us == pytest.approx(1.15 * 100e6 / 64, rel=0.02)


def test_a_change_brings_the_next_clearing_early() -> None:
    """After a quarter of an epoch; what that was short of makes the next one longer."""
    changes: list[int] = []
    memory = Costly(clear_us=50_000, outdated=lambda number: number in changes)
    run_costly(memory, seconds=30)
    usual = memory.numbers[-1] - memory.numbers[-2]
    changes.append(memory.numbers[-1] + usual // 2)
    again = Costly(clear_us=50_000, outdated=lambda number: number in changes)
    run_costly(again, seconds=45)
    begun = again.numbers.index(memory.numbers[-1])
    early, late = np.diff(again.numbers[begun : begun + 3])
    assert early == usual // 2
    assert early + late == pytest.approx(2 * usual, abs=2)


def test_constant_changes_cost_no_more_than_the_budget() -> None:
    """Though each asks for a clearing."""
    memory = Costly(clear_us=50_000, outdated=lambda _: True)
    context = run_costly(memory)
    assert context.stats.cpu_us / context.clock.now_us() <= 0.022


def test_where_little_can_be_inferred_each_aggregation_is_an_epoch() -> None:
    """It becomes as long as that costs: 4 ms and five looks of 0.2 ms are 2 % of 0.25 s."""
    memory = Costly(clear_us=4_000, look_us=200, doubtful=lambda _: True)
    context = run_costly(memory)
    assert memory.numbers[5:] == list(range(memory.numbers[5], memory.number))
    assert context.snapshot is not None
    assert 250_000 <= context.snapshot.intervals.aggregation_us <= 400_000
    assert context.stats.cpu_us / context.clock.now_us() <= 0.022


def test_long_epochs_stay_though_little_can_be_inferred() -> None:
    """Aggregations don't become 40 times as long."""
    memory = Costly(clear_us=50_000, look_us=500, doubtful=lambda _: True)
    context = run_costly(memory)
    assert context.snapshot is not None
    assert context.snapshot.intervals == Intervals()
    assert min(distances(memory)) > 3


def test_aggregations_are_short_again_when_the_doubt_ends() -> None:
    """They share epochs again."""
    memory = Costly(clear_us=4_000, look_us=200, doubtful=lambda number: number < 50)
    context = run_costly(memory)
    assert context.snapshot is not None
    assert context.snapshot.intervals == Intervals()
    assert max(np.diff(memory.numbers)) > 1


def test_each_aggregation_is_an_epoch_at_most_while_that_stays_affordable() -> None:
    """When clearings have become 20 times as dear, aggregations share epochs again."""

    def doubtful(number: int) -> bool:
        memory.clear_us = 80_000 if number > 50 else 4_000
        return True

    memory = Costly(look_us=200, doubtful=doubtful)
    context = run_costly(memory, seconds=120)
    assert context.snapshot is not None
    assert context.snapshot.intervals == Intervals()
    assert context.stats.cpu_us / context.clock.now_us() <= 0.022


@pytest.mark.parametrize("dear_from", [0, 50])
def test_no_aggregation_becomes_as_long_as_a_dear_epoch(dear_from: int) -> None:
    """Whether clearings cost the target 0.6 s from the start on, or later, as it grows."""
    lengths_us = []

    def doubtful(number: int) -> bool:
        memory.toll = Toll(cpu_us=600_000 if number >= dear_from else 1_000)
        return True

    class Lengths:
        @hookimpl
        def after_aggregation(self, context: HookContext) -> None:
            assert context.snapshot is not None
            lengths_us.append(context.snapshot.elapsed_us)

    memory = Costly(clear_us=4_000, look_us=200, doubtful=doubtful)
    doubtful(0)
    run_costly(memory, 300, callbacks=[Lengths()])
    assert max(lengths_us) <= 1_500_000  # of 69 s


def test_forecast_knows_epochs() -> None:
    """As the run comes to."""
    costs = Costs(sampling=SpacedSampling, check_us=500, opening_us=52_000)
    found = expect(costs, Intervals(), Limits())
    assert found.intervals == Intervals()
    assert found.epoch_us == pytest.approx(1.15 * 52_000 / 0.009, rel=0.1)
    assert found.cpu_share <= 0.02
