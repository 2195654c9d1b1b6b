"""What primitives and policies give is looked at before anybody uses it, and blamed on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from damon_core import (
    Context,
    DelegatedSampling,
    EvidencePolicy,
    Intervals,
    PageSampling,
    PartError,
    Range,
    RegionLimits,
    Regions,
    Samples,
    Target,
    VirtualClock,
    hookimpl,
)
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, StopAfter, run, run_virtual

PAGE = 4096


class Lying:
    """A primitive of three regions whose results of a check are what a test says."""

    name = "lying"

    def __init__(self, lie: Callable[[Context], object], sampling: Any = None) -> None:
        self._lie = lie
        if sampling is not None:
            self.sampling = sampling

    @hookimpl
    def init(self, context: Context) -> None:
        start = np.arange(3) * PAGE
        context.targets.append(Target("t", Regions(start, start + PAGE)))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        self._lie(context)


def set_column(name: str, value: object) -> Callable[[Context], None]:
    """Return what sets a column of the regions."""
    return lambda context: setattr(context.targets[0].regions, name, value)


def second_target(context: Context) -> None:
    """Add another target of the same name."""
    if len(context.targets) == 1:
        context.targets.append(Target("t"))


def overlap(context: Context) -> None:
    """Let the first region end within the second."""
    context.targets[0].regions.end[0] = PAGE + 1


def end_first(context: Context) -> None:
    """Let the last region end before it begins."""
    context.targets[0].regions.end[2] = PAGE


LIES = {
    "more accesses than checks": (
        set_column("nr_accesses", np.array([0.0, 21.5, 0.0])),
        "target 't': region 0x1000-0x2000: nr_accesses is 21.5 of 20 checks",
    ),
    "negative": (
        set_column("nr_accesses", np.array([0.0, 0.0, -1.0])),
        "target 't': region 0x2000-0x3000: nr_accesses is -1 of 20 checks",
    ),
    "not a number": (
        set_column("nr_accesses", np.array([np.nan, 0.0, 0.0])),
        "target 't': region 0x0-0x1000: nr_accesses is nan of 20 checks",
    ),
    "too short": (
        set_column("nr_accesses", np.zeros(2)),
        "target 't': nr_accesses has 2 values of 3 regions",
    ),
    "too long": (
        set_column("resident_bytes", np.zeros(4, dtype=np.int64)),
        "target 't': resident_bytes has 4 values of 3 regions",
    ),
    "a list": (
        set_column("touched_bytes", [0, 0, 0]),
        "target 't': touched_bytes is a list, not an array",
    ),
    "overlap": (
        overlap,
        "target 't': region 0x1000-0x2000: it begins before the region in front of it ends",
    ),
    "end first": (end_first, "target 't': region 0x2000-0x1000: it ends before it begins"),
    "one name": (second_target, "2 targets are called 't': names are unique in a context"),
    "no target": (
        lambda context: context.targets.append(7),
        "context.targets has 7, which is not a Target",
    ),
    "no regions": (
        lambda context: setattr(context.targets[0], "regions", [Range(0, 1)]),
        "target 't': regions are list, not Regions",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_primitive_whose_results_are_impossible_is_named(lie: str) -> None:
    """The error names it and what is wrong, instead of a place deep in numpy."""
    act, reason = LIES[lie]
    context = Context(Lying(act), [StopAfter(1)], clock=VirtualClock())
    run(context, check=False)
    assert isinstance(context.error, PartError)
    assert str(context.error) == f"primitive 'lying' gives wrong results: {reason}"


@pytest.mark.parametrize("lie", LIES)
def test_no_callback_is_blamed_for_impossible_results(lie: str) -> None:
    """None is called with them."""
    recorder = Recorder()
    context = Context(Lying(LIES[lie][0], DelegatedSampling), [recorder], clock=VirtualClock())
    run(context, check=False)
    assert (recorder.snapshots, context.stats.callback_failures) == ([], 0)


@pytest.mark.parametrize("values", [1, 2, 4])
@pytest.mark.parametrize("name", ["accessed", "known"])
def test_samples_of_the_wrong_length(name: str, values: int) -> None:
    """Even where numpy would spread a single value over all pages."""

    def lie(context: Context) -> None:
        samples = context.targets[0].samples
        assert samples is not None
        setattr(samples, name, np.ones(values, dtype=np.bool_))

    context = Context(Lying(lie, PageSampling), policy=Choosing(), clock=VirtualClock())
    run(context, check=False)
    assert str(context.error) == (
        f"primitive 'lying' failed in check_accesses: target 't': samples.{name} has {values} "
        f"value{'' if values == 1 else 's'} of 3 pages"
    )


def test_a_tuple_of_targets_is_taken(stage: Any) -> None:
    """Any sequence becomes the list, so that a restart works as well."""

    def init(context: Context) -> None:
        context.targets = (Target("t", Regions([0], [PAGE])),)

    context = stage.context(stage.part(init=init, update=lambda c: c.request_stop()))
    stage.run(context)
    stage.run(context)
    assert (context.error, [target.name for target in context.targets]) == (None, ["t"])


class Choosing:
    """A policy that looks at the first page of each region, and does what a test says."""

    name = "choosing"

    def __init__(self, **acts: Callable[..., object]) -> None:
        self._acts = acts

    def begin(self, limits: RegionLimits) -> None:
        self._act("begin")

    def set_limits(self, limits: RegionLimits) -> None:
        self._act("set_limits")

    def choose(self, targets: Any) -> None:
        for target in targets:
            target.samples = Samples(target.regions.start.copy())
        self._act("choose", targets)

    def observe(self, targets: Any) -> None:
        self._act("observe", targets)

    def aggregate(self, targets: Any, checks: int, elapsed_us: int) -> None:
        self._act("aggregate", targets)

    def adapt(self, targets: Any) -> None:
        self._act("adapt", targets)

    def _act(self, method: str, *arguments: object) -> None:
        if method in self._acts:
            self._acts[method](*arguments)


def with_policy(policy: Any, **attributes: Any) -> Context:
    """Return a context of single pages that has run to its end."""
    attributes.setdefault("clock", VirtualClock())
    honest = Lying(lambda _: None, PageSampling)
    context = Context(honest, [StopAfter(2)], policy=policy, **attributes)
    run(context, check=False)
    return context


def fail(*_: object) -> None:
    """Do as a broken policy does."""
    raise LookupError("on purpose")


@pytest.mark.parametrize("method", ["begin", "choose", "observe", "aggregate", "adapt"])
def test_a_policy_that_raises_is_named(method: str) -> None:
    """With the method."""
    context = with_policy(Choosing(**{method: fail}))
    assert str(context.error) == (f"policy 'choosing' failed in {method}: LookupError: on purpose")


def test_the_error_of_a_policy_keeps_its_cause() -> None:
    """Who debugs needs the traceback."""
    error = with_policy(Choosing(adapt=fail)).error
    assert error is not None
    assert isinstance(error.__cause__, LookupError)


def test_a_policy_whose_counts_are_impossible_is_named() -> None:
    """The counts are the policy's where single pages are checked."""

    def lie(targets: Any) -> None:
        targets[0].regions.nr_accesses[:] = 30

    context = with_policy(Choosing(aggregate=lie))
    assert str(context.error) == (
        "policy 'choosing' failed in aggregate: target 't': region 0x0-0x1000: "
        "nr_accesses is 30 of 20 checks"
    )


@pytest.mark.parametrize("method", ["aggregate", "adapt"])
def test_a_policy_that_exceeds_the_limit_is_named(method: str) -> None:
    """It may leave no more regions than `max_regions`."""

    def divide(targets: Any) -> None:
        start = np.arange(30) * 100
        targets[0].regions = Regions(start, start + 100)

    limits = RegionLimits(min_regions=1, max_regions=20)
    context = with_policy(Choosing(**{method: divide}), limits=limits)
    assert str(context.error) == (
        f"policy 'choosing' failed in {method}: it leaves 30 regions, more than max_regions (20)"
    )


def test_more_regions_than_the_limit_may_come_from_the_primitive() -> None:
    """Each process is a region at least; the policy isn't blamed for them."""
    limits = RegionLimits(min_regions=1, max_regions=2)
    assert with_policy(Choosing(), limits=limits).error is None


def test_the_policies_of_the_core_give_what_is_possible() -> None:
    """Over memory that grows and shrinks."""
    assert with_policy(EvidencePolicy(), intervals=Intervals()).error is None


def test_the_backend_is_named_with_its_primitive() -> None:
    """It is called by the primitive's hooks."""
    primitive = Lying(fail)
    primitive.backend_name = "bits"  # type: ignore[attr-defined]
    context = Context(primitive, clock=VirtualClock())
    run(context, check=False)
    assert str(context.error) == (
        "primitive 'lying' (backend 'bits') failed in check_accesses: LookupError: on purpose"
    )


# -- tests are stricter ------------------------------------------------------------------


@pytest.mark.parametrize("resident_bytes", [-1, PAGE + 1])
def test_runs_of_tests_are_judged(resident_bytes: int) -> None:
    """`run_virtual` finds what would be too expensive to look at always."""
    memory = ScriptedMemory({"t": [ScriptedRegion(0, PAGE, resident_bytes=resident_bytes)]})
    with pytest.raises(AssertionError, match=f"resident_bytes is {resident_bytes}"):
        run_virtual(memory, aggregations=1)
