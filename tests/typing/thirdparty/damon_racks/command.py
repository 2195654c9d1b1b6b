"""A command."""

import click
from damon_cli.building import build_context
from damon_cli.params import DURATION, pass_plugins
from damon_cli.session import check_output, closing_contexts, run_contexts
from damon_cli.watching import WatchOptions, watch_options

from damon_core import Plugins


@click.command(epilog="Example: damon racks --pid 1234 --for 10s")
@watch_options
@click.option("--for", "for_us", type=DURATION, help="Stop after this time, such as 10s.")
@pass_plugins
def racks(plugins: Plugins, *, watch: WatchOptions, for_us: int | None) -> None:
    """Print the working set of a process."""
    contexts = [build_context({"name": "disk", "primitive": {"use": "disk"}}, plugins)]
    with closing_contexts(contexts):
        run_contexts(contexts, for_us)
        check_output(contexts)
