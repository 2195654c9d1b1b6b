"""The progress display of a recording."""

import contextlib
from collections.abc import Callable, Generator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from damon_core import Context, format_duration, format_size


@contextlib.contextmanager
def progress(
    console: Console, context: Context, for_us: int | None
) -> Generator[Callable[[], None] | None, None, None]:
    """Show on a terminal how the recording goes while inside; elsewhere nothing.

    Yields:
        What to call now and then, None if there is nothing to show it on.
    """
    if not console.is_terminal:
        yield None
        return
    start_us = context.clock.now_us()

    def show() -> Table:
        return progress_table(context, context.clock.now_us() - start_us, for_us)

    with Live(
        show(), console=console, auto_refresh=True, refresh_per_second=4, transient=True
    ) as live:
        yield lambda: live.update(show())


def progress_table(context: Context, elapsed_us: int, for_us: int | None) -> Table:
    """Return what the display shows after a time, in two lines."""
    snapshot, stats = context.snapshot, context.stats
    elapsed = f"{elapsed_us / 1e6:.0f} s"
    values = {
        "elapsed": elapsed if for_us is None else f"{elapsed} of {for_us / 1e6:g} s",
        "targets": "-" if snapshot is None else str(len(snapshot.targets)),
        "working set": "-" if snapshot is None else format_size(snapshot.working_set_bytes()),
        "idle": "-" if snapshot is None else format_size(snapshot.idle_bytes()),
        "interval": format_duration(context.intervals.aggregation_us, 3),
        "missed": str(stats.missed_samples),
        "CPU": f"{100 * stats.cpu_us / max(elapsed_us, 1):.1f} %",
        "slowdown": f"{100 * stats.slowdown:.2g} %" if stats.longest_stall_us else "-",
    }
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in values:
        table.add_column(name, no_wrap=True)
    table.add_row(*values.values())
    return table
