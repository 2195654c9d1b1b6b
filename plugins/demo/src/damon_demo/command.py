"""``damon demo``: its options. What it does is imported when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from damon_cli.params import POSITIVE_DURATION, pass_plugins

if TYPE_CHECKING:
    from damon_core import Plugins


@click.command(
    epilog="Examples: damon demo; damon demo --for 60s -o /tmp/demo.parquet; damon demo --regions",
    short_help="Watch a program whose accesses are known, and judge the result",
)
@click.option(
    "--for",
    "for_us",
    type=POSITIVE_DURATION,
    default="20s",
    show_default=True,
    help="How long to watch.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="demo.parquet",
    show_default=True,
    help="The record to write; heat maps go beside it, as .png and .html.",
)
@click.option(
    "--backend",
    default="auto",
    metavar="NAME",
    show_default="best available",
    help="Backend; damon doctor lists them.",
)
@click.option(
    "--regions",
    is_flag=True,
    help="Show on one page how regions adapt, on simulated memory; takes a second.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=6,
    show_default=True,
    help="With --regions: seed of the random accesses and checks.",
)
@pass_plugins
def demo(
    plugins: "Plugins", *, for_us: int, output: Path, backend: str, regions: bool, seed: int
) -> None:
    """Watch a workload whose access pattern is known, and show the result.

    Starts a process with six areas of memory: one hot all the time, one cold, and four that are
    hot in turn for four seconds each. Watches it as any other process, through the kernel, with
    an available backend. Then shows a heat map, working set sizes, and how much of the hot and
    the cold memory was reported correctly, and writes the heat map as a picture and as a page
    for browsers.

    Needs no root: the process is your own.
    """
    _refuse_options_without_use(click.get_current_context(), regions)
    if regions:
        from rich.console import Console

        from damon_demo.adapting import watch
        from damon_demo.adapting_report import print_adapting

        print_adapting(Console(highlight=False), watch(plugins, seed), seed)
    else:
        from damon_demo.watching import watch_workload

        watch_workload(plugins, for_us, output, backend)


def _refuse_options_without_use(click_context: click.Context, regions: bool) -> None:
    """Raise a usage error if an option was given that has no effect with the others."""
    for name, option, needs_regions in (
        ("for_us", "--for", False),
        ("output", "--output", False),
        ("backend", "--backend", False),
        ("seed", "--seed", True),
    ):
        given = click_context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and regions != needs_regions:
            raise click.UsageError(
                f"{option} has {'an' if needs_regions else 'no'} effect "
                f"{'only ' if needs_regions else ''}with --regions: leave it out"
            )
