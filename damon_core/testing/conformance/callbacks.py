"""The rules of callbacks."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from damon_core.contract.context import HookContext
from damon_core.contract.measures import Measure
from damon_core.contract.release import release_part
from damon_core.hookspecs import hookimpl
from damon_core.memory.snapshot import Snapshot
from damon_core.testing.conformance import lives, memory
from damon_core.testing.conformance.parts import part_rules, process_rules
from damon_core.testing.conformance.process import assert_nothing_left, holdings
from damon_core.testing.conformance.rules import Rule, Subject
from damon_core.testing.parts import Recorder, StopAfter
from damon_core.testing.snapshots import assert_same_snapshot


def _use(subject: Subject, written: Mapping[str, Any]) -> None:
    lives.live("a run of three aggregations", memory.all_known(), subject.make(written))


def _shape(name: str) -> Any:
    def check(subject: Subject) -> None:
        lives.live(name, memory.SHAPES[name](), subject.make(), aggregations=9)

    return check


def _takes_all_that_is_known(subject: Subject) -> None:
    lives.live("everything is known", memory.all_known(), subject.make())


def _takes_odd_names(subject: Subject) -> None:
    callback = subject.make()
    lives.live("names of every kind", memory.odd_names(), callback, name='odd "name" {1}')


def _runs_again(subject: Subject) -> None:
    where = "a second run after the first has ended"
    parts = [subject.make(), StopAfter(2)]
    with lives.opened(where, memory.one_region(), parts) as context:
        lives.end("the first run", context)
        lives.end(where, context)


def _stops_anywhere(subject: Subject) -> None:
    for where, acts in lives.STOPS.items():
        lives.live(where, memory.one_region(), subject.make(), lives.stopper(acts))
    lives.stop_in_sleep("stopped during a sleep", memory.one_region(), subject.make())


def _stops_without_start(subject: Subject) -> None:
    where = "the primitive fails in init: before_terminate without before_start"
    with lives.opened(where, lives.FailingMemory("init"), [subject.make()]) as context:
        lives.end(where, context)


def _outlives_a_failing_primitive(subject: Subject) -> None:
    for hook in (*lives.RUN_HOOKS, "cleanup"):
        where = f"the primitive fails in {hook}"
        primitive = lives.FailingMemory(hook)
        with lives.opened(where, primitive, [subject.make(), StopAfter(2)]) as context:
            lives.end(where, context)


def _outlives_failing_callbacks(subject: Subject) -> None:
    hooks = ("before_start", "after_sampling", "label_targets", "after_aggregation")
    for hook in (*hooks, "before_terminate"):
        before, behind = (
            Recorder(None, name, **{hook: lives.fail}) for name in ("failing", "failing-too")
        )
        witness = Recorder(None, "witness")
        where = f"other callbacks raise in {hook}"
        lives.live(where, memory.one_region(), before, subject.make(), behind, witness)
        assert len(witness.snapshots) == 3, f"{where}: the others miss snapshots"


def _lets_others_be_called(subject: Subject) -> None:
    before, behind = Recorder(), Recorder()
    lives.live("between two others", memory.one_region(), before, subject.make(), behind)
    assert behind.events == before.events, (
        "a callback behind it is called less, or in another order, than the one in front of it"
    )
    numbers = [snapshot.number for snapshot in behind.snapshots]
    assert numbers == [1, 2, 3], f"others see the snapshots {numbers} instead of [1, 2, 3]"


class _Copies:
    """Keeps what every snapshot has, as it is when callbacks are given it."""

    name = "copies"

    def __init__(self) -> None:
        self.kept: list[tuple[Snapshot, Mapping[str, Any]]] = []

    @hookimpl(tryfirst=True)
    def after_aggregation(self, context: HookContext) -> None:
        """Copy what the snapshot has."""
        assert context.snapshot is not None
        self.kept.append((context.snapshot, _columns(context.snapshot)))


def _columns(snapshot: Snapshot) -> dict[str, Any]:
    names = ("start", "end", "nr_accesses", "age", "idle_us", "resident_bytes", "touched_bytes")
    found = {name: getattr(snapshot, name) for name in names}
    return {name: np.array(column) for name, column in found.items() if column is not None}


def _leaves_snapshots_alone(subject: Subject) -> None:
    copies, same = _Copies(), _Copies()
    lives.live("a run without it", memory.all_known(), same)
    lives.live("a run of three aggregations", memory.all_known(), copies, subject.make())
    for snapshot, columns in copies.kept:
        for name, column in columns.items():
            found = getattr(snapshot, name)
            assert np.array_equal(found, column), f"it changed the column {name} of a snapshot"
            assert not found.flags.writeable, f"it made the column {name} writeable"
    for (one, *_), (other, *_) in zip(copies.kept, same.kept, strict=True):
        try:
            assert_same_snapshot(one, other)
        except AssertionError as error:
            raise AssertionError(f"with it the results are others: {error}") from error


def _serves_several_contexts(subject: Subject) -> None:
    """A second context lives from its beginning to its end amid the first one's run."""
    where = "two contexts at once"
    made = [subject.make(), subject.make()]
    assert made[0] is not made[1], "the factory returned the same object twice"

    def amid(context: Any) -> None:
        if context.snapshot.number == 2:
            lives.end(where, two, exclusive=False)

    parts = [made[0], Recorder(None, "amid", after_aggregation=amid), StopAfter(3)]
    with (
        lives.opened(where, memory.many_regions(), [made[1], StopAfter(4)], name="two") as two,
        lives.opened(where, memory.one_region(), parts, name="one") as one,
    ):
        lives.end(where, one, exclusive=False)
        for context, count in ((one, 3), (two, 4)):
            assert context.stats.aggregations == count, (
                f"{where}: '{context.name}' made {context.stats.aggregations} aggregations "
                f"instead of {count}"
            )


def _is_released_at_any_time(subject: Subject) -> None:
    part = subject.make()
    for call in ("before any run", "a second time"):
        try:
            release_part(part)
        except Exception as error:
            raise AssertionError(f"release {call}: {type(error).__name__}: {error}") from error
    part = subject.make()
    lives.live("a run", memory.one_region(), part)
    try:
        release_part(part)
    except Exception as error:
        raise AssertionError(f"release once more, after the close: {error}") from error


def _leaves_nothing_behind(subject: Subject) -> None:
    # Once before, for what is imported or opened once a process.
    lives.live("a first run", memory.all_known(), subject.make())
    written = subject.written()
    before = holdings()
    lives.live("a run", memory.all_known(), subject.make(written))
    assert_nothing_left(before, subject.grace_s)
    release_part(subject.make(written))
    try:
        assert_nothing_left(before, subject.grace_s)
    except AssertionError as error:
        raise AssertionError(f"released without a run: {error}") from error


def _measures_at_any_time(subject: Subject) -> None:
    part = subject.make()
    measures = getattr(part, "measures", None)
    if measures is None:
        release_part(part)
        return
    with lives.opened("a run", memory.one_region(), [part, StopAfter(2)]) as context:
        _look_at_measures("before a run", measures, context)
        lives.end("a run", context)
        _look_at_measures("after a run", measures, context)
    part = subject.make()
    measures = part.measures

    def measure_elsewhere(context: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            where = "in another thread, while it runs"
            pool.submit(_look_at_measures, where, measures, context).result()

    look = Recorder(None, "look", after_aggregation=measure_elsewhere)
    lives.live("a run", memory.one_region(), part, look, aggregations=2)


def _look_at_measures(when: str, measures: Callable[[Any], Any], context: Any) -> None:
    try:
        found = list(measures(context))
    except Exception as error:
        raise AssertionError(f"{when}: measures raised {type(error).__name__}: {error}") from error
    for measure in found:
        assert isinstance(measure, Measure), f"{when}: measures returned {measure!r}"


def _works_in_the_worker(subject: Subject) -> None:
    lives.stay_in_the_worker(memory.one_region(), subject.make())


#: In the order in which they are checked: what changes the process is seen first.
CALLBACK_RULES = (
    *process_rules(_use),
    *part_rules(),
    Rule("no-targets", "It takes snapshots without targets.", _shape("no targets")),
    Rule(
        "no-regions",
        "It takes targets without regions.",
        _shape("a target without regions"),
    ),
    Rule("one-region", "It takes a snapshot of a single region.", _shape("one region")),
    Rule("thousand-regions", "It takes a thousand regions.", _shape("1,000 regions")),
    Rule(
        "changing-targets",
        "It takes targets that come, go, grow and shrink.",
        _shape("targets that come and go"),
    ),
    Rule(
        "all-known",
        "It takes snapshots in which everything is known: owners, areas, idle and touched bytes.",
        _takes_all_that_is_known,
    ),
    Rule("odd-names", "It takes names of contexts and targets of any kind.", _takes_odd_names),
    Rule("restart", "It works in a second run of its context.", _runs_again),
    Rule("stop-anywhere", "It may be stopped at any point of a run.", _stops_anywhere),
    Rule(
        "stop-without-start",
        "Its before_terminate works without before_start.",
        _stops_without_start,
    ),
    Rule(
        "failing-primitive",
        "It ends in order if the primitive fails.",
        _outlives_a_failing_primitive,
    ),
    Rule(
        "failing-callbacks",
        "It works, and the others do, where other callbacks fail.",
        _outlives_failing_callbacks,
    ),
    Rule(
        "others-are-called",
        "The callbacks in front of it and behind it are called alike.",
        _lets_others_be_called,
    ),
    Rule(
        "snapshots-untouched",
        "It leaves snapshots and the accesses of targets as they are.",
        _leaves_snapshots_alone,
    ),
    Rule(
        "several-contexts",
        "Two of its objects serve two contexts at once, each by itself.",
        _serves_several_contexts,
    ),
    Rule(
        "release-any-time",
        "Its release may be called without a run, and more than once.",
        _is_released_at_any_time,
    ),
    Rule(
        "nothing-left",
        "After its release no descriptor, port, thread or program of it is left.",
        _leaves_nothing_behind,
    ),
    Rule(
        "measures",
        "Its method measures, if there is one, returns Measures before, during and after a run, "
        "in any thread.",
        _measures_at_any_time,
    ),
    Rule(
        "in-the-worker",
        "It changes targets only in its hooks, never from a thread of its own.",
        _works_in_the_worker,
    ),
)
