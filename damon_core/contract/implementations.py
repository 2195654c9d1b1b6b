"""Does an object implement only hooks that exist? pluggy alone would take any name silently."""

import difflib
import functools
import inspect
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, MemberDescriptorType, MethodType
from typing import Any, get_type_hints

import pluggy

from damon_core import hookspecs
from damon_core.deprecation import warn_deprecated_hook
from damon_core.errors import PluginError

logger = logging.getLogger(__name__)

#: Every hook of `damon_core.hookspecs`.
HOOK_NAMES = frozenset(
    name for name, value in vars(hookspecs).items() if hasattr(value, "damon_spec")
)
_PARSER = pluggy.PluginManager("damon")
#: What `hookimpl` leaves on a function.
_MARK = "damon_impl"
#: What may be marked, as pluggy sees it: anything else in a class isn't looked at.
_MARKABLE = (FunctionType, MethodType, staticmethod, classmethod, MemberDescriptorType)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def hook_implementations(plugin: object, name: str) -> dict[str, dict[str, Any]]:
    """Return the hooks that a plugin implements, with pluggy's options of each.

    A method that has the name of a hook, and isn't marked as one, is logged: it isn't called. Of a
    hook that will go, a `DamonDeprecationWarning` says so.

    Args:
        plugin: A module or object with implementations marked by `hookimpl`.
        name: What to call it in an error.

    Raises:
        PluginError: It is None or a class; it implements a hook that doesn't exist, with arguments
            that the hook hasn't, or as a coroutine or a generator; or it wraps a hook without a
            yield, in pluggy's old way, or that can't be wrapped.
    """
    if (wrong := not_an_object(plugin)) is not None:
        raise PluginError(name, f"is {wrong}")
    found: dict[str, dict[str, Any]] = {}
    for attribute, hook, options in marked(plugin):
        _refuse(plugin, name, attribute, hook, options)
        warn_deprecated_hook(getattr(hookspecs, hook), getattr(plugin, attribute), name)
        found[attribute] = options
    for hook in forgotten(plugin):
        text = "'%s': its method '%s' isn't marked with @hookimpl, so it isn't called"
        logger.warning(text, name, hook)
    return found


def wrong_factory(factory: Callable[..., object], arguments: int) -> str | None:
    """Return what is wrong with a factory, as far as that shows without calling it.

    The hooks of what it makes are known if it is a class, or says by its annotation which class.

    Args:
        factory: The factory of a part.
        arguments: The number of arguments that it is called with.
    """
    try:
        inspect.signature(factory).bind(*range(arguments))
    except ValueError:  # of a builtin
        pass
    except TypeError as error:
        count = "1 argument (options)" if arguments == 1 else "2 arguments (options, backends)"
        return f"its factory can't be called with {count}: {error}"
    if inspect.iscoroutinefunction(factory):
        return "its factory returns a coroutine: nothing awaits it"
    made: object = factory
    if not isinstance(factory, type):
        try:
            made = get_type_hints(factory).get("return")
        except Exception:  # Names that only type checkers know.
            return None
    if not isinstance(made, type):
        return None
    named = {name: inspect.getattr_static(made, name) for name in dir(made)}
    hooks = {
        name: value
        for name, value in named.items()
        if hasattr(getattr(value, "__func__", value), _MARK)
    }
    try:
        for attribute, hook, options in marked(bare := type(made.__name__, (), hooks)()):
            _refuse(bare, made.__name__, attribute, hook, options)
    except PluginError as error:
        return error.reason
    return None


def not_an_object(plugin: object) -> str | None:
    """Return what is given where an object with hooks should be; None if it is one."""
    if plugin is None:
        return "None, not an object with hooks"
    if isinstance(plugin, type):
        return f"the class {plugin.__name__}: give an object of it"
    if inspect.isawaitable(plugin):
        if inspect.iscoroutine(plugin):
            plugin.close()
        return "a coroutine: nothing awaits it"
    return None


def marked(plugin: object) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what a plugin marks with `hookimpl`: attribute, name of the hook, pluggy's options."""
    # Most attributes are something else, and pluggy takes its time for each.
    places = (plugin, *type(plugin).__mro__)
    candidates = {
        name
        for place in places
        for name, value in getattr(place, "__dict__", {}).items()
        if isinstance(value, _MARKABLE)
    }
    for attribute in sorted(candidates):
        options = _PARSER.parse_hookimpl_opts(plugin, attribute)
        if options is not None:
            yield attribute, options["specname"] or attribute, dict(options)


def forgotten(plugin: object) -> list[str]:
    """Return the methods of a plugin that look like hooks and aren't marked as such."""
    names = []
    for hook in HOOK_NAMES & set(dir(plugin)):
        method = getattr(plugin, hook)
        function = getattr(method, "__func__", method)
        if not inspect.isfunction(function) or hasattr(method, _MARK):
            continue
        # Others have methods such as `update` as well, with arguments of their own.
        if set(_parameters(method)) <= set(_arguments(hook)):
            names.append(hook)
    return sorted(names)


def _refuse(plugin: object, name: str, attribute: str, hook: str, options: dict[str, Any]) -> None:
    """Raise what is wrong with an implementation."""
    if hook not in HOOK_NAMES:
        near = difflib.get_close_matches(hook, HOOK_NAMES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise PluginError(name, f"implements '{hook}', which is not a hook{hint}")
    function = getattr(plugin, attribute)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(
            name, f"'{attribute}' is a coroutine, which nothing awaits: hooks are plain functions"
        )
    if options["hookwrapper"]:
        raise PluginError(name, f"'{attribute}' uses hookwrapper=True; use wrapper=True")
    if options["wrapper"] and not inspect.isgeneratorfunction(function):
        raise PluginError(name, f"'{attribute}' is a wrapper, but has no yield")
    if not options["wrapper"] and inspect.isgeneratorfunction(function):
        raise PluginError(
            name, f"'{attribute}' has a yield, so calling it does nothing: only wrappers have one"
        )
    if options["wrapper"] and hook == "release":
        raise PluginError(name, f"'{attribute}' is a wrapper; 'release' has none")
    allowed = _arguments(hook)
    may = f"may take {', '.join(allowed)}" if allowed else "takes no arguments"
    for parameter in _parameters(function).values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in allowed and parameter.kind in _POSITIONAL:
            continue
        if parameter.default is parameter.empty:
            reason = f"'{attribute}' wants '{parameter.name}', which nobody gives: '{hook}' {may}"
            raise PluginError(name, reason)


def called_with(function: Any, hook: str) -> inspect.Signature:
    """Return the arguments that an implementation is to be given, as if none had a default.

    pluggy gives none that has one.
    """
    allowed = _arguments(hook)
    given = itertools.takewhile(
        lambda each: each.name in allowed and each.kind in _POSITIONAL,
        _parameters(function).values(),
    )
    return inspect.Signature([each.replace(default=each.empty) for each in given])


@functools.cache
def _arguments(hook: str) -> Sequence[str]:
    """Return the arguments that a hook is called with."""
    return tuple(inspect.signature(getattr(hookspecs, hook)).parameters)


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function; none if they can't be known."""
    # Many contexts have parts of the same classes.
    if isinstance(function, MethodType) and isinstance(function.__func__, FunctionType):
        return _parameters_when_bound(function.__func__)
    return _parameters_of(function)


@functools.lru_cache(maxsize=256)
def _parameters_when_bound(function: FunctionType) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function as a method of an object."""
    return _parameters_of(MethodType(function, object()))


def _parameters_of(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
