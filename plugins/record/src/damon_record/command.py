"""``damon record``: what to watch and how, from the command line."""

import shlex
import statistics
from pathlib import Path

import click
from rich.console import Console

from damon_core import (
    Context,
    DamonError,
    Stats,
    format_duration,
    format_size,
)
from damon_core.cli import DURATION, Plugins, WatchOptions, run_contexts, watch_options
from damon_record.display import progress
from damon_record.tally import Tally

#: The callback that writes files of each ending.
_WRITERS = {".csv": "csv"}

_EPILOG = """\b
Examples:
  damon record --pid 1234 --for 30s -o db.csv
  damon record --descendants -o build.csv -- make -j2
  damon record --cgroup /sys/fs/cgroup/system.slice --for 1m -o system.csv
  damon record --paddr --for 1m -o machine.csv
"""


@click.command(epilog=_EPILOG, short_help="Record the memory accesses of a process, to a file.")
@watch_options
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file; its ending says the format: .csv.",
)
@click.option("--for", "for_us", type=DURATION, help="Stop after this time, such as 10s.")
@click.pass_obj
def record(
    plugins: Plugins,
    *,
    watch: WatchOptions,
    output: Path,
    for_us: int | None,
) -> None:
    """Record the memory accesses of a process, a cgroup, a COMMAND or the machine to a file.

    Goes on until the target ends, the time is over, or SIGINT or SIGTERM comes. Give exactly
    one of --pid, --cgroup, --paddr and a COMMAND (after --), which is started and watched.
    """
    use, options = watch.primitive(processes="vaddr", cgroup="cgroup", physical="paddr")
    writer = _writer(output)

    # The output first: a command isn't started for a file that can't be written.
    callback = plugins.make_callback(writer, {"path": str(output)})
    tally = Tally()
    context = Context(
        plugins.make_primitive(use, options),
        callbacks=[callback, tally],
        intervals=watch.intervals,
        limits=watch.limits,
        name="record",
    )
    with context, progress(Console(stderr=True), context, for_us) as tick:
        run_contexts([context], for_us=for_us, tick=tick)
    _summarise(tally, context, output)


def _writer(output: Path) -> str:
    """Return the name of the callback that writes such a file."""
    name = _WRITERS.get(output.suffix)
    if name is None:
        raise click.BadParameter(
            f"'{output}' has no ending that tells its format; possible: {', '.join(_WRITERS)}",
            param_hint="'-o' / '--output'",
        )
    return name


def _summarise(tally: Tally, context: Context, output: Path) -> None:
    stats: Stats = context.stats
    for name, callback in stats.callbacks.items():
        if callback.failures:
            raise DamonError(
                f"{output} is not complete: {name} failed {callback.failures} times, last with "
                f"{callback.last_error}"
            )
    sizes = tally.working_sets_bytes
    if not sizes:
        raise DamonError(
            "nothing was recorded: the target ended, or the time was over, before the first "
            f"aggregation ({format_duration(context.intervals.aggregation_us)}) was complete"
        )
    median = statistics.median(sizes)
    click.echo(
        f"{len(sizes)} aggregations, targets: {len(tally.targets)}, {stats.samples} checks, "
        f"{stats.missed_samples} missed\n"
        f"working set: min {format_size(min(sizes))}, median {format_size(median)}, "
        f"max {format_size(max(sizes))}\n"
        f"{tally.rows} rows went to {output}; look at them with: head {shlex.quote(str(output))}"
    )
