"""``damon doctor``: what works on this machine, and what exactly is missing for the rest."""

from typing import TYPE_CHECKING

import click

from damon_cli.params import pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Example: damon doctor --json",
    short_help="Show what works on this machine, and what is missing for the rest",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_plugins
def doctor(plugins: "Plugins", as_json: bool) -> None:
    """Show what works on this machine and what is missing for the rest.

    Exits with 0 whatever it finds: a machine needn't be able to do everything.
    """
    from damon_cli.diagnosis import diagnose, diagnose_commands, show

    show([*diagnose(plugins), *diagnose_commands()], as_json)
