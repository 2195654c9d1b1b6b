"""The work of ``damon record``."""

import logging
import shlex
import statistics
from importlib import metadata
from pathlib import Path

import click
from attrs import evolve
from damon_cli.session import closing_contexts, run_contexts
from damon_cli.watching import WatchOptions
from damon_cli.writing import begin_record
from rich.console import Console

from damon_core import (
    Context,
    DamonError,
    InputError,
    Plugins,
    RecordInfo,
    Stats,
    format_duration,
    format_of,
    format_size,
)
from damon_record.display import progress
from damon_record.tally import Tally
from damon_record.writing import Writing

logger = logging.getLogger(__name__)


def record_to(
    output: Path, plugins: Plugins, watch: WatchOptions, for_us: int | None, *, pages: bool
) -> None:
    """Record to a file until the end, and print a summary.

    Args:
        output: The file; its ending says the format.
        plugins: What is installed.
        watch: What to watch, and how.
        for_us: Microseconds after which to stop.
        pages: Whether to keep every page.

    Raises:
        InputError: The format can't keep them.
    """
    formats = plugins.formats()
    record_format = format_of(output, formats)
    if pages and not record_format.pages:
        can = ", ".join(each.suffixes[0] for each in formats if each.pages) or "no installed format"
        raise InputError(
            f"--pages: '{output}' can't keep every page in the format {record_format.name}; "
            f"possible: {can}"
        )
    writing, tally = Writing(), Tally()
    context = watch.build(plugins, [writing, tally], "record")
    aggregation_us = context.intervals.aggregation_us
    if for_us is not None and for_us < aggregation_us:
        # Of a kdamond that runs already, one may end in this time, but has begun before.
        logger.warning(
            "one aggregation takes %s, longer than --for %s: there may be nothing to record",
            format_duration(aggregation_us, 3),
            format_duration(for_us, 3),
        )
    with closing_contexts([context]):
        # Before the context starts: no command is started for a file that can't be written.
        info = evolve(RecordInfo.here([context]), pages=pages)
        writing.writer = begin_record(record_format, output, info)
        with progress(Console(stderr=True), context, for_us) as tick:
            run_contexts([context], for_us=for_us, tick=tick)
    _summarise(tally, context, output, _next_step(output))
    if pages and not tally.knows_pages:
        click.echo(
            "no page is in it: "
            f"{_backend(context)} doesn't know every page, as the backend pagetable does"
        )


def _summarise(tally: Tally, context: Context, output: Path, next_step: str) -> None:
    stats: Stats = context.stats
    for callback in stats.callbacks.values():
        if callback.failures:
            raise DamonError(f"{output} is not complete: {callback.last_error}")
    sizes = tally.working_sets_bytes
    if not sizes:
        in_force_us, configured_us = tally.aggregation_us, context.intervals.aggregation_us
        # The intervals of a kdamond that runs already are its own.
        helps = (
            "a longer --for" if context.primitive_name == "kdamond" else "a shorter --aggregation"
        )
        raise DamonError(_why_nothing(in_force_us, configured_us, helps))
    if tally.last is None:
        raise DamonError(
            f"nothing was recorded: in none of {len(sizes)} aggregations was there anything that "
            "could be monitored: nothing matched, or warnings above say why"
        )
    idle = f"{format_size(tally.last.idle_bytes())} of {format_size(tally.last.total_bytes)}"
    if not output.exists():
        raise DamonError(f"{output} is gone: somebody else has removed it")
    aggregations = "1 aggregation" if len(sizes) == 1 else f"{len(sizes)} aggregations"
    lines = (
        f"{aggregations} in {tally.elapsed_us / 1e6:.1f} s, targets: "
        f"{len(tally.targets)}, {stats.samples} checks, {stats.missed_samples} missed",
        *_toll(stats, len(tally.targets)),
        f"working set: min {format_size(min(sizes))}, median "
        f"{format_size(statistics.median(sizes))}, max {format_size(max(sizes))}",
        f"not accessed in the last aggregation: {idle}",
        f"{tally.rows} rows went to {output}, {format_size(output.stat().st_size)}",
        next_step,
    )
    click.echo("\n".join(lines))


def _backend(context: Context) -> str:
    """Return what a message calls the backend, or the primitive that has none."""
    if context.backend_name:
        return f"the backend {context.backend_name}"
    return f"the primitive {context.primitive_name}"


def _why_nothing(
    in_force_us: int, configured_us: int, helps: str = "a shorter --aggregation"
) -> str:
    """Return why a record is empty, and what would help.

    Args:
        in_force_us: The aggregation interval that was last in force; 0 if there was no check.
        configured_us: The one that was asked for.
        helps: What helps if that is in force.
    """
    said = "nothing was recorded: the target ended, or the time was over, before "
    if not in_force_us:
        return f"{said}it could be looked at"
    said += "the first aggregation was complete"
    if in_force_us <= configured_us:
        return f"{said}: one takes {format_duration(in_force_us, 3)}; {helps} helps"
    return (
        f"{said}: one takes {format_duration(in_force_us, 3)} instead of "
        f"{format_duration(configured_us, 3)}, to keep within --cpu-budget; a higher one helps, or "
        "a longer --for"
    )


def _toll(stats: Stats, targets: int) -> tuple[str, ...]:
    """Return what monitoring has cost targets; nothing where that isn't known."""
    if not stats.longest_stall_us:
        return ()
    return (
        f"slowed {'its target' if targets == 1 else 'each target'} down by "
        f"{'' if targets == 1 else 'up to '}{100 * stats.slowdown:.2g} % by our account, longest "
        f"stall {format_duration(stats.longest_stall_us, 3)}",
    )


def _next_step(output: Path) -> str:
    """Return the line that says how to see a record; its end can be typed."""
    path = shlex.quote(str(output))
    if metadata.entry_points(group="damon.commands", name="report"):
        return f"look at them with: damon report heatmap {path}"
    if output.suffix == ".csv":
        return f"look at them with: head {path}"
    return f"look at them, once damon-report is installed, with: damon report heatmap {path}"
