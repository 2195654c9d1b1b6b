"""What a check of a configuration finds without making anything."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import Factory, field, frozen

from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Callback,
    ConfigError,
    Context,
    Plugins,
    Policy,
    Primitive,
    check_config,
    hookimpl,
    validators,
)


class Misspelt:
    """A callback with a hook that doesn't exist."""

    def __init__(self, options: object) -> None:
        raise AssertionError(options)

    @hookimpl
    def before_strat(self) -> None:
        """Never called."""


class Greedy:
    """A callback that wants what its hook isn't given."""

    def __init__(self, options: object) -> None:
        raise AssertionError(options)

    @hookimpl
    def after_aggregation(self, ctx: Context) -> None:
        """Never called."""


class Right:
    """A part that is right, of a class with a property that fails without an object."""

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    @property
    def count(self) -> int:
        return len(self._arguments)

    @hookimpl
    def release(self) -> None:
        """Do nothing."""


def make_misspelt(_options: object) -> Misspelt:
    """Return a callback, by a function."""
    raise AssertionError


def make_right(_options: object, _backends: object = None) -> Right:
    """Return a part, by a function."""
    return Right()


def without_arguments() -> Right:
    """Take no options."""
    return Right()


@frozen
class SeeingOptions:
    backend: BackendOption = AUTO


@frozen
class EyesOptions:
    number: int = field(default=2, validator=validators.at_least(1))


class Package:
    """Offers parts, right and wrong ones."""

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(Primitive("seeing", Right, SeeingOptions))
        register(Primitive("blind", lambda options: Right()))

    @hookimpl
    def register_backends(self, register: Callable[[Backend], None]) -> None:
        register(Backend("eyes", Right, EyesOptions, serves=("seeing",)))

    @hookimpl
    def register_policies(self, register: Callable[[Policy], None]) -> None:
        register(Policy("none", without_arguments))

    @hookimpl
    def register_callbacks(self, register: Callable[[Callback], None]) -> None:
        register(Callback("misspelt", Misspelt))
        register(Callback("made", make_misspelt))
        register(Callback("greedy", Greedy))
        register(Callback("right", Right))
        register(Callback("function", make_right))


def mistakes(**table: Any) -> list[str]:
    """Return what a check finds in a context."""
    table.setdefault("primitive", {"use": "seeing"})
    try:
        check_config({"context": [table]}, Plugins({"package": Package()}))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("name", ["misspelt", "made"])
def test_a_misspelt_hook_of_a_class(name: str) -> None:
    """The class is known, by the factory or its annotation, so nothing has to be made."""
    assert mistakes(callback=[{"use": name}]) == [
        f"context[0].callback[0].use: plugin '{name}': implements 'before_strat', which is not a "
        "hook; did you mean 'before_start'?"
    ]


def test_a_wrong_signature_of_a_class() -> None:
    """The arguments are looked at as well."""
    assert mistakes(callback=[{"use": "greedy"}]) == [
        "context[0].callback[0].use: plugin 'greedy': 'after_aggregation' wants 'ctx', which "
        "nobody gives: 'after_aggregation' may take context"
    ]


@pytest.mark.parametrize("name", ["right", "function"])
def test_what_is_right(name: str) -> None:
    """Nothing is made, and nothing is wrong."""
    assert mistakes(callback=[{"use": name}]) == []


def test_a_factory_that_does_not_take_what_it_is_given() -> None:
    """The number of arguments is part of the contract."""
    found = mistakes(primitive={"use": "blind"}, policy={"use": "none"})
    assert [line.partition(": too many")[0] for line in found] == [
        "context[0].primitive.use: plugin 'blind': its factory can't be called with 2 arguments "
        "(options, backends)",
        "context[0].policy.use: plugin 'none': its factory can't be called with 1 argument "
        "(options)",
    ]


@pytest.mark.parametrize(
    ("backend", "found"),
    [
        ("ears", "backend: there is no backend 'ears'; known: auto, eyes"),
        ({"use": "eyse"}, "backend: there is no backend 'eyse'; did you mean 'eyes'?"),
        ({}, 'backend: the table of a backend needs its name: use = "…"'),
        ({"use": "eyes", "numbr": 1}, "backend.numbr: unknown key; did you mean 'number'?"),
        ({"use": "eyes", "number": 0}, "backend.number: found 0, must be at least 1"),
        (
            {"use": "auto", "number": 1},
            "backend: 'auto' takes no options of a backend: name the backend they are for",
        ),
    ],
)
def test_backends_and_their_options(backend: BackendOption, found: str) -> None:
    """What names a backend is checked with the rest, with its place."""
    primitive = {"use": "seeing", "backend": backend}
    assert mistakes(primitive=primitive, callback=[{"use": "nothing"}])[0] == (
        f"context[0].primitive.{found}"
    )


@pytest.mark.parametrize("backend", ["auto", "eyes", {"use": "eyes", "number": 3}])
def test_right_backends(backend: BackendOption) -> None:
    """Whether they work here shows when it runs."""
    assert mistakes(primitive={"use": "seeing", "backend": backend}) == []


# -- options -----------------------------------------------------------------------------


def options_of(cls: type, **given: object) -> Any:
    """Return the options of a callback that has been given these."""

    class Offering:
        @hookimpl
        def register_callbacks(self, register: Callable[[Callback], None]) -> None:
            register(Callback("x", make_right, cls))

    table = {"primitive": {"use": "seeing"}, "callback": [{"use": "x", **given}]}
    plugins = Plugins({"package": Package(), "other": Offering()})
    return check_config({"context": [table]}, plugins).contexts[0].callbacks[0].options


@frozen
class Derived:
    most: int = 1
    least: int = field(
        default=Factory(lambda self: -self.most, takes_self=True), validator=validators.at_least(0)
    )
    other: int = field(default=3)

    @other.validator
    def _is_even(self, _attribute: object, value: int) -> None:
        if value % 2:
            raise ValueError("must be even")


def test_a_default_that_is_refused_keeps_its_name() -> None:
    """Also one that is derived from other fields."""
    with pytest.raises(ConfigError) as caught:
        options_of(Derived)
    assert [str(each).partition("callback[0].")[2] for each in caught.value.problems] == [
        "least: is -1 by default, must not be negative",
        "other: is 3 by default, must be even",
    ]


@frozen
class Sharing:
    names: list[str] = []  # noqa: RUF008
    table: dict[str, int] = {}  # noqa: RUF008


def test_mutable_defaults_are_not_shared() -> None:
    """A part may change its options without changing those of others."""
    options_of(Sharing).names.append("x")
    options_of(Sharing).table["x"] = 1
    assert options_of(Sharing) == Sharing([], {})


@frozen
class Times:
    when: datetime.datetime | None = None
    day: datetime.date | None = None
    hour: datetime.time | None = None
    names: list[str] = field(factory=list)


def test_times_of_toml_are_taken() -> None:
    """TOML has types for them."""
    when = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    options = options_of(Times, when=when, day=when.date(), hour=when.time())
    assert (options.when, options.day, options.hour) == (when, when.date(), when.time())


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (
            {"when": "today"},
            "when: found 'today', must be a date and a time, without quotes: 2026-01-31T12:00:00Z",
        ),
        (
            {"day": datetime.datetime(2026, 1, 31)},
            "day: found 2026-01-31 00:00:00, must be a date, without quotes: 2026-01-31",
        ),
        ({"hour": 12}, "hour: found 12, must be a time, without quotes: 12:00:00"),
        ({"names": ["a", 5]}, "names[1]: found 5, must be a string"),
    ],
)
def test_nothing_of_the_library_s_words(given: dict[str, object], found: str) -> None:
    """A mistake is said in words for people."""
    with pytest.raises(ConfigError) as caught:
        options_of(Times, **given)
    assert [str(each) for each in caught.value.problems] == [f"context[0].callback[0].{found}"]


class Strange:
    """What no file can hold."""


@frozen
class StrangeOptions:
    what: Strange | None = None


def test_a_type_that_cannot_be_written() -> None:
    """It is the plugin's mistake, and said to be."""
    with pytest.raises(ConfigError, match=r"what: .*Strange, can't be written: a mistake of the"):
        options_of(StrangeOptions, what="x")


# -- what callbacks share ----------------------------------------------------------------


@frozen
class Shared:
    path: Path = Path("x")
    port: int = 5
    mode: str = field(default="", metadata={"same_with": ("path", "port")})


def differences(*callbacks: dict[str, object]) -> list[str]:
    """Return the mistakes in a configuration of contexts "0", "1" … with a callback each."""

    class Offering:
        @hookimpl
        def register_callbacks(self, register: Callable[[Callback], None]) -> None:
            register(Callback("x", make_right, Shared))

    plugins = Plugins({"package": Package(), "other": Offering()})
    tables = [
        {"name": str(number), "primitive": {"use": "seeing"}, "callback": [{"use": "x", **each}]}
        for number, each in enumerate(callbacks)
    ]
    try:
        check_config({"context": tables}, plugins)
    except ConfigError as error:
        return [str(each) for each in error.problems]
    return []


def test_options_of_what_is_shared_must_be_the_same() -> None:
    """Both contexts and the option are named, however the path is written."""
    assert differences({"mode": "a"}, {"mode": "a"}, {"mode": "b", "path": "./y/../x"}) == [
        "context[2].callback[0].mode: context '2' and context '0' (context[0].callback[0]) have "
        "the same path and port, but differ in this: make it the same"
    ]


@pytest.mark.parametrize("other", [{"path": "y"}, {"port": 6}])
def test_options_of_what_is_not_shared_may_differ(other: dict[str, object]) -> None:
    """Of each a single one."""
    assert differences({"mode": "a"}, {"mode": "b", **other}) == []


def test_zero_is_not_shared() -> None:
    """Such as a port that is another one each time."""
    assert differences({"mode": "a", "port": 0}, {"mode": "b", "port": 0}) == []
