"""``damon top``: its options. What it does is imported when it runs."""

import re
from typing import TYPE_CHECKING

import click
from damon_cli.params import POSITIVE_DURATION, pass_plugins
from damon_cli.watching import WatchOptions, watch_options

if TYPE_CHECKING:
    from damon_core import Plugins

_EPILOG = """\b
Examples:
  damon top --pid 1234
  damon top --cgroup /sys/fs/cgroup/system.slice --descendants
  damon top --cgroup 'system.slice/*.service' --group-by unit
  damon top --match 'comm=postgres*'
  damon top --cgroup 'kubepods.slice/*' --descendants --by namespace,pod
  damon top --paddr
  damon top --kdamond all
  damon top examples/service-prometheus.toml
  damon top -- make -j2
"""


_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _labels(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    labels = tuple(text.split(","))
    if not all(map(_LABEL.fullmatch, labels)):
        raise click.BadParameter(f"{text!r} is not the name of a label, like unit")
    return labels


@click.command(
    epilog=_EPILOG, short_help="Show live in the terminal which memory is used, and how often"
)
@watch_options
@click.option(
    "--refresh",
    "refresh_us",
    type=POSITIVE_DURATION,
    default="1s",
    show_default=True,
    help="Time between two looks, and that of a column of the heat map.",
)
@click.option(
    "--by",
    metavar="LABEL",
    default="target",
    show_default=True,
    callback=_labels,
    help="A line for all targets of which a label is the same, such as unit, or several like "
    "namespace,pod; target: for each.",
)
@click.option(
    "--serve",
    metavar="[HOST:]PORT",
    help="Show it in a browser instead: at this port of the loopback interface, or of HOST.",
)
@pass_plugins
def top(
    plugins: "Plugins",
    *,
    watch: WatchOptions,
    refresh_us: int,
    by: tuple[str, ...],
    serve: str | None,
) -> None:
    """Show live which memory a process, a cgroup, a COMMAND or the machine uses.

    Give exactly one of --pid, --cgroup, --match, --paddr, --kdamond, a COMMAND (after --), which is
    started and watched, and a CONFIG.toml, whose contexts run with their callbacks as `damon run`
    runs them. Press ? for help, q to quit.
    """
    from damon_top.live import show_live

    show_live(plugins, watch, refresh_us=refresh_us, by=by, serve=serve)
