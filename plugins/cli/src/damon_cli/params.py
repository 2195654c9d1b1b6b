"""What commands are declared with: types of options, and what is installed.

Importing this imports nothing but click, so that help and completion come at once.
"""

import functools
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from damon_core import Bytes, Microseconds, Plugins

__all__ = [
    "DURATION",
    "POSITIVE_DURATION",
    "POSITIVE_SIZE",
    "SHARE",
    "SIZE",
    "import_numpy",
    "pass_plugins",
]

P = ParamSpec("P")
T = TypeVar("T")


def pass_plugins(function: "Callable[Concatenate[Plugins, P], T]") -> Callable[P, T]:
    """Give a click command what is installed, as its first argument.

    Nothing is looked for before the command runs. A test calls the command with
    ``obj=Plugins({...})`` to give it something else.
    """

    @functools.wraps(function)
    def command(*args: P.args, **options: P.kwargs) -> T:
        import_numpy()
        from damon_core import Plugins

        context = click.get_current_context()
        plugins = context.find_object(Plugins)
        if plugins is None:
            plugins = context.obj = Plugins.discover()
        return function(plugins, *args, **options)

    return command


def import_numpy() -> None:
    """Import numpy without the threads that it starts for large matrices.

    Nothing uses them here, and starting them takes half as long as all of numpy. They would keep
    the capabilities that other threads give up, and what they did wouldn't count as a worker's
    time. Programs that a command starts have theirs.

    Commands call it before they import `damon_core`, or anything else that imports numpy, unless
    `pass_plugins` or a type of options has done that by then.
    """
    name = "OPENBLAS_NUM_THREADS"
    if name in os.environ:
        return
    os.environ[name] = "1"
    try:
        import numpy as np  # noqa: F401
    finally:
        del os.environ[name]


def _stays(value: object, ctx: click.Context | None) -> bool:
    """Return whether a value needn't be understood: it is, or options are only completed."""
    return not isinstance(value, str) or (ctx is not None and ctx.resilient_parsing)


class _Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "duration"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Microseconds":
        if _stays(value, ctx):
            return value  # type: ignore[return-value]  # a default, in microseconds already
        import_numpy()
        from damon_core import AttributeValueError, parse_duration

        try:
            duration_us = parse_duration(str(value))
        except AttributeValueError as error:
            self.fail(error.message, param, ctx)
        if self._positive and not duration_us:
            self.fail(f"{value!r} is not above 0: write a time such as '10s'", param, ctx)
        return duration_us


class _Size(click.ParamType):  # type: ignore[type-arg]
    name = "size"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Bytes":
        if _stays(value, ctx):
            return value  # type: ignore[return-value]  # a default, in bytes already
        import_numpy()
        from damon_core import AttributeValueError, parse_size

        try:
            size_bytes = parse_size(str(value))
        except AttributeValueError as error:
            self.fail(error.message, param, ctx)
        if self._positive and not size_bytes:
            self.fail(f"{value!r} is not above 0: write a size such as '64MiB'", param, ctx)
        return size_bytes


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
            self.fail(f"{value!r} is not a share above 0%, up to 100%, such as 5%", param, ctx)
        return share


#: A duration like ``5ms``; the command gets microseconds.
DURATION = _Duration()
#: The same, but not of 0.
POSITIVE_DURATION = _Duration(positive=True)
#: A size like ``64MiB``; the command gets bytes.
SIZE = _Size()
#: The same, but not of 0.
POSITIVE_SIZE = _Size(positive=True)
#: A share like ``5%`` or ``0.05``; the command gets a number above 0 and at most 1.
SHARE = _Share()
