"""The columns that ``damon report regions --columns`` can show."""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from damon_core import COLUMNS, InputError, Snapshot, format_size, label_of
from damon_report.figures import percent, short_duration
from damon_report.naming import printable
from damon_report.region_rows import Row
from damon_report.tables import Column


@frozen
class RegionColumn:
    """A column of a table of regions.

    Attributes:
        name: What it is called.
        value: Its value of a region, for JSON; None if that isn't known.
        cell: Its text.
        right: Whether it is aligned to the right.
    """

    name: str
    value: Callable[[Row], Any]
    cell: Callable[[Any], str]
    right: bool = True

    @property
    def column(self) -> Column:
        """How it stands in a table."""
        return Column(self.name, right=self.right, least=None if self.right else 8)

    def text(self, row: Row) -> str:
        """Return what stands in a table."""
        value = self.value(row)
        return "-" if value is None else self.cell(value)


def _size_per_second(size: float) -> str:
    return f"{format_size(size)}/s"


#: Columns for people, with units; those of records follow, as they are there.
_SHOWN = (
    RegionColumn("address", lambda row: f"{row.start:x}-{row.end:x}", str, right=False),
    RegionColumn("size", lambda row: row.size_bytes, format_size),
    RegionColumn("frequency", lambda row: row.frequency, percent),
    RegionColumn("hz", lambda row: row.rate_hz, lambda rate: f"{rate:.3g}"),
    RegionColumn("age", lambda row: row.age_us, short_duration),
    RegionColumn("idle", lambda row: row.idle_us, short_duration),
    RegionColumn("resident", lambda row: row.resident_bytes, format_size),
    RegionColumn("touched", lambda row: row.touched_bytes, format_size),
    RegionColumn("temperature", lambda row: row.temperature, lambda value: f"{value:,.0f}"),
    RegionColumn("bandwidth", lambda row: row.bandwidth, _size_per_second),
    RegionColumn(
        "mapping", lambda row: row.mappings[0] if row.mappings else None, printable, right=False
    ),
)


def _of_record(name: str) -> RegionColumn:
    """Return a column of records, as it is there."""
    column = COLUMNS[name]

    def value(row: Row) -> Any:
        snapshot, target, region = row.origin
        if column.of == "region":
            values = column.get(target)
            return None if values is None else values[region].item()
        return column.get(snapshot if column.of == "aggregation" else target)

    is_text = column.dtype == "text"
    if name in ("start", "end"):
        # As people write addresses; those of what is mapped.
        return RegionColumn(name, lambda row: getattr(row, name), lambda at: f"{at:x}")
    return RegionColumn(name, value, printable if is_text else _number, right=not is_text)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def known_columns() -> dict[str, RegionColumn]:
    """Return all columns by name; labels of targets are further ones."""
    found = {each.name: each for each in _SHOWN}
    for name, column in COLUMNS.items():
        if column.dtype in ("int64", "float64", "text"):
            found.setdefault(name, _of_record(name))
    return found


def chosen_columns(names: Sequence[str], snapshots: Sequence[Snapshot]) -> list[RegionColumn]:
    """Return columns by their names; other names are labels of targets.

    Raises:
        InputError: No column and no label has such a name.
    """
    known = known_columns()
    labels = {label for each in snapshots for target in each.targets for label in target.labels}
    found = []
    for name in names:
        if name in known:
            found.append(known[name])
        elif name in labels:
            found.append(_of_label(name))
        else:
            of_targets = f", or labels: {', '.join(sorted(labels))}" if labels else ""
            raise InputError(
                f"--columns: '{name}' is none; possible are {', '.join(known)}{of_targets}"
            )
    return found


def _of_label(label: str) -> RegionColumn:
    return RegionColumn(
        label, lambda row: label_of(row.origin[1], label) or None, printable, right=False
    )
