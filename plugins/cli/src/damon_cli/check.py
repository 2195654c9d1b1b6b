"""``damon check``: is a configuration file right?"""

from pathlib import Path

import click

from damon_core.deployment.reading import load_config
from damon_core.registry.discovery import Plugins


@click.command(epilog="Example: damon check examples/redis.toml")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def check(plugins: Plugins, file: Path) -> None:
    """Check a configuration file and tell every mistake in it.

    Nothing is started: whether a process is there or a port is free shows when it runs.
    """
    config = load_config(file, plugins)
    for context in config.contexts:
        callbacks = ", ".join(callback.part.name for callback in context.callbacks) or "nothing"
        click.echo(f"{file}: {context.name}: {context.primitive.part.name} to {callbacks}")
