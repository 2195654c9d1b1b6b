"""``damon top``: its options. What it does is imported when it runs."""

from typing import TYPE_CHECKING

import click
from damon_cli.params import DURATION, pass_plugins
from damon_cli.watching import WatchOptions, watch_options

if TYPE_CHECKING:
    from damon_core import Plugins

_EPILOG = """\b
Examples:
  damon top --pid 1234
  damon top --cgroup /sys/fs/cgroup/system.slice --descendants
  damon top --cgroup 'system.slice/*.service' --group-by unit
  damon top --match 'comm=postgres*'
  damon top --paddr
  damon top examples/service-prometheus.toml
  damon top -- make -j2
"""


@click.command(epilog=_EPILOG)
@watch_options
@click.option(
    "--refresh",
    "refresh_us",
    type=DURATION,
    default="1s",
    show_default=True,
    help="Time between two looks, and that of a column of the heat map.",
)
@click.option(
    "--serve",
    metavar="[HOST:]PORT",
    help="Show it in a browser instead: at this port of the loopback interface, or of HOST.",
)
@pass_plugins
def top(plugins: "Plugins", *, watch: WatchOptions, refresh_us: int, serve: str | None) -> None:
    """Show live which memory a process, a cgroup, a COMMAND or the machine uses.

    Give exactly one of --pid, --cgroup, --match, --paddr, a COMMAND (after --), which is started
    and watched, and a CONFIG.toml, whose contexts run with their callbacks as `damon run` runs
    them. Press ? for help, q to quit.
    """
    from damon_top.live import show_live

    show_live(plugins, watch, refresh_us, serve)
