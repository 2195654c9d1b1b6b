"""Does an object implement only hooks that exist? pluggy alone would take any name silently."""

import difflib
import inspect
from collections.abc import Iterator
from typing import Any

import pluggy

from damon_core import hookspecs
from damon_core.errors import PluginError

#: Every hook of `damon_core.hookspecs`.
HOOK_NAMES = frozenset(
    name for name, value in vars(hookspecs).items() if hasattr(value, "damon_spec")
)
_PARSER = pluggy.PluginManager("damon")


def hook_implementations(plugin: object, name: str) -> dict[str, dict[str, Any]]:
    """Return the hooks that a plugin implements, with pluggy's options of each.

    Args:
        plugin: A module or object with implementations marked by `hookimpl`.
        name: What to call it in an error.

    Raises:
        PluginError: It implements a hook that doesn't exist, or wraps one without a yield, in
            pluggy's old way, or that can't be wrapped.
    """
    found: dict[str, dict[str, Any]] = {}
    for attribute, hook, options in marked(plugin):
        if hook not in HOOK_NAMES:
            near = difflib.get_close_matches(hook, HOOK_NAMES, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise PluginError(name, f"implements '{hook}', which is not a hook{hint}")
        if options["hookwrapper"]:
            raise PluginError(name, f"'{attribute}' uses hookwrapper=True; use wrapper=True")
        if options["wrapper"] and not inspect.isgeneratorfunction(getattr(plugin, attribute)):
            raise PluginError(name, f"'{attribute}' is a wrapper, but has no yield")
        if options["wrapper"] and hook == "release":
            raise PluginError(name, f"'{attribute}' is a wrapper; 'release' has none")
        found[attribute] = options
    return found


def marked(plugin: object) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what a plugin marks with `hookimpl`: attribute, name of the hook, pluggy's options."""
    for attribute in dir(plugin):
        options = _PARSER.parse_hookimpl_opts(plugin, attribute)
        if options is not None:
            yield attribute, options["specname"] or attribute, dict(options)
