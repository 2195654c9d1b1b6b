"""What this package registers."""

from collections.abc import Callable

import click

from damon_core import hookimpl
from damon_demo.command import demo


@hookimpl
def register_commands(register: Callable[[click.Command], None]) -> None:
    """Offer ``damon demo``."""
    register(demo)
