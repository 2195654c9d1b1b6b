"""``damon run``: what a configuration file says."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from damon_cli.params import POSITIVE_DURATION, pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Example: damon run examples/process-csv.toml --for 30s",
    short_help="Run the contexts of a configuration file",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--for", "for_us", type=POSITIVE_DURATION, help="Stop after this time, such as 30s.")
@click.option(
    "--strict",
    is_flag=True,
    help="Start nothing unless all targets are there.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How lines of the log are written: json is an object a line.",
)
@pass_plugins
def run(plugins: "Plugins", file: Path, for_us: int | None, strict: bool, log_format: str) -> None:
    """Run the contexts of a configuration file.

    Runs until SIGINT or SIGTERM, the end of all targets, or the time given; then stops in
    order. SIGHUP reads the file again: what has changed begins anew, what hasn't goes on, and
    a file with mistakes changes nothing. A context whose target isn't there yet waits for it.

    Logs go to standard error. The exit code is 1 if anything failed, a callback too: the
    last line says what is missing.
    """
    from damon_cli.daemon import Daemon
    from damon_cli.logs import log_as_service
    from damon_cli.notify import Notifier
    from damon_cli.session import check_output, closing_contexts, run_contexts
    from damon_core import Deployment, build_contexts, load_config

    log_as_service(log_format)
    config = load_config(file, plugins)
    if strict:
        with closing_contexts(build_contexts(config, plugins)) as contexts:
            run_contexts(contexts, for_us, cpu_budget=config.cpu_budget)
            check_output(contexts)
        return
    deployment = Deployment(plugins)
    daemon = Daemon(deployment, lambda: load_config(file, plugins), Notifier.of_environment())
    daemon.run(config, for_us)
    check_output(deployment.contexts)
