"""Sampling at growing distances: when looks are, what they stand for, how they are stretched."""

import numpy as np
import pytest

from damon_core import (
    HookContext,
    Intervals,
    Regions,
    SpacedSampling,
    Target,
    VirtualClock,
    hookimpl,
)
from damon_core.policies.kernel import KernelPolicy
from damon_core.testing import Recorder, run_virtual

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
def test_stretched_intervals_take_the_share(share: float) -> None:
    """Though a longer aggregation has more looks."""
    sampling = SpacedSampling(KernelPolicy())
    factor = sampling.needed_factor(Intervals(), 2_000.0, 1_000.0, share)
    stretched = sampling.stretched(Intervals(), factor)
    looks_us = stretched.aggregation_us / sampling.step_us(stretched) * 2_000
    assert (looks_us + 1_000) / stretched.aggregation_us == pytest.approx(share, rel=0.15)
