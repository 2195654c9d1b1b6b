"""Option types of the command line: durations, sizes and shares."""

import math

import click

from damon_core.errors import AttributeValueError
from damon_core.units import Bytes, Microseconds, parse_duration, parse_size


class _Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Microseconds:
        if not isinstance(value, str):
            return value  # type: ignore[return-value]  # a default, in microseconds already
        try:
            return parse_duration(value)
        except AttributeValueError as error:
            self.fail(error.message, param, ctx)


class _Size(click.ParamType):  # type: ignore[type-arg]
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Bytes:
        if not isinstance(value, str):
            return value  # type: ignore[return-value]  # a default, in bytes already
        try:
            return parse_size(value)
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
