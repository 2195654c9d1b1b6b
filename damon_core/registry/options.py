"""What a person wrote (TOML, a mapping) as checked attrs classes, with all mistakes at once."""

import contextlib
import difflib
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter

from damon_core.errors import AttributeValueError, ConfigError, Problem, one_line
from damon_core.units import (
    DURATION_HINT,
    SIZE_HINT,
    Bytes,
    Microseconds,
    parse_duration,
    parse_size,
)

T = TypeVar("T")

#: What the validators of attrs say: the field, what is allowed, what was found.
_ATTRS_MESSAGE = re.compile(
    r"(?P<length>Length of )?'\w+' (?P<allowed>must (?:be [<>=]+ \S+|be in .+|match regex .+))"
    r"(?:: \S+| \(.+\))",
    re.DOTALL,
)


class _InvalidError(Exception):
    """Mistakes below one place, with their paths relative to it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def structure(options: type[T], raw: object, path: str = "", source: str = "options") -> T:
    """Return an instance of an attrs class made of what a person wrote.

    Args:
        options: The attrs class; its fields' types and validators say what is allowed.
        raw: Usually a mapping, as `tomllib` makes it.
        path: Where `raw` stands in its source.
        source: What it was read from, for errors.

    Raises:
        ConfigError: With every mistake, each with its path, what was found and what is allowed.
    """
    try:
        return _CONVERTER.structure(raw, options)
    except Exception as error:
        raise ConfigError(source, _problems(error, path)) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name nearest to `name`, or at all that are known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else "none is known"


def _problems(error: BaseException, path: str) -> list[Problem]:
    if isinstance(error, _InvalidError):
        return [Problem(_join(path, problem.path), problem.message) for problem in error.problems]
    return [Problem(path, str(error))]


def _join(path: str, inner: str) -> str:
    if not path or not inner:
        return path or inner
    return f"{path}{inner}" if inner.startswith("[") else f"{path}.{inner}"


def _found(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def _leaf(
    kinds: type | tuple[type, ...], allowed: str, convert: Callable[[Any], object]
) -> Callable[[object, type], object]:
    """Return a structure hook that takes values of some kinds only: nothing is guessed."""

    def hook(value: object, _type: type) -> object:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise ValueError(f"found {_found(value)}, must be {allowed}")
        try:
            return convert(value)
        except AttributeValueError as error:
            raise ValueError(f"found {_found(value)}, {error.allowed}") from error
        except (ValueError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"found {_found(value)}, must be {allowed}") from error

    return hook


def _structure_class(raw: object, cls: type) -> object:
    if not isinstance(raw, Mapping):
        raise ValueError(f"found {_found(raw)}, must be a table")
    fields = {field.alias: field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
    problems = [
        Problem(str(key), f"unknown key; {nearest(str(key), fields)}")
        for key in raw
        if key not in fields
    ]
    values = {}
    for name, field in fields.items():
        if name not in raw:
            if field.default is attrs.NOTHING:
                problems.append(Problem(name, f"is missing{_help(field)}"))
            continue
        try:
            values[name] = _CONVERTER.structure(raw[name], field.type)
            _validate(field, values[name])
        except AttributeValueError as error:
            problems.append(Problem(name, f"found {_found(raw[name])}, {error.allowed}"))
        except _InvalidError as error:
            problems += _problems(error, name)
        except Exception as error:
            problems.append(Problem(name, _told(raw[name], error)))
    if not problems:
        try:
            return cls(**values)
        except AttributeValueError as error:
            problems.append(Problem(error.attribute, f"found {error.found}, {error.allowed}"))
        except Exception as error:
            problems.append(Problem("", _text(error)))
    raise _InvalidError(problems)


def _validate(field: "attrs.Attribute[Any]", value: object) -> None:
    """Run a validator here, not only in the class: so the mistake is told with its path."""
    if field.validator is not None:
        # One that looks at other fields, which None hasn't, is left to the class.
        with contextlib.suppress(AttributeError):
            field.validator(None, field, value)


def _told(value: object, error: Exception) -> str:
    """Return a mistake behind what was found, without attrs's own naming of it."""
    message = _text(error)
    if message.startswith("found "):
        return message
    if (match := _ATTRS_MESSAGE.fullmatch(message)) is not None:
        message = f"its length {match['allowed']}" if match["length"] else match["allowed"]
    return f"found {_found(value)}, {message}"


def _text(error: Exception) -> str:
    # Other exceptions than these are no words for users: they need their type to be understood.
    if not isinstance(error, ValueError | TypeError):
        return one_line(error)
    # Some validators of attrs give the field and the value besides the words.
    return str(error.args[0] if error.args else error)


def _help(field: "attrs.Attribute[Any]") -> str:
    text = field.metadata.get("help")
    return f" ({text})" if text else ""


def _is_literal(cls: Any) -> bool:
    return get_origin(cls) is Literal


def _structure_literal(value: object, cls: Any) -> object:
    allowed = get_args(cls)
    if value in allowed and type(value) in {type(item) for item in allowed}:
        return value
    raise ValueError(f"found {_found(value)}, must be one of {', '.join(map(repr, allowed))}")


def _is_union(cls: Any) -> bool:
    return get_origin(cls) in (Union, types.UnionType)


def _structure_union(value: object, cls: Any) -> object:
    """Return the value as the first member of the union that takes it."""
    errors: list[Exception] = []
    for member in get_args(cls):
        if member is type(None):
            if value is None:
                return None
            continue
        try:
            return _CONVERTER.structure(value, member)
        except Exception as error:
            errors.append(error)
    tables = [error for error in errors if isinstance(error, _InvalidError)]
    if len(errors) == 1 or len(tables) == 1:  # Only one of them is of the kind that was found.
        raise (tables or errors)[0]
    found = f"found {_found(value)}, "
    allowed = " or ".join(str(error).removeprefix(found) for error in errors)
    if allowed.startswith("must be "):
        allowed = allowed.replace(" or must be ", " or ")
    raise ValueError(found + allowed)


def _is_mapping(cls: Any) -> bool:
    return get_origin(cls) is dict


def _structure_mapping(raw: object, cls: Any) -> object:
    if not isinstance(raw, Mapping):
        raise ValueError(f"found {_found(raw)}, must be a table")
    problems: list[Problem] = []
    items = {}
    for key, item in raw.items():
        try:
            items[str(key)] = _CONVERTER.structure(item, get_args(cls)[1])
        except Exception as error:
            problems += _problems(error, str(key))
    if problems:
        raise _InvalidError(problems)
    return items


def _is_sequence(cls: Any) -> bool:
    return get_origin(cls) is tuple


def _structure_sequence(value: object, cls: Any) -> object:
    if not isinstance(value, list | tuple):
        hint = ": in TOML, write [[…]] for each" if isinstance(value, Mapping) else ""
        raise ValueError(f"found {_found(value)}, must be a list{hint}")
    problems: list[Problem] = []
    items = []
    for index, item in enumerate(value):
        try:
            items.append(_CONVERTER.structure(item, get_args(cls)[0]))
        except Exception as error:
            problems += _problems(error, f"[{index}]")
    if problems:
        raise _InvalidError(problems)
    return tuple(items)


def _finite(value: float) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _path(text: str | Path) -> Path:
    if not str(text) or "\0" in str(text):
        raise ValueError
    return Path(text).expanduser()


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    converter.register_structure_hook_func(attrs.has, _structure_class)
    converter.register_structure_hook_func(_is_literal, _structure_literal)
    converter.register_structure_hook_func(_is_union, _structure_union)
    converter.register_structure_hook_func(_is_sequence, _structure_sequence)
    converter.register_structure_hook_func(_is_mapping, _structure_mapping)
    for cls, hook in (
        (bool, _leaf(bool, "true or false", bool)),
        (int, _leaf(int, "a whole number", int)),
        (float, _leaf((int, float), "a finite number", _finite)),
        (str, _leaf(str, "a string", str)),
        (Path, _leaf((str, Path), "a path", _path)),
    ):
        converter.register_structure_hook(cls, hook)
    # Durations and sizes are subtypes of int for the type checker alone.
    duration = _leaf(str, f"a duration: {DURATION_HINT}", parse_duration)
    size = _leaf((int, str), f"a size: {SIZE_HINT}", lambda value: parse_size(str(value)))
    converter.register_structure_hook_func(lambda t: t is Microseconds, duration)
    converter.register_structure_hook_func(lambda t: t is Bytes, size)
    return converter


_CONVERTER = _make_converter()
