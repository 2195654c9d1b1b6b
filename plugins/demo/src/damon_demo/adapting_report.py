"""The output of ``damon demo --regions``: truth and policies side by side, on one page."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from damon_cli.heat import block_lines, heat_key, shade_lines, shows_colours
from damon_report.heatmap import Place, TargetKey, heat_of, layout_of_ranges
from rich.console import Console
from rich.text import Text

from damon_core import Snapshot, format_size
from damon_demo.adapting import (
    AGGREGATIONS,
    BEFORE,
    FOUND_F1,
    HOT,
    LIMITS,
    LUKEWARM,
    ROUNDS,
    SIZE_BYTES,
    Adapted,
    true_snapshots,
)
from damon_demo.judgement import HOT_FREQUENCY

_LINES = 16
#: Addresses are written at the left of every fourth line.
_LINES_PER_LABEL = 4
_LABEL = 6
_GAP = " "
_WIDTH = _LABEL + 3 * AGGREGATIONS + 2 * len(_GAP)


_EXPLANATION = """\
The policy kernel, which is Linux's, checks one random page of each region. It
merges neighbours with similar access counts and splits every region at random
places; it finds a border only when a split happens to fall near it.
The policy evidence remembers its checks and their results. It splits where
remembered checks differ by more than chance, merges neighbours that don't,
checks more pages around borders, and forgets checks that new ones contradict."""


def print_adapting(console: Console, results: Sequence[Adapted], seed: int) -> None:
    """Print the maps of the truth and of each result, their numbers, and an explanation."""
    colour = shows_colours(console)
    columns = [true_snapshots(), *(result.snapshots for result in results)]
    for line in (
        Text(_introduction(seed)),
        Text(),
        _row("", ["truth", *(result.policy for result in results)], style="bold"),
        *_maps(columns, colour),
        _row("", [f"{'0 s':<{BEFORE}}^ the jump"] * len(columns)),
        Text(" " * _LABEL) + heat_key(colour),
        Text(),
        *_numbers(results),
        Text(),
        Text(_EXPLANATION),
    ):
        console.print(line, crop=False, width=min(console.width, _WIDTH))


def _introduction(seed: int) -> str:
    size = format_size(SIZE_BYTES)
    hot, lukewarm = (format_size(area.end - area.start) for area in (HOT[0], LUKEWARM))
    return (
        f"How regions adapt: {size} of simulated memory (seed {seed}), in {AGGREGATIONS} "
        f"aggregations of {ROUNDS} checks. {hot} are hot, accessed in every check; they jump "
        f"from address {format_size(HOT[0].start)} to {format_size(HOT[1].start)} after "
        f"aggregation {BEFORE}. {lukewarm} from {format_size(LUKEWARM.start)} on are accessed "
        f"in {LUKEWARM.rate:.0%} of the checks, the rest never. Two policies estimate this "
        f"by checking single pages; each may have {LIMITS.min_regions} to "
        f"{LIMITS.max_regions} regions. Memory is reported hot if it was accessed "
        f"in at least {HOT_FREQUENCY:.0%} of the checks. Time across, addresses up:"
    )


def _row(label: str, cells: Sequence[str], style: str = "") -> Text:
    line = f"{label:<{_LABEL}}" + _GAP.join(f"{cell:<{AGGREGATIONS}}" for cell in cells)
    return Text(line.rstrip(), style)


def _maps(columns: Sequence[Sequence[Snapshot]], colour: bool) -> list[Text]:
    """Return the maps side by side, one character for each aggregation."""
    maps = [
        block_lines(_grid(snapshots, 2 * _LINES))
        if colour
        else [Text(line) for line in shade_lines(_grid(snapshots, _LINES))]
        for snapshots in columns
    ]
    lines = []
    for number, parts in enumerate(zip(*maps, strict=True), 1):
        first_gib = (_LINES - number) * (SIZE_BYTES >> 30) // _LINES
        label = f"{first_gib:>2}GiB" if number % _LINES_PER_LABEL == 0 else ""
        line = Text(f"{label:<{_LABEL}}") + Text(_GAP).join(parts)
        if not colour:
            line.rstrip()
        lines.append(line)
    return lines


def _grid(snapshots: Sequence[Snapshot], rows: int) -> npt.NDArray[np.float64]:
    """Return the frequencies, the highest addresses first."""
    key = TargetKey(snapshots[0].context, snapshots[0].targets[0].name)
    layout = layout_of_ranges(key, [Place(0, SIZE_BYTES, "memory")], rows, rows)
    begin_us = snapshots[0].time_us - snapshots[0].elapsed_us
    return heat_of(snapshots, layout, begin_us, snapshots[-1].time_us, AGGREGATIONS).frequency.T


def _numbers(results: Sequence[Adapted]) -> list[Text]:
    """Return the table of numbers, with each policy's numbers below its map."""
    rows = (
        ("Regions, mean", [f"{result.regions:.0f}" for result in results]),
        (
            "Pages per check, mean",
            [f"{result.checks_per_aggregation / ROUNDS:.0f}" for result in results],
        ),
        ("  and per aggregation", [f"{result.checks_per_aggregation:.0f}" for result in results]),
        ("Frequency, mean error", [f"{result.error:.2%}" for result in results]),
        ("Hot memory, F1", [f"{result.f1:.3f}" for result in results]),
        (
            f"Aggregations until F1 is {FOUND_F1}",
            [_aggregations(result.found_after(0)) for result in results],
        ),
        ("  and after the jump", [_aggregations(result.found_after(BEFORE)) for result in results]),
        ("Distance of borders, mean", [format_size(result.missed_by_bytes) for result in results]),
    )
    left = _LABEL + AGGREGATIONS + len(_GAP)
    return [
        Text(
            (
                f"{label:<{left}}" + _GAP.join(f"{value:<{AGGREGATIONS}}" for value in values)
            ).rstrip()
        )
        for label, values in rows
    ]


def _aggregations(number: int | None) -> str:
    return f"not within {BEFORE}" if number is None else str(number)
