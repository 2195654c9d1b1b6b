"""One context's state: running, waiting, closing, private data, attributes, snapshots."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from damon_core import (
    AttributeValueError,
    BusyError,
    Context,
    EvidencePolicy,
    Intervals,
    NotRunningError,
    PartError,
    RegionLimits,
    Snapshot,
    Stats,
    Target,
    hookimpl,
    start,
    stop,
)
from damon_core.testing import ScriptedMemory, ScriptedRegion

if TYPE_CHECKING:
    from tests.conftest import Stage


# -- running and waiting ---------------------------------------------------------------


def test_a_new_context_has_no_results(stage: Stage) -> None:
    """Before the first start nothing runs, nothing failed and nothing was counted."""
    context = stage.context(stage.part())
    assert (context.running, context.snapshot, context.error) == (False, None, None)
    assert context.stats == Stats()
    assert context.wait(0)


def test_wait_tells_whether_the_context_has_ended(stage: Stage) -> None:
    """A wait that times out is False, one that doesn't True."""
    context = stage.context(stage.part(), hold_at=1)
    start(context)
    assert not context.wait(0.01)
    stop(context)
    assert context.wait(0)


def test_request_stop_does_not_wait(stage: Stage) -> None:
    """It returns while the worker is still busy; the context ends later."""
    go_on = threading.Event()
    context = stage.context(stage.part(init=lambda _: go_on.wait(30)))
    start(context)
    context.request_stop()
    assert context.running
    go_on.set()
    assert context.wait(30)


def test_request_stop_from_a_callback_completes_the_iteration(stage: Stage) -> None:
    """Any hook may ask; the check under way is still made."""
    context = stage.context(stage.part(prepare_access_checks=lambda c: c.request_stop()))
    stage.run(context)
    assert context.stats.samples == 1


def test_request_stop_of_a_context_that_is_not_running_is_refused(stage: Stage) -> None:
    """There is nothing to stop."""
    with pytest.raises(NotRunningError, match="context 'context' is not running"):
        stage.context(stage.part()).request_stop()


def test_a_restart_forgets_the_results_of_the_last_run(stage: Stage) -> None:
    """Targets, snapshot, counts and error are those of the new run from its start on."""
    seen: list[tuple[int, Snapshot | None, int, BaseException | None]] = []

    def init(context: Context) -> None:
        stats = context.stats
        seen.append((len(context.targets), context.snapshot, stats.samples, context.error))
        context.targets.append(Target("t"))

    def fail_at_first(_: Context) -> None:
        if len(seen) == 1:
            raise ValueError("on purpose")

    part = stage.part(
        init=init, reset_aggregated=fail_at_first, update=lambda context: context.request_stop()
    )
    context = stage.context(part)
    stage.run(context)
    assert (context.snapshot is None, context.stats.samples) == (False, 2)
    assert context.error is not None
    stage.run(context)
    assert seen == [(0, None, 0, None)] * 2
    assert context.stats.samples == 4
    assert context.error is None


# -- closing -----------------------------------------------------------------------------


def test_close_runs_cleanup_and_release(stage: Stage) -> None:
    """Also a context that never ran gives back what its parts hold, the last made first."""
    callbacks = stage.part("one"), stage.part("other")
    stage.context(stage.part("primitive"), *callbacks).close()
    released = ["other:release", "one:release", "primitive:release"]
    assert stage.events == ["primitive:cleanup", "one:cleanup", "other:cleanup", *released]


def test_close_releases_the_policy(stage: Stage) -> None:
    """A policy is a part as well: its factory may have taken something."""

    class Holding(EvidencePolicy):
        @hookimpl
        def release(self) -> None:
            stage.events.append("released")

    Context(object(), policy=Holding()).close()
    assert stage.events == ["released"]


def test_close_releases_even_if_cleanup_failed(stage: Stage) -> None:
    """What the factories took is given back whatever the primitive does."""

    def fail(_: Context) -> None:
        raise OSError("on purpose")

    with pytest.raises(PartError, match="on purpose"):
        stage.context(stage.part(cleanup=fail)).close()
    assert stage.events == ["cleanup", "release"]


@pytest.mark.parametrize("error", [OSError("on purpose"), SystemExit("on purpose")], ids=repr)
def test_a_release_that_fails_is_named(error: BaseException, stage: Stage) -> None:
    """The other parts are released before that is raised."""

    def fail(_: object) -> None:
        raise error

    context = stage.context(stage.part("primitive"), stage.part("one", release=fail))
    reason = rf"callback 'one' failed in release: {type(error).__name__}: on purpose"
    with pytest.raises(PartError, match=reason):
        context.close()
    assert stage.events[-2:] == ["one:release", "primitive:release"]


def test_no_release_that_fails_is_hidden(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Of several the first is raised, and the others are logged."""

    def fail(_: object) -> None:
        raise OSError("on purpose")

    parts = stage.part("primitive", release=fail), stage.part("one", release=fail)
    with pytest.raises(PartError, match="callback 'one'"):
        stage.context(*parts).close()
    assert caplog.messages == [
        "context 'context': primitive 'primitive' failed in release: OSError: on purpose"
    ]


def test_release_is_not_called_by_a_run(stage: Stage) -> None:
    """A context that ended can be started again with all that its parts hold."""
    stage.run(stage.context(stage.part(before_start=lambda _: True)))
    assert "release" not in stage.events


def test_close_is_refused_while_running(stage: Stage) -> None:
    """The worker is still using what would be released."""
    context = stage.context(stage.part(), hold_at=1)
    start(context)
    with pytest.raises(BusyError, match="context 'context' is running: stop it first"):
        context.close()
    stop(context)


def test_close_tells_each_time_that_cleanup_failed(stage: Stage) -> None:
    """The primitive's exception is the caller's, even if it is the same one again."""
    error = OSError("on purpose")

    def fail(_: Context) -> None:
        raise error

    context = stage.context(stage.part(cleanup=fail))
    for _ in range(2):
        with pytest.raises(PartError, match="on purpose") as caught:
            context.close()
        assert caught.value.__cause__ is error


def test_leaving_the_with_block_stops_and_closes(stage: Stage) -> None:
    """The worker's cleanup is the last thing it does, then comes that of close."""
    with stage.context(stage.part(), hold_at=1) as context:
        start(context)
        stage.until_held(context)
    assert not context.running
    assert stage.events[-5:] == [
        "check_accesses",
        "before_terminate",
        "cleanup",
        "cleanup",
        "release",
    ]


def test_leaving_the_with_block_of_a_context_that_ended(stage: Stage) -> None:
    """Nothing has to be stopped, and that is no error."""
    with stage.context(stage.part(before_start=lambda _: True)) as context:
        stage.run(context)
    assert stage.events[-1] == "release"


def test_an_exception_leaves_the_with_block(stage: Stage) -> None:
    """The context is stopped, and the exception goes on its way."""
    context = stage.context(stage.part(), hold_at=1)
    start(context)
    with pytest.raises(KeyError), context:
        raise KeyError
    assert not context.running


# -- attributes --------------------------------------------------------------------------


def test_defaults() -> None:
    """A context has the field's usual intervals and limits."""
    context = Context(object())
    assert (context.name, context.intervals, context.limits) == (
        "context",
        Intervals(5_000, 100_000, 1_000_000),
        RegionLimits(10, 1_000),
    )


def test_commit_changes_what_is_given(stage: Stage) -> None:
    """The other attributes stay."""
    context = stage.context(stage.part())
    intervals, limits = context.intervals, RegionLimits(1, 2)
    context.commit(limits=limits)
    assert (context.intervals, context.limits) == (intervals, limits)
    context.commit(intervals=Intervals())
    assert (context.intervals, context.limits) == (Intervals(), limits)


def test_a_commit_between_runs_takes_effect_in_the_next(stage: Stage) -> None:
    """A restarted context runs with the new intervals."""
    context = stage.context(stage.part(after_aggregation=lambda _: True))
    stage.run(context)
    assert context.stats.samples == 2
    context.commit(intervals=Intervals(5, 50, 100))
    stage.run(context)
    assert context.stats.samples == 10


def test_failure_limit_is_at_least_1() -> None:
    """A callback can't be switched off before it failed."""
    with pytest.raises(AttributeValueError, match="failure_limit is 0: must be at least 1"):
        Context(object(), failure_limit=0)


def test_repr_tells_the_name_and_the_state(stage: Stage) -> None:
    """What a debugger shows says which context it is."""
    assert repr(stage.context(stage.part(), name="db")) == "<Context 'db' not running>"


# -- private data --------------------------------------------------------------------------


def test_private_data_is_per_callback_and_context(stage: Stage) -> None:
    """One callback that serves two contexts has data for each, another sees none of it."""
    one, other = stage.part("one"), stage.part("other")
    first, second = (stage.context(object(), one, other, name=name) for name in "ab")
    first.private(one)["count"] = 1
    assert first.private(one) == {"count": 1}
    assert (first.private(other), second.private(one)) == ({}, {})


def test_private_data_lasts_as_long_as_the_context(stage: Stage) -> None:
    """What one hook leaves another finds, in the next run too."""

    def count(context: Context) -> bool:
        data = context.private(part)
        data["runs"] = data.get("runs", 0) + 1
        return True

    part = stage.part(before_start=count)
    context = stage.context(object(), part)
    stage.run(context)
    stage.run(context)
    assert context.private(part) == {"runs": 2}


def test_private_data_is_only_for_callbacks_of_the_context(stage: Stage) -> None:
    """An object that isn't one has none."""
    with pytest.raises(KeyError):
        stage.context(stage.part()).private(object())


# -- snapshots -------------------------------------------------------------------------------


def hot(regions: int = 1) -> ScriptedMemory:
    """Return memory that is accessed all the time."""
    pages = [ScriptedRegion(start, start + 4096) for start in range(0, regions * 4096, 4096)]
    return ScriptedMemory({"t": pages})


def test_what_the_primitive_tells_of_regions_is_in_the_snapshot(stage: Stage) -> None:
    """describe_regions comes when regions are final, and before they are frozen."""

    def halve(context: Context) -> None:
        context.targets[0].regions.resident_bytes[:] //= 2

    context = stage.context(
        hot(), stage.part(describe_regions=halve, after_aggregation=lambda _: True)
    )
    stage.run(context)
    snapshot = context.snapshot
    assert snapshot is not None
    assert snapshot.total_bytes == snapshot.size_bytes.sum() // 2


def test_a_snapshot_is_there_when_after_aggregation_is_called(stage: Stage) -> None:
    """It holds the aggregation that just completed."""
    numbers: list[tuple[int, float]] = []

    def note(context: Context) -> bool:
        assert context.snapshot is not None
        numbers.append((context.snapshot.number, float(context.snapshot.nr_accesses[0])))
        return len(numbers) == 3

    stage.run(stage.context(hot(), stage.part(after_aggregation=note)))
    assert numbers == [(1, 2.0), (2, 2.0), (3, 2.0)]


def test_a_snapshot_never_changes_while_monitoring_goes_on(stage: Stage) -> None:
    """The first snapshot holds after later aggregations what it held at first."""
    snapshots: list[Snapshot] = []
    columns: list[Any] = []

    def keep(context: Context) -> bool:
        assert context.snapshot is not None
        snapshots.append(context.snapshot)
        columns.append((context.snapshot.nr_accesses.copy(), context.snapshot.age.copy()))
        return len(snapshots) == 5

    stage.run(stage.context(hot(), stage.part(after_aggregation=keep)))
    for snapshot, (nr_accesses, age) in zip(snapshots, columns, strict=True):
        np.testing.assert_array_equal(snapshot.nr_accesses, nr_accesses)
        np.testing.assert_array_equal(snapshot.age, age)


def test_other_threads_read_whole_snapshots(stage: Stage) -> None:
    """Whenever another thread looks, every region of the snapshot is equally old."""
    looking, seen = threading.Event(), [0]

    context = stage.context(hot(200), stage.part(after_sampling=lambda _: seen[0] >= 20))
    torn: list[Snapshot] = []

    def look() -> None:
        looking.set()
        last = 0
        while context.running:
            snapshot = context.snapshot
            if snapshot is None or snapshot.number == last:
                continue
            last = snapshot.number
            seen[0] += 1
            if {*snapshot.age.tolist()} != {last - 1} or {*snapshot.nr_accesses.tolist()} != {2.0}:
                torn.append(snapshot)

    start(context)
    reader = threading.Thread(target=look)
    reader.start()
    assert context.wait(60)
    reader.join(60)
    assert (looking.is_set(), seen[0] >= 20, torn) == (True, True, [])
