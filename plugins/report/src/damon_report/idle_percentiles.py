"""``damon report idle --percentiles``: for how long the bytes of memory have been idle."""

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from rich.console import Console

from damon_core import IDLE_SPANS, UNKNOWN, Snapshot, TargetSnapshot
from damon_report.figures import short_duration
from damon_report.groups import By
from damon_report.naming import FloatColumn, printable
from damon_report.output import note
from damon_report.shares import reported_of, targets_by
from damon_report.tables import Column, show_table

PERCENTS = (0, 1, 25, 50, 75, 90, 95, 99, 100)


@frozen
class IdlePercentiles:
    """The idle times of the resident bytes of a context or a part of it.

    Attributes:
        context: The context's name.
        name: The name of the part, such as a target; empty for the whole context.
        total_bytes: All resident bytes.
        idle_us: For each of `PERCENTS` the time for which at most so many of the bytes have been
            idle: at least that long, where it isn't exact.
        exact: Whether each of these is.
        reported_us: The same times as something else says, such as DAMON_STAT; less than 0 is in
            use for so long. None if nobody says it of just this memory.
    """

    context: str
    name: str
    total_bytes: int
    idle_us: tuple[int, ...]
    exact: tuple[bool, ...]
    reported_us: tuple[int, ...] | None = None

    def json(self) -> dict[str, object]:
        """Return them as a JSON object, as documented in docs/reports.md."""
        return {
            "context": self.context,
            "name": self.name,
            "total_bytes": self.total_bytes,
            "percentiles_us": dict(zip(map(str, PERCENTS), self.idle_us, strict=True)),
            "exact": dict(zip(map(str, PERCENTS), self.exact, strict=True)),
            "reported_us": None
            if self.reported_us is None
            else dict(zip(map(str, PERCENTS), self.reported_us, strict=True)),
        }


#: Idle times, how many bytes have each, and whether it is exact.
_Times = tuple[FloatColumn, FloatColumn, FloatColumn]


def _times(target: TargetSnapshot) -> _Times:
    """Return the idle times of the bytes of a target.

    What is accessed in the aggregation has 0. Where single pages are checked, a region has one idle
    time. Otherwise what wasn't touched of a region that was accessed has been idle at least for the
    longest time that is measured of it.
    """
    resident = target.resident_bytes.astype(np.float64)
    if target.touched_bytes is None:
        idle_us = np.where(target.nr_accesses > 0, 0, target.idle_us).astype(np.float64)
        return idle_us, resident, np.ones(len(target))
    touched = target.touched_bytes.astype(np.float64)
    whole = (target.idle_us > 0) & (touched == 0)
    parts = [(np.zeros(len(target)), touched, 1.0)]
    parts.append((target.idle_us.astype(np.float64), np.where(whole, resident, 0), 1.0))
    # Of the others from the longest span to the shortest: what is in it and in no longer one.
    left = np.where(whole, 0, resident - touched)
    for span in reversed(IDLE_SPANS):
        column = getattr(target, span.column)
        if column is not None:
            longer = np.where(column == UNKNOWN, 0, column).astype(np.float64)
            taken = np.clip(longer - (np.where(whole, 0, resident - touched) - left), 0, left)
            parts.append((np.full(len(target), float(span.us)), taken, 0.0))
            left = left - taken
    parts.append((np.full(len(target), float(target.intervals.aggregation_us)), left, 0.0))
    columns = [(idle_us, size, np.full(len(target), exact)) for idle_us, size, exact in parts]
    idle_us, size, exact = (np.concatenate(each) for each in zip(*columns, strict=True))
    return idle_us, size, exact


def idle_percentiles(snapshot: Snapshot, by: By) -> list[IdlePercentiles]:
    """Return the idle times of a snapshot: of the whole first, then of parts, the largest first.

    Args:
        snapshot: The snapshot.
        by: What has idle memory: anything but mappings, which are parts of targets.
    """
    groups = targets_by(snapshot, by).items()
    found = [_of(snapshot.context, name, targets) for name, targets in groups]
    return sorted(found, key=lambda each: (each.name != "", -each.total_bytes))


def _of(context: str, name: str, targets: Sequence[TargetSnapshot]) -> IdlePercentiles:
    columns = [_times(target) for target in targets] or [(np.empty(0),) * 3]
    idle_us, size, exact = (np.concatenate(each) for each in zip(*columns, strict=True))
    order = np.lexsort((exact, idle_us))
    order = order[size[order] > 0]
    if not len(order):
        nothing = (0,) * len(PERCENTS)
        return IdlePercentiles(context, name, 0, nothing, (True,) * len(PERCENTS))
    reported_us = reported_of(targets).idle_us
    up_to = np.cumsum(size[order])
    wanted = np.array(PERCENTS) / 100 * up_to[-1]
    place = order[np.minimum(np.searchsorted(up_to, wanted - 1e-6), len(order) - 1)]
    return IdlePercentiles(
        context,
        name,
        round(float(up_to[-1])),
        tuple(int(each) for each in idle_us[place]),
        tuple(bool(each) for each in exact[place]),
        None if reported_us is None else tuple(reported_us[each] for each in PERCENTS),
    )


def show_idle_percentiles(console: Console, rows: Sequence[IdlePercentiles], by: By) -> None:
    """Print a table of idle times."""
    ascii_only = not console.encoding.startswith("utf")
    has_reported = any(each.reported_us is not None for each in rows)
    has_names = by != "context" or not console.is_terminal or has_reported
    columns = [Column(by, least=12)] if has_names else []
    columns += [
        Column(f"{each}%", right=True, rank=0 if each in {0, 50, 100} else 5 - each // 25)
        for each in PERCENTS
    ]
    at_least = ">=" if ascii_only else "≥"
    cells = []
    for each in rows:
        name = printable(each.name) or "(all)"
        times = [
            ("" if exact or not idle_us else at_least) + short_duration(idle_us)
            for idle_us, exact in zip(each.idle_us, each.exact, strict=True)
        ]
        cells.append([name, *times] if has_names else times)
        if each.reported_us is not None:
            cells.append([f"{name}, reported", *map(_signed_duration, each.reported_us)])
    show_table(console, columns, cells)
    if has_reported:
        note(
            console,
            "reported: by what has monitored it, such as DAMON_STAT; less than 0: in use for so "
            "long",
        )


def _signed_duration(us: int) -> str:
    return f"-{short_duration(-us)}" if us < 0 else short_duration(us)
