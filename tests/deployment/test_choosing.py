"""The backend that "auto" takes where there are many targets: what all contexts have counts."""

import logging
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen

from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Deployment,
    Plugins,
    Primitive,
    Regions,
    Target,
    check_config,
    hookimpl,
    make_backend,
)
from damon_core.testing import eventually

#: At 2 % of a processor, 1.2 s a minute: enough for 100 targets.
TARGET_US = 12_000


@frozen
class FleetOptions:
    """How many targets there are, and will be."""

    targets: int = 1
    later: int = 0
    backend: BackendOption = AUTO


class Fleet:
    """A primitive with backends and many targets; others come with the first update."""

    name = "fleet"

    def __init__(self, options: FleetOptions, backends: Mapping[str, Backend]) -> None:
        self._options = options
        self.backend_name = str(getattr(make_backend("fleet", options.backend, backends), "name"))  # noqa: B009

    @hookimpl
    def init(self, context: Any) -> None:
        self._add(context, self._options.targets)

    @hookimpl
    def update(self, context: Any) -> None:
        if len(context.targets) == self._options.targets:
            self._add(context, self._options.later)

    @staticmethod
    def _add(context: Any, count: int) -> None:
        first = len(context.targets)
        context.targets += [Target(f"{first + n}", Regions([0], [4096])) for n in range(count)]


def backend(name: str, preference: int, target_us: float) -> Backend:
    """Return a backend that makes something of its name."""
    return Backend(
        name,
        lambda _: SimpleNamespace(name=name),
        serves=("fleet",),
        preference=preference,
        target_us=target_us,
    )


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register the primitive, which counts its targets quickly."""
    register(Primitive("fleet", Fleet, FleetOptions, count=lambda options: options.targets))


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register a backend that is preferred, and one for many targets."""
    register(backend("exact", 10, TARGET_US))
    register(backend("rough", 0, 100))


PLUGINS = Plugins(
    {
        "fleet": SimpleNamespace(
            register_primitives=register_primitives, register_backends=register_backends
        )
    }
)


@pytest.fixture
def deployed() -> Iterator[Callable[..., Deployment]]:
    """Return a function that runs contexts with options of the primitive, each with its name."""
    made = Deployment(PLUGINS)

    def deploy(**contexts: dict[str, object]) -> Deployment:
        intervals = {"sampling": "1ms", "aggregation": "2ms", "update": "4ms"}
        keys = {f"{name}_interval": value for name, value in intervals.items()}
        tables = [
            {"name": name, "primitive": {"use": "fleet", **options}, **keys}
            for name, options in contexts.items()
        ]
        made.apply(check_config({"context": tables}, PLUGINS))
        return made

    yield deploy
    for context in made.contexts:
        with context:
            pass


Deploy = Callable[..., Deployment]


def taken(deployment: Deployment) -> dict[str, str]:
    """Return the backend of each context."""
    return {each.name: each.backend_name for each in deployment.contexts}


@pytest.mark.parametrize(("targets", "expected"), [(100, "exact"), (101, "rough")])
def test_as_many_as_the_budget_allows(deployed: Deploy, targets: int, expected: str) -> None:
    """Within max_staleness."""
    assert taken(deployed(a={"targets": targets})) == {"a": expected}


def test_all_contexts_together_count(deployed: Deploy) -> None:
    """They share the budget."""
    made = deployed(a={"targets": 60}, b={"targets": 60})
    assert taken(made) == {"a": "rough", "b": "rough"}


def test_a_backend_that_is_named_is_taken(deployed: Deploy) -> None:
    """Whatever it costs: its aggregations get longer."""
    assert taken(deployed(a={"targets": 500, "backend": "exact"})) == {"a": "exact"}


def test_more_targets_than_at_first(deployed: Deploy, caplog: pytest.LogCaptureFixture) -> None:
    """The context begins anew, with another backend, and the log says why."""
    made = deployed(a={"targets": 5, "later": 200})
    assert taken(made) == {"a": "exact"}
    eventually(lambda: len(made.contexts[0].targets) == 205)
    caplog.clear()
    with caplog.at_level(logging.INFO, "damon_core.deployment"):
        made.tend()
    assert taken(made) == {"a": "rough"}
    assert made.contexts[0].running
    said = [each.getMessage() for each in caplog.records if "deployment" in each.name]
    assert said == [
        "'auto' doesn't take backend 'exact' for 205 targets: at 12ms for each, cpu_budget "
        "doesn't suffice for values that aren't older than max_staleness",
        "context 'a' begins anew, with backend 'rough'",
        "context 'a' begins: fleet through rough to nothing",
    ]


def test_a_named_backend_stays_with_more_targets(deployed: Deploy) -> None:
    """Nothing begins anew."""
    made = deployed(a={"targets": 5, "later": 200, "backend": "exact"})
    (context,) = made.contexts
    eventually(lambda: len(context.targets) == 205)
    made.tend()
    assert made.contexts == [context]


def test_fewer_targets_again(deployed: Deploy) -> None:
    """Once they are half as many: a backend that comes and goes would be worse."""
    made = deployed(a={"targets": 150}, b={"targets": 10}, c={"targets": 80})
    made.tend()
    assert set(taken(made).values()) == {"rough"}
    eventually(lambda: sum(len(each.targets) for each in made.contexts) == 240)
    deployed(b={"targets": 10}, c={"targets": 80})

    def both_anew() -> bool:
        made.tend()
        return taken(made) == {"b": "exact", "c": "exact"}

    eventually(both_anew)
