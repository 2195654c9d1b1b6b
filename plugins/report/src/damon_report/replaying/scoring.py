"""How well a replay does: it is monitored, and compared with the record, region by region."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from attrs import asdict, evolve, frozen
from damon_cli.building import build_context
from damon_cli.session import closing_contexts, run_contexts

from damon_core import Context, DamonError, Plugins, Snapshot, format_size, hookimpl
from damon_report.figures import percent
from damon_report.heatmap import Place, TargetKey, heat_of, layout_of_ranges
from damon_report.output import echo_json
from damon_report.record import open_record
from damon_report.replaying.compact import REPLAYED, Compact, one_target
from damon_report.selection import Selection
from damon_report.tables import Column, new_console, show_table

#: Cells of the comparison, of addresses and of time at most.
_ROWS, _COLUMNS = 256, 120
#: Regions in the table.
_SHOWN = 8
#: Monitoring is to see as much as that which made the record.
_BUDGET = {"cpu_budget": 0.5, "max_slowdown": 0.5}
#: Memory is hot if at least half of the checks found it accessed.
_HOT = 0.5


@frozen
class Score:
    """How far what was seen of a replay is from the record; shares from 0 to 1.

    Attributes:
        error: The mean difference of access frequencies, over bytes and time.
        recorded: The mean frequency in the record.
        replayed: The mean frequency that was seen of the replay.
        hot_recall: The share of bytes and time that were hot in the record, and are in the replay.
        hot_precision: The share of what is hot in the replay that was in the record.
        seen: The share of the memory and time that could be compared.
    """

    error: float
    recorded: float
    replayed: float
    hot_recall: float | None
    hot_precision: float | None
    seen: float


@frozen
class Comparison:
    """A score, and frequencies by region: place, size, of the record, of the replay."""

    score: Score
    regions: tuple[tuple[int, int, float, float], ...]


class _Watcher:
    """Keeps the aggregations of a replay, its memory alone, in the record's time."""

    name = "watcher"

    def __init__(self, address: int, size_bytes: int, shift_us: int) -> None:
        self.snapshots: list[Snapshot] = []
        self._address, self._size_bytes, self._shift_us = address, size_bytes, shift_us

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Keep the part of a snapshot that is the replay's memory."""
        snapshot = context.snapshot
        assert snapshot is not None
        start = np.maximum(snapshot.start - self._address, 0)
        end = np.minimum(snapshot.end - self._address, self._size_bytes)
        inside = start < end
        if not inside.any():
            return
        names = ("nr_accesses", "age", "idle_us")
        columns = {name: getattr(snapshot, name)[inside] for name in names}
        columns |= {"start": start[inside], "end": end[inside]}
        size = snapshot.size_bytes[inside]
        share = (columns["end"] - columns["start"]) / size
        columns["resident_bytes"] = (snapshot.resident_bytes[inside] * share).astype(np.int64)
        if snapshot.touched_bytes is not None:
            # Their frequency is of what is in memory: here of all, as in the record's cells.
            columns["nr_accesses"] = columns["nr_accesses"].copy()
        found = one_target(columns, snapshot)
        self.snapshots.append(evolve(found, time_us=snapshot.time_us + self._shift_us))


def score_replay(
    plugins: Plugins, path: Path | str, selection: Selection, backend: str, *, as_json: bool
) -> None:
    """Replay a record in a program of its own, monitor that, and print how far they differ.

    Args:
        plugins: What is installed.
        path: The record.
        selection: The part to replay.
        backend: How to monitor it.
        as_json: Whether to print JSON.

    Raises:
        InputError: The record can't be read.
        DamonError: The replay failed.
    """
    found = compare_replay(plugins, path, selection, backend)
    if as_json:
        regions = [
            {"at_bytes": at, "size_bytes": size, "recorded": recorded, "replayed": replayed}
            for at, size, recorded, replayed in found.regions
        ]
        echo_json("replay", {"record": str(path), **asdict(found.score), "regions": regions})
        return
    score = found.score
    console = new_console()
    columns = [Column("at", right=True), Column("size", right=True)]
    columns += [Column(each, right=True) for each in ("recorded", "replayed", "error")]
    worst = sorted(found.regions, key=lambda each: -abs(each[2] - each[3]) * each[1])[:_SHOWN]
    show_table(
        console,
        columns,
        [
            [
                format_size(at),
                format_size(size),
                percent(old),
                percent(new),
                percent(abs(old - new)),
            ]
            for at, size, old, new in worst
        ],
    )
    click.echo(
        f"mean error of access frequencies {percent(score.error)}, of {percent(score.recorded)} on "
        f"average in the record and {percent(score.replayed)} in the replay"
    )
    if score.hot_recall is not None and score.hot_precision is not None:
        click.echo(
            f"hot memory: {percent(score.hot_recall)} of it is hot again, "
            f"{percent(score.hot_precision)} of what is hot was"
        )


def compare_replay(
    plugins: Plugins, path: Path | str, selection: Selection, backend: str = "auto"
) -> Comparison:
    """Replay a record, monitor it, and return how far they differ; as `score_replay`."""
    with open_record(plugins, (path,), selection) as record:
        compact = Compact.of(record.snapshots())
        last = record.last()[0]
        program = _program(path, selection)
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.search(r" at ([0-9a-f]+)-", line)
            if match is None:
                process.wait()
                raise DamonError("the replay has ended before it began: see above")
            begin_us, end_us = compact.span_us
            now_us = time.time_ns() // 1000
            watcher = _Watcher(int(match[1], 16), compact.size_bytes, begin_us - now_us)
            table = {
                "name": "replay",
                "primitive": {"use": "vaddr", "pid": process.pid, "backend": backend},
                "sampling_interval": f"{last.intervals.sampling_us}us",
                "aggregation_interval": f"{last.intervals.aggregation_us}us",
                **_BUDGET,
            }
            try:
                context = build_context(table, plugins, [watcher])
                with closing_contexts([context]):
                    run_contexts([context], for_us=end_us - begin_us)
            finally:
                process.terminate()
        aggregations = max(compact.aggregations // 2, 1)
        return compared(
            [compact.snapshot(each) for each in record.snapshots() if len(each)],
            watcher.snapshots,
            compact,
            min(_COLUMNS, aggregations),
        )


def compared(
    recorded: Sequence[Snapshot], replayed: Sequence[Snapshot], compact: Compact, columns: int
) -> Comparison:
    """Return how far two sequences of aggregations of the same memory differ.

    Args:
        recorded: The record, as `Compact.snapshot` returns it.
        replayed: What was seen of the replay, at the record's times.
        compact: The memory.
        columns: Into how many pieces time is cut.

    Raises:
        DamonError: Nothing was seen of the replay.
    """
    if not replayed:
        raise DamonError("nothing was seen of the replay: its record may be too short")
    begin_us, end_us = compact.span_us
    layout = layout_of_ranges(
        TargetKey(*REPLAYED), [Place(0, compact.size_bytes, "memory")], _ROWS, _ROWS
    )
    # The lowest addresses first; time across.
    one, other = (
        heat_of(each, layout, begin_us, end_us, columns).frequency[:, ::-1].T
        for each in (recorded, replayed)
    )
    known = ~np.isnan(one) & ~np.isnan(other)
    if not known.any():
        raise DamonError("nothing was seen of the replay while memory of the record was there")
    hot, seen_hot = (one >= _HOT) & known, (other >= _HOT) & known
    both = int((hot & seen_hot).sum())
    score = Score(
        float(np.abs(one - other)[known].mean()),
        float(one[known].mean()),
        float(other[known].mean()),
        both / int(hot.sum()) if hot.any() else None,
        both / int(seen_hot.sum()) if seen_hot.any() else None,
        float(known.sum() / max(int((~np.isnan(one)).sum()), 1)),
    )
    rows = len(one)
    edges = np.linspace(0, compact.size_bytes, rows + 1).astype(np.int64)
    regions = []
    for row in range(rows):
        there = known[row]
        if there.any():
            size = int(edges[row + 1] - edges[row])
            values = (float(each[row][there].mean()) for each in (one, other))
            regions.append((int(edges[row]), size, *values))
    return Comparison(score, tuple(regions))  # type: ignore[arg-type]


def _program(path: Path | str, selection: Selection) -> list[str]:
    """Return the command that replays the same part of a record."""
    options: list[str] = []
    for name, values in (
        ("--host", selection.hosts),
        ("--context", selection.contexts),
        ("--target", selection.targets),
        ("--mapping", selection.mappings),
    ):
        options += [part for value in values for part in (name, value)]
    if selection.addresses is not None:
        options += ["--address", "{:x}-{:x}".format(*selection.addresses)]
    for name, moment in (("--from", selection.begin), ("--to", selection.end)):
        if moment is not None:
            options += [name, moment.text]
    start = "from damon_cli.main import main; main(prog_name='damon')"
    return [sys.executable, "-c", start, "replay", *options, str(path)]
