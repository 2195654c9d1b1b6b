"""The hook contract: which implementations are accepted, their order, arguments, wrappers."""

from __future__ import annotations

import inspect
import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from damon_core import Context, PluginError, VirtualClock, hookimpl, hookspecs
from tests.lifecycle import LIFECYCLE

if TYPE_CHECKING:
    from tests.conftest import Stage


class Ending:
    """A primitive that ends its context after one check, without noting anything."""

    @hookimpl
    def after_sampling(self) -> bool:
        return True


# -- what is accepted ----------------------------------------------------------------------


def test_a_hook_that_does_not_exist_is_refused() -> None:
    """A misspelt name is reported, with the nearest that exists."""

    class Misspelt:
        name = "mine"

        @hookimpl
        def check_access(self) -> None:
            """Never called."""

    with pytest.raises(PluginError) as caught:
        Context(Misspelt())
    assert str(caught.value) == (
        "plugin 'mine': implements 'check_access', which is not a hook; "
        "did you mean 'check_accesses'?"
    )


def test_an_argument_that_does_not_exist_is_refused() -> None:
    """An implementation can't ask for what the specification doesn't give."""

    class Greedy:
        name = "mine"

        @hookimpl
        def check_accesses(self, context: Context, regions: object) -> None:
            """Never called."""

    with pytest.raises(PluginError, match=r"plugin 'mine': .*check_accesses.*'regions'"):
        Context(Greedy())


def test_an_old_style_wrapper_is_refused() -> None:
    """pluggy's older kind of wrapper can't be isolated; the error names the newer."""

    class Old:
        name = "mine"

        @hookimpl(hookwrapper=True)
        def check_accesses(self) -> Generator[None, Any, None]:
            yield

    with pytest.raises(PluginError, match="'check_accesses' uses hookwrapper=True; use wrapper="):
        Context(object(), [Old()])


def test_a_wrapper_without_a_yield_is_refused() -> None:
    """A wrapper that is no generator function could never wrap anything."""

    class Plain:
        name = "mine"

        @hookimpl(wrapper=True)
        def check_accesses(self) -> None:
            """Never called."""

    for parts in [(Plain(), []), (object(), [Plain()])]:
        with pytest.raises(PluginError, match="'check_accesses' is a wrapper, but has no yield"):
            Context(*parts)


def test_a_wrapper_of_release_is_refused() -> None:
    """Parts are released one by one, so there is nothing to wrap."""

    class Wraps:
        name = "mine"

        @hookimpl(wrapper=True)
        def release(self) -> Generator[None, Any, Any]:
            return (yield)

    with pytest.raises(PluginError, match="'release' is a wrapper; 'release' has none"):
        Context(object(), [Wraps()])


def test_a_way_of_sampling_that_is_none_is_refused() -> None:
    """The attribute `sampling` is looked at before anything runs."""

    class Wrong:
        name = "mine"
        sampling = "pages"

    with pytest.raises(
        PluginError, match=r"plugin 'mine': its attribute 'sampling' must be .*'pages'"
    ):
        Context(Wrong())


def test_a_method_that_is_not_marked_is_no_implementation(stage: Stage) -> None:
    """Only `hookimpl` makes a method an implementation, so a part's own `update` is its own."""

    class Part(Ending):
        def init(self, context: Context) -> None:
            raise AssertionError(context)

    context = stage.context(Part())
    stage.run(context)
    assert context.error is None


def test_an_implementation_may_have_another_name(stage: Stage) -> None:
    """With pluggy's `specname` one part implements a hook under a name of its own, even twice."""
    called = []

    class Part(Ending):
        @hookimpl(specname="check_accesses")
        def one(self) -> None:
            called.append("one")

        @hookimpl(specname="check_accesses")
        def two(self) -> None:
            called.append("two")

    stage.run(stage.context(Part()))
    assert sorted(called) == ["one", "two"]


def test_a_part_may_be_a_module(stage: Stage) -> None:
    """Functions of a module are as good as methods."""
    called = []

    @hookimpl
    def before_start(context: Context) -> bool:
        called.append(context.name)
        return True

    module = types.ModuleType("part")
    vars(module)["before_start"] = before_start
    stage.run(stage.context(object(), module))
    assert called == ["context"]


def test_a_hook_may_be_a_static_or_class_method(stage: Stage) -> None:
    """All kinds of methods are implementations."""
    called = []

    class Part(Ending):
        @staticmethod
        @hookimpl
        def init(context: Context) -> None:
            called.append(("init", context.name))

        @classmethod
        @hookimpl
        def cleanup(cls, context: Context) -> None:
            called.append((f"cleanup of {cls.__name__}", context.name))

    stage.run(stage.context(Part()))
    assert called == [("init", "context"), ("cleanup of Part", "context")]


# -- arguments -------------------------------------------------------------------------------


class NoContext:
    """Hooks without the argument that they don't need."""

    def __init__(self) -> None:
        self.called: list[str] = []

    @hookimpl
    def init(self) -> None:
        self.called.append("init")

    @hookimpl(wrapper=True)
    def check_accesses(self) -> Generator[None, Any, Any]:
        self.called.append("check_accesses")
        return (yield)

    @hookimpl
    def before_terminate(self) -> None:
        self.called.append("before_terminate")


def test_a_primitive_may_take_fewer_arguments(stage: Stage) -> None:
    """Who doesn't need the context needn't take it."""
    part = NoContext()
    stage.run(stage.context(part, Ending()))
    assert part.called == ["init", "check_accesses", "before_terminate"]


def test_a_callback_may_take_fewer_arguments(stage: Stage) -> None:
    """Who doesn't need the context needn't take it."""
    part = NoContext()
    stage.run(stage.context(Ending(), part))
    assert part.called == ["init", "check_accesses", "before_terminate"]


class WithDefaults:
    """Hooks whose arguments have defaults, as people write them to call them in tests."""

    def __init__(self) -> None:
        self.answers = 0

    @hookimpl
    def init(self, context: Context | None = None) -> None:
        self.answers += context is not None

    @hookimpl(wrapper=True)
    def check_accesses(self, context: Context | None = None) -> Generator[None, Any, Any]:
        self.answers += context is not None
        return (yield)


@pytest.mark.parametrize("as_primitive", [True, False])
def test_an_argument_may_have_a_default(as_primitive: bool, stage: Stage) -> None:
    """A default changes nothing of the call."""
    part = WithDefaults()
    context = stage.context(part, Ending()) if as_primitive else stage.context(Ending(), part)
    stage.run(context)
    assert (part.answers, context.error, context.stats.callback_failures) == (2, None, 0)


# -- order -----------------------------------------------------------------------------------


def named(name: str, calls: list[str], **options: bool) -> object:
    """Return a callback that notes its before_start, which has these options of pluggy."""

    class Named:
        @hookimpl(**options)  # type: ignore[call-overload,untyped-decorator,unused-ignore]
        def before_start(self) -> None:
            calls.append(name)

    return Named()


def test_tryfirst_and_trylast_order_the_calls(stage: Stage) -> None:
    """A callback can come in front of the primitive, or behind all others."""
    calls: list[str] = []
    stage.run(
        stage.context(
            named("primitive", calls),
            named("last", calls, trylast=True),
            named("a", calls),
            named("first", calls, tryfirst=True),
            named("b", calls),
            Ending(),
        )
    )
    assert calls == ["first", "primitive", "a", "b", "last"]


# -- wrappers --------------------------------------------------------------------------------


def test_a_wrapper_times_check_accesses(stage: Stage) -> None:
    """What a check takes lies between the two halves of a wrapper around it."""

    class Slow(Ending):
        @hookimpl
        def check_accesses(self, context: Context) -> None:
            assert isinstance(context.clock, VirtualClock)
            context.clock.advance(1_234)

    class Timer:
        took_us = 0

        @hookimpl(wrapper=True)
        def check_accesses(self, context: Context) -> Generator[None, Any, Any]:
            before_us = context.clock.now_us()
            results = yield
            self.took_us = context.clock.now_us() - before_us
            return results

    timer = Timer()
    stage.run(stage.context(Slow(), timer))
    assert timer.took_us == 1_234


def lifecycle_hooks() -> list[str]:
    """Return the names of all hooks that get the context, in their order of life."""
    return [
        name
        for name, function in vars(hookspecs).items()
        if hasattr(function, "damon_spec") and "context" in inspect.signature(function).parameters
    ]


def test_there_are_eight_operations_and_four_callbacks() -> None:
    """The contract's hooks are specified in the order in which a context calls them."""
    assert lifecycle_hooks() == LIFECYCLE


def test_every_hook_is_documented() -> None:
    """The specifications are the front page: none is without its text."""
    undocumented = [
        name
        for name, function in vars(hookspecs).items()
        if hasattr(function, "damon_spec") and not inspect.getdoc(function)
    ]
    assert undocumented == []


@pytest.mark.parametrize("hook", lifecycle_hooks())
def test_every_lifecycle_hook_can_be_wrapped(hook: str, stage: Stage) -> None:
    """A callback's wrapper sees the primitive's implementation run, in each of the hooks."""
    events = stage.events

    def wrapper(context: Context) -> Generator[None, Any, Any]:
        events.append("before")
        results = yield
        events.append("behind")
        return results

    body = {hook: staticmethod(hookimpl(wrapper=True)(wrapper))}
    primitive = stage.part(update=lambda context: context.request_stop())
    stage.run(stage.context(primitive, type("Wrapping", (), body)()))
    seen = [i for i, event in enumerate(events) if event == hook]
    assert seen
    assert all(events[i - 1 : i + 2] == ["before", hook, "behind"] for i in seen)
