"""``damon plugins``: what is installed, what it offers, what is skipped and why."""

import json

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damon_core.registry.discovery import PluginInfo, Plugins

#: Characters of a line that isn't broken.
_UNBROKEN = 10_000


@click.command(epilog="Example: damon plugins --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plugins(plugins: Plugins, as_json: bool) -> None:
    """List the installed plugins and what each offers."""
    infos = plugins.infos()
    if as_json:
        click.echo(json.dumps([attrs.asdict(info) for info in infos], indent=2))
        return
    if not any(info.primitives or info.skipped for info in infos):
        click.echo(
            "nothing that can be monitored is installed; begin with: pip install damon-vaddr"
        )
    if not infos:
        return
    table = Table("plugin", "package", "offers", box=None, pad_edge=False)
    for info in infos:
        table.add_row(Text(info.name), Text(info.package), _offers(info))
    console = Console()
    if not console.is_terminal:
        console.width = _UNBROKEN  # for grep, and for reasons that are worth reading
    console.print(table)


def _offers(info: PluginInfo) -> Text:
    if info.skipped:
        return Text(f"skipped: {info.skipped}", "red")
    kinds = {
        "primitive": info.primitives,
        "backend": info.backends,
        "policy": info.policies,
        "callback": info.callbacks,
        "format": info.formats,
        "command": info.commands,
    }
    return Text("; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items() if names))
