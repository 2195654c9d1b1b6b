"""Parts of contexts for tests: the one that notes calls, and memory that plays a script."""

import pytest

from damon_core import Area, Context, Intervals, Owner, Toll, VirtualClock
from damon_core.testing import (
    NotingClock,
    Recorder,
    ScriptedMemory,
    ScriptedRegion,
    StopAfter,
    run,
    run_virtual,
)

#: Two checks an aggregation.
SHORT = Intervals(sampling_us=5, aggregation_us=10, update_us=20)
PAGE = 4096


def lifecycle(name: str = "") -> list[str]:
    """Return the calls of a run of one check, of a part with this name."""
    hooks = ["init", "before_start", "target_valid", "prepare_access_checks", "after_sampling"]
    hooks += ["check_accesses", "before_terminate", "cleanup"]
    return [f"{name}:{hook}" if name else hook for hook in hooks]


def test_a_recorder_notes_calls_in_order() -> None:
    """Each hook once, without a name if it has none."""
    recorder = Recorder()
    run_virtual(recorder, StopAfter(checks=1))
    assert recorder.events == lifecycle()


def test_recorders_that_share_events_are_told_apart() -> None:
    """By the names in front of the hooks."""
    events: list[str] = []
    run_virtual(Recorder(events, "a"), Recorder(events, "b"), StopAfter(checks=1))
    assert events == [
        event for pair in zip(lifecycle("a"), lifecycle("b"), strict=True) for event in pair
    ]


def test_a_recorder_acts() -> None:
    """What an act returns is what the hook returns."""
    recorder = Recorder(after_sampling=lambda context: context.stats.samples == 2)
    run_virtual(object(), recorder)
    assert recorder.events.count("after_sampling") == 3


def test_a_recorder_keeps_snapshots() -> None:
    """One an aggregation."""
    recorder = Recorder()
    run_virtual(object(), recorder, aggregations=3)
    assert [snapshot.number for snapshot in recorder.snapshots] == [1, 2, 3]


def test_stop_after_checks_in_each_run() -> None:
    """A context that is started again makes as many."""
    context = Context(object(), [StopAfter(checks=7)], clock=VirtualClock())
    run(context)
    run(context)
    assert context.stats.samples == 7


def test_scripted_memory_is_accessed_as_it_says() -> None:
    """With constant heats and with ones that change, in each target."""
    recorder = Recorder()
    memory = ScriptedMemory(
        {
            "a": [ScriptedRegion(0, PAGE, 1.0), ScriptedRegion(PAGE, 3 * PAGE, 0.25)],
            "b": [ScriptedRegion(0, PAGE, lambda check: float(check < 3))],
        }
    )
    run_virtual(memory, recorder, aggregations=2, intervals=SHORT)
    found = [[t.nr_accesses.tolist() for t in s.targets] for s in recorder.snapshots]
    assert found == [[[2.0, 0.5], [2.0]], [[2.0, 0.5], [1.0]]]


def test_scripted_memory_ends_after_its_checks() -> None:
    """Its targets are invalid then, in each run anew."""
    memory = ScriptedMemory({"a": [ScriptedRegion(0, PAGE)]}, checks=5)
    context = run_virtual(memory)
    run(context)
    assert (context.stats.samples, memory.checks_made, len(context.targets)) == (5, 5, 1)


def test_scripted_memory_describes_itself() -> None:
    """Resident bytes, areas and owners come into the snapshot."""
    area, owner = Area(0, PAGE, "[heap]"), Owner("cgroup", "/web", 3, 2, 1)
    memory = ScriptedMemory(
        {"a": [ScriptedRegion(0, PAGE, resident_bytes=100)]},
        areas={"a": [area]},
        owners={"a": [owner]},
    )
    snapshot = run_virtual(memory, aggregations=1).snapshot
    assert snapshot is not None
    (target,) = snapshot.targets
    assert (target.total_bytes, target.areas, target.owners) == (100, (area,), (owner,))


def test_scripted_memory_knows_what_was_touched_and_what_that_cost() -> None:
    """Every aggregation the same; what it costs adds up."""
    memory = ScriptedMemory(
        {"a": [ScriptedRegion(0, PAGE, touched_bytes=100), ScriptedRegion(PAGE, 9999, 0.0, 5, 0)]},
        tolls={"a": Toll(4, 3)},
    )
    snapshot = run_virtual(memory, aggregations=2).snapshot
    assert snapshot is not None
    (target,) = snapshot.targets
    assert (target.working_set_bytes(), target.idle_bytes()) == (100, PAGE - 100 + 5)
    assert target.toll == Toll(8, 6, 3)


def test_a_held_sleep_that_nobody_ends_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ends, and the reason can be read."""
    clock = NotingClock(hold_at=1)
    monkeypatch.setattr("damon_core.testing.clock.HOLD_S", 0.01)
    context = Context(object(), clock=clock)
    with pytest.raises(TimeoutError, match="nobody has stopped the context"):
        run(context)
    assert clock.held.is_set()
