"""The JSON Schema of a configuration: what may be written with the plugins that are installed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from damon_core.contract.registration import Backend, Callback, Policy, Primitive
from damon_core.deployment.model import Config, PartConfig
from damon_core.registry.backends import AUTO, BackendOption
from damon_core.registry.discovery import Plugins
from damon_core.registry.schema import Schema, Special, options_schema

_KINDS: Mapping[type, str] = {Primitive: "primitive", Policy: "policy", Callback: "callback"}


def config_schema(plugins: Plugins) -> Schema:
    """Return the JSON Schema (draft 7) of configurations, with the options of all plugins.

    An editor that has it completes and checks a file while it is written; `check_config` has the
    last word, as it also knows what a schema can't say. Packages that can't be used are left out.
    """
    definitions: Schema = {}

    def part(cls: Any) -> Schema | None:
        if get_origin(cls) is not PartConfig:
            return None
        kind = _KINDS[get_args(cls)[0]]
        parts = list(_parts(plugins, kind))
        for each in parts:
            special = _backend_option(plugins, each.name, definitions)
            definitions[f"{kind}.{each.name}"] = _table(each, special)
        return _choice(kind, parts)

    schema = options_schema(Config, part)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of damon run",
        **schema,
        "definitions": dict(sorted(definitions.items())),
    }


def _parts(plugins: Plugins, kind: str) -> Iterator[Primitive | Policy | Callback]:
    """Yield all parts of a kind that can be used."""
    for info in plugins.infos():
        if kind == "primitive":
            yield from map(plugins.primitive, info.primitives)
        elif kind == "policy":
            yield from map(plugins.policy, info.policies)
        else:
            yield from map(plugins.callback, info.callbacks)


def _backend_option(plugins: Plugins, primitive: str, definitions: Schema) -> Special:
    """Return what knows the schema of a primitive's `BackendOption`."""

    def option(cls: Any) -> Schema | None:
        if cls != BackendOption:
            return None
        backends = list(plugins.backends(primitive).values())
        for each in backends:
            definitions[f"backend.{primitive}.{each.name}"] = _table(each, lambda _type: None)
        names = {"enum": [AUTO, *(each.name for each in backends)]}
        table = _choice(f"backend.{primitive}", backends)
        # Which one is meant shows in the type, so that mistakes are named, not only that there is
        # one; the branches of anyOf are there for editors to complete.
        return {
            "type": ["string", "object"],
            "if": {"type": "string"},
            "then": names,
            "else": table,
            "anyOf": [True, names, *table["anyOf"][1:]],
        }

    return option


def _table(part: Primitive | Policy | Callback | Backend, special: Special) -> Schema:
    """Return the schema of the table of one part."""
    schema = options_schema(part.options, special)
    properties = {"use": {"const": part.name, "description": part.summary}, **schema["properties"]}
    required = ["use", *schema.get("required", [])]
    return {**schema, "description": part.summary, "properties": properties, "required": required}


def _choice(kind: str, parts: Sequence[Primitive | Policy | Callback | Backend]) -> Schema:
    """Return the schema of a table that is one of some parts', by what stands under ``use``.

    A chain of conditions rather than a list of possibilities: so a mistake is one of the part that
    was named, not of all. Editors complete from lists only, so there is one, which allows all.
    """
    chain: Schema = {}
    for each in reversed(parts):
        chain = {
            "if": {"properties": {"use": {"const": each.name}}, "required": ["use"]},
            "then": {"$ref": f"#/definitions/{kind}.{each.name}"},
            **({"else": chain} if chain else {}),
        }
    return {
        "type": "object",
        "properties": {"use": {"enum": [each.name for each in parts]}},
        "required": ["use"],
        "anyOf": [True, *({"$ref": f"#/definitions/{kind}.{each.name}"} for each in parts)],
        **chain,
    }
