"""Options that several reports have. Nothing that does their work is imported for them."""

import functools
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem
from damon_cli.params import import_numpy, pass_plugins

from damon_report.files import DEFAULT_PATH
from damon_report.groups import GROUPS

if TYPE_CHECKING:
    from damon_core import Plugins
    from damon_report.moments import Moment
    from damon_report.selection import Selection

T = TypeVar("T")

_LABELS = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(?:,[a-zA-Z_][a-zA-Z0-9_]*)*")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _MomentType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Moment":
        if not isinstance(value, str) or (ctx is not None and ctx.resilient_parsing):
            return value  # type: ignore[return-value]  # a moment, or what is only completed
        import_numpy()
        from damon_core import AttributeValueError, parse_duration
        from damon_report.moments import Moment

        text = value
        try:
            return Moment(parse_duration(text), since_start=True)
        except AttributeValueError:
            pass
        try:
            # A time without a zone is local.
            when = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):  # in the first or last year, and another zone
            self.fail(
                f"{text!r} is not a valid time: write one since the start like '10s' or '1.5h', "
                "or one like '2026-11-23T10:00:00' or '2026-11-23T10:00:00Z'",
                param,
                ctx,
            )
        return Moment(round((when - _EPOCH).total_seconds() * 1e6), since_start=False)


class _ByType(click.ParamType):  # type: ignore[type-arg]
    name = "group"

    def __init__(self, groups: tuple[str, ...]) -> None:
        self._groups = groups

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if text in self._groups:
            return text
        known = ", ".join(self._groups)
        if text in GROUPS or not _LABELS.fullmatch(text):
            self.fail(
                f"{text!r} is not a way to group: write one of {known}, or the name of a label "
                "such as unit, or several like namespace,pod",
                param,
                ctx,
            )
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(each) for each in self._groups if each.startswith(incomplete)]


def by_option(
    default: str | None, groups: tuple[str, ...] = GROUPS, verb: str = "Group memory"
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that gives a command the option ``--by``.

    Args:
        default: What it is if it isn't given.
        groups: What it may be, besides labels.
        verb: What is done by it, for the help text.
    """
    program = " A program is all targets that differ only in their pid." * ("program" in groups)
    return click.option(
        "--by",
        metavar="|".join((*groups, "LABEL")),
        type=_ByType(groups),
        default=default,
        show_default=default is not None,
        help=f"{verb} by this, or by a label of targets, such as unit.{program}",
    )


class _AddressesType(click.ParamType):  # type: ignore[type-arg]
    name = "addresses"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = _ADDRESSES.fullmatch(str(value))
        start, end = match.groups() if match else ("", "")
        found = int(start or "0", 16), int(end, 16) if end else _LAST
        if match is None or not found[0] < found[1] <= _LAST:
            self.fail(
                f"{value!r} is not a valid range of addresses: write one like "
                "'7f0000000000-7f0000400000', in hexadecimal",
                param,
                ctx,
            )
        return found


_LAST = (1 << 63) - 1
_ADDRESSES = re.compile(r"(?:0x)?([0-9a-fA-F]{0,16})-(?:0x)?([0-9a-fA-F]{0,16})")


class _RecordType(click.Path):
    """The path of a record, or the URL of a dataset, which stays a text."""

    def convert(
        self,
        value: "str | os.PathLike[str]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if not str(value):
            self.fail(
                "the name is empty: name a record, or '.' for all of this directory", param, ctx
            )
        return value if "://" in str(value) else super().convert(value, param, ctx)


#: A record: a path, or the URL of a dataset.
RECORD = _RecordType(path_type=Path)
#: A point in time like ``10s`` (since the start) or ``2026-11-23T10:00``; a `Moment`.
MOMENT = _MomentType()
#: Addresses like ``7f00-8000``; the first address, and the first after the range.
ADDRESSES = _AddressesType()


class _ShareType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
            if not 0 <= share <= 1:
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is not a valid share: write one like '50%' or '0.5'", param, ctx)
        return share


#: A share like ``50%`` or ``0.5``; the command gets 0.0 to 1.0.
SHARE = _ShareType()


_OPTIONS = (
    click.option("--host", "hosts", metavar="GLOB", multiple=True, help="Only hosts of this name."),
    click.option(
        "--context", "contexts", metavar="GLOB", multiple=True, help="Only contexts of this name."
    ),
    click.option(
        "--target", "targets", metavar="GLOB", multiple=True, help="Only targets of this name."
    ),
    click.option(
        "--mapping",
        "mappings",
        metavar="GLOB",
        multiple=True,
        help="Only mappings of this name, such as '[heap]' or 'libc*'.",
    ),
    click.option(
        "--address",
        "addresses",
        metavar="A-B",
        type=ADDRESSES,
        help="Only addresses from A to before B, hexadecimal.",
    ),
    click.option(
        "--from",
        "begin",
        metavar="TIME",
        type=MOMENT,
        help="Only after this time: 10s after the start, or 2026-11-23T10:00.",
    ),
    click.option("--to", "end", metavar="TIME", type=MOMENT, help="Only up to this time."),
)


def selection_options(function: Callable[..., T]) -> Callable[..., T]:
    """Decorate a click command so that it gets a `selection` from options.

    Use it above the command's other options.
    """

    @functools.wraps(function)
    def command(
        *args: object,
        hosts: tuple[str, ...],
        contexts: tuple[str, ...],
        targets: tuple[str, ...],
        mappings: tuple[str, ...],
        addresses: tuple[int, int] | None,
        begin: "Moment | None",
        end: "Moment | None",
        **own: object,
    ) -> T:
        import_numpy()
        from damon_report.selection import Selection

        selection = Selection(contexts, targets, mappings, addresses, begin, end, hosts)
        return function(*args, selection=selection, **own)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def record_options(function: Callable[..., T]) -> Callable[..., T]:
    """Decorate a click command so that it gets an open record as `record`.

    This adds the argument RECORD, which may be several files, and the options that select a part
    of it; use it above the command's other options. The record is closed when the command has
    ended.
    """

    @click.argument("paths", metavar="[RECORD]...", nargs=-1, type=RECORD)
    @selection_options
    @functools.wraps(function)
    @pass_plugins
    def command(
        plugins: "Plugins",
        /,
        *args: object,
        paths: "tuple[Path | str, ...]",
        selection: "Selection",
        **own: object,
    ) -> T:
        from damon_report.record import open_record

        with open_record(plugins, paths or (DEFAULT_PATH,), selection) as record:
            return function(*args, record=record, **own)

    return command


#: The time of a report of one moment, as `at`.
at_option = click.option(
    "--at", metavar="TIME", type=MOMENT, help="The state at this time [default: at the end]."
)


def picture_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add ``-o`` and ``--dark`` to a command, which gets `output`, None for none, and `dark`."""
    output = click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Draw a picture over time instead: .png or .svg.",
    )
    return output(click.option("--dark", is_flag=True, help="Draw light on dark.")(command))


def limited(
    default: int, rows: str = "rows"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add ``--limit`` and ``--json`` to a command, which gets `limit`, None for all, and `as_json`.

    Args:
        default: Default number of rows on a terminal.
        rows: The name of the rows in the help text.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--limit",
            type=click.IntRange(min=0),
            metavar="N",
            help=f"At most N {rows}, 0 for all [default: {default} on a terminal, otherwise all].",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
        @functools.wraps(command)
        def with_limit(*args: Any, limit: int | None, as_json: bool, **values: Any) -> None:
            from damon_report.tables import new_console

            if limit is None and new_console().is_terminal and not as_json:
                limit = default
            command(*args, limit=limit or None, as_json=as_json, **values)

        return with_limit

    return decorate
