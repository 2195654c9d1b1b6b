"""The ``damon`` command: its own subcommands, and those of plugins."""

import functools
import logging
from importlib.metadata import version
from typing import IO, Any

import click

from damon_cli.check import check
from damon_cli.doctor import doctor
from damon_cli.plugins import plugins as plugins_command
from damon_cli.run import run
from damon_core.errors import DamonError, InputError, one_line
from damon_core.registry.discovery import Plugins
from damon_core.registry.options import nearest

_OWN = {command.name or "": command for command in (check, doctor, plugins_command, run)}


class _Failure(click.ClickException):
    """An error as the command line tells it: lines that begin with the program's name."""

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"damon: {line}", err=True, file=file)


class _Mistake(_Failure):
    """The user's mistake."""

    exit_code = 2


class _DamonGroup(click.Group):
    """Finds subcommands of plugins when they are asked for, and turns errors into lines."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        # Completion asks for commands without running the group, so it is too late there.
        if "obj" not in extra:
            extra["obj"] = Plugins.discover()
        return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_OWN, *ctx.find_object(Plugins).command_names()})  # type: ignore[union-attr]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _OWN.get(cmd_name) or ctx.find_object(Plugins).command(cmd_name)  # type: ignore[union-attr]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        # Completion asks with resilient parsing, and is no place for errors.
        if not (ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name)):
            reason = ctx.find_object(Plugins).why_skipped(name)  # type: ignore[union-attr]
            hint = reason or nearest(name, self.list_commands(ctx))
            raise _Mistake(f"there is no command '{name}'; {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except InputError as error:
            raise _Mistake(error.message) from error
        except DamonError as error:
            raise _Failure(error.message) from error
        except Exception as error:
            logging.getLogger(__name__).debug("internal error", exc_info=error)
            text = f"internal error: {one_line(error)} (damon --verbose tells where)"
            raise _Failure(text) from error


@click.group(
    cls=_DamonGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with 'damon doctor': it tells what works on this machine.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more, with tracebacks of failures.")
@click.version_option(version("damon-core"), prog_name="damon")
@click.pass_context
def main(context: click.Context, verbose: bool) -> None:
    """Which memory is a program really using? Data access monitoring for Linux."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormat(verbose))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.WARNING)
    if not verbose:
        # Failures of contexts are told by the command that runs them, once.
        logging.getLogger("damon_core.loop.kdamond").setLevel(logging.CRITICAL)
    context.call_on_close(functools.partial(root.removeHandler, handler))


class _LogFormat(logging.Formatter):
    """One line a message; tracebacks only for those who asked for them."""

    def __init__(self, tracebacks: bool) -> None:
        super().__init__("damon: %(levelname)s: %(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        if not self._tracebacks:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return super().format(record)
