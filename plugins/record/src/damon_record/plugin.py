"""What this package registers."""

from collections.abc import Callable

import click

from damon_core import hookimpl
from damon_record.command import record
from damon_record.convert import convert


@hookimpl
def register_commands(register: Callable[[click.Command], None]) -> None:
    """Offer ``damon record`` and ``damon convert``."""
    register(record)
    register(convert)
