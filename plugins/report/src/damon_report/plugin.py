"""What this package registers."""

from collections.abc import Callable

import click

from damon_core import hookimpl
from damon_report.command import report


@hookimpl
def register_commands(register: Callable[[click.Command], None]) -> None:
    """Offer ``damon report``."""
    register(report)
