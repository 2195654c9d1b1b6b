"""The rules that every kind of part with options has: what is registered, and the options."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

import attrs

from damon_core.contract.forecast import TargetForecast
from damon_core.contract.implementations import forgotten, hook_implementations, wrong_factory
from damon_core.contract.registration import Finding
from damon_core.contract.release import release_part
from damon_core.errors import ConfigError, InputError
from damon_core.registry.options import structure
from damon_core.testing.conformance.process import (
    assert_nothing_left,
    captured_output,
    holdings,
    unchanged_process,
)
from damon_core.testing.conformance.rules import OptionsNeededError, Rule, Subject

_UNKNOWN = "no-such-option"


def _is_registered_well(subject: Subject) -> None:
    part = subject.part
    assert part.summary.strip(), "its summary is empty: listings have nothing to show"
    assert "\n" not in part.summary, "its summary has more than one line"
    arguments = 2 if subject.kind == "primitive" else 1
    wrong = wrong_factory(part.factory, arguments)
    assert wrong is None, wrong


def _has_its_hooks(subject: Subject) -> None:
    part = subject.make()
    hook_implementations(part, subject.name)
    names = forgotten(part)
    release_part(part)
    assert not names, f"not marked with @hookimpl, so never called: {', '.join(names)}"


def _classes(cls: Any) -> Iterator[Any]:
    """Yield an options class, and those within it."""
    seen = []
    left = [cls]
    while left:
        each = left.pop()
        if each in seen:
            continue
        if isinstance(each, type) and attrs.has(each):
            seen.append(each)
            yield each
            left += [field.type for field in attrs.fields(attrs.resolve_types(each))]
        else:
            left += get_args(each)


def _options_are_frozen(subject: Subject) -> None:
    for cls in _classes(subject.part.options):
        frozen = cls.__setattr__ is not object.__setattr__ and _refuses(cls)
        assert frozen, f"{cls.__name__} isn't frozen: use @attrs.frozen"


def _refuses(cls: Any) -> bool:
    fields = attrs.fields(cls)
    if not fields:
        return True
    try:
        setattr(object.__new__(cls), fields[0].name, None)
    except attrs.exceptions.FrozenInstanceError:
        return True
    except Exception:  # a validator's or a converter's
        return False
    return False


def _options_have_help(subject: Subject) -> None:
    missing = [
        f"{cls.__name__}.{field.name}"
        for cls in _classes(subject.part.options)
        for field in attrs.fields(cls)
        if field.init
        and field.metadata.get("key", "-")
        and not field.metadata.get("flat")
        and not str(field.metadata.get("help", "")).strip()
    ]
    assert not missing, f'without metadata={{"help": …}}: {", ".join(missing)}'


def _options_can_be_written(subject: Subject) -> None:
    """Every field's type is one that a configuration file can have."""
    for cls in _classes(subject.part.options):
        for field in attrs.fields(cls):
            key = field.metadata.get("key", field.alias)
            if not field.init or not key:
                continue
            try:
                structure(cls, {key: object()})
            except ConfigError as error:
                for problem in error.problems:
                    mistake = "a mistake of the plugin" in problem.message
                    assert not mistake, f"{cls.__name__}: {problem.path}: {problem.message}"


def _options_have_defaults(subject: Subject) -> None:
    cls = subject.part.options
    try:
        structure(cls, {})
    except ConfigError as error:
        needs = [field for field in attrs.fields(cls) if field.default is attrs.NOTHING]
        # Of several that exclude each other one may be needed: the class says so, for no key.
        whole = [problem for problem in error.problems if not problem.path]
        wrong = [problem for problem in error.problems if "is missing" not in problem.message]
        if wrong and not needs and not whole:
            raise AssertionError(f"its defaults are refused: {error}") from error


def _options_refuse_unknown_keys(subject: Subject) -> None:
    try:
        structure(subject.part.options, {_UNKNOWN: 1})
    except ConfigError as error:
        paths = [problem.path for problem in error.problems]
        assert _UNKNOWN in paths, f"an unknown key isn't named, only {', '.join(paths)}"
    else:
        raise AssertionError("an unknown key is accepted")


def _options_share_nothing(subject: Subject) -> None:
    for cls in _classes(subject.part.options):
        for field in attrs.fields(cls):
            default: Any = field.default
            shared = isinstance(default, list | dict | set | bytearray)
            assert not shared, (
                f"{cls.__name__}.{field.name} has a default that all instances share: "
                f"use factory={type(default).__name__}"
            )
    # What a subject of a backend has are the options of its primitive.
    written = {} if subject.kind == "backend" else subject.written()
    one, other = subject.checked(written), subject.checked(written)
    for field in attrs.fields(type(one)):
        value = getattr(one, field.name)
        if isinstance(value, list | dict | set | bytearray):
            assert value is not getattr(other, field.name), f"two instances share '{field.name}'"


def _is_refused_early(subject: Subject) -> None:
    """What the factory refuses, it refuses as an `InputError`; tried where options are missing."""
    try:
        checked: object = structure(subject.part.options, {})
    except ConfigError:
        return
    arguments: list[object] = [checked]
    if subject.kind == "primitive":
        arguments.append(subject.plugins.backends(subject.name))
    before = holdings()
    try:
        part = subject.part.factory(*arguments)
    except InputError:
        part = None
    except (Exception, SystemExit) as error:
        raise AssertionError(
            f"its factory raises {type(error).__name__} with the defaults, not InputError: {error}"
        ) from error
    if part is not None:
        release_part(part)
    elif subject.kind != "primitive":
        assert_nothing_left(before, subject.grace_s)


def _probe_answers(subject: Subject) -> None:
    part = subject.part
    found = part.findings(subject.primitive) if subject.kind == "backend" else part.probe()
    before = holdings()
    again = part.findings(subject.primitive) if subject.kind == "backend" else part.probe()
    for each in (found, again):
        assert isinstance(each, Sequence), f"its probe returned {each!r}, not a list of Findings"
    for finding in (*found, *again):
        assert isinstance(finding, Finding), f"its probe returned {finding!r}, not a Finding"
        assert finding.works or finding.detail, (
            f"its probe says that '{finding.name}' is missing, and not what to do"
        )
    assert_nothing_left(before, subject.grace_s)


def _forecast_answers(subject: Subject) -> None:
    forecast = subject.part.forecast
    if forecast is None:
        return
    checked = subject.checked(subject.written())
    try:
        forecast(checked)
    except InputError as error:
        if subject.options:
            raise
        raise OptionsNeededError(f"it needs options: {error}") from error
    before = holdings()
    found = forecast(checked)
    for each in found:
        assert isinstance(each, TargetForecast), f"its forecast returned {each!r}"
    assert_nothing_left(before, subject.grace_s)


def process_rules(use: Callable[[Subject, Mapping[str, Any]], object]) -> tuple[Rule, ...]:
    """Return the rules of what a part does to the program that it is in.

    Args:
        use: Makes a part with options as a file has them, and lets it do what it is for. What the
            options need is there already.
    """

    def leaves_the_process_alone(subject: Subject) -> None:
        written = subject.written()
        with unchanged_process():
            use(subject, written)

    def prints_nothing(subject: Subject) -> None:
        written = subject.written()
        with captured_output() as printed:
            use(subject, written)
            found = printed()
        assert not found, f"it printed {found[:200]!r}"

    return (
        Rule(
            "process-untouched",
            "It leaves signal handlers, logging, the environment and the working directory alone.",
            leaves_the_process_alone,
        ),
        Rule("prints-nothing", "It prints nothing: it logs.", prints_nothing),
    )


def option_rules() -> tuple[Rule, ...]:
    """Return the rules of options."""
    return (
        Rule("options-frozen", "Its options can't be changed once made.", _options_are_frozen),
        Rule("options-help", "Every option has a help text.", _options_have_help),
        Rule(
            "options-written",
            "Every option has a type that a configuration file can have.",
            _options_can_be_written,
        ),
        Rule(
            "options-defaults",
            "Its defaults are allowed, unless an option has to be given.",
            _options_have_defaults,
        ),
        Rule(
            "options-unknown",
            "A key that isn't an option is refused, and named.",
            _options_refuse_unknown_keys,
        ),
        Rule(
            "options-shared",
            "No two instances of its options share something that can be changed.",
            _options_share_nothing,
        ),
    )


def part_rules() -> tuple[Rule, ...]:
    """Return the rules of every part that has options and a factory."""
    return (
        Rule(
            "registered",
            "It has a summary of one line, and a factory that can be called.",
            _is_registered_well,
        ),
        *option_rules(),
        Rule(
            "hooks",
            "Its factory returns an object all of whose hooks exist and are marked.",
            _has_its_hooks,
        ),
        Rule(
            "refused-early",
            "What its factory can't do with the defaults it refuses with InputError.",
            _is_refused_early,
        ),
        Rule(
            "probe",
            "Its probe returns Findings that say what to do, and leaves nothing behind.",
            _probe_answers,
        ),
    )


def forecast_rule() -> Rule:
    """Return the rule of a primitive's forecast."""
    return Rule(
        "forecast",
        "Its forecast, if there is one, returns TargetForecasts and leaves nothing behind.",
        _forecast_answers,
    )
