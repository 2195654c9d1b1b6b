"""What monitoring would come to: targets as a primitive sees them, costs as backends do."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve, frozen

from damon_core import (
    AccumulatingSampling,
    Backend,
    ConfigError,
    Costs,
    Finding,
    Limits,
    PluginError,
    Plugins,
    Primitive,
    TargetError,
    TargetForecast,
    Toll,
    hookimpl,
    make_forecast,
)


@frozen
class Options:
    """How much memory there is."""

    size: int = 1


def targets(options: Options) -> Sequence[TargetForecast]:
    """Foretell a target of the size that was asked for."""
    return [TargetForecast("a", facts={"size_bytes": options.size})] if options.size else []


def costs(foretold: Sequence[TargetForecast]) -> Costs:
    """Foretell a check of a microsecond a byte."""
    check_us = sum(target.facts["size_bytes"] for target in foretold)
    return Costs(sampling=AccumulatingSampling, check_us=check_us, toll=Toll(0, 1, check_us))


def backend(
    name: str,
    preference: int = 0,
    forecast: Callable[[Sequence[Any]], Costs] | None = costs,
    *,
    works: bool = True,
) -> Backend:
    """Return a backend of the primitive `space`."""
    finding = Finding("a kernel option", works)
    return Backend(
        name,
        dict,
        serves=("space",),
        preference=preference,
        probe=lambda: (finding,),
        forecast=forecast,
    )


def plugins(*backends: Backend, **primitive: Any) -> Plugins:
    """Return what has the primitive `space`, with backends."""

    class Package:
        @hookimpl
        def register_primitives(self, register: Callable[[Primitive], None]) -> None:
            register(Primitive("space", dict, Options, **{"forecast": targets, **primitive}))

        @hookimpl
        def register_backends(self, register: Callable[[Backend], None]) -> None:
            for each in backends:
                register(each)

    return Plugins({"package": Package()})


def test_backends_come_in_the_order_of_preference() -> None:
    """The first that works is what "auto" takes; what doesn't is listed with the reason."""
    found = make_forecast(
        plugins(backend("low"), backend("best", 2, works=False), backend("good", 1)),
        "space",
        {},
    )
    assert [each.name for each in found.backends] == ["best", "good", "low"]
    assert [each.name for each in found.working] == ["good", "low"]
    assert found.backends[0].missing == "a kernel option"
    assert found.backends[0].costs is None


@pytest.mark.parametrize(("targets", "first"), [(100, "dear"), (101, "cheap")])
def test_too_many_targets_for_a_backend(targets: int, first: str) -> None:
    """At 12 ms each, 2 % of a minute are enough for 100: it comes last for more."""
    dear = evolve(backend("dear", 2), target_us=12_000)
    found = make_forecast(plugins(dear, backend("cheap")), "space", {})
    assert found.among(targets).backends[0].name == first


def test_without_a_budget_no_targets_are_too_many() -> None:
    """Then the preferred backend is taken."""
    dear = evolve(backend("dear", 2), target_us=12_000)
    unlimited = Limits(cpu_budget=None)
    found = make_forecast(plugins(dear, backend("cheap")), "space", {}, limits=unlimited)
    assert found.among(1_000_000).backends[0].name == "dear"


def test_costs_become_intervals() -> None:
    """A backend is asked about what the primitive found, the governor about what comes of it."""
    (found,) = make_forecast(plugins(backend("b")), "space", {"size": 20_000}).backends
    assert found.costs is not None
    assert found.costs.check_us == 20_000
    assert found.expected is not None
    assert found.expected.limit == "cpu_budget"


@pytest.mark.parametrize(("size", "stalls"), [(50_000, False), (50_001, True)])
def test_stalls_are_longer_than_max_stall(size: int, stalls: bool) -> None:
    """50 ms are allowed by default."""
    (found,) = make_forecast(plugins(backend("b")), "space", {"size": size}).backends
    assert found.stalls is stalls


def test_without_a_limit_nothing_stalls() -> None:
    """None allows any stall."""
    limits = Limits(max_stall_us=None)
    found = make_forecast(plugins(backend("b")), "space", {"size": 90_000}, limits=limits)
    assert (found.backends[0].stalls, found.limits) == (False, limits)


@pytest.mark.parametrize("size", [0, 1])
def test_backends_that_foretell_nothing(size: int) -> None:
    """Without a forecast, or without targets, nothing is expected."""
    forecast = costs if size == 0 else None
    (found,) = make_forecast(plugins(backend("b", 0, forecast)), "space", {"size": size}).backends
    assert (found.missing, found.costs, found.expected) == ("", None, None)


def test_costs_that_are_not_known() -> None:
    """What is known is kept, without intervals."""
    vague = Costs(sampling=AccumulatingSampling, note="it doesn't depend on the size")
    (found,) = make_forecast(plugins(backend("b", 0, lambda _: vague)), "space", {}).backends
    assert (found.costs, found.expected) == (vague, None)


def test_a_forecast_that_fails_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of one backend is logged in one line."""

    def broken(_: object) -> Costs:
        raise RuntimeError("oops")

    found = make_forecast(plugins(backend("bad", 1, broken), backend("good")), "space", {})
    assert [each.expected is None for each in found.backends] == [True, False]
    assert caplog.messages == ["backend 'bad': its forecast failed: RuntimeError: oops"]


def test_a_primitive_without_a_forecast() -> None:
    """It is the user's mistake to ask."""
    with pytest.raises(PluginError, match="'space': it has no forecast"):
        make_forecast(plugins(forecast=None), "space", {})


def test_wrong_options_are_reported() -> None:
    """Options are checked as for monitoring."""
    with pytest.raises(ConfigError, match="size"):
        make_forecast(plugins(), "space", {"size": "large"})


def test_what_is_not_there_is_reported() -> None:
    """What the primitive raises comes through."""

    def nowhere(_: Options) -> Sequence[TargetForecast]:
        raise TargetError("a", "it isn't there")

    with pytest.raises(TargetError, match="it isn't there"):
        make_forecast(plugins(forecast=nowhere), "space", {})
