"""Heat maps of the workload's areas: as text, as a picture and as a page."""

from collections.abc import Sequence
from pathlib import Path

from damon_report.heatmap import (
    Caption,
    Heat,
    Place,
    Room,
    TargetKey,
    heat_of,
    lay_out,
    layout_of_ranges,
    save,
    terminal_key,
    terminal_lines,
)
from rich.text import Text

from damon_core import Snapshot, format_duration, format_size
from damon_demo.truth import AreaPlace, Truth

_LINES_PER_AREA = 2
#: Characters of an address.
_ADDRESS = 12


def text_map(
    snapshots: Sequence[Snapshot],
    truth: Truth,
    *,
    width: int,
    colour: bool,
) -> list[Text]:
    """Return the lines of a heat map of the areas, with the phases above.

    Args:
        snapshots: At least one, in order of time.
        truth: The workload's true accesses.
        width: Maximum characters of a line.
        colour: Whether to use colours instead of characters.
    """
    names = max(len(area.name) for area in truth.areas)
    sizes = max(len(format_size(area.size_bytes)) for area in truth.areas)
    label = max(names + 2 + sizes, _ADDRESS + 1) + 1
    rows = _LINES_PER_AREA * (2 if colour else 1)
    key, places = _places(snapshots, truth.areas)
    layout = layout_of_ranges(key, places, rows, _LINES_PER_AREA)
    begin_us = _begin_us(snapshots)
    heat = heat_of(snapshots, layout, begin_us, snapshots[-1].time_us, max(width - label, 10))
    marks = [(max(phase.unix_us, begin_us), f"phase {phase.number}") for phase in truth.phases]
    return [
        *terminal_lines(heat, label=label, colour=colour, marks=marks),
        Text(" " * label) + terminal_key(heat, colour),
    ]


def save_map(snapshots: Sequence[Snapshot], truth: Truth, path: Path, record: Path) -> None:
    """Write a heat map of the areas to a file, in the format of its ending.

    Args:
        snapshots: At least one, in order of time.
        truth: The workload's true accesses.
        path: The file; ``.png``, ``.svg`` or ``.html``.
        record: The record of the snapshots.

    Raises:
        InputError: The file can't be written.
    """
    key, places = _places(snapshots, truth.areas)
    begin_us, end_us = _begin_us(snapshots), snapshots[-1].time_us

    def measure(room: Room, columns: int) -> tuple[Heat, Caption]:
        heat = heat_of(snapshots, lay_out({key: places}, room), begin_us, end_us, columns)
        watched = (
            f"{key.target}, watched through the kernel for {format_duration(end_us - begin_us)}: "
            f"{len(snapshots)} aggregations"
        )
        areas = (
            "One area is always hot, one never; of the others one is hot for four seconds, "
            "then the next."
        )
        return heat, Caption("damon demo", (watched, areas))

    save(measure, path, records=[record], record_begin_us=begin_us)


def _begin_us(snapshots: Sequence[Snapshot]) -> int:
    return snapshots[0].time_us - snapshots[0].elapsed_us


def _places(
    snapshots: Sequence[Snapshot], areas: Sequence[AreaPlace]
) -> tuple[TargetKey, list[Place]]:
    """Return the workload's target, and its areas as named places."""
    last = snapshots[-1]
    places = [Place(area.start, area.end, area.name) for area in areas]
    return TargetKey(last.context, last.targets[0].name), places
