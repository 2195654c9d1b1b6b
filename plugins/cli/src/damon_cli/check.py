"""``damon check``: is a configuration file right?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from damon_cli.params import pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Example: damon check examples/service-prometheus.toml",
    short_help="Check a configuration file and report every mistake in it",
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--schema",
    is_flag=True,
    help="Print the JSON Schema of configurations with the plugins installed here, for editors.",
)
@pass_plugins
def check(plugins: "Plugins", file: Path | None, schema: bool) -> None:
    """Check a configuration file and report every mistake in it.

    Nothing is started: whether a process is there or a port is free shows when it runs.
    """
    if (file is None) != schema:
        raise click.UsageError("give either FILE or --schema")
    if file is None:
        import json

        from damon_core import config_schema

        click.echo(json.dumps(config_schema(plugins), indent=2, ensure_ascii=False))
        return
    from damon_core import load_config

    config = load_config(file, plugins)
    for context in config.contexts:
        callbacks = ", ".join(callback.part.name for callback in context.callbacks) or "nothing"
        click.echo(f"{file}: {context.name}: {context.primitive.part.name} to {callbacks}")
