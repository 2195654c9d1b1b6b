"""What packages offer, listed: the work of ``damon plugins``."""

import json
from collections.abc import Sequence

import attrs
import click
from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damon_cli.commands import UnusableCommandError, all_installed_commands
from damon_core import Plugins

#: Characters of a line that isn't broken.
_UNBROKEN = 10_000


@frozen
class Listed:
    """What one package offers, or why it can't be used.

    Attributes:
        name: The names of its entry points.
        package: The distribution and its version.
        skipped: Why it can't be used; empty if it can.
        primitives: Names of what it offers; likewise the others, backends ``PRIMITIVE.BACKEND``.
        contested: What of it another package offers as well.
    """

    name: str
    package: str
    skipped: str = ""
    primitives: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    contested: tuple[str, ...] = ()


def listed_plugins(plugins: Plugins) -> list[Listed]:
    """Import all packages of plugins and return what each offers."""
    return [Listed(**attrs.asdict(info)) for info in plugins.infos()]


def listed_commands() -> list[Listed]:
    """Import all installed commands and return them by package, each that can't be used alone."""
    usable: dict[str, list[str]] = {}
    unusable = []
    for command in all_installed_commands():
        try:
            command.load()
        except UnusableCommandError as error:
            unusable.append(Listed(command.name, command.package, str(error)))
        else:
            usable.setdefault(command.package, []).append(command.name)
    found = [
        Listed(", ".join(names), package, commands=tuple(names))
        for package, names in sorted(usable.items())
    ]
    return found + unusable


def show(plugins: Sequence[Listed], commands: Sequence[Listed], as_json: bool) -> None:
    """Print what is listed, for people or as JSON."""
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in (*plugins, *commands)], indent=2))
        return
    if not any(each.primitives or each.skipped for each in plugins):
        click.echo(
            "nothing that can be monitored is installed; begin with: pip install damon-vaddr"
        )
    table = Table("plugin", "package", "offers", box=None, pad_edge=False)
    for each in (*plugins, *commands):
        table.add_row(Text(each.name), Text(each.package), _offers(each))
    console = Console()
    if not console.is_terminal:
        console.width = _UNBROKEN  # for grep, and for reasons that are worth reading
    console.print(table)


def _offers(listed: Listed) -> Text:
    if listed.skipped:
        return Text(f"skipped: {listed.skipped}", "red")
    kinds = {
        "primitive": listed.primitives,
        "backend": listed.backends,
        "policy": listed.policies,
        "callback": listed.callbacks,
        "format": listed.formats,
        "command": listed.commands,
    }
    text = Text("; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items() if names))
    for line in listed.contested:
        text.append(f"{'; ' if text.plain else ''}{line}", "red")
    return text
