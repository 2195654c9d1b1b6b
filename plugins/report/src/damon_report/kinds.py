"""``damon report kinds``: of which kinds the memory is that is in use, and that is idle."""

from collections.abc import Sequence

from attrs import field, frozen
from rich.console import Console

from damon_core import SWAPPED, InputError, Snapshot, format_size
from damon_report.figures import percent, short_duration
from damon_report.groups import By
from damon_report.moments import Moment
from damon_report.naming import AreaCache, FloatColumn, IntColumn, printable
from damon_report.output import echo_json, heading, note
from damon_report.record import Record
from damon_report.shares import bytes_by, labels_by
from damon_report.tables import Column, new_console, show_table
from damon_report.times import since_start
from damon_report.words import Words

#: What all of the memory is called in tables, beside its kinds.
_ALL = "all in memory"
#: How kinds are ordered in tables; others, such as nodes, come after them, by name.
_ORDER = ("anonymous", "shmem", "file", "huge", "dirty", "locked", SWAPPED)


@frozen
class KindUse:
    """The memory of one kind.

    Attributes:
        kind: The kind; empty for all that is in memory.
        total_bytes: How much there is of it.
        working_set_bytes: How much of that was accessed in the aggregation; None if it is swapped.
        idle_bytes: How much of it has been idle for the time that was asked for, at least; None if
            it is swapped.
        high_bytes: How much may have been.
    """

    kind: str
    total_bytes: int
    working_set_bytes: int | None = None
    idle_bytes: int | None = None
    high_bytes: int | None = None

    def json(self) -> dict[str, object]:
        """Return it as a JSON object, as documented in docs/reports.md."""
        return {
            "kind": self.kind or None,
            "total_bytes": self.total_bytes,
            "working_set_bytes": self.working_set_bytes,
            "idle_low_bytes": self.idle_bytes,
            "idle_high_bytes": self.high_bytes,
        }


@frozen
class KindsUse:
    """The kinds of memory of a context or a part of it.

    Attributes:
        context: The context's name.
        name: The name of the part, such as a target or mapping; empty for the whole context.
        kinds: All that is in memory, and then each kind.
        labels: The labels that all its targets have.
    """

    context: str
    name: str
    kinds: tuple[KindUse, ...]
    labels: dict[str, str] = field(factory=dict)

    def json(self) -> dict[str, object]:
        """Return them as a JSON object, as documented in docs/reports.md."""
        return {
            "context": self.context,
            "name": self.name,
            "labels": dict(sorted(self.labels.items())),
            "kinds": [each.json() for each in self.kinds],
        }


def kinds_of_memory(
    snapshot: Snapshot, by: By, areas: AreaCache, at_least_us: int
) -> list[KindsUse]:
    """Return the kinds of memory of a snapshot: of the whole first, then of the largest parts."""
    idle, working = snapshot.idle(at_least_us), snapshot.working_set()
    parts = [snapshot.kinds_of(each) for each in (working, idle.low, idle.high)]
    names = sorted(snapshot.kind_bytes(), key=lambda name: (_place(name), name))
    columns: list[IntColumn | FloatColumn] = [
        snapshot.resident_bytes,
        working,
        idle.low,
        idle.high,
    ]
    for name in names:
        assert snapshot.kinds is not None
        columns.append(snapshot.kinds[name].clip(0))
        if name != SWAPPED:
            columns += [part[name] for part in parts]
    found, labels = [], labels_by(snapshot, by)
    for part, values in bytes_by(snapshot, by, columns, areas).items():
        sizes = iter(map(round, values))
        uses = [KindUse("", *(next(sizes) for _ in range(4)))]
        uses += [
            KindUse(name, *(next(sizes) for _ in range(1 if name == SWAPPED else 4)))
            for name in names
        ]
        found.append(KindsUse(snapshot.context, part, tuple(uses), labels.get(part, {})))
    return sorted(found, key=lambda each: (each.name != "", -each.kinds[0].total_bytes))


def _place(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def kinds_at(record: Record, at: Moment | None, by: By, at_least_us: int) -> list[list[KindsUse]]:
    """Return the kinds of memory of a record at one time, of each context.

    Raises:
        InputError: The record doesn't know them, or no target has the labels of `by`.
    """
    snapshots = record.last(at)
    if not any(snapshot.kind_bytes() for snapshot in snapshots):
        raise InputError(
            f"'{record.name}' doesn't know kinds of memory: record it with --kinds, or with "
            "kinds = true of the primitive"
        )
    found = [kinds_of_memory(each, by, record.areas, at_least_us) for each in snapshots]
    record.refuse_unknown(by, (each.name for rows in found for each in rows))
    return found


def show_kinds(
    record: Record,
    *,
    at: Moment | None,
    by: By,
    at_least_us: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the kinds of memory of a record at one time, for people or as JSON.

    Args:
        record: The record.
        at: At which time; None for the end.
        by: What has memory.
        at_least_us: For how long memory must have been idle to count as that; 0: for the
            aggregation.
        limit: At most this many parts of each context; None for all.
        as_json: Whether to print JSON.

    Raises:
        InputError: The record doesn't know them.
    """
    snapshots = record.last(at)
    found = kinds_at(record, at, by, at_least_us)
    if as_json:
        document = {
            **record.json_of(snapshots, by),
            "at_least_us": at_least_us,
            "kinds": [each.json() for rows in found for each in rows[:limit]],
        }
        echo_json("kinds", document)
        return
    console = new_console()
    for snapshot, rows in zip(snapshots, found, strict=True):
        when = since_start(snapshot.time_us, record.start_us)
        heading(console, f"{printable(snapshot.context)}: {when}")
        _show(console, rows[:limit], by, at_least_us, Words.of(record.info))
        if limit and len(rows) > limit:
            note(console, f"{len(rows) - limit} more: --limit 0 shows all")
        note(console, "kinds overlap: what is anonymous may be huge, and is on a node")


def _show(
    console: Console, rows: Sequence[KindsUse], by: By, at_least_us: int, words: Words
) -> None:
    idle = f"{words.idle} {short_duration(at_least_us)}" if at_least_us else words.idle
    names = by != "context"
    columns = [
        *([Column(by, least=12)] if names else []),
        Column("kind"),
        Column("bytes", right=True),
        Column("share", right=True),
        Column(words.working_set, right=True),
        Column(idle, right=True),
        Column(f"of {words.idle}", right=True),
    ]
    cells = []
    for part in rows:
        whole = part.kinds[0]
        for number, use in enumerate(part.kinds):
            if names and number and not use.total_bytes:
                continue
            name = [printable(part.name) or "(all)" if not number else ""] if names else []
            cells.append([*name, *_cells(use, whole)])
    show_table(console, columns, cells)


def _cells(use: KindUse, whole: KindUse) -> list[str]:
    kind = use.kind or _ALL
    if use.idle_bytes is None or use.working_set_bytes is None:
        return [kind, format_size(use.total_bytes), "-", "-", "-", "-"]
    low, high = format_size(use.idle_bytes), format_size(use.high_bytes or 0)
    exact = low == high and whole.idle_bytes
    return [
        kind,
        format_size(use.total_bytes),
        percent(use.total_bytes / max(whole.total_bytes, 1)),
        format_size(use.working_set_bytes),
        low if low == high else f"{low} to {high}",
        percent(use.idle_bytes / whole.idle_bytes) if exact and whole.idle_bytes else "-",
    ]
