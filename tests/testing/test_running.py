"""Running contexts to their end, and waiting."""

import pytest

from damon_core import Context, PartError, VirtualClock, hookimpl
from damon_core.testing import (
    NotingClock,
    Recorder,
    ScriptedMemory,
    ScriptedRegion,
    StopAfter,
    eventually,
    run,
    run_virtual,
)


def fail(_: object) -> None:
    """Do as a broken primitive does."""
    raise ValueError("on purpose")


def test_what_ended_a_context_is_raised() -> None:
    """A test needn't look for failures itself."""
    with pytest.raises(PartError, match="on purpose"):
        run(Context(Recorder(update=fail), clock=VirtualClock()))


def test_a_failure_can_be_left_to_the_test() -> None:
    """It is the context's error then."""
    context = Context(Recorder(init=fail), clock=VirtualClock())
    run(context, check=False)
    assert isinstance(context.error, PartError)


def test_a_context_that_does_not_end_is_stopped() -> None:
    """The test fails, and leaves nothing running."""
    context = Context(object(), clock=NotingClock(hold_at=1), name="endless")
    with pytest.raises(AssertionError, match=r"context 'endless' hasn't ended within 0\.01 s"):
        run(context, timeout_s=0.01)
    assert not context.running


def test_several_run_side_by_side() -> None:
    """As a group."""
    contexts = [Context(object(), [StopAfter(2)], clock=VirtualClock(), name=name) for name in "ab"]
    run(*contexts)
    assert [context.stats.aggregations for context in contexts] == [2, 2]


def test_aggregations_on_virtual_time() -> None:
    """As many as asked for, whatever the machine's time is."""
    context = run_virtual(object(), aggregations=4)
    assert (context.stats.aggregations, context.clock.now_us()) == (4, 400_000)


def test_virtual_time_until_the_primitive_ends() -> None:
    """Without a number its targets decide."""
    memory = ScriptedMemory({"a": [ScriptedRegion(0, 4096)]}, checks=50)
    assert run_virtual(memory, name="db").stats.aggregations == 2


def test_eventually_returns_what_came_true() -> None:
    """Not at the first look."""
    answers = iter([0, None, "", "found"])
    assert eventually(lambda: next(answers)) == "found"


def test_eventually_gives_up() -> None:
    """What never comes true is a failed test."""
    with pytest.raises(AssertionError, match=r"hasn't come true within 0\.02 s"):
        eventually(lambda: False, timeout_s=0.02)


class Asserts:
    """A callback with an assertion that fails."""

    name = "asserts"

    @hookimpl
    def after_aggregation(self) -> None:
        raise AssertionError("as the test wants it")


def test_an_assertion_in_a_callback_fails_its_test() -> None:
    """Isolation, which keeps contexts alive, doesn't hide it."""
    with pytest.raises(AssertionError, match="as the test wants it"):
        run_virtual(ScriptedMemory({}), Asserts(), aggregations=2)


def test_callbacks_that_may_fail_are_left_to_the_counts() -> None:
    """For tests of what follows."""
    memory = ScriptedMemory({})
    context = run_virtual(memory, Asserts(), aggregations=2, callbacks_may_fail=True)
    assert context.stats.callbacks["asserts"].failures == 2
