"""Working sets, printed: the work of `damon example`."""

import click
from damon_cli.session import check_output, closing_contexts, run_contexts
from damon_cli.watching import WatchOptions
from damon_core import HookContext, Plugins, format_size, hookimpl


class Printer:
    """A callback that prints the working set of each aggregation."""

    name = "example"

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Print a line."""
        snapshot = context.snapshot
        assert snapshot is not None  # never None in this hook
        click.echo(f"{snapshot.number}: {format_size(snapshot.working_set_bytes())}")


def print_working_sets(plugins: Plugins, watch: WatchOptions, for_us: int | None) -> None:
    """Watch what was asked for, until it ends, the time is over or Ctrl-C.

    Args:
        plugins: What is installed.
        watch: What to watch, and how.
        for_us: How long, in microseconds; None for no limit.

    Raises:
        DamonError: It can't be watched. `damon` shows it as one line, with exit code 1, or 2 for
            an `InputError`: a mistake of the user.
    """
    context = watch.build(plugins, [Printer()])
    with closing_contexts([context]):
        run_contexts([context], for_us)
        check_output([context])
