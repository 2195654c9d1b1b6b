"""``damon plugin``: for authors of packages."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import click

from damon_cli.groups import InstalledGroup
from damon_cli.params import pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


class _PluginGroup(InstalledGroup):
    """Has the installed commands of ``damon plugin``."""

    within = "plugin"
    elsewhere: ClassVar[Mapping[str, str]] = {"new": "damon-author"}


@click.group(
    cls=_PluginGroup,
    epilog="Example: damon plugin check csv",
    short_help="Begin a package of plugins, and check it",
)
def plugin() -> None:
    """Begin a package of plugins, and check whether it is correct.

    'damon plugin new' is in a package that only authors need: damon-author.
    """


@click.command(
    epilog="Example: damon plugin check csv --options 'path = \"{tmp}/rows.csv\"'",
    short_help="Check whether what a package offers is correct",
)
@click.argument("name")
@click.option(
    "--options",
    "options_text",
    default="",
    metavar="TOML",
    help="Options of the part, as a configuration file has them; {tmp} is an empty directory.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="RULE",
    help="Leave a rule out that isn't for this part; may be given several times.",
)
@click.option("--all", "show_all", is_flag=True, help="Show the rules that are kept, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_plugins
def check(
    plugins: "Plugins",
    *,
    name: str,
    options_text: str,
    without: tuple[str, ...],
    show_all: bool,
    as_json: bool,
) -> None:
    """Check whether what a package offers keeps the rules of its kind.

    NAME is that of a primitive, a backend (also PRIMITIVE.BACKEND), a policy, a callback, a
    format or a command, or of an installed distribution: then all that it offers is checked.
    Where options have to be given, rules that need them aren't checked without.

    The exit code is 1 if a rule is broken, and 2 if nothing of this name is installed, or
    the options are wrong.
    """
    from damon_cli.conformance import check_installed

    click.get_current_context().exit(
        check_installed(plugins, name, options_text, without, show_all=show_all, as_json=as_json)
    )
