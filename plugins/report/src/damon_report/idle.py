"""``damon report idle``: how much memory has been idle, and for how long."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from attrs import frozen
from rich.console import Console
from rich.text import Text

from damon_core import Snapshot, format_size
from damon_report.figures import percent, short_duration
from damon_report.moments import Moment
from damon_report.naming import AreaCache, printable
from damon_report.options import By
from damon_report.output import echo_json, heading, note
from damon_report.record import Record
from damon_report.shares import bytes_by
from damon_report.tables import DECORATION, Column, bar, new_console, show_table
from damon_report.times import local_time

_S = 1_000_000
#: The lower bounds of the buckets of idle time, microseconds.
BUCKETS_US = (0, _S, 10 * _S, 60 * _S, 600 * _S, 3_600 * _S, 86_400 * _S)

_BAR_CHARACTERS = 20


@frozen
class Idle:
    """The idle memory of a context or a part of it, by idle time.

    Attributes:
        context: The context's name.
        name: The name of the part, such as a target or mapping; empty for the whole context.
        total_bytes: All resident memory.
        idle_bytes: The memory that wasn't accessed in the aggregation.
        at_least_bytes: Of that, the memory that has been idle for at least the lower bound of each
            bucket, as far as this is known: of whole regions.
    """

    context: str
    name: str
    total_bytes: int
    idle_bytes: int
    at_least_bytes: tuple[int, ...]

    @property
    def unknown_bytes(self) -> int:
        """The idle memory in regions that are in use otherwise: nobody knows for how long."""
        return self.idle_bytes - self.at_least_bytes[0]

    @property
    def bucket_bytes(self) -> tuple[int, ...]:
        """The idle memory within each bucket."""
        return tuple(left - right for left, right in pairwise((*self.at_least_bytes, 0)))

    def json(self) -> dict[str, object]:
        """Return the idle memory as a JSON object, as documented in docs/reports.md."""
        ends_us = (*BUCKETS_US[1:], None)
        return {
            "context": self.context,
            "name": self.name,
            "total_bytes": self.total_bytes,
            "idle_bytes": self.idle_bytes,
            "unknown_bytes": self.unknown_bytes,
            "buckets": [
                {"at_least_us": begin, "below_us": end, "bytes": size, "at_least_bytes": more}
                for begin, end, size, more in zip(
                    BUCKETS_US, ends_us, self.bucket_bytes, self.at_least_bytes, strict=True
                )
            ],
        }


def idle_memory(snapshot: Snapshot, by: By, areas: AreaCache) -> list[Idle]:
    """Return the idle memory of a snapshot: the whole first, then the parts with most of it."""
    idle = snapshot.idle()
    # Of a region that was touched in part, nobody knows how long the rest has been idle.
    of_whole_regions = np.where(idle == snapshot.resident_bytes, idle, 0)
    columns = [
        snapshot.resident_bytes,
        idle,
        of_whole_regions,
        *(snapshot.idle(each) for each in BUCKETS_US[1:]),
    ]
    found = [
        Idle(snapshot.context, name, round(total), round(unused), tuple(map(round, at_least)))
        for name, (total, unused, *at_least) in bytes_by(snapshot, by, columns, areas).items()
    ]
    return sorted(found, key=lambda each: (each.name != "", -each.idle_bytes))


def show_idle(
    record: Record, *, at: Moment | None, by: By, limit: int | None, as_json: bool
) -> None:
    """Print how much memory of a record is idle, for people or as JSON.

    Args:
        record: The record.
        at: At which time; None for the end.
        by: What has idle memory.
        limit: At most this many of each context; None for all.
        as_json: Whether to print JSON.
    """
    snapshots = record.last(at)
    found = [idle_memory(snapshot, by, record.areas) for snapshot in snapshots]
    console = new_console()
    if as_json:
        document = {
            **record.json(),
            "by": by,
            "times_us": {snapshot.context: snapshot.time_us for snapshot in snapshots},
            "idle": [each.json() for rows in found for each in rows[:limit]],
        }
        echo_json("idle", document)
        return
    for snapshot, rows in zip(snapshots, found, strict=True):
        heading(
            console,
            f"{printable(snapshot.context)}: "
            f"{short_duration(snapshot.time_us - record.start_us)} after the start "
            f"({local_time(snapshot.time_us)})",
        )
        if by == "context":
            _show_buckets(console, rows[0])
        else:
            _show_names(console, rows[:limit], by)
            if limit and len(rows) > limit:
                note(console, f"{len(rows) - limit} more: --limit 0 shows all")
        if rows[0].unknown_bytes:
            note(
                console,
                "how long is known only of regions that are idle as a whole: at least as much has "
                "been idle for so long",
            )


def _show_buckets(console: Console, whole: Idle) -> None:
    ascii_only = not console.encoding.startswith("utf")
    total = max(whole.total_bytes, 1)
    columns = [
        Column("idle"),
        Column("bytes", right=True),
        Column("share", right=True),
        *([Column("", rank=DECORATION)] if console.is_terminal else []),
        Column("at least as long", right=True),
        Column("share", right=True),
    ]

    def row(name: str, size: int, more: int) -> list[Text | str]:
        drawn = [bar(size / total, _BAR_CHARACTERS, ascii_only=ascii_only)]
        return [
            name,
            format_size(size),
            percent(size / total),
            *(drawn if console.is_terminal else []),
            format_size(more),
            percent(more / total),
        ]

    names = [f"below {short_duration(BUCKETS_US[1])}"]
    names += [
        f"{short_duration(begin)} to {short_duration(end)}"
        for begin, end in pairwise(BUCKETS_US[1:])
    ]
    names.append(f"{short_duration(BUCKETS_US[-1])} or longer")
    rows = [row("accessed", whole.total_bytes - whole.idle_bytes, whole.total_bytes)]
    if whole.unknown_bytes:
        rows.append(row("for an unknown time", whole.unknown_bytes, whole.idle_bytes))
    rows += map(row, names, whole.bucket_bytes, whole.at_least_bytes)
    show_table(console, columns, rows)


def _show_names(console: Console, rows: Sequence[Idle], by: By) -> None:
    columns = [Column(by, least=12), Column("all", right=True)]
    columns += [
        Column(f">{short_duration(each)}" if each else "idle", right=True) for each in BUCKETS_US
    ]
    cells = [
        [
            printable(each.name) or "(all)",
            format_size(each.total_bytes),
            *map(format_size, (each.idle_bytes, *each.at_least_bytes[1:])),
        ]
        for each in rows
    ]
    show_table(console, columns, cells)
