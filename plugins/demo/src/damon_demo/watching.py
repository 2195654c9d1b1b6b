"""Watching of the demo's workload: start, monitor, record and report."""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from damon_cli.building import build_context
from damon_cli.session import closing_contexts, run_contexts
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from damon_core import (
    Context,
    DamonError,
    InputError,
    Plugins,
    RecordInfo,
    RecordWriter,
    Snapshot,
    format_duration,
    format_of,
    format_size,
    hookimpl,
)
from damon_demo.maps import save_map
from damon_demo.process import WorkloadProcess
from damon_demo.report import Watched, print_report
from damon_demo.workload import AreaSpec, Pattern, Phase

_MIB = 1 << 20
#: Long enough for some checks even if the sampling interval is lengthened to stay within the CPU
#: budget, short enough that most aggregations lie within one phase.
_INTERVALS = {"sampling_interval": "100ms", "aggregation_interval": "400ms"}
#: The workload runs longer than the monitoring, to allow for slow starts and stops.
_SPARE_US = 60_000_000


class _History:
    """Keeps all snapshots of its context, and writes them to a record."""

    name = "history"

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.writer: RecordWriter | None = None

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)
        if self.writer is not None:
            self.writer.write(context.snapshot)


def watch_workload(plugins: Plugins, for_us: int, output: Path, backend: str) -> None:
    """Start the workload, monitor it, write the record and heat maps, and print the report.

    Args:
        plugins: The installed plugins.
        for_us: How long to watch, microseconds.
        output: The record; heat maps go beside it.
        backend: The backend of the primitive, or "auto".

    Raises:
        InputError: The record can't be written, or no aggregation was complete in time.
        DamonError: The workload failed, or the record is incomplete.
    """
    record_format = format_of(output, plugins.formats())
    with WorkloadProcess(demo_pattern(for_us + _SPARE_US)) as workload:
        primitive = {"use": "vaddr", "pid": workload.pid, "backend": backend}
        history = _History()
        context = build_context(
            {"name": "demo", "primitive": primitive, **_INTERVALS}, plugins, [history]
        )
        with (
            closing_contexts([context]),
            record_format.write(output, RecordInfo.here([context])) as writer,
            _progress(context, for_us) as tick,
        ):
            history.writer = writer
            run_contexts([context], for_us=for_us, tick=tick)
            stats = context.stats
        truth = workload.truth()
    failed = stats.callbacks[history.name]
    if failed.failures:
        raise DamonError(f"{output} is not complete: {failed.last_error}")
    if not history.snapshots:
        raise InputError(
            f"no aggregation was complete after {format_duration(for_us)}: watch for longer "
            "with --for"
        )
    pictures = output.with_suffix(".png"), output.with_suffix(".html")
    for path in pictures:
        save_map(history.snapshots, truth, path, output)
    print_report(
        Console(highlight=False),
        Watched(tuple(history.snapshots), truth, stats, output, pictures),
    )


def demo_pattern(for_us: int) -> Pattern:
    """Return the pattern of the demo: one area always hot, one never, and a hot spot that moves.

    The hot areas of a phase are larger than a CPU's TLB can map: accesses to pages that stay in
    the TLB aren't seen.
    """
    moving = [AreaSpec(f"moving-{number}", 6 * _MIB) for number in range(1, 5)]
    return Pattern(
        areas=(AreaSpec("steady", 4 * _MIB), *moving, AreaSpec("cold", 8 * _MIB)),
        phases=tuple(Phase(("steady", area.name), 4_000_000) for area in moving),
        for_us=for_us,
    )


@contextlib.contextmanager
def _progress(context: Context, for_us: int) -> Generator[Callable[[], None] | None, None, None]:
    """Show progress on the standard error while inside, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("watching"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[left_s]:.0f} s left  {task.fields[seen]}"),
    )
    with Progress(
        *columns, console=console, refresh_per_second=4, transient=True, expand=True
    ) as progress:
        start_us = context.clock.now_us()
        task = progress.add_task("", total=for_us, left_s=for_us / 1e6, seen="")

        def tick() -> None:
            elapsed_us = context.clock.now_us() - start_us
            progress.update(
                task,
                completed=elapsed_us,
                left_s=max(for_us - elapsed_us, 0) / 1e6,
                seen=_seen(context, elapsed_us),
            )

        yield tick


def _seen(context: Context, elapsed_us: int) -> str:
    snapshot = context.snapshot
    working_set = "-" if snapshot is None else format_size(snapshot.working_set_bytes())
    cpu = 100 * context.stats.cpu_us / max(elapsed_us, 1)
    sampling = format_duration(context.intervals.sampling_us)
    return f"working set {working_set}  sampling {sampling}  CPU {cpu:.1f} %"
