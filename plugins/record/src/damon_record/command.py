"""``damon record``: what to watch and how, from the command line."""

import shlex
import statistics
from pathlib import Path

import click
from rich.console import Console

from damon_core import (
    Context,
    DamonError,
    Intervals,
    RegionLimits,
    Stats,
    format_duration,
    format_size,
)
from damon_core.cli import DURATION, Plugins, run_contexts
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
@click.option("--pid", type=click.IntRange(min=1), metavar="N", help="Watch this process.")
@click.option("--cgroup", metavar="PATH", help="Watch the processes of this cgroup.")
@click.option("--paddr", is_flag=True, help="Watch the physical memory of the machine (root).")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file; its ending says the format: .csv.",
)
@click.option("--for", "for_us", type=DURATION, help="Stop after this time, such as 10s.")
@click.option("--backend", metavar="NAME", help="How accesses are seen [default: what works].")
@click.option("--descendants", is_flag=True, help="Watch child processes or child cgroups too.")
@click.option(
    "--sampling",
    "sampling_us",
    type=DURATION,
    default="5ms",
    show_default=True,
    help="Time between two checks.",
)
@click.option(
    "--aggregation",
    "aggregation_us",
    type=DURATION,
    default="100ms",
    show_default=True,
    help="Time over which checks are added up.",
)
@click.option(
    "--update",
    "update_us",
    type=DURATION,
    default="1s",
    show_default=True,
    help="Time between two looks for new mappings and processes.",
)
@click.option(
    "--min-regions", type=int, metavar="N", default=10, show_default=True, help="Least regions."
)
@click.option(
    "--max-regions", type=int, metavar="N", default=1_000, show_default=True, help="Most regions."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def record(
    plugins: Plugins,
    *,
    pid: int | None,
    cgroup: str | None,
    paddr: bool,
    output: Path,
    for_us: int | None,
    backend: str | None,
    descendants: bool,
    sampling_us: int,
    aggregation_us: int,
    update_us: int,
    min_regions: int,
    max_regions: int,
    command: tuple[str, ...],
) -> None:
    """Record the memory accesses of a process, a cgroup, a COMMAND or the machine to a file.

    Goes on until the target ends, the time is over, or SIGINT or SIGTERM comes. Give exactly
    one of --pid, --cgroup, --paddr and a COMMAND (after --), which is started and watched.
    """
    given = [pid is not None, cgroup is not None, paddr, bool(command)]
    if sum(given) != 1:
        raise click.UsageError(
            "give exactly one of --pid, --cgroup, --paddr and a COMMAND after --"
        )
    if paddr and descendants:
        raise click.UsageError("--descendants means nothing with --paddr: leave it out")
    intervals = Intervals(sampling_us, aggregation_us, update_us)
    limits = RegionLimits(min_regions, max_regions)
    writer = _writer(output)

    options: dict[str, object] = {} if paddr else {"descendants": descendants}
    if backend is not None:
        options["backend"] = backend
    if paddr:
        use = "paddr"
    elif cgroup is not None:
        use, options["path"] = "cgroup", cgroup
    else:
        use = "vaddr"
        options |= {"pid": pid} if pid is not None else {"command": list(command)}

    # The output first: a command isn't started for a file that can't be written.
    callback = plugins.make_callback(writer, {"path": str(output)})
    tally = Tally()
    context = Context(
        plugins.make_primitive(use, options),
        callbacks=[callback, tally],
        intervals=intervals,
        limits=limits,
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
