"""Option types of the command line: durations and sizes."""

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


#: A duration like ``5ms``; the command gets microseconds.
DURATION = _Duration()
#: A size like ``64MiB``; the command gets bytes.
SIZE = _Size()
