"""``damon report idle``: how much memory has been idle, and for how long."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from attrs import field, frozen
from rich.console import Console
from rich.text import Text

from damon_core import IDLE_SPANS, Snapshot, format_size
from damon_report.figures import percent, short_duration
from damon_report.groups import By
from damon_report.idle_percentiles import idle_percentiles, show_idle_percentiles
from damon_report.moments import Moment
from damon_report.naming import AreaCache, printable
from damon_report.output import echo_json, heading, note
from damon_report.record import Record
from damon_report.shares import bytes_by, labels_by
from damon_report.tables import DECORATION, Column, bar, new_console, show_table
from damon_report.times import since_start

_S = 1_000_000
#: The lower bounds of the buckets of idle time, microseconds.
BUCKETS_US = (0, _S, 10 * _S, 60 * _S, 600 * _S, 3_600 * _S, 86_400 * _S)

_MEASURED_US = {span.us for span in IDLE_SPANS}
_BAR_CHARACTERS = 20


@frozen
class Bounds:
    """Bytes as far as they are known: at least `low`, at most `high`."""

    low: int
    high: int

    @property
    def known(self) -> int | None:
        """The bytes, None if only bounds are known."""
        return self.low if self.low == self.high else None

    def without(self, longer: "Bounds") -> int | None:
        """Return the bytes that are idle for this time and not for a longer one, if known."""
        if self.known is None or longer.known is None:
            return None
        return self.known - longer.known


@frozen
class IdleUse:
    """The idle memory of a context or a part of it, by idle time.

    Attributes:
        context: The context's name.
        name: The name of the part, such as a target or mapping; empty for the whole context.
        total_bytes: All resident memory.
        at_least: The memory that has been idle for at least the lower bound of each bucket. The
            first, that wasn't accessed in the aggregation, is always known.
        ages_us: How old these numbers are.
        labels: The labels that all its targets have.
    """

    context: str
    name: str
    total_bytes: int
    at_least: tuple[Bounds, ...]
    ages_us: tuple[int, ...]
    labels: dict[str, str] = field(factory=dict)

    @property
    def idle_bytes(self) -> int:
        """The memory that wasn't accessed in the aggregation."""
        return self.at_least[0].low

    @property
    def bucket_bytes(self) -> tuple[int | None, ...]:
        """The idle memory within each bucket, None where that isn't known."""
        pairs = pairwise((*self.at_least, Bounds(0, 0)))
        return tuple(each.without(longer) for each, longer in pairs)

    def json(self) -> dict[str, object]:
        """Return the idle memory as a JSON object, as documented in docs/reports.md."""
        ends_us = (*BUCKETS_US[1:], None)
        return {
            "context": self.context,
            "name": self.name,
            "labels": dict(sorted(self.labels.items())),
            "total_bytes": self.total_bytes,
            "idle_bytes": self.idle_bytes,
            "buckets": [
                {
                    "at_least_us": begin,
                    "below_us": end,
                    "bytes": size,
                    "at_least_bytes": more.known,
                    "low_bytes": more.low,
                    "high_bytes": more.high,
                    "age_us": age_us,
                }
                for begin, end, size, more, age_us in zip(
                    BUCKETS_US,
                    ends_us,
                    self.bucket_bytes,
                    self.at_least,
                    self.ages_us,
                    strict=True,
                )
            ],
        }


def idle_memory(snapshot: Snapshot, by: By, areas: AreaCache) -> list[IdleUse]:
    """Return the idle memory of a snapshot: the whole first, then the parts with most of it."""
    found = [snapshot.idle(each) for each in BUCKETS_US]
    columns = [
        snapshot.resident_bytes,
        *(each.low for each in found),
        *(each.high for each in found),
    ]
    ages_us = tuple(each.age_us for each in found)
    uses, labels = [], labels_by(snapshot, by)
    for name, values in bytes_by(snapshot, by, columns, areas).items():
        total, *bounds = map(round, values)
        pairs = zip(bounds[: len(found)], bounds[len(found) :], strict=True)
        at_least = tuple(Bounds(low, high) for low, high in pairs)
        of_all = labels.get(name, {})
        uses.append(IdleUse(snapshot.context, name, total, at_least, ages_us, of_all))
    return sorted(uses, key=lambda each: (each.name != "", -each.idle_bytes))


def show_idle(
    record: Record,
    *,
    at: Moment | None,
    by: By,
    percentiles: bool = False,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print how much memory of a record is idle, for people or as JSON.

    Args:
        record: The record.
        at: At which time; None for the end.
        by: What has idle memory.
        percentiles: Whether to print for how long bytes are idle, instead of how many are.
        limit: At most this many of each context; None for all.
        as_json: Whether to print JSON.
    """
    snapshots = record.last(at)
    if percentiles:
        _show_percentiles(record, snapshots, by, limit, as_json=as_json)
        return
    found = [idle_memory(snapshot, by, record.areas) for snapshot in snapshots]
    record.refuse_unknown(by, (each.name for rows in found for each in rows))
    console = new_console()
    if as_json:
        document = {
            **record.json_of(snapshots, by),
            "idle": [each.json() for rows in found for each in rows[:limit]],
        }
        echo_json("idle", document)
        return
    for snapshot, rows in zip(snapshots, found, strict=True):
        when = since_start(snapshot.time_us, record.start_us)
        heading(console, f"{printable(snapshot.context)}: {when}")
        if by == "context":
            _show_buckets(console, rows[0])
        else:
            _show_names(console, rows[:limit], by)
            if limit and len(rows) > limit:
                note(console, f"{len(rows) - limit} more: --limit 0 shows all")
        _show_what_is_known(console, rows[0])


def _show_percentiles(
    record: Record, snapshots: Sequence[Snapshot], by: By, limit: int | None, *, as_json: bool
) -> None:
    found = [idle_percentiles(snapshot, by) for snapshot in snapshots]
    record.refuse_unknown(by, (each.name for rows in found for each in rows))
    if as_json:
        document = {
            **record.json_of(snapshots, by),
            "percentiles": [each.json() for rows in found for each in rows[:limit]],
        }
        echo_json("idle", document)
        return
    console = new_console()
    for snapshot, rows in zip(snapshots, found, strict=True):
        when = since_start(snapshot.time_us, record.start_us)
        heading(console, f"{printable(snapshot.context)}: idle time of bytes in memory, {when}")
        show_idle_percentiles(console, rows[:limit], by)
        if limit and len(rows) > limit:
            note(console, f"{len(rows) - limit} more: --limit 0 shows all")


def _show_what_is_known(console: Console, whole: IdleUse) -> None:
    """Print how old numbers are, and that some aren't known."""
    ages = [
        f"{short_duration(least_us)} {short_duration(age_us)} before"
        for least_us, age_us in zip(BUCKETS_US, whole.ages_us, strict=True)
        if age_us and least_us in _MEASURED_US
    ]
    if ages:
        note(console, f"measured {', '.join(ages)}; what was accessed since isn't in it")
    if any(each.known is None for each in whole.at_least):
        note(console, "where only bounds are known, it wasn't measured, or not yet")


def _show_buckets(console: Console, whole: IdleUse) -> None:
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

    def row(name: str, size: int | None, more: Bounds) -> list[Text | str]:
        drawn = [bar((size or 0) / total, _BAR_CHARACTERS, ascii_only=ascii_only)]
        return [
            name,
            "-" if size is None else format_size(size),
            "-" if size is None else percent(size / total),
            *(drawn if console.is_terminal else []),
            _range(more, format_size),
            _range(more, lambda size: percent(size / total)),
        ]

    names = [f"below {short_duration(BUCKETS_US[1])}"]
    names += [
        f"{short_duration(begin)} to {short_duration(end)}"
        for begin, end in pairwise(BUCKETS_US[1:])
    ]
    names.append(f"{short_duration(BUCKETS_US[-1])} or longer")
    everything = Bounds(whole.total_bytes, whole.total_bytes)
    rows = [row("accessed", whole.total_bytes - whole.idle_bytes, everything)]
    rows += map(row, names, whole.bucket_bytes, whole.at_least)
    show_table(console, columns, rows)


def _range(size: Bounds, written: Callable[[int], str]) -> str:
    low, high = written(size.low), written(size.high)
    return low if low == high else f"{low} to {high}"


def _at_least(size: Bounds, ascii_only: bool) -> str:
    """Return bytes as they fit into a narrow column: the lower bound, if it says anything."""
    if size.known is not None:
        return format_size(size.known)
    return f"{'>=' if ascii_only else '≥'}{format_size(size.low)}" if size.low else "?"


def _show_names(console: Console, rows: Sequence[IdleUse], by: By) -> None:
    ascii_only = not console.encoding.startswith("utf")
    columns = [Column(by, least=12), Column("all", right=True)]
    columns += [
        Column(f">{short_duration(each)}" if each else "idle", right=True) for each in BUCKETS_US
    ]
    cells = [
        [
            printable(each.name) or "(all)",
            format_size(each.total_bytes),
            *(_at_least(size, ascii_only) for size in each.at_least),
        ]
        for each in rows
    ]
    show_table(console, columns, cells)
