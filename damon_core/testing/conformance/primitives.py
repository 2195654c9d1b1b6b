"""The rules of primitives, and of backends, which are checked on the primitive that uses them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import evolve

from damon_core.attributes import Intervals, RegionLimits
from damon_core.clock import VirtualClock
from damon_core.contract.columns import COLUMNS
from damon_core.contract.context import HookContext
from damon_core.contract.forecast import Costs
from damon_core.contract.measures import Measure
from damon_core.contract.release import release_part
from damon_core.errors import DamonError
from damon_core.hookspecs import hookimpl
from damon_core.loop.context import Context
from damon_core.loop.sampling import DelegatedSampling, PageSampling, SpacedSampling
from damon_core.memory.regions import PAGE_SIZE_BYTES
from damon_core.testing.conformance import lives
from damon_core.testing.conformance.parts import forecast_rule, part_rules, process_rules
from damon_core.testing.conformance.process import assert_nothing_left, holdings
from damon_core.testing.conformance.rules import Rule, Subject
from damon_core.testing.parts import Recorder, StopAfter

_PAGE_WAYS = (PageSampling, SpacedSampling)


def _use(subject: Subject, written: Mapping[str, Any]) -> None:
    lives.live("a run of three aggregations", subject.make(written))


def _builds_targets(subject: Subject) -> None:
    seen: list[list[str]] = []
    look = Recorder(None, "look", before_start=lambda context: seen.append(_names(context)))
    lives.live("a run", subject.make(), look, aggregations=1)
    assert any(seen), "init left no target, though there is something to monitor"


def _names(context: HookContext) -> list[str]:
    return [target.name for target in context.targets]


class _Inspector:
    """A callback that looks at the targets at every point of a run.

    Attributes:
        found: The first thing that is wrong; empty if nothing is.
    """

    name = "inspector"

    def __init__(self, judge: Callable[[HookContext], str]) -> None:
        self.found = ""
        self._judge = judge

    def _look(self, hook: str, context: HookContext) -> None:
        if not self.found and (wrong := self._judge(context)):
            self.found = f"{wrong} (seen in {hook})"

    @hookimpl
    def before_start(self, context: HookContext) -> None:
        """Look."""
        self._look("before_start", context)

    @hookimpl
    def after_sampling(self, context: HookContext) -> None:
        """Look."""
        self._look("after_sampling", context)

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Look."""
        self._look("after_aggregation", context)

    @hookimpl
    def before_terminate(self, context: HookContext) -> None:
        """Look."""
        self._look("before_terminate", context)


def _wrong_regions(context: HookContext, aligned: bool) -> str:
    names = _names(context)
    if len(set(names)) < len(names):
        return f"two targets have one name: {names}"
    for target in context.targets:
        regions = target.regions
        start, end = regions.start, regions.end
        wrong = {
            "has a region with a negative address": np.any(start < 0),
            "has a region that is empty or ends before it begins": np.any(start >= end),
            "has regions that overlap or aren't ascending": np.any(end[:-1] > start[1:]),
            "has a region that isn't of whole pages": aligned
            and np.any((start % PAGE_SIZE_BYTES != 0) | (end % PAGE_SIZE_BYTES != 0)),
            "has a column of another length": any(
                len(getattr(regions, column)) != len(start)
                for column in ("nr_accesses", "age", "idle_us", "resident_bytes")
            ),
        }
        for what, is_so in wrong.items():
            if is_so:
                return f"'{target.name}' {what}"
    return ""


def _regions_are_possible(subject: Subject) -> None:
    primitive = subject.make()
    aligned = getattr(primitive, "sampling", None) in _PAGE_WAYS
    inspector = _Inspector(lambda context: _wrong_regions(context, aligned))
    lives.live("a run of six aggregations", primitive, inspector, aggregations=6)
    assert not inspector.found, inspector.found


def _wrong_counts(context: HookContext) -> str:
    for target in context.targets:
        regions = target.regions
        size, resident = regions.end - regions.start, regions.resident_bytes
        if np.any(resident < 0) or np.any(resident > size):
            return f"'{target.name}' has more resident bytes than its regions, or fewer than none"
        touched = regions.touched_bytes
        if touched is not None and (np.any(touched < 0) or np.any(touched > resident)):
            return f"'{target.name}' has more touched bytes than resident ones, or fewer than none"
        if np.any(regions.nr_accesses < 0):
            return f"'{target.name}' has a region with fewer accesses than none"
        if not np.all(np.isfinite(regions.nr_accesses)):
            return f"'{target.name}' has a region with an endless number of accesses"
    return ""


class _Counts(_Inspector):
    """Looks at the counts of every snapshot as well."""

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Look at the targets and at the snapshot."""
        super()._look("after_aggregation", context)
        snapshot = context.snapshot
        assert snapshot is not None
        if not self.found and np.any(snapshot.nr_accesses > snapshot.max_nr_accesses):
            self.found = f"a region has more accesses than the {snapshot.max_nr_accesses} checks"


def _counts_are_possible(subject: Subject) -> None:
    counts = _Counts(_wrong_counts)
    lives.live("a run of six aggregations", subject.make(), counts, aggregations=6)
    assert not counts.found, counts.found


def _keeps_limits(subject: Subject) -> None:
    limits = RegionLimits(3, 10)
    primitive = subject.make()
    way = getattr(primitive, "sampling", None)
    most = 0

    def count(context: HookContext) -> None:
        nonlocal most
        most = max(most, sum(len(target.regions) for target in context.targets))

    look = Recorder(None, "look", after_aggregation=count)
    lives.live("at most 10 regions", primitive, look, limits=limits)
    if way in (SpacedSampling, DelegatedSampling):
        assert most <= limits.max_regions, (
            f"it made {most} regions, more than max_regions ({limits.max_regions})"
        )


def _takes_many(subject: Subject) -> None:
    lives.live("at least 1,000 regions", subject.make(), limits=RegionLimits(1_000, 2_000))


def _updates_keep_targets(subject: Subject) -> None:
    seen: list[list[str]] = []
    look = Recorder(None, "look", after_aggregation=lambda context: seen.append(_names(context)))
    lives.live("a run with updates", subject.make(), look, aggregations=7)
    for before, after in pairwise(seen):
        assert before == after, f"an update made {after} of the targets {before}"


def _runs_again(subject: Subject) -> None:
    where = "a second run after the first has ended"
    seen: list[list[str]] = []
    look = Recorder(None, "look", after_aggregation=lambda context: seen.append(_names(context)))
    parts = [look, StopAfter(2)]
    with lives.opened(where, subject.make(), parts) as context:
        lives.end("the first run", context)
        lives.end(where, context)
        assert len(seen) == 4, f"{where}: {len(seen) - 2} aggregations instead of 2"
        assert seen[0] == seen[-1], f"{where}: targets {seen[-1]} instead of {seen[0]}"


def _stops_anywhere(subject: Subject) -> None:
    for where, acts in lives.STOPS.items():
        lives.live(where, subject.make(), lives.stopper(acts))
    lives.stop_in_sleep("stopped during a sleep", subject.make())


def _outlives_failing_callbacks(subject: Subject) -> None:
    hooks = ("before_start", "after_sampling", "label_targets", "after_aggregation")
    for hook in (*hooks, "before_terminate"):
        failing, witness = Recorder(None, "failing", **{hook: lives.fail}), Recorder()
        lives.live(f"a callback raises in {hook}", subject.make(), failing, witness)
        count = len(witness.snapshots)
        assert count == 3, f"a callback raises in {hook}: {count} aggregations instead of 3"


def _is_cleaned_up_at_any_time(subject: Subject) -> None:
    for where, runs in (("without a run", 0), ("after a run", 1)):
        context = Context(
            subject.make(), [StopAfter(1)], clock=VirtualClock(), intervals=lives.INTERVALS
        )
        for _ in range(runs):
            lives.end("a run", context)
        for call in ("cleanup and release", "the same again"):
            try:
                context.close()
            except DamonError as error:
                raise AssertionError(f"{call} {where}: {error}") from error


def _leaves_nothing_behind(subject: Subject) -> None:
    lives.live("a first run", subject.make())
    written = subject.written()
    before = holdings()
    lives.live("a run", subject.make(written))
    assert_nothing_left(before, subject.grace_s)
    release_part(subject.make(written))
    try:
        assert_nothing_left(before, subject.grace_s)
    except AssertionError as error:
        raise AssertionError(f"released without a run: {error}") from error


def _leaves_nothing_after_runs(subject: Subject) -> None:
    """What a run opens, its cleanup closes: the next run doesn't add to it."""
    with lives.opened("three runs", subject.make(), [StopAfter(2)]) as context:
        lives.end("the first run", context)
        before = holdings()
        for _ in range(2):
            lives.end("a further run", context)
        try:
            assert_nothing_left(before, subject.grace_s)
        except AssertionError as error:
            raise AssertionError(f"with each run: {error}") from error


def _works_in_the_worker(subject: Subject) -> None:
    lives.stay_in_the_worker(subject.make())


def _serves_several_contexts(subject: Subject) -> None:
    made = [subject.make(), subject.make()]
    assert made[0] is not made[1], "the factory returned the same object twice"
    where = "two contexts, one after the other"
    seen: list[list[str]] = []
    for primitive in made:
        look = Recorder(
            None, "look", after_aggregation=lambda context: seen.append(_names(context))
        )
        lives.live(where, primitive, look, aggregations=1)
    counts = [len(names) for names in seen]
    assert counts[0] == counts[-1], f"{where}: the targets {seen[-1]} instead of {seen[0]}"


def _answers_truly(subject: Subject) -> None:
    primitive = subject.make()
    answers: list[object] = []
    hook = getattr(primitive, "target_valid", None)
    if hook is None:
        release_part(primitive)
        return
    wanted = Recorder(
        None, "look", after_aggregation=lambda context: answers.append(_asked(hook, context))
    )
    lives.live("a run", primitive, wanted, aggregations=1)
    for answer in answers:
        assert answer is None or isinstance(answer, bool | np.bool_), (
            f"target_valid returned {answer!r}, which is no bool"
        )
        assert answer is None or answer, "target_valid is false though nothing has ended"


def _asked(hook: Callable[..., object], context: HookContext) -> object:
    try:
        return hook(context)
    except TypeError:
        return hook()


_ATTRIBUTES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "sampling": ("a way of sampling", callable),
    "spent_elsewhere_us": ("microseconds", lambda value: int(value) >= 0),
    "given_intervals": (
        "Intervals or None",
        lambda value: value is None or isinstance(value, Intervals),
    ),
    "tuned_intervals": (
        "Intervals or None",
        lambda value: value is None or isinstance(value, Intervals),
    ),
    "unknown_columns": (
        "names of columns",
        lambda value: not isinstance(value, str) and set(value) <= set(COLUMNS),
    ),
    "left_out": (
        "a mapping of reasons to counts",
        lambda value: all(
            isinstance(reason, str) and int(count) >= 0 for reason, count in value.items()
        ),
    ),
    "better_backends": (
        "names of backends",
        lambda value: not isinstance(value, str) and all(isinstance(each, str) for each in value),
    ),
    "ends_on_interrupt": ("true or false", lambda value: isinstance(value, bool)),
    "startup_capabilities": (
        "numbers of capabilities",
        lambda value: all(isinstance(each, int) for each in value),
    ),
}


def _attributes_are_right(subject: Subject) -> None:
    primitive = subject.make()
    changes = _Changes(primitive)
    with lives.opened("a run", primitive, [changes, StopAfter(2)]) as context:
        for when in ("before a run", "after a run"):
            for name, (meaning, is_right) in _ATTRIBUTES.items():
                if not hasattr(primitive, name):
                    continue
                value = getattr(primitive, name)
                try:
                    right = is_right(value)
                except Exception:
                    right = False
                assert right, f"{when}: its attribute {name} is {value!r}, not {meaning}"
            measures = getattr(primitive, "measures", None)
            for measure in measures(context) if measures is not None else ():
                assert isinstance(measure, Measure), f"{when}: measures returned {measure!r}"
            if when == "before a run":
                lives.end("a run", context)
    assert not changes.found, changes.found


class _Changes:
    """A callback that looks at how attributes of a primitive change.

    Attributes:
        found: What is wrong with that; empty if nothing is.
    """

    name = "changes"

    def __init__(self, primitive: object) -> None:
        self.found = ""
        self._primitive = primitive
        self._spent_us = 0
        self._left_out: list[tuple[Mapping[str, int], Mapping[str, int]]] = []

    @hookimpl
    def after_aggregation(self) -> None:
        """Look."""
        spent_us = getattr(self._primitive, "spent_elsewhere_us", 0)
        if spent_us < self._spent_us:
            self.found = f"its spent_elsewhere_us went back from {self._spent_us} to {spent_us}"
        self._spent_us = spent_us
        left_out = getattr(self._primitive, "left_out", None)
        if isinstance(left_out, Mapping):
            self._left_out.append((left_out, dict(left_out)))
        for one, other in self._left_out:
            if dict(one) != other:
                self.found = f"its left_out was changed from {other}, instead of replaced"


def _forecasts_costs(subject: Subject) -> None:
    primitive, backend = subject.plugins.primitive(subject.primitive), subject.part
    if backend.forecast is None or primitive.forecast is None:
        return
    lives.live("a run, to see whether it works", subject.make(), aggregations=1)
    checked = _options_of_primitive(subject)
    targets: Sequence[Any] = primitive.forecast(checked)
    before = holdings()
    costs = backend.forecast(targets)
    assert isinstance(costs, Costs), f"its forecast returned {costs!r}, not Costs"
    assert_nothing_left(before, subject.grace_s)


def _options_of_primitive(subject: Subject) -> Any:
    """Return checked options of the primitive that a backend is used with."""
    of_primitive = Subject(
        "primitive", subject.primitive, subject.plugins, subject.options, subject.directory
    )
    written = {"backend": subject.name, **subject.written()}
    return of_primitive.checked(written)


_RUN_RULES = (
    Rule(
        "builds-targets",
        "Its init builds the targets of what there is to monitor.",
        _builds_targets,
    ),
    Rule(
        "regions-possible",
        "Its regions are ascending, disjoint, and of whole pages where pages are checked.",
        _regions_are_possible,
    ),
    Rule(
        "counts-possible",
        "Accesses are from 0 to the number of checks, and touched <= resident <= size.",
        _counts_are_possible,
    ),
    Rule("limits-kept", "It keeps within the limits where it makes the regions.", _keeps_limits),
    Rule("thousand-regions", "It works with limits of a thousand regions.", _takes_many),
    Rule(
        "update-keeps-targets",
        "Its update keeps the targets that are still there, in their order.",
        _updates_keep_targets,
    ),
    Rule("restart", "It works in a second run of its context.", _runs_again),
    Rule("stop-anywhere", "It may be stopped at any point of a run.", _stops_anywhere),
    Rule(
        "failing-callbacks",
        "It works where callbacks fail.",
        _outlives_failing_callbacks,
    ),
    Rule(
        "cleanup-any-time",
        "Its cleanup and release may be called without a run, and more than once.",
        _is_cleaned_up_at_any_time,
    ),
    Rule(
        "nothing-left",
        "After its release no descriptor, port, thread or program of it is left.",
        _leaves_nothing_behind,
    ),
    Rule(
        "nothing-gathers",
        "Its runs leave no descriptor, thread or program for the next one.",
        _leaves_nothing_after_runs,
    ),
    Rule(
        "in-the-worker",
        "It changes targets only in its hooks, never from a thread of its own.",
        _works_in_the_worker,
    ),
    Rule(
        "several-contexts",
        "Two of its objects serve two contexts, each by itself.",
        _serves_several_contexts,
    ),
    Rule(
        "target-valid",
        "Its target_valid, if there is one, returns true as long as there is something.",
        _answers_truly,
    ),
    Rule(
        "attributes",
        "The attributes by which it says more are what the contract says.",
        _attributes_are_right,
    ),
)

_PROCESS_RULES = process_rules(_use)

#: In the order in which they are checked: what changes the process is seen first.
PRIMITIVE_RULES = (*_PROCESS_RULES, *part_rules(), forecast_rule(), *_RUN_RULES)


def _of_backends(rule: Rule) -> Rule:
    return evolve(rule, text=f"With its primitive: {rule.text}")


BACKEND_RULES = (
    *map(_of_backends, _PROCESS_RULES),
    *part_rules(),
    Rule("forecast", "Its forecast, if there is one, returns Costs.", _forecasts_costs),
    *map(_of_backends, _RUN_RULES),
)
