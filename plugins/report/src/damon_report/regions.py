"""``damon report regions``: the regions of one aggregation, as rows."""

from collections.abc import Callable, Sequence

from attrs import asdict, frozen
from rich.console import Console
from rich.text import Text

from damon_core import InputError, Snapshot, format_size
from damon_report.figures import percent, short_duration
from damon_report.moments import Moment
from damon_report.naming import printable
from damon_report.output import echo_json, heading, note
from damon_report.record import Record
from damon_report.region_columns import chosen_columns
from damon_report.region_rows import Row, region_rows
from damon_report.shares import labels_by
from damon_report.tables import DECORATION, Column, bar, new_console, show_table
from damon_report.times import since_start


@frozen(kw_only=True)
class Bounds:
    """Bounds of the reported regions; None is no bound."""

    min_size: int | None = None
    max_size: int | None = None
    min_frequency: float | None = None
    max_frequency: float | None = None
    min_age: int | None = None
    max_age: int | None = None
    min_idle: int | None = None

    def hold(self, row: Row) -> bool:
        """Return whether a region is within all bounds."""
        return (
            _within(row.size_bytes, self.min_size, self.max_size)
            and _within(row.frequency, self.min_frequency, self.max_frequency)
            and _within(row.age_us, self.min_age, self.max_age)
            and _within(row.idle_us, self.min_idle, None)
        )


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


#: Sort keys of rows: the greatest value first, but names and addresses ascending.
ORDERS: dict[str, Callable[[Row], tuple[object, ...]]] = {
    "address": lambda row: (row.context, row.target, row.start),
    "temperature": lambda row: (-row.temperature,),
    "heat": lambda row: (-row.accessed_bytes,),
    "size": lambda row: (-row.size_bytes,),
    "frequency": lambda row: (-row.frequency, -row.age_us),
    "age": lambda row: (-row.age_us,),
    "idle": lambda row: (-row.idle_us,),
    "resident": lambda row: (-row.resident_bytes,),
    "mapping": lambda row: (row.mappings,),
}


def show_regions(
    record: Record,
    *,
    at: Moment | None,
    bounds: Bounds,
    sort: str,
    reverse: bool,
    columns: tuple[str, ...] = (),
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the regions of one aggregation of a record, for people or as JSON.

    Args:
        record: The record.
        at: Of which time; None for the end.
        bounds: Which regions.
        sort: What comes first: a key of `ORDERS`.
        reverse: Whether the order is turned round.
        columns: The names of the columns to show; none: those that fit.
        limit: At most this many; None for all.
        as_json: Whether to print JSON.
    """
    snapshots = record.last(at)
    rows = [row for each in snapshots for row in region_rows(each, record.areas)]
    chosen = sorted((row for row in rows if bounds.hold(row)), key=ORDERS["address"])
    chosen.sort(key=ORDERS[sort])
    if reverse:
        chosen.reverse()
    if not chosen:
        raise InputError(f"none of the {len(rows)} regions is within these bounds: widen them")
    console = new_console()
    shown = chosen[:limit]
    picked = chosen_columns(columns, snapshots)
    total = Total.of(chosen)
    if as_json:
        document = {
            **record.json(),
            "contexts": [_context_json(each) for each in snapshots],
            "regions": [
                {each.name: each.value(row) for each in picked} if picked else row.json()
                for row in shown
            ],
            "total": asdict(total),
        }
        echo_json("regions", document)
        return
    for snapshot in snapshots:
        names = {row.target for row in chosen if row.context == snapshot.context}
        what = printable(names.pop()) if len(names) == 1 else f"{len(names)} targets"
        when = since_start(snapshot.time_us, record.start_us)
        heading(console, f"{printable(snapshot.context)}, {what}: {when}")
    if picked:
        titles = [each.column for each in picked]
        show_table(console, titles, [[each.text(row) for each in picked] for row in shown])
    else:
        _show(console, shown, chosen, total)
    if len(shown) < len(chosen):
        note(console, f"{len(chosen) - len(shown)} more regions: --limit 0 shows all")


@frozen
class Total:
    """Sums of the regions within the bounds; the attributes are the keys of the JSON."""

    regions: int
    size_bytes: int
    resident_bytes: int
    touched_bytes: int | None
    accessed_bytes: int
    idle_bytes: int

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Total":
        """Return the sums of regions; what was touched only if that is known of all."""
        touched_bytes = [row.touched_bytes for row in rows if row.touched_bytes is not None]
        return cls(
            len(rows),
            sum(row.size_bytes for row in rows),
            sum(row.resident_bytes for row in rows),
            sum(touched_bytes) if len(touched_bytes) == len(rows) else None,
            round(sum(row.accessed_bytes for row in rows)),
            sum(row.untouched_bytes for row in rows),
        )


def _context_json(snapshot: Snapshot) -> dict[str, object]:
    return {
        "context": snapshot.context,
        "time_us": snapshot.time_us,
        "elapsed_us": snapshot.elapsed_us,
        "sampling_us": snapshot.intervals.sampling_us,
        "aggregation_us": snapshot.intervals.aggregation_us,
        "max_nr_accesses": snapshot.max_nr_accesses,
        "labels": {name: found for name, found in labels_by(snapshot, "target").items() if found},
    }


def _show(console: Console, rows: Sequence[Row], chosen: Sequence[Row], total: Total) -> None:
    cells = _cells(console, chosen)
    last = {
        "addresses": f"{total.regions} regions",
        "size": format_size(total.size_bytes),
        "freq": percent(total.accessed_bytes / max(total.resident_bytes, 1)),
        "resident": format_size(total.resident_bytes),
        "touched": _touched_cell(total.touched_bytes),
    }
    show_table(
        console,
        list(cells),
        [[cell(row) for cell in cells.values()] for row in rows],
        [last.get(column.title, "") for column in cells],
    )


def _cells(console: Console, rows: Sequence[Row]) -> dict[Column, Callable[[Row], Text | str]]:
    """Return the columns and their cells; a terminal gets no columns with only one value."""
    cells: dict[Column, Callable[[Row], Text | str]] = {
        Column("addresses"): lambda row: f"{row.start:x}-{row.end:x}",
        Column("size", right=True): lambda row: format_size(row.size_bytes),
        Column("freq", right=True): lambda row: percent(row.frequency),
    }
    if console.is_terminal:
        ascii_only = not console.encoding.startswith("utf")
        cells[Column("", rank=DECORATION)] = lambda row: bar(row.frequency, ascii_only=ascii_only)
    cells |= {
        Column("age", right=True, rank=4): lambda row: short_duration(row.age_us),
        Column("idle", right=True, rank=3): lambda row: short_duration(row.idle_us),
        Column("resident", right=True, rank=2): lambda row: format_size(row.resident_bytes),
    }
    if any(row.touched_bytes is not None for row in rows):
        title = Column("touched", right=True, rank=2)
        cells[title] = lambda row: _touched_cell(row.touched_bytes)
    if not console.is_terminal or len({row.context for row in rows}) > 1:
        cells[Column("context", least=7, rank=1)] = lambda row: printable(row.context)
    if not console.is_terminal or len({row.target for row in rows}) > 1:
        cells[Column("target", least=14, rank=1)] = lambda row: printable(row.target)
    if not console.is_terminal or any(row.mappings for row in rows):
        cells[Column("mapping", least=14)] = _mapping_cell
    return cells


def _touched_cell(touched_bytes: int | None) -> str:
    return "-" if touched_bytes is None else format_size(touched_bytes)


def _mapping_cell(row: Row) -> str:
    if not row.mappings:
        return "-"
    more = f" +{len(row.mappings) - 1}" if len(row.mappings) > 1 else ""
    return printable(row.mappings[0]) + more
