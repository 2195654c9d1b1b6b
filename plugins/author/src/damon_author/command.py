"""``damon plugin new``: begins a package of plugins."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from damon_cli.params import pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Example: damon plugin new tally --callback",
    short_help="Begin a package of plugins, with its tests",
)
@click.argument("name")
@click.option("--callback", is_flag=True, help="It does something with results.")
@click.option("--primitive", is_flag=True, help="It monitors an address space.")
@click.option(
    "--backend",
    is_flag=True,
    help="It sees accesses for a primitive: that of the package, or else vaddr and cgroup.",
)
@click.option("--policy", is_flag=True, help="It chooses the pages to check and adapts regions.")
@click.option("--format", is_flag=True, help="It reads and writes records.")
@click.option("--command", is_flag=True, help="It is run as 'damon NAME'.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where to put it  [default: damon-NAME].",
)
@pass_plugins
def new(plugins: "Plugins", /, *, name: str, directory: Path | None, **kinds: bool) -> None:
    """Begin a package of plugins, which works and passes its tests.

    NAME is what files and command lines will call the plugin; the package is called damon-NAME.
    Several kinds may be in one package.
    """
    import shlex

    from damon_author.creation import create_package

    wanted = [kind for kind, is_wanted in kinds.items() if is_wanted]
    made = create_package(plugins, name, wanted, directory)
    click.echo(
        f"{made} has a package that works: {', '.join(wanted)} '{name}'. Go on with:\n\n"
        f"    cd {shlex.quote(str(made))}\n"
        "    python3 -m venv .venv && . .venv/bin/activate\n"
        "    pip install -e '.[dev]'\n"
        "    pytest"
    )
