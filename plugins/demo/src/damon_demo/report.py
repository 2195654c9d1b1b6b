"""The report at the end of ``damon demo``."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import frozen
from damon_cli.heat import shows_colours
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damon_core import Snapshot, Stats, format_duration, format_size
from damon_demo.judgement import (
    HOT_FREQUENCY,
    Judgement,
    area_working_set_bytes,
    judge,
)
from damon_demo.maps import text_map
from damon_demo.truth import Truth

_MIB_S = (1 << 20) * 1e6
_WIDEST = 120


@frozen
class Watched:
    """The results of watching the workload.

    Attributes:
        snapshots: The snapshots of all aggregations, at least one.
        truth: The workload's true accesses.
        stats: Counts of the context.
        output: The record.
        pictures: The files of the heat maps.
    """

    snapshots: tuple[Snapshot, ...]
    truth: Truth
    stats: Stats
    output: Path
    pictures: tuple[Path, ...]

    @property
    def begin_us(self) -> int:
        """When the first aggregation began, in Unix microseconds."""
        return self.snapshots[0].time_us - self.snapshots[0].elapsed_us

    @property
    def watched_us(self) -> int:
        """The duration of all aggregations together, in microseconds."""
        return self.snapshots[-1].time_us - self.begin_us


def print_report(console: Console, watched: Watched) -> None:
    """Print the heat map, the working sets, seen versus true, and what to try next."""
    judgement = judge(watched.truth, watched.snapshots)
    for part in (
        _how_it_was_watched(watched),
        *_heat_map(console, watched),
        _working_sets(watched),
        Text(),
        _phases(watched, judgement),
        Text(),
        _seen_versus_true(judgement),
        _left_out(judgement),
        _what_next(watched),
    ):
        console.print(part, crop=False)


def _how_it_was_watched(watched: Watched) -> Text:
    stats, watched_us = watched.stats, watched.watched_us
    return Text(
        f"Watched process {watched.truth.pid} through the kernel for {watched_us / 1e6:.1f} s: "
        f"{len(watched.snapshots)} aggregations, "
        f"{stats.samples} checks, one every {format_duration(watched_us / stats.samples)} on "
        f"average; the monitor used {stats.cpu_us / watched_us * 100:.1f} % of one core.\n"
    )


def _heat_map(console: Console, watched: Watched) -> Sequence[Text]:
    return [
        Text("Heat map: time across, addresses up; gaps between the areas are left out", "bold"),
        *text_map(
            watched.snapshots,
            watched.truth,
            width=min(console.width, _WIDEST),
            colour=shows_colours(console),
        ),
        Text(),
    ]


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column(first)
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def _working_sets(watched: Watched) -> Table:
    truth, snapshots = watched.truth, watched.snapshots
    whole = [snapshot.working_set_bytes() for snapshot in snapshots]
    areas = [area_working_set_bytes(snapshot, truth.areas) for snapshot in snapshots]
    total_bytes = sum(area.size_bytes for area in truth.areas)
    table = _table(
        "Working set: bytes accessed in an aggregation", "", "min", "median", "p90", "max", "of"
    )
    for name, sizes, of_bytes in (
        ("whole process, seen", whole, snapshots[-1].total_bytes),
        ("the six areas, seen", areas, total_bytes),
    ):
        quantiles = np.quantile(sizes, [0, 0.5, 0.9, 1])
        table.add_row(name, *(format_size(size) for size in (*quantiles, of_bytes)))
    return table


def _phases(watched: Watched, judgement: Judgement) -> Table:
    table = _table(
        "Phase by phase", "phase", "from", "true", "seen (median)", "hot correct", "cold correct"
    )
    table.add_column("truly hot")
    for each in judgement.phases:
        phase = each.phase
        from_us = max(phase.unix_us - watched.begin_us, 0)
        table.add_row(
            str(phase.number),
            f"{from_us / 1e6:.1f} s",
            format_size(watched.truth.hot_bytes(phase.unix_us)),
            format_size(float(np.median(each.working_sets_bytes))),
            _percent(each.score.recall),
            _percent(each.score.cold_recall),
            ", ".join(phase.hot),
        )
    return table


def _seen_versus_true(judgement: Judgement) -> Table:
    score = judgement.score
    table = _table("Seen versus true: bytes times time", "", "true", "correct", "")
    for name, true, correct, share in (
        ("hot", score.hot, score.hot_correct, score.recall),
        ("cold", score.cold, score.cold_correct, score.cold_recall),
    ):
        table.add_row(
            name, f"{true / _MIB_S:.1f} MiB s", f"{correct / _MIB_S:.1f} MiB s", _percent(share)
        )
    return table


def _left_out(judgement: Judgement) -> Text:
    return Text(
        f"Of the memory reported hot, {_percent(judgement.score.precision)} was hot. Reported hot "
        f"means: accessed in at least {HOT_FREQUENCY:.0%} of the checks of an aggregation. "
        f"{judgement.judged} aggregations were judged; {judgement.left_out} in which the pattern "
        "changed were left out.\n"
    )


def _what_next(watched: Watched) -> Text:
    rows = sum(len(snapshot) for snapshot in watched.snapshots)
    record = shlex.quote(str(watched.output))
    picture, page = (str(path) for path in watched.pictures)
    return Text.assemble(
        f"{rows} rows are in {watched.output}, one per region and aggregation.\n"
        f"The heat map is also in {picture}, a picture, and in {page}, a page to\n"
        "zoom into. Next:\n\n",
        (f"  damon report heatmap {record}", "bold"),
        "   # all memory of the process\n",
        ("  damon record --pid PID --for 30s", "bold"),
        "   # one of your processes\n",
        ("  damon doctor", "bold"),
        "                       # what works on this machine",
        no_wrap=True,
        overflow="ignore",
    )


def _percent(share: float | None) -> str:
    """Return a share as text, rounded down, so that only a whole is shown as 100 %."""
    return "-" if share is None else f"{math.floor(share * 1000) / 10:.1f} %"
