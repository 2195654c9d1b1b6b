"""Every mistake of `tests.testing.broken` is shown by a rule, whose message names it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve, field, frozen

from damon_core import (
    Backend,
    Callback,
    Costs,
    Finding,
    NoOptions,
    PageSampling,
    Plugins,
    Policy,
    Primitive,
    RecordFormat,
    TargetForecast,
    make_backend,
)
from damon_core.hookspecs import hookimpl
from damon_core.testing.conformance import (
    RULES,
    BrokenRuleError,
    OptionsNeededError,
    Rule,
    Subject,
    Suite,
    as_test,
    outcomes,
    subjects_of,
)
from damon_core.testing.conformance.parts import part_rules, process_rules
from damon_core.testing.conformance.rules import Kind
from tests.testing.broken import callbacks, formats, policies, primitives


@pytest.fixture(autouse=True)
def _cleared() -> Iterator[None]:
    """Leave nothing of a broken part to later tests."""
    yield
    for kind in (callbacks, formats, policies, primitives):
        kind.clear()


def offering(kind: str, part: object) -> Plugins:
    """Return plugins that offer a part."""

    def register(register: Any) -> None:
        register(part)

    plural = "policies" if kind == "policy" else f"{kind}s"
    return Plugins({"broken": SimpleNamespace(**{f"register_{plural}": hookimpl(register)})})


def broken(kind: Kind, part: object, rule: str, directory: Path) -> str:
    """Return what is said of a part that breaks a rule."""
    subject = Subject(kind, "broken", offering(kind, part), {}, directory, grace_s=0.05)
    with pytest.raises(BrokenRuleError) as caught:
        rule_of(kind, rule).check(subject)
    return str(caught.value)


def rule_of(kind: Kind, name: str) -> Rule:
    """Return a rule by its name."""
    return next(rule for rule in RULES[kind] if rule.name == name)


def names(cases: list[Any]) -> list[str]:
    """Return the names of mistakes."""
    return [" ".join(getattr(each, "__name__", str(each)) for each in case) for case in cases]


@pytest.mark.parametrize(
    ("factory", "rule", "options"), callbacks.BROKEN, ids=names(callbacks.BROKEN)
)
def test_a_broken_callback_breaks_its_rule(
    tmp_path: Path, factory: Any, rule: str, options: Any
) -> None:
    """The message names callback and rule."""
    text = broken("callback", Callback("broken", factory, options, "x"), rule, tmp_path)
    assert text.startswith(f"callback 'broken' breaks the rule '{rule}': ")


@pytest.mark.parametrize(
    ("factory", "rule"), primitives.PRIMITIVES, ids=names(primitives.PRIMITIVES)
)
def test_a_broken_primitive_breaks_its_rule(tmp_path: Path, factory: Any, rule: str) -> None:
    """The message names primitive and rule."""
    text = broken("primitive", Primitive("broken", factory, summary="x"), rule, tmp_path)
    assert text.startswith(f"primitive 'broken' breaks the rule '{rule}': ")


@pytest.mark.parametrize(("cls", "rule"), policies.POLICIES, ids=names(policies.POLICIES))
def test_a_broken_policy_breaks_its_rule(tmp_path: Path, cls: Any, rule: str) -> None:
    """The message names policy and rule."""
    text = broken("policy", Policy("broken", policies.policy(cls), summary="x"), rule, tmp_path)
    assert text.startswith(f"policy 'broken' breaks the rule '{rule}': ")


@pytest.mark.parametrize(("read", "write", "rule"), formats.FORMATS, ids=names(formats.FORMATS))
def test_a_broken_format_breaks_its_rule(tmp_path: Path, read: Any, write: Any, rule: str) -> None:
    """The message names format and rule."""
    text = broken("format", RecordFormat("broken", (".csv",), read, write, "x"), rule, tmp_path)
    assert text.startswith(f"format 'broken' breaks the rule '{rule}': ")


#: Rules that no part can break while the core looks at it as it does, or that only whole packages
#: break; with the reason.
_UNBREAKABLE = {"options-unknown": "the core reads options and refuses unknown keys itself"}
#: Whose mistakes are the same for all kinds of parts: they are shown on callbacks, or below.
_SHARED = {rule.name for rule in (*process_rules(print), *part_rules())} | {"registered"}


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("callback", {rule for _, rule, _ in callbacks.BROKEN} | {"registered", "probe"}),
        ("primitive", {rule for _, rule in primitives.PRIMITIVES} | {"forecast"} | _SHARED),
        ("policy", {rule for _, rule in policies.POLICIES} | _SHARED),
        ("format", {rule for *_, rule in formats.FORMATS} | _SHARED),
        ("backend", {rule for _, rule in primitives.PRIMITIVES} | {"forecast"} | _SHARED),
    ],
)
def test_every_rule_is_broken_by_a_mistake(kind: Kind, shown: set[str]) -> None:
    """A rule that nothing breaks checks nothing."""
    rules = {rule.name for rule in RULES[kind]}
    assert rules - shown - set(_UNBREAKABLE) == set()


def test_the_message_says_what_was_seen(tmp_path: Path) -> None:
    """The author finds the hook, and what it raised."""
    part = Callback("broken", callbacks.NeedsTargets, NoOptions, "x")
    text = broken("callback", part, "no-targets", tmp_path)
    assert "Seen: no targets: callback 'broken' failed in after_aggregation: IndexError" in text


@pytest.mark.parametrize("rule", RULES["callback"], ids=[rule.name for rule in RULES["callback"]])
def test_a_callback_without_a_mistake_keeps_all_rules(tmp_path: Path, rule: Rule) -> None:
    """So what the broken ones break is their mistake's."""
    part = Callback("broken", callbacks.Callback, NoOptions, "x")
    rule.check(Subject("callback", "broken", offering("callback", part), {}, tmp_path))


@pytest.mark.parametrize("rule", RULES["primitive"], ids=[rule.name for rule in RULES["primitive"]])
def test_a_primitive_without_a_mistake_keeps_all_rules(tmp_path: Path, rule: Rule) -> None:
    """So what the broken ones break is their mistake's."""
    part = Primitive("broken", primitives.Memory, summary="x")
    rule.check(Subject("primitive", "broken", offering("primitive", part), {}, tmp_path))


def test_a_rule_that_is_left_out_has_to_be_there() -> None:
    """A rule with another name than before isn't left out unseen."""
    suite = Suite(lambda _directory: None, RULES["callback"])
    with pytest.raises(ValueError, match="no rule is called print-nothing; there are process-"):
        as_test(suite, {"print-nothing": "it is there to print"})


def test_a_rule_that_is_left_out_isnt_checked() -> None:
    """All others are."""
    suite = Suite(lambda _directory: None, RULES["callback"])
    test = cast(Any, as_test(suite, {"prints-nothing": "it is there to print"}))
    assert len(test.damon_suite.rules) == len(RULES["callback"]) - 1


# -- backends, and what can't be checked ---------------------------------------------------------


@frozen
class BackendUserOptions:
    """Options of a primitive that uses a backend."""

    backend: str = field(default="auto", metadata={"help": "the backend"})


class Package:
    """Offers a primitive and a backend that it uses."""

    def __init__(self, *, works: bool = True, forecasts: Any = None, costs: Any = None) -> None:
        self._works = works
        self._forecasts = [TargetForecast("process")] if forecasts is None else forecasts
        self._costs = costs or Costs(sampling=PageSampling, note="nothing")

    @hookimpl
    def register_primitives(self, register: Any) -> None:
        def make(options: BackendUserOptions, backends: Any) -> object:
            make_backend("memory", options.backend, backends)
            return primitives.Memory(options, backends)

        def forecast(_options: object) -> Any:
            return self._forecasts

        register(Primitive("memory", make, BackendUserOptions, "x", forecast=forecast))

    @hookimpl
    def register_backends(self, register: Any) -> None:
        register(
            Backend(
                "broken",
                lambda _options: SimpleNamespace(),
                summary="x",
                serves=("memory",),
                probe=lambda: [Finding("a kernel", self._works, "build one")],
                forecast=lambda _targets: self._costs,
            )
        )


def backend(directory: Path, *, works: bool = True) -> Subject:
    """Return a backend without a mistake to check."""
    plugins = Plugins({"package": Package(works=works)})
    return Subject("backend", "broken", plugins, {}, directory, "memory")


@pytest.mark.parametrize("rule", RULES["backend"], ids=[rule.name for rule in RULES["backend"]])
def test_a_backend_without_a_mistake_keeps_all_rules(tmp_path: Path, rule: Rule) -> None:
    """With its primitive."""
    rule.check(backend(tmp_path))


def test_a_backend_that_does_not_work_here_is_not_checked(tmp_path: Path) -> None:
    """What can be checked without its object still is; the reason is shown."""
    found = outcomes(backend(tmp_path, works=False), RULES["backend"])
    states = {each.rule: (each.state, each.detail) for each in found}
    reason = "it doesn't work here: a kernel (build one)"
    assert states["restart"] == ("not checked", reason)
    assert states["options-help"] == ("kept", "")


def test_the_forecast_of_a_primitive_is_checked(tmp_path: Path) -> None:
    """It returns targets."""
    plugins = Plugins({"package": Package()})
    rule_of("primitive", "forecast").check(Subject("primitive", "memory", plugins, {}, tmp_path))


@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [("primitive", "memory", {"forecasts": ["process"]}), ("backend", "broken", {"costs": 3})],
)
def test_a_wrong_forecast_breaks_its_rule(
    tmp_path: Path, kind: Kind, name: str, changes: dict[str, Any]
) -> None:
    """It returns something else."""
    plugins = Plugins({"package": Package(**changes)})
    subject = Subject(kind, name, plugins, {}, tmp_path, "memory" if kind == "backend" else "")
    with pytest.raises(BrokenRuleError, match="its forecast returned"):
        rule_of(kind, "forecast").check(subject)


def test_subjects_are_found_by_every_name(tmp_path: Path) -> None:
    """A backend also by its primitive's name and its own."""
    plugins = Plugins({"package": Package()})
    found = [
        [str(subject) for subject in subjects_of(name, plugins, {}, tmp_path)]
        for name in ("memory", "broken", "memory.broken", "none")
    ]
    shown = ["backend 'broken' of primitive 'memory'"]
    assert found == [["primitive 'memory'"], shown, shown, []]


@frozen
class NeededOptions:
    """Options of which one has to be given."""

    size: int = field(metadata={"help": "a size"})


def test_an_option_that_is_missing_is_named(tmp_path: Path) -> None:
    """It is the author who has to give it."""
    part = Callback("broken", callbacks.Callback, NeededOptions, "x")
    subject = Subject("callback", "broken", offering("callback", part), {}, tmp_path)
    with pytest.raises(OptionsNeededError, match="it needs options: size"):
        rule_of("callback", "restart").check(subject)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("registered", {"summary": ""}),
        ("registered", {"summary": "two\nlines"}),
        ("registered", {"factory": lambda: None}),
        ("probe", {"probe": lambda: ["works"]}),
        ("probe", {"probe": lambda: True}),
        ("probe", {"probe": lambda: [Finding("a kernel", False)]}),
    ],
)
def test_a_part_that_is_registered_badly_breaks_its_rule(
    tmp_path: Path, rule: str, changes: dict[str, Any]
) -> None:
    """Whatever its kind."""
    part = evolve(Callback("broken", callbacks.Callback, summary="x"), **changes)
    text = broken("callback", part, rule, tmp_path)
    assert text.startswith(f"callback 'broken' breaks the rule '{rule}': ")
