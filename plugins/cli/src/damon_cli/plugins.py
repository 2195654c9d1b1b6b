"""``damon plugins``: what is installed, what it offers, what is skipped and why."""

from typing import TYPE_CHECKING

import click

from damon_cli.params import pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Example: damon plugins --json",
    short_help="List the installed packages and what each offers",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_plugins
def plugins(plugins: "Plugins", as_json: bool) -> None:
    """List the installed packages and what each offers."""
    from damon_cli.listing import listed_commands, listed_plugins, show

    show(listed_plugins(plugins), listed_commands(), as_json)
