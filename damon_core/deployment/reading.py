"""Reading a deployment: a TOML file or a mapping becomes a `Config`, or a list of mistakes."""

import codecs
import functools
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from attrs import evolve, fields

from damon_core.contract.implementations import wrong_factory
from damon_core.contract.registration import Callback, Policy, Primitive
from damon_core.deployment.model import Config, ContextConfig, PartConfig
from damon_core.errors import ConfigError, InputError, Problem
from damon_core.registry.backends import backend_problems
from damon_core.registry.discovery import Plugins
from damon_core.registry.options import mistake, structure

#: What files of other encodings begin with; the longer marks first.
_MARKS = {
    codecs.BOM_UTF8: "UTF-8 with a byte order mark",
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_BACKSLASH = ": write it twice, or the string in single quotes"
_DEFAULT_NAME = fields(ContextConfig).name.default


def load_config(path: Path, plugins: Plugins) -> Config:
    """Read and check a configuration file, options of its plugins included.

    Nothing is opened, started or bound yet: `build_contexts` does.

    Raises:
        ConfigError: With every mistake in the file, or why it can't be read.
    """
    source = str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(source, [Problem("", f"can't be read: {reason}")]) from error
    for begin, what in _MARKS.items():
        if content.startswith(begin):
            message = f"is {what}: save it as UTF-8 without a byte order mark (BOM)"
            raise ConfigError(source, [Problem("", message)])
    try:
        raw = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        message = f"is not UTF-8, from byte {error.start + 1} on: save it as UTF-8"
        raise ConfigError(source, [Problem("", message)]) from error
    except (ValueError, RecursionError) as error:
        # Also a whole number of thousands of digits, which Python doesn't read.
        hint = _BACKSLASH if "Unescaped '\\'" in str(error) else ""
        message = f"is not valid TOML: {str(error).partition(';')[0]}{hint}"
        raise ConfigError(source, [Problem("", message)]) from error
    return check_config(raw, plugins, source)


def check_config(
    raw: Mapping[str, object], plugins: Plugins, source: str = "configuration"
) -> Config:
    """Check a configuration that is a mapping already, as `tomllib` makes it.

    Args:
        raw: The keys and values of a file: ``{"context": [{"primitive": {"use": …}}]}``.
        plugins: What parts there are.
        source: What errors call it; empty for no prefix.

    Raises:
        ConfigError: With every mistake.
    """
    problems: list[Problem] = []
    config = None
    try:
        config = structure(Config, raw, source=source, hooks={PartConfig: _PartHook(plugins)})
    except ConfigError as error:
        problems += error.problems
    problems += _names_taken(raw.get("context"))
    if config is not None:
        problems += _paths_taken(config)
        problems += _differences(config)
    if problems or config is None:
        raise ConfigError(source, problems)
    contexts = (
        each
        if each.max_staleness_us is not None
        else evolve(each, max_staleness_us=config.max_staleness_us)
        for each in config.contexts
    )
    return evolve(config, contexts=tuple(contexts), source=source)


class _PartHook:
    """Makes a `PartConfig` of a table with the name of a part under ``use`` and its options."""

    def __init__(self, plugins: Plugins) -> None:
        self._find: dict[type, Callable[[str], Any]] = {
            Primitive: plugins.primitive,
            Policy: plugins.policy,
            Callback: plugins.callback,
        }
        # Many contexts have the same parts: what doesn't depend on options is checked once.
        self._wrong = functools.cache(wrong_factory)
        self._backends = functools.cache(plugins.backends)

    def __call__(self, raw: object, cls: Any) -> PartConfig[Any]:
        if not isinstance(raw, Mapping):
            raise mistake(raw, "must be a table")
        options = dict(raw)
        use = options.pop("use", None)
        if not isinstance(use, str):
            found = "is missing" if use is None else f"found {use!r}"
            raise ConfigError("", [Problem("use", f"{found}, must be the name of a plugin")])
        try:
            part = self._find[get_args(cls)[0]](use)
        except InputError as error:
            raise ConfigError("", [Problem("use", error.message)]) from error
        return PartConfig(part, self._checked(part, options))

    def _checked(self, part: Any, options: Mapping[Any, object]) -> object:
        """Return the options of a part, if it can be made of them as far as that shows here."""
        is_primitive = isinstance(part, Primitive)
        if wrong := self._wrong(part.factory, 2 if is_primitive else 1):
            raise ConfigError("", [Problem("use", f"plugin '{part.name}': {wrong}")])
        checked: object = structure(part.options, options)
        if is_primitive and (problems := backend_problems(checked, self._backends(part.name))):
            raise ConfigError("", problems)
        return checked


def _paths_taken(config: Config) -> list[Problem]:
    """Return the files that more than one callback writes, unless each of them shares its own."""
    problems = []
    taken: dict[str, tuple[str, Any]] = {}
    for place, _, callback in _callbacks(config):
        for option in fields(cast(Any, type(callback.options))):
            writes = option.metadata.get("writes")
            if writes is None:
                continue
            path = str(getattr(callback.options, option.name))
            how = None if writes == "alone" else callback.part.name
            first, its = taken.setdefault(os.path.realpath(path), (place, how))
            if first != place and (how is None or how != its):
                message = f"'{path}' is written by {first} already: give each its own"
                problems.append(Problem(f"{place}.{option.name}", message))
    return problems


def _differences(config: Config) -> list[Problem]:
    """Return the options of what several callbacks share, where they aren't the same in all."""
    problems = []
    known: dict[tuple[str, ...], tuple[str, str, object]] = {}
    for place, context, callback in _callbacks(config):
        options = callback.options
        for option in fields(cast(Any, type(options))):
            shared_by: tuple[str, ...] = option.metadata.get("same_with", ())
            which = [getattr(options, each) for each in shared_by]
            # A port of 0 is another one each time, and nothing isn't shared.
            if not which or not all(which):
                continue
            value = getattr(options, option.name)
            key = (callback.part.name, option.name, *map(_as_written, which))
            first, its_context, its_value = known.setdefault(key, (place, context.name, value))
            if value != its_value:
                message = (
                    f"context '{context.name}' and context '{its_context}' ({first}) have the same "
                    f"{' and '.join(shared_by)}, but differ in this: make it the same"
                )
                problems.append(Problem(f"{place}.{option.name}", message))
    return problems


def _as_written(value: object) -> str:
    """Return a value as text; a path as the file that it leads to."""
    return os.path.realpath(value) if isinstance(value, Path) else repr(value)


def _callbacks(config: Config) -> Iterator[tuple[str, ContextConfig, PartConfig[Any]]]:
    """Yield each callback: its place, its context and how it is configured."""
    for number, context in enumerate(config.contexts):
        for index, callback in enumerate(context.callbacks):
            yield f"context[{number}].callback[{index}]", context, callback


def _names_taken(contexts: object) -> list[Problem]:
    """Return the names that more than one context has, whatever else is wrong with them."""
    tables = contexts if isinstance(contexts, list | tuple) else ()
    names = [
        table.get("name", _DEFAULT_NAME) if isinstance(table, Mapping) else None for table in tables
    ]
    return [
        Problem(f"context[{index}].name", f"'{name}' is taken; give another")
        for index, name in enumerate(names)
        if isinstance(name, str) and name in names[:index]
    ]
