"""What people may write for a class of options, as a JSON Schema.

For editors, which complete and check with it while a file is written, and for other programs. A
schema says less than `damon_core.registry.options`, which has the last word: validators that look
at several fields, or at this machine, can't be put into it. What it refuses is refused there too.

The version is draft 7: the newest one that editors of TOML know.
"""

import datetime
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from damon_core.registry.options import fields_of, is_flat, key_of
from damon_core.units import DURATION_PATTERN, SIZE_PATTERN, Bytes, Microseconds, format_duration
from damon_core.validators import Bounds, Each, not_empty, positive, printable, share

#: A schema, as `json` writes it.
Schema: TypeAlias = dict[str, Any]
#: Returns the schema of a type that isn't an ordinary one, or None.
Special: TypeAlias = Callable[[Any], Schema | None]

_LEAVES: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string", "minLength": 1},
    # TOML has types for these; programs that check TOML by a schema treat them as texts.
    datetime.datetime: {"type": "string"},
    datetime.date: {"type": "string"},
    datetime.time: {"type": "string"},
}
_DURATION: Schema = {"type": "string", "pattern": DURATION_PATTERN}
_SIZE: Schema = {"type": ["integer", "string"], "minimum": 0, "pattern": SIZE_PATTERN}
#: The validators of attrs that hold others; their classes have no public names.
_OPTIONAL = type(attrs.validators.optional(attrs.validators.instance_of(int)))
_AND: type = type(attrs.validators.and_())


def options_schema(options: type, special: Special = lambda _type: None) -> Schema:
    """Return the schema of a table of options.

    Args:
        options: The attrs class.
        special: Asked about every type first.
    """
    properties: Schema = {}
    required = []
    for field in fields_of(options):
        if is_flat(field):
            inner = options_schema(_plain(field.type), special)
            properties |= inner["properties"]
            required += inner.get("required", [])
            continue
        key = key_of(field)
        properties[key] = _property(field, special)
        if field.default is attrs.NOTHING:
            required.append(key)
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    return schema


def _property(field: "attrs.Attribute[Any]", special: Special) -> Schema:
    schema = _of_type(field.type, special)
    _limit(schema, field.validator)
    described: Schema = {}
    if text := field.metadata.get("help"):
        described["description"] = text
    default = _default(field)
    if default is not None:
        described["default"] = _written(default, field.type)
    return {**described, **schema}


def _of_type(cls: Any, special: Special) -> Schema:
    """Return the schema of values of a type; each time a new one."""
    found = special(cls)
    if found is not None:
        return found
    if get_origin(cls) in (Union, types.UnionType):
        members = [_of_type(each, special) for each in get_args(cls) if each is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if attrs.has(_plain(cls)):
        return options_schema(_plain(cls), special)
    return _of_collection(cls, special) or _of_leaf(cls)


def _of_collection(cls: Any, special: Special) -> Schema | None:
    """Return the schema of a type of lists or mappings; None if it is neither."""
    origin, args = get_origin(cls), get_args(cls)
    if origin in (tuple, list, set, frozenset, Sequence):
        return {"type": "array", "items": _of_type(args[0], special)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(args[1], special)}
    return None


def _of_leaf(cls: Any) -> Schema:
    if get_origin(cls) is Literal:
        return {"enum": list(get_args(cls))}
    for unit, schema in ((Microseconds, _DURATION), (Bytes, _SIZE)):
        if _is(cls, unit):
            return dict(schema)
    # What isn't here, `object` and `Any`, takes everything.
    return dict(_LEAVES.get(cls, {}))


def _is(cls: Any, unit: object) -> bool:
    return cls is unit or (get_origin(cls) is Annotated and unit in cls.__metadata__)


def _plain(cls: Any) -> Any:
    """Return a class without its parameters."""
    return get_origin(cls) or cls


# -- what validators allow -------------------------------------------------------------


def _limit(schema: Schema, validator: Any) -> None:
    """Put into a schema what a validator says."""
    if isinstance(validator, _OPTIONAL):
        _limit(schema, validator.validator)  # type: ignore[attr-defined]
    elif isinstance(validator, _AND):
        for each in validator._validators:  # type: ignore[attr-defined]  # noqa: SLF001
            _limit(schema, each)
    elif isinstance(validator, Each):
        _limit(schema.get("items", {}), validator.validator)
    elif validator is not_empty or validator is printable:
        if schema.get("type") == "array":
            schema["minItems"] = 1
        elif schema.get("type") == "string" and "pattern" not in schema:
            schema["pattern"] = r"\S"
    elif schema.get("type") in ("integer", "number"):
        bounds = {positive: Bounds(least=1), share: Bounds(above=0, greatest=1)}
        found = bounds.get(validator, validator) if callable(validator) else None
        if isinstance(found, Bounds):
            limits = {
                "minimum": found.least,
                "exclusiveMinimum": found.above,
                "maximum": found.greatest,
            }
            schema |= {key: value for key, value in limits.items() if value is not None}


# -- defaults, as people write them ----------------------------------------------------


def _default(field: "attrs.Attribute[Any]") -> object:
    """Return the default of a field, or None if there is none that can be written."""
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
        default = None if default.takes_self else default.factory()
    if default is attrs.NOTHING or default in ((), [], {}):
        return None
    items = default if isinstance(default, tuple | list) else (default,)
    return None if any(attrs.has(type(each)) for each in items) else default


def _written(value: object, cls: Any) -> object:
    """Return a default as it would be written."""
    kinds = [each for each in (cls, *get_args(cls)) if each is not type(None)]
    if isinstance(value, tuple | list):
        return [_written(each, kinds[1]) for each in value]
    if isinstance(value, int) and any(_is(each, Microseconds) for each in kinds):
        return format_duration(value)
    if isinstance(value, Path):
        return str(value)
    return value
