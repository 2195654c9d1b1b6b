"""The two tables: targets and regions, as rows that can be sorted and filtered, and as lines."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from attrs import frozen
from damon_cli.heat import SHADES, heat_colour
from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text

from damon_core import TARGET, Area, TargetSnapshot, format_duration, format_size, label_of
from damon_top.picture import Picture

_BARS = " ▁▂▃▄▅▆▇█"
_BAR_LENGTH = 10
_LEAST_NAME = 12
#: What targets are called that have none of the labels by which they are grouped.
UNLABELLED = "(no label)"


@frozen(eq=False)
class TargetRow:
    """A line of the table of targets; sizes in bytes.

    Attributes:
        name: The target, or what several have in common.
        members: The names of the targets, the one with the largest working set first.
        working_set: Accessed in the last aggregation.
        idle: Not accessed in it.
        resident: In memory.
    """

    name: str
    members: Sequence[str]
    working_set: int
    idle: int
    resident: int


@frozen(eq=False)
class RegionRow:
    """A line of the table of regions.

    Attributes:
        start: Its first address.
        size: Its bytes of address space.
        frequency: Share of the checks in which it was accessed.
        age_us: For how long that has stayed alike.
        area: What it belongs to.
    """

    start: int
    size: int
    frequency: float
    age_us: int
    area: str

    @property
    def name(self) -> str:
        """What a filter looks at: the address and the area."""
        return f"{self.start:012x} {self.area}"


#: Orders of each table by their names, the first by default.
TARGET_ORDERS: Mapping[str, Callable[[TargetRow], tuple[object, ...]]] = {
    "working set": lambda row: (-row.working_set, row.name),
    "idle": lambda row: (-row.idle, row.name),
    "resident": lambda row: (-row.resident, row.name),
    "name": lambda row: (row.name,),
}
REGION_ORDERS: Mapping[str, Callable[[RegionRow], tuple[object, ...]]] = {
    "hottest": lambda row: (-row.frequency, -row.size, row.start),
    "coldest": lambda row: (row.frequency, -row.age_us, -row.size),
    "size": lambda row: (-row.size, row.start),
    "address": lambda row: (row.start,),
}


def target_rows(picture: Picture, by: Sequence[str] = (TARGET,)) -> list[TargetRow]:
    """Return a row for each target, or for all whose labels have the same values.

    Args:
        picture: The context.
        by: The labels; ``target`` stands for the name.
    """
    groups: dict[str, list[TargetSnapshot]] = {}
    for target in picture.snapshot.targets if picture.snapshot is not None else ():
        values = filter(None, (label_of(target, label) for label in by))
        groups.setdefault(" ".join(values) or UNLABELLED, []).append(target)
    return [_together(name, targets) for name, targets in groups.items()]


def _together(name: str, targets: Sequence[TargetSnapshot]) -> TargetRow:
    used = {target.name: target.working_set_bytes() for target in targets}
    return TargetRow(
        name,
        sorted(used, key=lambda each: (-used[each], each)),
        sum(used.values()),
        sum(target.idle_bytes() for target in targets),
        sum(target.total_bytes for target in targets),
    )


def region_rows(target: TargetSnapshot) -> list[RegionRow]:
    """Return a row for each region of a target."""
    name_of = area_names(target.areas)
    return [
        RegionRow(start, end - start, frequency, age_us, name_of(start, end))
        for start, end, frequency, age_us in zip(
            target.start.tolist(),
            target.end.tolist(),
            target.frequency.tolist(),
            (target.age * target.intervals.aggregation_us).tolist(),
            strict=True,
        )
    ]


def area_names(areas: Sequence[Area]) -> Callable[[int, int], str]:
    """Return the name of the first area between two addresses, with the number of the others."""
    starts = [area.start for area in areas]

    def name_of(start: int, end: int) -> str:
        first = max(bisect_right(starts, start) - 1, 0)
        there = areas[first : bisect_right(starts, end - 1)]
        names = list(dict.fromkeys(area.name for area in there if area.end > start))
        return f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names)

    return name_of


def target_heading(width: int, count: int, by: Sequence[str] = (TARGET,)) -> str:
    """Return the heading of the table of targets."""
    name, trend = _target_widths(width)
    sizes = f"{'WORKING SET':>11} {'IDLE':>10} {'RESIDENT':>10}"
    first = padded(f"{' '.join(by).upper()} ({count})", name)
    return f"  {first} {sizes}  {'TREND':>{trend}.{trend}}"


def target_line(row: TargetRow, working_sets: Sequence[float], width: int, colour: bool) -> Text:
    """Return the line of a target, with its working set over time."""
    name, trend = _target_widths(width)
    sizes = (
        f"{format_size(row.working_set):>11} {format_size(row.idle):>10} "
        f"{format_size(row.resident):>10}"
    )
    line = Text(f"{padded(row.name, name)} {sizes}  ")
    bars = sparkline(working_sets[-trend:] if trend else (), colour)
    return line.append(f"{bars:>{trend}}", "cyan" if colour else "")


def _target_widths(width: int) -> tuple[int, int]:
    """Return the room for the name and that for the working set over time."""
    left = width - 2 - 1 - 33 - 2
    name = max(_LEAST_NAME, min(40, left * 3 // 5))
    return name, max(left - name, 0)


def sparkline(values: Sequence[float], colour: bool) -> str:
    """Return a character for each value: bars or shades, the largest value the highest."""
    steps = _BARS if colour else SHADES
    most = max(values, default=0.0)
    if most <= 0:
        return steps[0] * len(values)
    return "".join(
        steps[0 if value <= 0 else max(1, round(value / most * (len(steps) - 1)))]
        for value in values
    )


def region_heading(width: int, count: int) -> str:
    """Return the heading of the table of regions."""
    accessed = f"{'ACCESSED':<{_BAR_LENGTH + 6}}"
    line = f"  {f'REGION ({count})':<14} {'SIZE':>10}  {accessed} {'FOR':>7}  BELONGS TO"
    return line[:width]


#: Without what it belongs to.
_REGION_WIDTH = 14 + 1 + 10 + 2 + _BAR_LENGTH + 6 + 1 + 7


def region_line(row: RegionRow, width: int, colour: bool) -> Text:
    """Return the line of a region."""
    full = round(row.frequency * _BAR_LENGTH) or int(row.frequency > 0)
    bar = ("█" if colour else "#") * full
    line = Text(f"{row.start:<14x} {format_size(row.size):>10}  ")
    line.append(f"{bar:<{_BAR_LENGTH}}", Style(color=heat_colour(row.frequency)) if colour else "")
    line.append(f" {_percent(row.frequency):>5} {_age(row.age_us):>7}")
    room = width - 2 - _REGION_WIDTH - 2
    return line.append(f"  {cut(row.area, room)}" if room > 0 else "")


def _age(age_us: int) -> str:
    """Return a time in few characters; 0 if a region has just changed."""
    return format_duration(age_us) if age_us else "-"


def _percent(share: float) -> str:
    """Return a share; only what is never is 0 %, only what is always 100 %."""
    percent = min(max(round(share * 100), int(share > 0)), 100 if share >= 1 else 99)
    return f"{percent} %"


def cut(text: str, room: int) -> str:
    """Return a text that fits; of a longer one the end, the most telling part of a path."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    if cell_len(shown) <= room:
        return shown
    while shown and cell_len(shown) > room - 2:  # some characters take two cells
        shown = shown[1:]
    return ".." + shown


def padded(text: str, room: int) -> str:
    """Return a text that takes exactly so much room."""
    return set_cell_size(cut(text, room), room)


def working_sets(
    picture: Picture, targets: Sequence[str], columns: int, column_us: int
) -> Sequence[float]:
    """Return the mean working set of targets in each column of time, the last one last."""
    last = picture.now_us // column_us
    sums, counts = np.zeros(columns), np.zeros(columns)
    for frame in picture.frames:
        column = (frame.whole.end_us - 1) // column_us - last + columns - 1
        there = [frame.index[target] for target in targets if target in frame.index]
        if 0 <= column < columns and there:
            sums[column] += frame.working_set_bytes[there].sum()
            counts[column] += 1
    seen = counts > 0
    return (sums[seen] / counts[seen]).tolist()  # type: ignore[no-any-return]
