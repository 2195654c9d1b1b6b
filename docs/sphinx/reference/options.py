"""Keys of configurations and options of parts, from the schema that editors use."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from damon_core import Plugins, config_schema
from damon_core.units import DURATION_PATTERN, SIZE_PATTERN
from docs.sphinx.reference.markdown import code, table

#: What is listed, in this order.
_KINDS = {
    "primitive": "Primitives",
    "backend": "Backends",
    "policy": "Policies",
    "callback": "Callbacks",
}
_COLUMNS = ("option", "type", "default", "meaning")


@cache
def _schema() -> Mapping[str, Any]:
    return config_schema(Plugins.discover())


def configuration() -> str:
    """Return the keys of a file and of its contexts."""
    schema = _schema()
    context = schema["properties"]["context"]["items"]
    goal = context["properties"]["intervals_goal"]
    tables = {
        "Of the file": schema,
        "`[[context]]`": context,
        "`[context.intervals_goal]`": goal,
    }
    return "\n".join(
        f"## {title}\n\n{table(('key', *_COLUMNS[1:]), _rows(each))}"
        for title, each in tables.items()
    )


def parts() -> str:
    """Return the options of all parts, by kind."""
    definitions = _schema()["definitions"]
    lines = []
    for kind, title in _KINDS.items():
        lines.append(f"## {title}\n")
        for name, schema in definitions.items():
            if name.startswith(f"{kind}."):
                lines += _part(name.partition(".")[2], schema)
    return "\n".join(lines)


def _part(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {code(name)}\n\n{schema['description']}.\n"
    properties = {key: each for key, each in schema["properties"].items() if key != "use"}
    if not properties:
        yield "It has no options.\n"
        return
    yield table(_COLUMNS, _rows({**schema, "properties": properties}))
    for key, nested in _nested(properties):
        yield f"Of each of {code(key)}:\n" if nested["list"] else f"Of {code(key)}:\n"
        yield table(_COLUMNS, _rows(nested["schema"]))


def _rows(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for key, each in schema["properties"].items():
        default = "required" if key in required else ""
        if "default" in each:
            default = code(_toml(each["default"]))
        yield code(key), _type(each), default, each.get("description", "")


def _nested(properties: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables within options: their keys, and what they are."""
    for key, each in properties.items():
        for schema in (each, each.get("items", {}), *each.get("items", {}).get("anyOf", ())):
            if isinstance(schema, dict) and "properties" in schema and "if" not in schema:
                yield key, {"schema": schema, "list": schema is not each}


def _type(schema: Mapping[str, Any]) -> str:
    """Return what a value is, in words."""
    if "if" in schema:
        return "name or table" if "string" in schema["type"] else "table"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(code(_toml(each)) for each in schema["enum"])
    if schema.get("pattern") in (DURATION_PATTERN, SIZE_PATTERN):
        return "duration" if schema["pattern"] == DURATION_PATTERN else "size"
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    words = {"integer": "whole number", "number": "number", "string": "text", "object": "table"}
    return f"{words.get(str(kind), 'true or false')}{_bounds(schema)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    least, greatest = schema.get("minimum"), schema.get("maximum")
    if least is not None and greatest is not None:
        return f" from {least} to {greatest}"
    above = schema.get("exclusiveMinimum")
    words = [f"above {above}"] if above is not None else []
    words += [f"at least {least}"] if least is not None else []
    words += [f"at most {greatest}"] if greatest is not None else []
    return f", {' and '.join(words)}" if words else ""


def _toml(value: object) -> str:
    # Of texts, numbers, truth values and lists of them TOML and JSON are the same.
    return json.dumps(value, ensure_ascii=False)
