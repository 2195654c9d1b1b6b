"""Timing: no drift, no bursts, intervals measured from when they last fired."""

import random
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from damon_core import (
    Clock,
    Context,
    DelegatedSampling,
    Intervals,
    Regions,
    Snapshot,
    SystemClock,
    Target,
    VirtualClock,
    hookimpl,
    start,
    stop,
)
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, StopAfter, run, run_virtual

SECOND = 1_000_000
HOUR = 3_600 * SECOND


class Monitored:
    """A finished run of a region that is accessed all the time, for some checks."""

    def __init__(
        self, checks: int, intervals: Intervals, *callbacks: object, clock: Clock | None = None
    ) -> None:
        self.checked_us: list[int] = []
        recorder = Recorder(check_accesses=noting_time(self.checked_us))
        self.context = Context(
            ScriptedMemory({"hot": [ScriptedRegion(0, 4096)]}),
            [recorder, StopAfter(checks=checks), *callbacks],
            intervals=intervals,
            clock=clock or VirtualClock(),
        )
        run(self.context)
        self.snapshots = recorder.snapshots


def noting_time(times_us: list[int]) -> Callable[[Context], None]:
    """Return an action that notes the time."""
    return lambda context: times_us.append(context.clock.now_us())


class SampledElsewhere:
    """A primitive of one region whose accesses something else has counted and aged."""

    sampling = DelegatedSampling

    def __init__(self, late_us: int = 0) -> None:
        self.checked_us: list[int] = []
        self._late_us = late_us

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(Target("hot", Regions([0], [4096])))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        advance(self._late_us)(context)
        self.checked_us.append(context.clock.now_us())
        regions = Regions([0], [4096])
        regions.nr_accesses[:], regions.age[:], regions.idle_us[:] = 7, 42, 5
        context.targets[0].regions = regions


def sampled_elsewhere(late_us: int = 0) -> tuple[SampledElsewhere, list[Snapshot], Context]:
    """Return a finished run of three aggregations, sampled elsewhere."""
    primitive, recorder = SampledElsewhere(late_us), Recorder()
    context = run_virtual(primitive, recorder, aggregations=3)
    return primitive, recorder.snapshots, context


def advance(us: int) -> Callable[[Context], None]:
    """Return an action that takes `us` microseconds of virtual time."""

    def act(context: Context) -> None:
        assert isinstance(context.clock, VirtualClock)
        context.clock.advance(us)

    return act


def once(action: Callable[[Context], None]) -> Callable[[Context], None]:
    """Return an action that only happens the first time."""
    actions = [action]

    def act(context: Context) -> None:
        if actions:
            actions.pop()(context)

    return act


# -- drift ---------------------------------------------------------------------------


def test_work_within_the_interval_makes_no_drift() -> None:
    """For a virtual hour every check is on the grid, though each iteration works 0.4 s of 1."""
    intervals = Intervals(sampling_us=SECOND, aggregation_us=20 * SECOND, update_us=60 * SECOND)
    monitored = Monitored(3_600, intervals, Recorder(after_sampling=advance(400_000)))
    assert monitored.checked_us == [second * SECOND for second in range(1, 3_601)]
    assert (monitored.context.stats.missed_samples, monitored.context.stats.aggregations) == (
        0,
        180,
    )


class LateClock(VirtualClock):
    """Wakes up to 4 ms late each time."""

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(1)

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        super().wait_until(deadline_us, wake)
        self.advance(self._random.randrange(4_000))


def test_late_wake_ups_do_not_accumulate() -> None:
    """The thousandth check is at most as late as the first."""
    monitored = Monitored(1_000, Intervals(), clock=LateClock())
    late_us = [now - 5_000 * check for check, now in enumerate(monitored.checked_us, 1)]
    assert 0 <= min(late_us) <= max(late_us) < 4_000
    assert monitored.context.stats.missed_samples == 0


# -- missed intervals ----------------------------------------------------------------


def test_missed_checks_are_counted_and_not_made_up_for() -> None:
    """A callback that takes an hour costs an hour of checks, then one comes each interval."""
    monitored = Monitored(25, Intervals(), Recorder(after_aggregation=once(advance(HOUR))))
    before = [5_000 * check for check in range(1, 21)]
    after = [HOUR + 100_000 + 5_000 * check for check in range(1, 6)]
    assert monitored.checked_us == before + after
    assert monitored.context.stats.missed_samples == HOUR // 5_000
    assert monitored.context.stats.samples == 25


def test_a_suspended_machine_misses_checks() -> None:
    """A sleep that lasts an hour too long counts that hour, and keeps to the grid."""

    class Suspended(VirtualClock):
        def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
            suspended_us = HOUR + 2_000 if self.now_us() == 10_000 else 0
            super().wait_until(deadline_us + suspended_us, wake)

    monitored = Monitored(5, Intervals(), clock=Suspended())
    woke_us = HOUR + 17_000
    assert monitored.checked_us == [5_000, 10_000, woke_us, HOUR + 20_000, HOUR + 25_000]
    assert monitored.context.stats.missed_samples == HOUR // 5_000
    # The aggregation that was due meanwhile comes with the wake-up.
    assert [(s.elapsed_us, s.max_nr_accesses) for s in monitored.snapshots] == [(HOUR + 15_000, 3)]


def test_work_longer_than_the_interval_leaves_out_every_other_check() -> None:
    """Work of 7 ms with an interval of 5: each check is 10 ms after the last one."""
    monitored = Monitored(10, Intervals(), Recorder(after_sampling=advance(7_000)))
    assert monitored.checked_us == [10_000 * check for check in range(1, 11)]
    assert monitored.context.stats.missed_samples == 10


def test_max_nr_accesses_is_the_number_of_checks_made() -> None:
    """A region accessed in every check has frequency 1, however many checks were missed."""
    monitored = Monitored(30, Intervals(), Recorder(after_sampling=advance(7_000)))
    assert [snapshot.max_nr_accesses for snapshot in monitored.snapshots] == [10, 10, 10]
    assert [snapshot.frequency.tolist() for snapshot in monitored.snapshots] == [[1.0]] * 3


def test_max_nr_accesses_is_20_with_the_defaults() -> None:
    """100 ms hold 20 checks 5 ms apart."""
    monitored = Monitored(40, Intervals())
    assert [snapshot.max_nr_accesses for snapshot in monitored.snapshots] == [20, 20]
    assert [snapshot.nr_accesses.tolist() for snapshot in monitored.snapshots] == [[20.0], [20.0]]


def test_missed_checks_do_not_look_like_a_change() -> None:
    """A region that is always hot grows older while fewer checks are made than before."""
    slow = Recorder(after_aggregation=once(advance(50_000)))
    monitored = Monitored(50, Intervals(), slow)
    assert [snapshot.max_nr_accesses for snapshot in monitored.snapshots] == [20, 10, 20]
    assert [snapshot.age.tolist() for snapshot in monitored.snapshots] == [[0], [1], [2]]


# -- intervals -----------------------------------------------------------------------


def test_sampling_interval_that_does_not_divide_the_aggregation_interval() -> None:
    """Aggregations are at the first check at or behind the interval, measured from the last."""
    monitored = Monitored(12, Intervals(sampling_us=3, aggregation_us=10, update_us=100))
    start_us = VirtualClock().unix_us()
    assert [snapshot.time_us - start_us for snapshot in monitored.snapshots] == [12, 24, 36]
    assert {(s.elapsed_us, s.max_nr_accesses) for s in monitored.snapshots} == {(12, 4)}


def test_intervals_are_measured_from_when_they_last_fired() -> None:
    """An aggregation that came an hour late is followed by one an interval later."""
    monitored = Monitored(41, Intervals(), Recorder(after_aggregation=once(advance(HOUR))))
    start_us = VirtualClock().unix_us()
    times_us = [snapshot.time_us - start_us for snapshot in monitored.snapshots]
    assert times_us == [100_000, HOUR + 105_000, HOUR + 205_000]
    assert [snapshot.elapsed_us for snapshot in monitored.snapshots] == [
        100_000,
        HOUR + 5_000,
        100_000,
    ]


@pytest.mark.parametrize(
    ("late_us", "expected_us"), [(0, [30, 60, 90]), (1_000, [30, 1_055, 1_085])]
)
def test_updates_have_an_interval_of_their_own(late_us: int, expected_us: list[int]) -> None:
    """It counts on its own, from the last update, and a late one brings no burst."""
    updated_us: list[int] = []
    context = run_virtual(
        object(),
        Recorder(update=noting_time(updated_us), after_aggregation=once(advance(late_us))),
        StopAfter(checks=20),
        intervals=Intervals(sampling_us=5, aggregation_us=50, update_us=30),
    )
    assert (updated_us, context.stats.updates) == (expected_us, 3)


def test_a_run_begins_at_any_time_of_the_clock() -> None:
    """The grid begins where the loop does, not at zero."""
    monitored = Monitored(3, Intervals(), clock=VirtualClock(start_us=123_456))
    assert monitored.checked_us == [128_456, 133_456, 138_456]


# -- a longer sampling interval ----------------------------------------------------------


def stretch(sampling_us: int) -> Callable[[Context], None]:
    """Return an action that commits a longer sampling interval."""
    return lambda context: context.commit(intervals=Intervals().stretched(sampling_us))


def test_stretching_begins_with_the_next_iteration() -> None:
    """The check under way is made in time, those behind it are further apart."""
    monitored = Monitored(4, Intervals(), Recorder(after_sampling=once(stretch(20_000))))
    assert monitored.checked_us == [5_000, 25_000, 45_000, 65_000]


def test_stretching_counts_the_checks_that_were_made() -> None:
    """The aggregation interval stays; the most possible accesses are the checks made."""
    monitored = Monitored(24, Intervals(), Recorder(after_aggregation=once(stretch(50_000))))
    assert [s.max_nr_accesses for s in monitored.snapshots[:3]] == [20, 2, 2]
    assert [s.elapsed_us for s in monitored.snapshots[:3]] == [100_000] * 3
    assert [s.intervals.sampling_us for s in monitored.snapshots[:3]] == [5_000, 50_000, 50_000]


def test_stretching_does_not_look_like_a_change() -> None:
    """A region that is always hot grows older over the change of its counters' scale."""
    monitored = Monitored(26, Intervals(), Recorder(after_aggregation=once(stretch(50_000))))
    assert [s.age.tolist() for s in monitored.snapshots] == [[0], [1], [2], [3]]


def test_stretching_beyond_the_aggregation_interval_rescales_ages() -> None:
    """Ages count aggregations: 9 of 100 ms are 3 of 300 ms."""
    action = stretch(300_000)

    def at_the_tenth(context: Context) -> None:
        if context.stats.aggregations == 10:
            action(context)

    monitored = Monitored(201, Intervals(), Recorder(after_aggregation=at_the_tenth))
    assert [s.age.tolist() for s in monitored.snapshots[9:]] == [[9], [4]]
    assert monitored.snapshots[-1].intervals == Intervals(300_000, 300_000, 1_000_000)


def test_virtual_time_never_goes_back() -> None:
    """Waiting for what has passed takes no time."""
    clock = VirtualClock(start_us=100)
    clock.wait_until(50, threading.Event())
    assert clock.now_us() == 100


# -- the machine's clock --------------------------------------------------------------


def test_stop_is_prompt_with_an_interval_of_an_hour() -> None:
    """stop() wakes the worker: 30 s are generous, an hour would not be."""

    sleeps = threading.Event()
    recorder = Recorder(after_sampling=lambda _: sleeps.set())
    context = Context(object(), [recorder], intervals=Intervals(HOUR, HOUR, HOUR))
    start(context)
    assert sleeps.wait(30)
    before_s = time.monotonic()
    stop(context)
    assert time.monotonic() - before_s < 30
    assert not context.running


def test_system_clock_waits_until_the_deadline() -> None:
    """A wait never ends before its deadline unless it is woken."""
    clock = SystemClock()
    deadline_us = clock.now_us() + 20_000
    clock.wait_until(deadline_us, threading.Event())
    assert clock.now_us() >= deadline_us


@pytest.mark.parametrize("ahead_us", [-1, HOUR])
def test_system_clock_does_not_wait_needlessly(ahead_us: int) -> None:
    """A deadline that has passed, or a wake-up that was asked for, ends the wait at once."""
    clock, wake = SystemClock(), threading.Event()
    wake.set()
    before_us = clock.now_us()
    clock.wait_until(before_us + ahead_us, wake)
    assert clock.now_us() - before_us < 30 * SECOND


def test_a_wake_up_ends_a_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait too short to be interrupted doesn't begin when the wake-up was before it."""

    def sleep(_: float) -> None:
        raise AssertionError("it sleeps")

    monkeypatch.setattr(time, "sleep", sleep)
    clock, wake = SystemClock(), threading.Event()
    wake.set()
    clock.wait_until(clock.now_us() + 20_000, wake)


def test_real_time_runs_the_same_loop() -> None:
    """On the machine's clock checks are made, and aggregations hold some of them."""
    monitored = Monitored(20, Intervals(1_000, 5_000, 10_000), clock=SystemClock())
    stats = monitored.context.stats
    assert stats.samples == 20
    assert sum(snapshot.max_nr_accesses for snapshot in monitored.snapshots) <= 20
    assert monitored.snapshots[0].elapsed_us >= 5_000
    assert stats.cpu_us > 0


# -- sampled elsewhere ----------------------------------------------------------------------


def test_sampling_elsewhere_takes_one_iteration_an_aggregation() -> None:
    """The loop wakes once an aggregation interval, however short the sampling interval is."""
    primitive, snapshots, _ = sampled_elsewhere()
    assert np.diff(primitive.checked_us).tolist() == [100_000] * (len(snapshots) - 1)


def test_results_from_elsewhere_are_told_as_they_are() -> None:
    """Neither rescaled nor aged, and out of the checks of an aggregation."""
    _, snapshots, _ = sampled_elsewhere()
    found = [
        (each.nr_accesses[0], each.age[0], each.idle_us[0], each.max_nr_accesses)
        for each in snapshots
    ]
    assert found == [(7, 42, 5, 20)] * len(snapshots)


def test_late_results_from_elsewhere_move_the_grid() -> None:
    """It follows what samples; an aggregation is as long as it took."""
    primitive, snapshots, _ = sampled_elsewhere(late_us=5_000)
    assert np.diff(primitive.checked_us).tolist() == [105_000] * (len(snapshots) - 1)
    assert [each.elapsed_us for each in snapshots] == [105_000] * len(snapshots)


@pytest.mark.parametrize(("late_us", "missed"), [(4_999, 0), (5_000, 1), (250_000, 50)])
def test_checks_that_were_not_made_elsewhere_are_counted(late_us: int, missed: int) -> None:
    """Those that would have fit in the time that aggregations took."""
    _, snapshots, context = sampled_elsewhere(late_us)
    assert context.stats.missed_samples == missed * len(snapshots)


def test_checks_made_elsewhere_are_counted() -> None:
    """As many as the intervals make of an aggregation."""
    _, snapshots, context = sampled_elsewhere()
    assert context.stats.samples == 20 * len(snapshots)


def test_a_stop_does_not_wait_for_an_aggregation_sampled_elsewhere() -> None:
    """A run with aggregations of an hour ends at once, without asking for results."""
    primitive = SampledElsewhere()
    intervals = Intervals(sampling_us=60 * SECOND, aggregation_us=HOUR, update_us=HOUR)
    sleeps = threading.Event()
    context = Context(
        primitive, [Recorder(after_sampling=lambda _: sleeps.set())], intervals=intervals
    )
    start(context)
    assert sleeps.wait(60)
    stop(context)
    assert context.error is None
    assert primitive.checked_us == []
