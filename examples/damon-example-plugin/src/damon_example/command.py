"""The command `damon example`.

`damon` imports this to show its help and to complete its options: so it declares them, and what
does the work is imported when the command runs.
"""

from typing import TYPE_CHECKING

import click
from damon_cli.params import DURATION, pass_plugins
from damon_cli.watching import WatchOptions, watch_options

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(epilog="Example: damon example --pid 1234 --for 10s")
@watch_options
@click.option("--for", "for_us", type=DURATION, help="Stop after this time, such as 10s.")
@pass_plugins
def command(plugins: "Plugins", *, watch: WatchOptions, for_us: int | None) -> None:
    """Print the working set of what is watched, every aggregation."""
    from damon_example.printing import (
        print_working_sets,
    )

    print_working_sets(plugins, watch, for_us)
