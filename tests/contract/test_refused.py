"""What can't be a hook is refused where it is registered, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from damon_core import (
    Callback,
    ConfigError,
    Context,
    PluginError,
    Plugins,
    Policy,
    Primitive,
    build_contexts,
    check_config,
    hookimpl,
)
from tests.lifecycle import LIFECYCLE

if TYPE_CHECKING:
    from tests.conftest import Stage


async def coroutine(context: Context) -> None:
    """Do nothing, when it is awaited."""


async def async_generator(context: Context) -> Any:
    """Do nothing, when it is iterated."""
    yield


def generator(context: Context) -> Generator[None]:
    """Do nothing, when it is iterated."""
    yield


def part(hook: str, function: Callable[..., object], **options: Any) -> object:
    """Return a part "mine" with one hook."""
    body = {hook: staticmethod(hookimpl(**options)(function)), "name": "mine"}
    return type("Part", (), body)()


@pytest.mark.parametrize("hook", LIFECYCLE)
@pytest.mark.parametrize("function", [coroutine, async_generator])
def test_a_coroutine_is_refused(function: Callable[..., object], hook: str) -> None:
    """Its result would be true, and so a request to stop."""
    with pytest.raises(PluginError) as caught:
        Context(object(), [part(hook, function)])
    assert caught.value.reason == (
        f"'{hook}' is a coroutine, which nothing awaits: hooks are plain functions"
    )


@pytest.mark.parametrize("hook", LIFECYCLE)
def test_a_generator_is_refused(hook: str) -> None:
    """A yield by mistake makes a hook that does nothing."""
    with pytest.raises(PluginError) as caught:
        Context(part(hook, generator))
    assert caught.value.reason == (
        f"'{hook}' has a yield, so calling it does nothing: only wrappers have one"
    )


@pytest.mark.parametrize("function", [coroutine, generator])
def test_a_coroutine_that_is_hidden_is_a_failure(
    function: Callable[[Any], object], stage: Stage
) -> None:
    """What can't be seen in the function is seen in its result: nothing stops."""
    callback = part("after_sampling", lambda context: function(context))  # noqa: PLW0108  # hidden
    primitive = stage.part(update=lambda context: context.request_stop())
    context = stage.context(primitive, callback)
    stage.run(context)
    assert context.stats.samples == 4
    assert "which nothing runs" in context.stats.callbacks["mine"].last_error


@pytest.mark.parametrize(
    ("hook", "function", "reason"),
    [
        (
            "after_aggregation",
            lambda ctx: None,
            "'after_aggregation' wants 'ctx', which nobody gives: 'after_aggregation' may take "
            "context",
        ),
        (
            "update",
            lambda context, regions: None,
            "'update' wants 'regions', which nobody gives: 'update' may take context",
        ),
        (
            "update",
            lambda *, context: None,
            "'update' wants 'context', which nobody gives: 'update' may take context",
        ),
        (
            "release",
            lambda context: None,
            "'release' wants 'context', which nobody gives: 'release' takes no arguments",
        ),
    ],
)
def test_a_wrong_signature(hook: str, function: Callable[..., object], reason: str) -> None:
    """The message says which arguments the hook may take."""
    with pytest.raises(PluginError) as caught:
        Context(object(), [part(hook, function)])
    assert caught.value.reason == reason


class Forgetful:
    """A callback whose hook lacks its mark."""

    name = "mine"

    def after_aggregation(self, context: Context) -> None:
        """Never called."""


def test_a_hook_without_its_mark_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Silence would look like memory that isn't accessed."""
    Context(object(), [Forgetful()])
    assert caplog.messages == [
        "'mine': its method 'after_aggregation' isn't marked with @hookimpl, so it isn't called"
    ]


class Mapping(dict[str, int]):
    """A callback that is a dictionary, which has an `update`."""

    def cleanup(self, path: str) -> None:
        """Do something else than the hook of this name."""


def test_methods_with_other_arguments_are_no_hooks(caplog: pytest.LogCaptureFixture) -> None:
    """Names such as `update` and `cleanup` belong to others as well."""
    Context(object(), [Mapping()])
    assert caplog.messages == []


def test_no_class_in_the_place_of_an_object() -> None:
    """Its hooks would want a `self`."""
    with pytest.raises(PluginError, match=r"is the class Forgetful: give an object of it"):
        Context(object(), [Forgetful])


def test_no_class_in_the_place_of_a_policy() -> None:
    """A policy has methods for the whole of its contract."""
    with pytest.raises(PluginError, match=r"plugin 'object': .*'begin' is missing"):
        Context(object(), policy=object())  # type: ignore[arg-type]


async def late(*_: object) -> object:
    """Return a part, when it is awaited."""
    return object()


def no_part(*_: object) -> None:
    """Forget to return the part."""


@pytest.mark.parametrize(
    ("factory", "found"),
    [
        (no_part, "None, not an object with hooks"),
        (lambda *_: Forgetful, "the class Forgetful: give an object of it"),
        (lambda *given: late(*given), "a coroutine: nothing awaits it"),  # noqa: PLW0108  # hidden
    ],
)
@pytest.mark.parametrize("kind", ["primitive", "callback", "policy"])
def test_a_factory_that_makes_no_part(
    kind: str, factory: Callable[..., object], found: str
) -> None:
    """What it returns instead is said, with the place in the configuration."""

    class Package:
        @hookimpl
        def register_primitives(self, register: Callable[[Primitive], None]) -> None:
            register(Primitive("x", factory if kind == "primitive" else lambda *_: Right()))

        @hookimpl
        def register_callbacks(self, register: Callable[[Callback], None]) -> None:
            register(Callback("x", factory if kind == "callback" else lambda *_: Right()))

        @hookimpl
        def register_policies(self, register: Callable[[Policy], None]) -> None:
            register(Policy("x", factory if kind == "policy" else lambda *_: Right()))

    part: dict[str, object] = {"use": "x"}
    table: dict[str, object] = {"primitive": part}
    table[kind] = [part] if kind == "callback" else part
    plugins = Plugins({"package": Package()})
    config = check_config({"context": [table]}, plugins)
    with pytest.raises(ConfigError) as caught:
        build_contexts(config, plugins)
    place = f"context[0].{kind}{'[0]' if kind == 'callback' else ''}"
    assert f"{place}: 'x': its factory returns {found}" in str(caught.value)
    with pytest.raises(PluginError, match=r"its factory returns "):
        getattr(plugins, f"make_{kind}")("x", {})


class Right:
    """A part without hooks."""


def test_hooks_with_defaults_see_the_context(stage: Stage) -> None:
    """pluggy gives nothing to an argument with a default; the context does."""
    seen = []
    callback = part("before_start", lambda context=None: seen.append(context))
    context = stage.context(stage.part(target_valid=lambda _: False), callback)
    stage.run(context)
    assert seen == [context]
