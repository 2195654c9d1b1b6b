"""Building contexts of what commands are given, with mistakes reported at their options."""

from collections.abc import Callable, Mapping, Sequence

from damon_core import (
    Clock,
    ConfigError,
    Context,
    Plugins,
    Problem,
    SystemClock,
    build_contexts,
    check_config,
)

__all__ = ["build_context"]

#: The options that stand for keys of a ``[[context]]`` table; where one is empty, the message
#: itself says what is meant.
_OPTIONS = {
    "": "",
    "primitive": "",
    "primitive.use": "",
    "primitive.pid": "--pid",
    "primitive.path": "--cgroup",
    "primitive.cgroups": "--cgroup",
    "primitive.group_by": "--group-by",
    "primitive.command": "COMMAND",
    "primitive.backend": "--backend",
    "primitive.which": "--kdamond",
    "primitive.ranges": "--range",
    "sampling_interval": "--sampling",
    "aggregation_interval": "--aggregation",
    "update_interval": "--update",
    "min_regions": "--min-regions",
    "max_regions": "--max-regions",
    "cpu_budget": "--cpu-budget",
    "max_slowdown": "--max-slowdown",
    "max_stall": "--max-stall",
    "failure_limit": "--failure-limit",
    "intervals_goal.access_share": "--goal",
    "policy": "--policy",
    "policy.use": "--policy",
}
#: Those that stand for keys in a table of one.
_TABLES = {
    "policy.": "--policy-option ",
    "primitive.match.": "--match ",
    "primitive.exclude.": "--exclude ",
}


def build_context(
    table: Mapping[str, object],
    plugins: Plugins,
    callbacks: Sequence[object] = (),
    make_clock: Callable[[], Clock] = SystemClock,
) -> Context:
    """Build one context of a ``[[context]]`` table that a command has put together.

    Mistakes are reported at the options of `watch_options` that stand for the keys. The caller
    closes the context.

    Args:
        table: Keys and values as in a configuration file.
        plugins: What parts there are.
        callbacks: Further callbacks.
        make_clock: Makes the clock to run on.

    Raises:
        ConfigError: With every mistake.
        DamonError: The context can't be built.
    """
    try:
        config = check_config({"context": [table]}, plugins, source="")
        (context,) = build_contexts(config, plugins, callbacks, make_clock)
    except ConfigError as error:
        problems = [Problem(_option(each.path), each.message) for each in error.problems]
        raise ConfigError("", problems) from error
    return context


def _option(path: str) -> str:
    """Return the option that stands for a place in a configuration."""
    key = path.removeprefix("context[0]").removeprefix(".")
    if key in _OPTIONS:
        return _OPTIONS[key]
    for table, option in _TABLES.items():
        if key.startswith(table):
            return f"{option}{key.removeprefix(table)}"
    return key
