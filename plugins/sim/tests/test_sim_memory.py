"""The primitive in a context, on the virtual clock."""

import numpy as np
import numpy.typing as npt
import pytest
from damon_sim import (
    Area,
    Moving,
    Pattern,
    RandomPages,
    SimulatedMemory,
    Stairs,
    Uniform,
    Zone,
    Zones,
)

from damon_core import (
    AttributeValueError,
    Bytes,
    DamonError,
    InputError,
    Intervals,
    KernelPolicy,
    KernelPolicyOptions,
    Microseconds,
    RegionLimits,
    Snapshot,
    VirtualClock,
)
from damon_core.testing import Recorder, run_virtual

MIB = 1 << 20
PIB = 1 << 50
SECOND = 1_000_000


def monitor(
    memory: SimulatedMemory,
    *,
    intervals: Intervals | None = None,
    regions: int = 10,
    clock: VirtualClock | None = None,
    adapt: bool = False,
) -> list[Snapshot]:
    """Monitor a memory to its end and return all snapshots.

    Args:
        memory: The memory.
        intervals: The intervals, by default those of the context.
        regions: The number of regions.
        clock: The time.
        adapt: Whether the maximum number of regions is higher, so that regions are split.
    """
    recorder = Recorder()
    run_virtual(
        memory,
        recorder,
        intervals=intervals,
        limits=RegionLimits(regions, 1_000 if adapt else regions),
        clock=clock or VirtualClock(),
        policy=KernelPolicy(KernelPolicyOptions(seed=1)),
        cpu_budget=None,
    )
    return recorder.snapshots


def test_hot_is_seen_hot_and_cold_cold() -> None:
    """Regions within one zone report its rate exactly where the rate is 0 or 1."""
    pattern = Zones((Zone(Bytes(4 * MIB), 1.0),))
    (snapshot,) = monitor(SimulatedMemory(10 * MIB, pattern, ends_after_us=100_000))
    assert snapshot.nr_accesses.tolist() == [20] * 4 + [0] * 6
    assert (snapshot.start[0], snapshot.end[-1]) == (0, 10 * MIB)
    assert [target.name for target in snapshot.targets] == ["sim"]


def test_rates_between_are_seen_on_average() -> None:
    """Within five standard deviations."""
    memory = SimulatedMemory(MIB, Uniform(0.3), ends_after_us=10 * SECOND)
    frequency = np.array([snapshot.frequency for snapshot in monitor(memory)])
    checks = frequency.size * 20
    assert abs(frequency.mean() - 0.3) < 5 * (0.3 * 0.7 / checks) ** 0.5


@pytest.mark.parametrize("size_bytes", [PIB, 1 << 62])
def test_every_place_of_a_huge_memory_is_reached(size_bytes: int) -> None:
    """The second half of a region is checked as often as the first, at any size."""
    half = Zones((Zone(Bytes(size_bytes // 2), 1.0),))
    snapshots = monitor(SimulatedMemory(size_bytes, half, ends_after_us=10 * SECOND), regions=1)
    frequency = np.array([snapshot.frequency for snapshot in snapshots])
    assert len(snapshots[0]) == 1
    assert abs(frequency.mean() - 0.5) < 5 * (0.25 / (frequency.size * 20)) ** 0.5


@pytest.mark.parametrize("pattern", [Uniform(0.5), RandomPages(0.5)])
def test_the_same_seed_gives_the_same_result(pattern: Pattern) -> None:
    """Bit by bit, where the policy has a seed too."""

    def counts(seed: int) -> list[list[float]]:
        memory = SimulatedMemory(MIB, pattern, seed, ends_after_us=SECOND)
        return [snapshot.nr_accesses.tolist() for snapshot in monitor(memory, adapt=True)]

    assert counts(1) == counts(1)


def test_another_seed_gives_other_accesses() -> None:
    """Of the same pages."""
    counts = [
        [snapshot.nr_accesses.tolist() for snapshot in monitor(memory)]
        for memory in (
            SimulatedMemory(MIB, Uniform(0.5), seed, ends_after_us=SECOND) for seed in (1, 2)
        )
    ]
    assert counts[0] != counts[1]


def test_a_restart_gives_the_same_result() -> None:
    """Time and random numbers begin anew, whatever the clock shows."""
    pattern = Stairs(Bytes(64 << 10), 16, Microseconds(100_000), 0.5)
    memory = SimulatedMemory(MIB, pattern, ends_after_us=SECOND)
    clock = VirtualClock(start_us=123_456_789)
    runs = [monitor(memory, clock=clock, adapt=True) for _ in range(2)]
    first, second = ([snapshot.nr_accesses.tolist() for snapshot in run] for run in runs)
    assert first == second
    assert runs[0][0].time_us < runs[1][0].time_us


def test_an_area_that_moves_with_the_aggregation_is_seen_in_one_region() -> None:
    """The pattern is asked at the beginning of each interval: no check falls behind the move."""
    pattern = Stairs(Bytes(MIB), 10, Microseconds(100_000))
    snapshots = monitor(SimulatedMemory(10 * MIB, pattern, ends_after_us=SECOND))
    assert [snapshot.nr_accesses.tolist() for snapshot in snapshots] == [
        [20 * (region == place) for region in range(10)] for place in range(10)
    ]


@pytest.mark.slow
def test_an_hour_of_monitoring_passes_quickly() -> None:
    """A hot area of 8 TiB that moves every 5 s is found wherever it is."""
    pattern = Moving(Bytes(1 << 43), 100, Microseconds(5 * SECOND))
    memory = SimulatedMemory(pattern.extent_bytes, pattern, ends_after_us=3_600 * SECOND)
    snapshots = monitor(memory, intervals=Intervals(500_000, SECOND, SECOND), regions=100)
    assert len(snapshots) == 3_600
    for snapshot in snapshots[::7]:
        (area,) = pattern.areas(snapshot.time_us - snapshots[0].time_us)
        (hottest,) = snapshot.hottest(1)
        assert (hottest.start, hottest.end, hottest.nr_accesses) == (area.start, area.end, 2)


def test_monitoring_ends_when_the_time_is_over() -> None:
    """The target becomes invalid."""
    memory = SimulatedMemory(MIB, Uniform(1.0), ends_after_us=SECOND)
    assert len(monitor(memory)) == 10


def test_the_truth_covers_the_whole_memory() -> None:
    """Holes are areas with rate 0, and nothing goes beyond the end."""
    pattern = Zones((Zone(Bytes(MIB), 0.0), Zone(Bytes(MIB), 0.5)))
    assert SimulatedMemory(3 * MIB, pattern).areas(0) == [
        Area(0, MIB, 0.0),
        Area(MIB, 2 * MIB, 0.5),
        Area(2 * MIB, 3 * MIB, 0.0),
    ]
    assert SimulatedMemory(MIB, Uniform(0.5)).areas(0) == [Area(0, MIB, 0.5)]
    assert SimulatedMemory(MIB, Uniform(0.0)).areas(0) == [Area(0, MIB, 0.0)]


def test_a_pattern_without_areas_says_so() -> None:
    """Random pages have no areas."""
    with pytest.raises(InputError, match="RandomPages isn't made of areas"):
        SimulatedMemory(MIB, RandomPages(0.5)).areas(0)


def test_a_function_is_a_pattern() -> None:
    """It may return booleans."""

    def upper_half(addresses: npt.NDArray[np.int64], _time_us: int) -> npt.ArrayLike:
        return addresses >= 5 * MIB

    (snapshot,) = monitor(SimulatedMemory(10 * MIB, upper_half, ends_after_us=100_000))
    assert snapshot.nr_accesses.tolist() == [0] * 5 + [20] * 5


def test_a_function_that_fails_ends_the_context_with_one_line() -> None:
    """The error names the pattern and what it raised."""

    def fragile(addresses: npt.NDArray[np.int64], time_us: int) -> npt.ArrayLike:
        return np.full(len(addresses), 1 / (time_us < 50_000))

    with pytest.raises(DamonError, match=r"the pattern .*fragile failed: ZeroDivisionError"):
        monitor(SimulatedMemory(MIB, fragile))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (0.5, r"shape \(\) for 2 addresses"),
        ([0.5], r"shape \(1,\) for 2 addresses"),
        ([0.5, 1.5], "outside 0 to 1"),
        ([0.5, float("nan")], "outside 0 to 1"),
        (["hot", "cold"], "failed: ValueError"),
        (None, "failed: TypeError|shape"),
    ],
)
def test_a_function_that_returns_no_rates_is_refused(answer: npt.ArrayLike, message: str) -> None:
    """Before anything runs, in one line."""

    def wrong(_addresses: npt.NDArray[np.int64], _time_us: int) -> npt.ArrayLike:
        return answer

    with pytest.raises(InputError, match=message):
        SimulatedMemory(MIB, wrong)


@pytest.mark.parametrize("size_bytes", [0, -4096, 5000, 1 << 63])
def test_a_size_out_of_range_is_refused(size_bytes: int) -> None:
    """Whole pages, up to 4 EiB."""
    with pytest.raises(AttributeValueError, match="size_bytes"):
        SimulatedMemory(size_bytes, Uniform(1.0))


def test_a_time_out_of_range_is_refused() -> None:
    """At least a microsecond."""
    with pytest.raises(AttributeValueError, match="ends_after_us"):
        SimulatedMemory(MIB, Uniform(1.0), ends_after_us=0)


def test_a_pattern_larger_than_the_memory_is_refused() -> None:
    """With both sizes."""
    with pytest.raises(InputError, match="needs 2097152 bytes, the simulated memory has 1048576"):
        SimulatedMemory(MIB, Stairs(Bytes(MIB), 2, Microseconds(SECOND)))
