"""What this package registers."""

from collections.abc import Callable

import click

from damon_core import hookimpl
from damon_top.command import top


@hookimpl
def register_commands(register: Callable[[click.Command], None]) -> None:
    """Offer ``damon top``."""
    register(top)
