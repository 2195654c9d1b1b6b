"""The command: ``damon tick``."""

import click
from damon_cli.building import build_context
from damon_cli.params import DURATION, SIZE, pass_plugins
from damon_cli.session import closing_contexts, run_contexts

from damon_core import Bytes, Plugins


@click.command(epilog="Example: damon tick --size 16MiB --for 2s")
@click.option("--size", type=SIZE, default="64MiB", show_default=True, help="Bytes of memory.")
@click.option("--for", "for_us", type=DURATION, default="1s", show_default=True, help="How long.")
@pass_plugins
def tick(plugins: Plugins, size: Bytes, for_us: int) -> None:
    """Monitor ticking memory and print its working set."""
    table = {"name": "tick", "primitive": {"use": "tick", "size": size}}
    context = build_context(table, plugins)
    with closing_contexts([context]):
        run_contexts([context], for_us)
    if context.snapshot is not None:
        click.echo(f"{context.snapshot.working_set_bytes()} bytes are in use")
