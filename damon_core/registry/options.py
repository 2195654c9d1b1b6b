"""What a person wrote (TOML, a mapping) as checked attrs classes, with all mistakes at once.

Fields of a class are keys of a table, by their names or by ``metadata={"key": "…"}``; a field
with the key "" isn't written by people. One with ``metadata={"flat": True}``, whose type is
another attrs class, has that class's keys beside the others, not in a table within.
"""

import contextlib
import copy
import datetime
import difflib
import functools
import math
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs

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

#: Makes a value of what a person wrote, given the type that is wanted.
Hook = Callable[[object, Any], object]


def structure(
    options: type[T],
    raw: object,
    path: str = "",
    source: str = "options",
    hooks: Mapping[type, Hook] | None = None,
) -> T:
    """Return an instance of an attrs class made of what a person wrote.

    Args:
        options: The attrs class; its fields' types and validators say what is allowed.
        raw: Usually a mapping, as `tomllib` makes it.
        path: Where `raw` stands in its source.
        source: What it was read from, for errors.
        hooks: What makes values of some generic classes, each given the whole type. A hook may
            raise a `ConfigError`, whose paths begin where its value stands.

    Raises:
        ConfigError: With every mistake, each with its path, what was found and what is allowed.
    """
    try:
        structuring = _Structuring(hooks) if hooks else _without_hooks()
        return structuring.converter.structure(raw, options)
    except (Exception, SystemExit) as error:
        raise ConfigError(source, _problems(error, path)) from error


#: Longer numbers aren't shown.
_MOST_BITS = 256


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name nearest to `name`, or at all that are known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else "none is known"


def mistake(value: object, allowed: str) -> ValueError:
    """Return the error of one value, for hooks: what was found and what is allowed."""
    return ValueError(f"found {_found(value)}, {allowed}")


def _problems(error: BaseException, path: str) -> list[Problem]:
    if isinstance(error, ConfigError):
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
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a number of {value.bit_length()} bits"  # Python writes no longer ones
    return repr(value) if isinstance(value, str) else str(value)


def _leaf(kinds: type | tuple[type, ...], allowed: str, convert: Callable[[Any], object]) -> Hook:
    """Return a hook that takes values of some kinds only: nothing is guessed."""

    def hook(value: object, _type: object) -> object:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise mistake(value, f"must be {allowed}")
        try:
            return convert(value)
        except AttributeValueError as error:
            raise mistake(value, error.allowed) from error
        except (ValueError, ArithmeticError, RuntimeError) as error:
            raise mistake(value, f"must be {allowed}") from error

    return hook


def _unwritable(cls: Any) -> Hook:
    """Return a hook for a type that nothing else takes."""

    def refuse(_value: object, _type: object) -> object:
        kind = getattr(cls, "__name__", str(cls))
        raise ValueError(f"its type, {kind}, can't be written: a mistake of the plugin")

    return refuse


#: What columns, files and other programs have room for.
_LARGEST = (1 << 63) - 1


def _finite(value: float) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _whole(number: int) -> int:
    if not -_LARGEST <= number <= _LARGEST:
        raise AttributeValueError("number", "too large", f"must be a whole number up to {_LARGEST}")
    return number


def _path(text: str | Path) -> Path:
    if not str(text) or "\0" in str(text):
        raise ValueError
    os.fsencode(text)  # a ValueError if it can't be the name of a file
    return Path(text).expanduser()


def _date(value: datetime.date) -> datetime.date:
    if isinstance(value, datetime.datetime):  # a subclass
        raise ValueError
    return value


def _same(value: Any) -> object:
    return value


_DURATION = _leaf(str, f"a duration: {DURATION_HINT}", parse_duration)
_SIZE = _leaf((int, str), f"a size: {SIZE_HINT}", lambda value: parse_size(str(value)))
_LEAVES = {
    bool: _leaf(bool, "true or false", bool),
    int: _leaf(int, "a whole number", _whole),
    float: _leaf((int, float), "a finite number", _finite),
    str: _leaf(str, "a string", str),
    Path: _leaf((str, Path), "a path", _path),
    datetime.datetime: _leaf(
        datetime.datetime, "a date and a time, without quotes: 2026-01-31T12:00:00Z", _same
    ),
    datetime.date: _leaf(datetime.date, "a date, without quotes: 2026-01-31", _date),
    datetime.time: _leaf(datetime.time, "a time, without quotes: 12:00:00", _same),
}


def _is(unit: object) -> Callable[[Any], bool]:
    """Return whether a type is this unit, which for the type checker alone is one of int's."""
    return lambda cls: cls is unit or (get_origin(cls) is Annotated and unit in cls.__metadata__)


def _has_origin(*origins: object) -> Callable[[Any], bool]:
    return lambda cls: get_origin(cls) in origins


class _Structuring:
    """A converter for all types that fields of options may have.

    Args:
        hooks: As `structure` has them.
    """

    def __init__(self, hooks: Mapping[type, Hook]) -> None:
        # Reports find out what is installed, too, and have no options to make.
        from cattrs import Converter  # noqa: PLC0415

        self.converter = Converter(structure_fallback_factory=_unwritable)
        predicates: list[tuple[Callable[[Any], bool], Hook]] = [
            (attrs.has, self._table),
            (_has_origin(Literal), self._literal),
            (_has_origin(Union, types.UnionType), self._union),
            (_has_origin(tuple, list, set, frozenset, Sequence), self._list),
            (_has_origin(dict), self._mapping),
            # Durations and sizes are subtypes of int for the type checker alone.
            (lambda cls: cls is object, lambda value, _type: value),
            (_is(Microseconds), _DURATION),
            (_is(Bytes), _SIZE),
            *((_has_origin(cls), hook) for cls, hook in hooks.items()),
        ]
        for applies, hook in predicates:
            self.converter.register_structure_hook_func(applies, hook)
        for cls, leaf in _LEAVES.items():
            self.converter.register_structure_hook(cls, leaf)

    def _table(self, raw: object, cls: Any) -> object:
        fields = fields_of(cls)
        keys = [key for field in fields for key in _keys(field)]
        if not isinstance(raw, Mapping):
            raise mistake(
                raw, f"must be a table of {', '.join(keys)}" if keys else "must be a table"
            )
        unknown = [
            Problem(str(key), f"unknown key; {nearest(str(key), keys)}")
            for key in raw
            if key not in keys
        ]
        problems: dict[str, list[Problem]] = {}
        values: dict[str, object] = {}
        # Holds what is known so far, for validators that look at other fields.
        known = object.__new__(cls)
        for field in fields:
            value, problems[field.name] = self._value(field, raw)
            if value is not attrs.NOTHING:
                values[str(field.alias)] = value
            elif not problems[field.name]:
                value = _default(field, known)
                if isinstance(value, list | dict | set):  # each instance has one for itself
                    values[str(field.alias)] = value
            if value is not attrs.NOTHING:
                object.__setattr__(known, field.name, value)
        for field in fields:
            if hasattr(known, field.name) and (refused := _refused(field, known, raw)):
                problems[field.name].append(refused)
                # Others are not compared with a value that is wrong itself.
                object.__delattr__(known, field.name)
        found = [*unknown, *(each for field in fields for each in problems[field.name])]
        if found:
            raise ConfigError("", found)
        return _made(cls, values)

    def _value(
        self, field: "attrs.Attribute[Any]", raw: Mapping[Any, object]
    ) -> tuple[object, list[Problem]]:
        """Return what was written for a field, or NOTHING; and what is wrong with it."""
        key = key_of(field)
        written: object
        if is_flat(field):
            written = {name: raw[name] for name in _keys(field) if name in raw}
            key = ""
        elif key in raw:
            written = raw[key]
        else:
            missing = field.default is attrs.NOTHING
            return attrs.NOTHING, [Problem(key, f"is missing{_help(field)}")] if missing else []
        try:
            return self.converter.structure(written, cast(Any, field.type)), []
        except (Exception, SystemExit) as error:
            return attrs.NOTHING, _problems(error, key)

    @staticmethod
    def _literal(value: object, cls: Any) -> object:
        allowed = get_args(cls)
        if value in allowed and type(value) in {type(item) for item in allowed}:
            return value
        raise mistake(value, f"must be one of {', '.join(map(repr, allowed))}")

    def _union(self, value: object, cls: Any) -> object:
        """Return the value as the first member of the union that takes it."""
        errors: list[Exception | SystemExit] = []
        for member in get_args(cls):
            if member is type(None):
                if value is None:
                    return None
                continue
            try:
                return self.converter.structure(value, member)
            except (Exception, SystemExit) as error:
                errors.append(error)
        tables = [error for error in errors if isinstance(error, ConfigError)]
        if len(errors) == 1 or len(tables) == 1:  # Only one of them is of the kind that was found.
            raise (tables or errors)[0]
        found = f"found {_found(value)}, "
        allowed = " or ".join(
            str(error).removeprefix(found).replace("\n", "; ") for error in errors
        )
        if allowed.startswith("must be "):
            allowed = allowed.replace(" or must be ", " or ")
        raise ValueError(found + allowed)

    def _mapping(self, raw: object, cls: Any) -> object:
        if not isinstance(raw, Mapping):
            raise mistake(raw, "must be a table")
        problems: list[Problem] = []
        items = {}
        for key, item in raw.items():
            try:
                items[str(key)] = self.converter.structure(item, get_args(cls)[1])
            except (Exception, SystemExit) as error:
                problems += _problems(error, str(key))
        if problems:
            raise ConfigError("", problems)
        return items

    def _list(self, value: object, cls: Any) -> object:
        if not isinstance(value, list | tuple):
            hint = ": in TOML, write [[…]] for each" if isinstance(value, Mapping) else ""
            raise mistake(value, f"must be a list{hint}")
        problems: list[Problem] = []
        items = []
        for index, item in enumerate(value):
            try:
                items.append(self.converter.structure(item, get_args(cls)[0]))
            except (Exception, SystemExit) as error:
                problems += _problems(error, f"[{index}]")
        if problems:
            raise ConfigError("", problems)
        origin: Any = get_origin(cls)
        return tuple(items) if origin is Sequence else origin(items)


@functools.cache
def _without_hooks() -> _Structuring:
    """Return the converter that most options are made by: it takes long to make."""
    return _Structuring({})


# -- the fields of a class -------------------------------------------------------------


def fields_of(cls: Any) -> list["attrs.Attribute[Any]"]:
    """Return the fields that people may write."""
    fields = attrs.fields(attrs.resolve_types(cls))
    return [field for field in fields if field.init and key_of(field)]


def key_of(field: "attrs.Attribute[Any]") -> str:
    """Return the key that a field is written by; empty if people don't write it."""
    return str(field.metadata.get("key", field.alias))


def is_flat(field: "attrs.Attribute[Any]") -> bool:
    """Return whether the keys of a field's class stand beside the others."""
    return bool(field.metadata.get("flat", False))


def _keys(field: "attrs.Attribute[Any]") -> list[str]:
    """Return the keys that belong to a field: one, or those of a flat field's class."""
    if not is_flat(field):
        return [key_of(field)]
    return [key for inner in fields_of(field.type) for key in _keys(inner)]


def _default(field: "attrs.Attribute[Any]", known: object) -> object:
    """Return the default of a field, or NOTHING if only the class itself knows it.

    Args:
        field: The field.
        known: Holds the values of the fields in front of it, as far as they are known.
    """
    default: Any = field.default
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
        return copy.deepcopy(default) if isinstance(default, list | dict | set) else default
    try:
        return default.factory(known) if default.takes_self else default.factory()
    except (Exception, SystemExit):
        return attrs.NOTHING


def _help(field: "attrs.Attribute[Any]") -> str:
    text = field.metadata.get("help")
    return f" ({text})" if text else ""


def _refused(
    field: "attrs.Attribute[Any]", instance: object, raw: Mapping[Any, object]
) -> Problem | None:
    """Return what a field's validator says of its value; None if it allows it.

    It is asked here, not only by the class, so that all mistakes are found, with their keys.
    """
    if field.validator is None or is_flat(field):
        return None
    key, value = key_of(field), getattr(instance, field.name)
    entry = ""
    try:
        # One that looks at a field that isn't known is left to the class.
        with contextlib.suppress(AttributeError):
            field.validator(instance, field, value)
        return None
    except AttributeValueError as error:
        found, allowed = error.found, error.allowed
        if error.attribute.startswith((f"{field.name}[", f"{field.name}.")):
            entry = error.attribute.removeprefix(field.name)
    except (Exception, SystemExit) as error:
        found, allowed = _found(value), _text(error)
    if key not in raw:
        return Problem(key, f"is {found} by default, {allowed}")
    return Problem(key + entry, f"found {found if entry else _found(raw[key])}, {allowed}")


def _made(cls: Any, values: Mapping[str, object]) -> object:
    """Return an instance; what the class as a whole objects to is reported with its key."""
    try:
        return cls(**values)
    except AttributeValueError as error:
        keys = {field.name: key_of(field) for field in fields_of(cls)}
        key = keys.get(error.attribute, error.attribute)
        raise ConfigError("", [Problem(key, f"found {error.found}, {error.allowed}")]) from error
    except (Exception, SystemExit) as error:
        raise ConfigError("", [Problem("", _text(error))]) from error


def _text(error: BaseException) -> str:
    # Other exceptions than these are no words for users: they need their type to be understood.
    if not isinstance(error, ValueError | TypeError):
        return one_line(error)
    # Some validators of attrs have more arguments behind the message.
    return str(error.args[0] if error.args else error)
