"""``damon run``: what a configuration file says."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from damon_cli.params import DURATION, pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Example: damon run examples/redis.toml --for 30s",
    short_help="Run the contexts of a configuration file",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--for", "for_us", type=DURATION, help="Stop after this time, such as 30s.")
@pass_plugins
def run(plugins: "Plugins", file: Path, for_us: int | None) -> None:
    """Run the contexts of a configuration file.

    Runs until SIGINT or SIGTERM, the end of all targets, or the time given; then stops in
    order. Logs go to standard error. The exit code is 1 if anything failed, a callback
    too: the last line says what is missing.
    """
    from damon_cli.session import check_output, closing_contexts, run_contexts
    from damon_core import build_contexts, load_config

    config = load_config(file, plugins)
    with closing_contexts(build_contexts(config, plugins)) as contexts:
        run_contexts(contexts, for_us, cpu_budget=config.cpu_budget)
        check_output(contexts)
