"""A deployment in one TOML file: contexts, each with a primitive and callbacks."""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from attrs import Attribute, field, frozen, validators

from damon_core.attributes import (
    DEFAULT_CPU_BUDGET,
    Intervals,
    IntervalsGoal,
    RegionLimits,
    check_share,
)
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.registration import Callback, Policy, Primitive
from damon_core.errors import (
    AttributeValueError,
    ConfigError,
    DamonError,
    InputError,
    Problem,
    one_line,
)
from damon_core.loop.context import Context
from damon_core.registry.discovery import Plugins
from damon_core.registry.options import structure
from damon_core.units import Microseconds, format_duration

_NAME = "context"
_INTERVALS = Intervals()
_LIMITS = RegionLimits()
_GOAL = IntervalsGoal()


def _check_name(_instance: object, _attribute: object, value: str) -> None:
    if not (value and value.isprintable()):
        raise ValueError("must be at least one character, all of them printable")


def _check_share(_instance: object, attribute: "Attribute[float]", value: float) -> None:
    check_share(attribute.name, value)


@frozen
class _GoalTable:
    """A ``[context.intervals_goal]`` table as it is written."""

    access_share: float = _GOAL.access_share
    aggregations: int = _GOAL.aggregations
    min_sampling: Microseconds = field(default=Microseconds(_GOAL.min_sampling_us))
    max_sampling: Microseconds = field(default=Microseconds(_GOAL.max_sampling_us))


@frozen
class _ContextTable:
    """A ``[[context]]`` table as it is written."""

    primitive: dict[str, Any] = field(metadata={"help": 'a table with use = "…"'})
    policy: dict[str, Any] = field(factory=dict)
    callback: tuple[dict[str, Any], ...] = ()
    name: str = field(default=_NAME, validator=_check_name)
    sampling_interval: Microseconds = field(default=Microseconds(_INTERVALS.sampling_us))
    aggregation_interval: Microseconds = field(default=Microseconds(_INTERVALS.aggregation_us))
    update_interval: Microseconds = field(default=Microseconds(_INTERVALS.update_us))
    min_regions: int = _LIMITS.min_regions
    max_regions: int = _LIMITS.max_regions
    intervals_goal: _GoalTable | None = None
    cpu_budget: float = field(default=DEFAULT_CPU_BUDGET, validator=_check_share)
    failure_limit: int = field(default=10, validator=validators.ge(1))


def _check_group_budget(_instance: object, _attribute: object, value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError("must be above 0")


@frozen
class _File:
    """A whole file as it is written."""

    context: tuple[dict[str, Any], ...] = field(
        metadata={"help": "one or more [[context]] tables"}, validator=validators.min_len(1)
    )
    cpu_budget: float | None = field(default=None, validator=_check_group_budget)


@frozen
class PrimitiveConfig:
    """A primitive and its checked options."""

    part: Primitive
    options: object


@frozen
class PolicyConfig:
    """A policy and its checked options."""

    part: Policy
    options: object


@frozen
class CallbackConfig:
    """A callback and its checked options."""

    part: Callback
    options: object


@frozen
class ContextConfig:
    """A checked ``[[context]]`` table; without a policy it has the default one."""

    name: str
    intervals: Intervals
    limits: RegionLimits
    goal: IntervalsGoal | None
    cpu_budget: float
    failure_limit: int
    primitive: PrimitiveConfig
    policy: PolicyConfig | None
    callbacks: tuple[CallbackConfig, ...]


@frozen
class Config:
    """A checked configuration.

    Attributes:
        source: The file that it was read from.
        contexts: Its contexts, with names unique among them.
        cpu_budget: The share of one processor for all contexts together, for `start`; None for
            its default.
    """

    source: str
    contexts: tuple[ContextConfig, ...]
    cpu_budget: float | None = None


AttributesT = TypeVar("AttributesT", Intervals, RegionLimits, IntervalsGoal)

#: Values that agree with any of the keys beside them; for keys that aren't here a very large one.
_AGREEABLE = {"sampling_interval": 1, "min_regions": 1, "min_sampling": 1, "access_share": 1.0}
#: How attributes are written in a file.
_INTERVAL_KEYS = {
    "sampling_interval": "sampling_us",
    "aggregation_interval": "aggregation_us",
    "update_interval": "update_us",
}
_LIMIT_KEYS = {"min_regions": "min_regions", "max_regions": "max_regions"}
_GOAL_KEYS = {
    "access_share": "access_share",
    "aggregations": "aggregations",
    "min_sampling": "min_sampling_us",
    "max_sampling": "max_sampling_us",
}


def load_config(path: Path, plugins: Plugins) -> Config:
    """Read and check a configuration file, options of its plugins included.

    Nothing is opened, started or bound yet: `build_contexts` does.

    Raises:
        ConfigError: With every mistake in the file, or why it can't be read.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(source, [Problem("", f"can't be read: {reason}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(source, [Problem("", f"is not valid TOML: {error}")]) from error
    return check_config(raw, plugins, source)


def check_config(raw: dict[str, Any], plugins: Plugins, source: str = "configuration") -> Config:
    """Check a configuration that is a mapping already, as `tomllib` makes it.

    Raises:
        ConfigError: With every mistake.
    """
    problems: list[Problem] = []
    contexts: list[ContextConfig] = []
    names: set[str] = set()
    file = None
    try:
        file = structure(_File, raw)
    except ConfigError as error:
        problems += error.problems
    tables = raw.get("context", [])
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        if not isinstance(table, dict):
            continue
        name = table.get("name", _NAME)
        if isinstance(name, str) and name in names:
            problems.append(Problem(f"context[{index}].name", f"'{name}' is taken; give another"))
        names.add(str(name))
        context = _check_context(table, f"context[{index}]", plugins, problems)
        if context is not None:
            contexts.append(context)
    if problems or file is None:
        raise ConfigError(source, problems)
    return Config(source, tuple(contexts), file.cpu_budget)


def _check_context(
    raw: dict[str, Any], path: str, plugins: Plugins, problems: list[Problem]
) -> ContextConfig | None:
    """Return a checked context, or None with its mistakes appended to `problems`."""
    known = len(problems)
    table = primitive = policy = goal = None
    try:
        table = structure(_ContextTable, raw, path)
    except ConfigError as error:
        problems += error.problems
    # Parts are looked at even where the rest of the table is wrong: all mistakes at once.
    if isinstance(raw.get("primitive"), dict):
        primitive = _check_part(raw["primitive"], f"{path}.primitive", plugins.primitive, problems)
    if isinstance(raw.get("policy"), dict):
        policy = _check_part(raw["policy"], f"{path}.policy", plugins.policy, problems)
    written = raw.get("callback", [])
    callbacks = [
        _check_part(item, f"{path}.callback[{index}]", plugins.callback, problems)
        for index, item in enumerate(written if isinstance(written, list) else [])
        if isinstance(item, dict)
    ]
    shown = raw | {"primitive": {}}  # which is checked by itself
    intervals = _check_attributes(
        Intervals, _INTERVAL_KEYS, _ContextTable, shown, path=path, problems=problems
    )
    limits = _check_attributes(
        RegionLimits, _LIMIT_KEYS, _ContextTable, shown, path=path, problems=problems
    )
    goal_raw = raw.get("intervals_goal")
    if isinstance(goal_raw, dict):
        place = f"{path}.intervals_goal"
        goal = _check_attributes(
            IntervalsGoal, _GOAL_KEYS, _GoalTable, goal_raw, path=place, problems=problems
        )
    if len(problems) > known or not (table and intervals and limits and primitive):
        return None
    return ContextConfig(
        table.name,
        intervals,
        limits,
        goal,
        table.cpu_budget,
        table.failure_limit,
        PrimitiveConfig(*primitive),
        PolicyConfig(*policy) if policy is not None else None,
        tuple(CallbackConfig(*callback) for callback in callbacks if callback is not None),
    )


def _check_attributes(
    cls: type[AttributesT],
    keys: dict[str, str],
    table: type,
    raw: dict[str, Any],
    *,
    path: str,
    problems: list[Problem],
) -> AttributesT | None:
    """Return intervals, limits or a goal made of their keys alone, whatever else is wrong."""
    try:
        written: object = structure(
            table, {key: raw[key] for key in ("primitive", *keys) if key in raw}
        )
    except ConfigError:
        return None  # told already, with the rest of the table
    values = {attribute: getattr(written, key) for key, attribute in keys.items()}
    known = len(problems)
    while True:
        try:
            made = cls(**values)
            return made if len(problems) == known else None
        except AttributeValueError as error:
            key = next(key for key, attribute in keys.items() if attribute == error.attribute)
            found = (
                f"found {raw[key]!r}"
                if key in raw
                else f"is {_default(cls, error.attribute)} by default"
            )
            problems.append(Problem(f"{path}.{key}", f"{found}, {error.allowed}"))
            # The others are checked beside a value that agrees with any of theirs.
            values[error.attribute] = _AGREEABLE.get(key, sys.maxsize)


def _default(cls: type[AttributesT], attribute: str) -> str:
    default: float = getattr(cls(), attribute)
    return format_duration(default) if attribute.endswith("_us") else str(default)


def _check_part(
    raw: dict[str, Any], path: str, find: Any, problems: list[Problem]
) -> tuple[Any, object] | None:
    options = dict(raw)
    use = options.pop("use", None)
    if not isinstance(use, str):
        found = "is missing" if use is None else f"found {use!r}"
        problems.append(Problem(f"{path}.use", f"{found}, must be the name of a plugin"))
        return None
    try:
        part = find(use)
        return part, structure(part.options, options, path)
    except ConfigError as error:
        problems += error.problems
    except InputError as error:
        problems.append(Problem(f"{path}.use", error.message))
    return None


def build_contexts(
    config: Config, plugins: Plugins, callbacks: Sequence[object] = ()
) -> list[Context]:
    """Make the contexts of a configuration: files are opened, ports bound, targets looked up.

    Args:
        config: The configuration.
        plugins: The plugins that it was checked with.
        callbacks: Further callbacks of every context, called after its own.

    Raises:
        ConfigError: A part can't be used here as configured; all such parts are told.
        DamonError: A part's factory fails in another way than it should.
    """
    problems: list[Problem] = []
    contexts: list[Context] = []
    for index, each in enumerate(config.contexts):
        path = f"context[{index}]"
        parts: list[object] = []
        makers = [
            (f"{path}.primitive", each.primitive, (plugins.backends(each.primitive.part.name),))
        ]
        makers += [
            (f"{path}.callback[{number}]", callback, ())  # type: ignore[misc]
            for number, callback in enumerate(each.callbacks)
        ]
        if each.policy is not None:
            makers.append((f"{path}.policy", each.policy, ()))  # type: ignore[arg-type]
        for place, part, extra in makers:
            try:
                parts.append(part.part.factory(part.options, *extra))
            except InputError as error:
                problems.append(Problem(place, error.message))
            except DamonError:
                raise
            except Exception as error:
                problem = Problem(place, f"'{part.part.name}' fails: {one_line(error)}")
                raise DamonError(f"{config.source}: {problem}") from error
        if problems:
            continue
        policy = cast(RegionPolicy, parts.pop()) if each.policy is not None else None
        try:
            context = Context(
                parts[0],
                [*parts[1:], *callbacks],
                policy=policy,
                goal=each.goal,
                cpu_budget=each.cpu_budget,
                intervals=each.intervals,
                limits=each.limits,
                name=each.name,
                failure_limit=each.failure_limit,
            )
        except InputError as error:
            problems.append(Problem(path, error.message))
        else:
            contexts.append(context)
    if problems:
        raise ConfigError(config.source, problems)
    return contexts
