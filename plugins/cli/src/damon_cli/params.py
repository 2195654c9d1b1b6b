"""What commands are declared with: types of options, and what is installed.

Importing this imports nothing but click, so that help and completion come at once.
"""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from damon_core import Bytes, Microseconds, Plugins

__all__ = ["DURATION", "SHARE", "SIZE", "pass_plugins"]

P = ParamSpec("P")
T = TypeVar("T")


def pass_plugins(function: "Callable[Concatenate[Plugins, P], T]") -> Callable[P, T]:
    """Give a click command what is installed, as its first argument.

    Nothing is looked for before the command runs. A test calls the command with
    ``obj=Plugins({...})`` to give it something else.
    """

    @functools.wraps(function)
    def command(*args: P.args, **options: P.kwargs) -> T:
        from damon_core import Plugins

        context = click.get_current_context()
        plugins = context.find_object(Plugins)
        if plugins is None:
            plugins = context.obj = Plugins.discover()
        return function(plugins, *args, **options)

    return command


def _stays(value: object, ctx: click.Context | None) -> bool:
    """Return whether a value needn't be understood: it is, or options are only completed."""
    return not isinstance(value, str) or (ctx is not None and ctx.resilient_parsing)


class _Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Microseconds":
        if _stays(value, ctx):
            return value  # type: ignore[return-value]  # a default, in microseconds already
        from damon_core import AttributeValueError, parse_duration

        try:
            return parse_duration(str(value))
        except AttributeValueError as error:
            self.fail(error.message, param, ctx)


class _Size(click.ParamType):  # type: ignore[type-arg]
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Bytes":
        if _stays(value, ctx):
            return value  # type: ignore[return-value]  # a default, in bytes already
        from damon_core import AttributeValueError, parse_size

        try:
            return parse_size(str(value))
        except AttributeValueError as error:
            self.fail(error.message, param, ctx)


class _Share(click.ParamType):  # type: ignore[type-arg]
    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not isinstance(value, str):
            return value  # type: ignore[return-value]  # a default, a number already
        number, percent, rest = value.partition("%")
        try:
            share = float(number) / (100 if percent else 1)
        except ValueError:
            share = math.nan
        if rest or not 0 < share <= 1:
            self.fail(f"'{value}' is not a share above 0%, up to 100%, such as 5%", param, ctx)
        return share


#: A duration like ``5ms``; the command gets microseconds.
DURATION = _Duration()
#: A size like ``64MiB``; the command gets bytes.
SIZE = _Size()
#: A share like ``5%`` or ``0.05``; the command gets a number above 0 and at most 1.
SHARE = _Share()
