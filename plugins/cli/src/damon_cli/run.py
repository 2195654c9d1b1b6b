"""``damon run``: what a configuration file says."""

from pathlib import Path

import click

from damon_cli.params import DURATION
from damon_cli.session import run_contexts
from damon_core.deployment.building import build_contexts
from damon_core.deployment.reading import load_config
from damon_core.registry.discovery import Plugins


@click.command(epilog="Example: damon run examples/redis.toml --for 30s")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--for", "for_us", type=DURATION, help="Stop after this time, such as 30s.")
@click.pass_obj
def run(plugins: Plugins, file: Path, for_us: int | None) -> None:
    """Run the contexts of a configuration file.

    Runs until SIGINT or SIGTERM, the end of all targets, or the time given; then stops in
    order. Logs go to standard error.
    """
    config = load_config(file, plugins)
    run_contexts(build_contexts(config, plugins), for_us, cpu_budget=config.cpu_budget)
