"""The ``damon`` command: finds the commands of packages, and turns errors into lines.

Nothing but click is imported before a command is called: help and completion come at once.
"""

import atexit
import errno
import gc
import sys
from typing import IO, Any

import click

from damon_cli.commands import UnusableCommandError
from damon_cli.garbage import searched_seldom
from damon_cli.groups import InstalledGroup
from damon_cli.streams import is_of_output, prepare_output, why_unwritten

__all__ = ["main"]


class _Failure(click.ClickException):
    """An error as the command line shows it: lines as the log has them when it is raised."""

    def __init__(self, message: str) -> None:
        from damon_cli.logs import as_lines

        super().__init__(message)
        self._lines = as_lines(message)

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self._lines:
            click.echo(line, err=True, file=file)


class _Mistake(_Failure):
    """The user's mistake."""

    exit_code = 2


class _DamonGroup(InstalledGroup):
    """Has the installed commands."""

    def main(self, *args: Any, **others: Any) -> Any:
        """Run a command, with output that may be a terminal of any kind, a full disk or closed."""
        prepare_output()
        try:
            return super().main(*args, **others)
        except SystemExit as end:
            # What is still in a buffer would be lost without a word.
            reason = why_unwritten()
            if reason is None or end.code not in {0, None}:
                raise
        except OSError as error:
            # What is still to be written is given up, too.
            reason = why_unwritten() or error.strerror or str(error)
        _Failure(f"the output can't be written: {reason}").show()
        sys.exit(1)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except UnusableCommandError as error:
            raise _Mistake(str(error)) from error
        except OSError as error:
            if is_of_output(error):
                raise
            raise _failure(error) from error
        except Exception as error:
            raise _failure(error) from error


def _failure(error: Exception) -> click.ClickException:
    """Return an error of a command as what the user sees of it."""
    import logging

    try:
        from damon_core import DamonError, InputError, one_line
    except ImportError as core_error:
        return _Failure(f"damon-core can't be imported: {core_error}")
    if isinstance(error, InputError):
        return _Mistake(error.message)
    if isinstance(error, DamonError):
        return _Failure(error.message)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return _Mistake(f"'{error.filename}' can't be used: {error.strerror}")
    logging.getLogger(__name__).debug("internal error", exc_info=error)
    return _Failure(f"internal error: {one_line(error)} (damon --verbose shows where)")


@click.group(
    cls=_DamonGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with 'damon doctor': it shows what works on this machine.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more, with tracebacks of failures.")
@click.version_option(package_name="damon-core", prog_name="damon")
@click.pass_context
def main(context: click.Context, verbose: bool) -> None:
    """Which memory is a program really using? Data access monitoring for Linux."""
    from damon_cli.logs import log_to_stderr

    context.with_resource(searched_seldom())
    # Python would search all modules and classes for garbage once more before it ends, which takes
    # as long as a tenth of a second; what has to be closed, commands close themselves.
    atexit.register(gc.freeze)
    context.call_on_close(log_to_stderr(verbose))
