"""What raises where: callbacks fail alone, the primitive ends its own context in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from damon_core import Context, PartError, TargetError, VirtualClock, hookimpl, start
from damon_core.testing import Recorder, StopAfter, run, run_virtual
from damon_core.testing.parts import Act
from tests.lifecycle import LIFECYCLE

if TYPE_CHECKING:
    from tests.conftest import Stage

OPERATIONS = [
    "init",
    "target_valid",
    "prepare_access_checks",
    "check_accesses",
    "describe_regions",
    "reset_aggregated",
    "update",
    "cleanup",
]


class OnPurposeError(Exception):
    """What the parts of these tests raise."""


def fail(_: Context) -> None:
    """Do as a broken part does."""
    raise OnPurposeError("on purpose")


def wrapping(hook: str, wrapper: Callable[[Context], Generator[None, Any, Any]]) -> object:
    """Return a callback named "wrapper" whose only hook is a wrapper of `hook`."""

    def implementation(context: Context) -> Generator[None, Any, Any]:
        return (yield from wrapper(context))

    body = {hook: staticmethod(hookimpl(wrapper=True)(implementation)), "name": "wrapper"}
    return type("Wrapper", (), body)()


def ending(
    stage: Stage, updates: int = 1, acts: Mapping[str, Callable[[Context], object]] | None = None
) -> object:
    """Return a primitive that ends its context with an update, unless it has other `acts`."""

    def update(context: Context) -> None:
        if context.stats.updates + 1 >= updates:
            context.request_stop()

    return stage.part("p", **({"update": update} | dict(acts or {})))


def cause(context: Context) -> BaseException | None:
    """Return what a part raised, of which the context's error names the part and the hook."""
    assert isinstance(context.error, PartError)
    return context.error.__cause__


# -- callbacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("hook", LIFECYCLE)
def test_a_callback_fails_alone_in_any_hook(
    hook: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The events of all others are those of a run without it; it is named and counted."""
    stage.run(stage.context(ending(stage), stage.part("x"), stage.part("y")))
    whole = [event for event in stage.events if not event.startswith("x:")]
    stage.events.clear()

    context = stage.context(ending(stage), stage.part("x", **{hook: fail}), stage.part("y"))
    stage.run(context)
    assert [event for event in stage.events if not event.startswith("x:")] == whole
    stats = context.stats.callbacks
    assert stats["x"].failures == stage.events.count(f"x:{hook}") > 0
    assert stats["x"].last_error == "OnPurposeError: on purpose"
    assert (stats["y"].failures, context.error) == (0, None)
    text = f"context '{context.name}': callback 'x' failed in {hook}: OnPurposeError: on purpose"
    assert text in caplog.messages


def test_failures_of_all_callbacks_are_summed_up(stage: Stage) -> None:
    """One number shows whether anything is wrong."""
    callbacks = [stage.part(name, before_start=fail) for name in "xyz"]
    context = stage.context(ending(stage), *callbacks)
    stage.run(context)
    assert context.stats.callback_failures == 3


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration()]
)
def test_not_even_system_exit_of_a_callback_ends_the_context(
    error: BaseException, stage: Stage
) -> None:
    """A callback that calls sys.exit() has failed, nothing more."""

    def leave(_: Context) -> None:
        raise error

    context = stage.context(ending(stage), stage.part("x", after_sampling=leave))
    stage.run(context)
    assert (context.stats.callbacks["x"].failures, context.error) == (4, None)


def test_an_exception_that_can_not_be_printed_is_contained(stage: Stage) -> None:
    """Even telling of the failure may fail."""

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise OnPurposeError

    def raise_it(_: Context) -> None:
        raise UnprintableError

    context = stage.context(ending(stage), stage.part("x", before_start=raise_it))
    stage.run(context)
    assert context.error is None
    assert context.stats.callbacks["x"].last_error == (
        "UnprintableError: (an exception without a printable message)"
    )


def test_an_answer_without_a_truth_value_is_a_failure(stage: Stage) -> None:
    """A callback that returns an array answers neither yes nor no."""
    odd = stage.part("x", after_sampling=lambda _: np.zeros(2))
    context = stage.context(ending(stage), odd)
    stage.run(context)
    assert (context.stats.callbacks["x"].failures, context.error) == (4, None)


def test_callbacks_of_one_name_are_counted_apart(stage: Stage) -> None:
    """The second of two callbacks with one name gets a number."""
    context = stage.context(ending(stage), stage.part("csv"), stage.part("csv", before_start=fail))
    stage.run(context)
    failures = {name: stats.failures for name, stats in context.stats.callbacks.items()}
    assert failures == {"csv": 0, "csv#2": 1}


def test_a_callback_without_a_name_is_called_by_its_class(stage: Stage) -> None:
    """Logs and counts always have something to say."""

    class Nameless:
        @hookimpl
        def before_start(self) -> None:
            raise OnPurposeError

    context = stage.context(ending(stage), Nameless())
    stage.run(context)
    assert context.stats.callbacks["Nameless"].last_error == "OnPurposeError"


# -- switching off -----------------------------------------------------------------------


def test_a_callback_is_switched_off_after_failures_in_a_row(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """It isn't called any more but for before_terminate, others are; the log is loud."""
    context = stage.context(
        ending(stage, updates=2), stage.part("x", after_sampling=fail), stage.part("y"),
        failure_limit=3,
    )  # fmt: skip
    stage.run(context)
    calls = [event for event in stage.events if event.startswith("x:")]
    assert calls.count("x:after_sampling") == 3
    assert calls[-2:] == ["x:after_sampling", "x:before_terminate"]
    assert stage.events.count("y:after_sampling") == 8
    assert context.stats.callbacks["x"].switched_off
    loud = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert loud == [
        f"context '{context.name}': callback 'x' is switched off: 3 failures in a row in "
        "after_sampling; it is tried again in "
        "1s, and at growing intervals"
    ]


def test_the_same_failure_in_a_row_is_told_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk doesn't fill the log as well."""
    stage.run(stage.context(ending(stage, updates=2), stage.part("x", after_sampling=fail)))
    reported = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(reported) == 1


def test_a_success_begins_the_row_anew(stage: Stage) -> None:
    """Failures that aren't in a row never switch a callback off."""

    def fail_mostly(context: Context) -> None:
        if context.stats.samples % 3 != 2:
            fail(context)

    context = stage.context(
        ending(stage, updates=6), stage.part("x", after_sampling=fail_mostly), failure_limit=3
    )
    stage.run(context)
    stats = context.stats.callbacks["x"]
    assert (stats.failures, stats.switched_off) == (16, False)


def test_rows_are_counted_per_hook(stage: Stage) -> None:
    """A callback whose sampling works but whose aggregations all fail is switched off."""
    context = stage.context(
        ending(stage, updates=3), stage.part("x", after_aggregation=fail), failure_limit=3
    )
    stage.run(context)
    assert stage.events.count("x:after_aggregation") == 3
    assert context.stats.callbacks["x"].switched_off


def test_a_restart_switches_callbacks_on_again(stage: Stage) -> None:
    """A new run gives each callback a new chance, and counts from nothing."""
    context = stage.context(ending(stage), stage.part("x", after_sampling=fail), failure_limit=2)
    stage.run(context)
    first = context.stats
    stage.run(context)
    assert context.stats == first
    assert stage.events.count("x:after_sampling") == 4


def run_with(
    act: Callable[[Context], object], aggregations: int, *, hook: str = "after_aggregation"
) -> Context:
    """Run a callback "x" on virtual time: an aggregation takes 0.1 s."""
    acts: dict[str, Act] = {hook: act}
    part = Recorder(None, "x", **acts)
    return run_virtual(object(), part, aggregations=aggregations, callbacks_may_fail=True)


def test_a_callback_that_is_switched_off_is_tried_again() -> None:
    """At growing intervals, here of 1, 2 and 4 s behind the tenth failure."""
    tried = []

    def note_and_fail(context: Context) -> None:
        tried.append(context.stats.aggregations)
        fail(context)

    run_with(note_and_fail, 90)
    assert tried == [*range(1, 11), 20, 40, 80]


def failing_at_first(context: Context) -> None:
    """Do as on a disk that is full for 1.5 s."""
    if context.clock.now_us() < 1_500_000:
        fail(context)


def test_a_callback_that_works_again_is_called_again() -> None:
    """A second of a full disk doesn't end it for ever."""
    context = run_with(failing_at_first, 60)
    stats = context.stats.callbacks["x"]
    # Switched off after 10, tried after 20, back at 20.
    assert (stats.failures, stats.switched_off) == (10, False)


def test_what_a_callback_missed_is_counted() -> None:
    """Each call that was left out."""

    class Full:
        name = "x"

        @hookimpl
        def after_aggregation(self, context: Context) -> None:
            failing_at_first(context)

    context = run_virtual(object(), Full(), aggregations=60, callbacks_may_fail=True)
    assert context.stats.callbacks["x"].skipped == 9  # from the 11th to the 19th


def test_coming_back_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    """Who saw that it was switched off sees that it works again, and what is missing."""
    run_with(failing_at_first, 60)
    (line,) = (line for line in caplog.messages if "works again" in line)
    assert line.startswith(
        "context 'context': callback 'x' works again: it was switched off for 1s; "
    )


def test_a_callback_that_comes_back_may_be_switched_off_again() -> None:
    """The row begins anew, and so do the pauses."""

    def fail_but_for_the_twentieth(context: Context) -> None:
        if context.stats.aggregations != 20:
            fail(context)

    context = run_with(fail_but_for_the_twentieth, 60)
    stats = context.stats.callbacks["x"]
    # 1 to 10, 21 to 30, 40, 60.
    assert (stats.failures, stats.switched_off) == (22, True)


def test_a_failure_that_does_not_come_again_is_no_reason_for_ever(stage: Stage) -> None:
    """A callback whose beginning failed comes back with any hook that works."""
    context = Context(
        object(),
        [stage.part("x", before_start=fail), StopAfter(60)],
        clock=VirtualClock(),
        failure_limit=1,
    )
    run(context)
    assert not context.stats.callbacks["x"].switched_off


def test_a_switched_off_wrapper_lets_everything_pass(stage: Stage) -> None:
    """Without its wrapper the hook works as if there were none."""
    entered = []

    def broken(_: Context) -> Generator[None, Any, Any]:
        entered.append(1)
        yield
        raise OnPurposeError

    context = stage.context(ending(stage), wrapping("check_accesses", broken), failure_limit=2)
    stage.run(context)
    assert (len(entered), stage.events.count("p:check_accesses")) == (2, 4)


# -- wrappers of callbacks ---------------------------------------------------------------


def raises_before(_: Context) -> Generator[None, Any, Any]:
    """Fail before the yield."""
    raise OnPurposeError("on purpose")
    yield


def raises_behind(_: Context) -> Generator[None, Any, Any]:
    """Fail behind the yield."""
    yield
    raise OnPurposeError("on purpose")


def yields_never(_: Context) -> Generator[None, Any, Any]:
    """Forget the yield."""
    if False:
        yield


def yields_twice(_: Context) -> Generator[None, Any, Any]:
    """Yield once too often."""
    yield
    yield


def yields_always(_: Context) -> Generator[None, Any, Any]:
    """Refuse to end."""
    while True:
        try:
            yield
        except GeneratorExit:
            continue


def returns_no_list(_: Context) -> Generator[None, Any, Any]:
    """Return a bare answer in place of the list of all."""
    yield
    return True


@pytest.mark.parametrize("hook", LIFECYCLE)
@pytest.mark.parametrize(
    ("wrapper", "said"),
    [
        (raises_before, "OnPurposeError: on purpose"),
        (raises_behind, "OnPurposeError: on purpose"),
        (yields_never, "RuntimeError: the wrapper did not yield"),
        (yields_twice, "RuntimeError: the wrapper yielded twice"),
        (yields_always, "RuntimeError: generator ignored GeneratorExit"),
        (
            returns_no_list,
            "TypeError: the wrapper returned True; it must return what `yield` gave it, another "
            "list of results, or None",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wrapper_fails_alone_in_any_hook(
    hook: str,
    wrapper: Callable[[Context], Generator[None, Any, Any]],
    said: str,
    stage: Stage,
) -> None:
    """All others get their turn, and their answers count; the wrapper is named and counted."""
    stage.run(stage.context(ending(stage), stage.part("y")))
    whole = list(stage.events)
    stage.events.clear()

    context = stage.context(ending(stage), wrapping(hook, wrapper), stage.part("y"))
    stage.run(context)
    assert stage.events == whole
    stats = context.stats.callbacks["wrapper"]
    assert (stats.failures, stats.last_error) == (whole.count(f"p:{hook}"), said)
    assert context.error is None


def test_a_wrapper_may_leave_the_results_as_they_are(stage: Stage) -> None:
    """Without a return the answers of the others hold."""

    def watch(_: Context) -> Generator[None, Any, Any]:
        yield

    callback = stage.part("x", after_sampling=lambda _: True)
    context = stage.context(stage.part("p"), wrapping("after_sampling", watch), callback)
    stage.run(context)
    assert context.stats.samples == 1
    assert context.stats.callback_failures == 0


def test_a_wrapper_may_change_the_results(stage: Stage) -> None:
    """It can take a request to stop back, and make one."""

    def at_the_third(context: Context) -> Generator[None, Any, Any]:
        asked = yield
        assert asked == [True]
        return [context.stats.samples == 2]

    callback = stage.part("x", after_sampling=lambda _: True)
    context = stage.context(object(), wrapping("after_sampling", at_the_third), callback)
    stage.run(context)
    assert (context.stats.samples, context.stats.callback_failures) == (3, 0)


# -- the primitive -----------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exception_of_the_primitive_ends_its_context_in_order(
    operation: str, stage: Stage
) -> None:
    """Nothing comes behind the failed operation but before_terminate and cleanup."""
    context = stage.context(ending(stage, acts={operation: fail}), stage.part("x"))
    stage.run(context)
    assert isinstance(cause(context), OnPurposeError)
    assert str(context.error) == f"primitive 'p' failed in {operation}: OnPurposeError: on purpose"
    hooks = [event[2:] for event in stage.events if event.startswith("p:")]
    if operation == "cleanup":
        assert hooks[-2:] == ["before_terminate", "cleanup"]
    else:
        assert hooks[-3:] == [operation, "before_terminate", "cleanup"]
    assert hooks.count(operation) == 1
    assert stage.events.count("x:before_terminate") == 1


def test_cleanup_runs_though_before_terminate_of_the_primitive_raises(stage: Stage) -> None:
    """Cleanup always runs."""
    context = stage.context(stage.part("p", init=fail, before_terminate=fail))
    stage.run(context)
    assert stage.events == ["p:init", "p:before_terminate", "p:cleanup"]


def test_the_first_error_is_the_context_s(stage: Stage) -> None:
    """What fails in consequence doesn't hide the cause."""
    first, second = OnPurposeError("first"), OnPurposeError("second")

    def fail_with(error: Exception) -> Callable[[Context], None]:
        def act(_: Context) -> None:
            raise error

        return act

    context = stage.context(
        stage.part("p", check_accesses=fail_with(first), cleanup=fail_with(second))
    )
    stage.run(context)
    assert cause(context) is first


def test_other_contexts_go_on(stage: Stage) -> None:
    """The failure of one context's primitive is its own."""
    broken = stage.context(stage.part("a", check_accesses=fail), name="a")
    whole = stage.context(stage.part("b"), name="b", hold_at=3)
    start(broken, whole)
    assert broken.wait(30)
    stage.until_held(whole)
    assert whole.running
    whole.request_stop()
    assert whole.wait(30)
    assert (type(cause(broken)), whole.error) == (OnPurposeError, None)
    assert whole.stats.samples == 3


def swallow(_: Context) -> Generator[None, Any, Any]:
    """Take any exception as if nothing had happened."""
    try:
        return (yield)
    except BaseException:
        return []


def translate(_: Context) -> Generator[None, Any, Any]:
    """Put another exception in the place of any."""
    try:
        return (yield)
    except BaseException as error:
        raise OnPurposeError("translated") from error


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("wrapper", [swallow, translate])
def test_no_wrapper_can_hide_an_exception_of_the_primitive(
    operation: str, wrapper: Callable[[Context], Generator[None, Any, Any]], stage: Stage
) -> None:
    """The context ends with the primitive's own exception, and the wrapper isn't blamed."""

    def break_down(_: Context) -> None:
        raise LookupError("broken")

    primitive = ending(stage, acts={operation: break_down})
    context = stage.context(primitive, wrapping(operation, wrapper))
    stage.run(context)
    assert isinstance(cause(context), LookupError)
    assert stage.events.count(f"p:{operation}") == 1
    assert context.stats.callback_failures == 0


def test_a_primitive_that_raises_stop_iteration_is_to_blame_itself(stage: Stage) -> None:
    """A next() too many in the primitive doesn't count against a wrapper around it."""

    def exhaust(_: Context) -> None:
        next(iter(()))

    def watch(_: Context) -> Generator[None, Any, Any]:
        return (yield)

    primitive = stage.part("p", check_accesses=exhaust)
    context = stage.context(primitive, wrapping("check_accesses", watch))
    stage.run(context)
    assert isinstance(cause(context), StopIteration)
    assert context.stats.callback_failures == 0


@pytest.mark.parametrize(
    "wrapper", [raises_before, raises_behind, yields_never, yields_twice, returns_no_list]
)
def test_a_broken_wrapper_of_the_primitive_ends_its_context(
    wrapper: Callable[[Context], Generator[None, Any, Any]], stage: Stage
) -> None:
    """A primitive's wrapper is as much the primitive as its operations are."""
    context = stage.context(wrapping("after_sampling", wrapper), stage.part("x"))
    stage.run(context)
    assert isinstance(cause(context), OnPurposeError | RuntimeError | TypeError)
    assert stage.events[-2:] == ["x:before_terminate", "x:cleanup"]


def test_a_primitive_may_translate_its_own_exceptions(stage: Stage) -> None:
    """The context ends with what its wrapper makes of an exception of its operation."""

    class Translating:
        @hookimpl
        def update(self) -> None:
            raise OnPurposeError

        @hookimpl(specname="update", wrapper=True)
        def around_update(self) -> Generator[None, Any, Any]:
            try:
                return (yield)
            except OnPurposeError as error:
                raise TargetError("db[7]", "it is gone") from error

    context = stage.context(Translating())
    stage.run(context)
    assert isinstance(context.error, TargetError)


def test_a_wrapper_of_the_primitive_works(stage: Stage) -> None:
    """A primitive can wrap the hooks of its callbacks."""

    def stop_at_once(_: Context) -> Generator[None, Any, Any]:
        yield
        return [True]

    context = stage.context(wrapping("after_sampling", stop_at_once), stage.part("x"))
    stage.run(context)
    assert (context.stats.samples, context.error) == (1, None)
