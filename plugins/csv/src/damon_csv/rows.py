"""A snapshot as rows of CSV."""

import csv
import io
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from damon_core import (
    COLUMNS,
    IDLE_SPANS,
    UNKNOWN,
    Column,
    KindColumns,
    Snapshot,
    TargetSnapshot,
    kind_columns,
    kind_names,
    rounded_counts,
)

#: The column with the bytes of a region by kind of memory, such as ``anonymous=4096 huge=0``. It is
#: the last one, and the only one besides names that isn't a number.
KINDS = "kinds"

#: The columns that rows have, in their order: first those that are names, then numbers. Files of
#: older versions, and of records that don't know them, lack some of the last (`OPTIONAL`).
ROW = tuple(
    COLUMNS[name]
    for name in (
        "time_us",
        "context",
        "target",
        "start",
        "end",
        "nr_accesses",
        "max_nr_accesses",
        "age",
        "idle_us",
        "resident_bytes",
        "stale_us",
        "touched_bytes",
        *(span.column for span in IDLE_SPANS),
        *(span.age for span in IDLE_SPANS),
        KINDS,
    )
)
#: Those whose fields are empty where nobody knows; they come last.
SPARSE = tuple(column.name for column in ROW if column.optional and column.name != KINDS)
OPTIONAL = ("idle_us", "resident_bytes", "stale_us", *SPARSE, KINDS)


def columns_of(names: Sequence[str]) -> tuple[Column, ...] | None:
    """Return the columns of a file by their names, None if these aren't columns of rows."""
    columns = columns_without(set(OPTIONAL).difference(names))
    return columns if [column.name for column in columns] == list(names) else None


def columns_without(unknown: Collection[str]) -> tuple[Column, ...]:
    """Return the columns of rows that don't have some of the optional ones."""
    return tuple(each for each in ROW if each.name not in unknown or each.name not in OPTIONAL)


def header(columns: Sequence[Column] = ROW) -> bytes:
    """Return the line that a file begins with."""
    return ",".join(column.name for column in columns).encode() + b"\n"


def format_rows(snapshot: Snapshot, columns: Sequence[Column] = ROW) -> bytes:
    """Return one row a region, in the order of targets and addresses, as UTF-8.

    Names are quoted where they need it, as Python's csv module does. A row is always one line, as
    names are printable.
    """
    lines: list[str] = []
    for target in snapshot.targets:
        # What is the same in all rows is formatted once.
        row = ",".join(_format(snapshot, target, column) for column in columns) + "\n"
        numbers = [
            _numbers(target, column)
            for column in columns
            if column.of == "region" and column.get(target) is not None
        ]
        lines += [row % of_region for of_region in zip(*numbers, strict=True)]
    return "".join(lines).encode()


def _format(snapshot: Snapshot, target: TargetSnapshot, column: Column) -> str:
    """Return a field of all rows of a target: its text, or where the numbers of regions go."""
    value = column.get(snapshot if column.of == "aggregation" else target)
    if value is None:
        return ""
    if column.of == "region":
        return "%s"
    return _quoted(value).replace("%", "%%") if column.dtype == "text" else str(value)


def _numbers(target: TargetSnapshot, column: Column) -> list[Any]:
    """Return the numbers of regions; counts as whole numbers where they are."""
    if column.name == KINDS:
        return _kinds(target)
    if column.name != "nr_accesses":
        values: list[Any] = column.get(target).tolist()
        return (
            ["" if value == UNKNOWN else value for value in values] if column.optional else values
        )
    counts = rounded_counts(target.nr_accesses).tolist()
    return [int(count) if count.is_integer() else count for count in counts]


def _kinds(target: TargetSnapshot) -> list[str]:
    """Return the bytes of each region by kind, such as ``anonymous=4096 huge=0``."""
    assert target.kinds is not None
    names = kind_names(target.kinds)
    return [
        " ".join(
            f"{name}={size}" for name, size in zip(names, of_region, strict=True) if size != UNKNOWN
        )
        for of_region in target.kinds.tolist()
    ]


def is_kinds_field(text: str) -> bool:
    """Return whether a field says something of kinds of memory, or nothing at all."""
    return not text or all(map(_KIND.fullmatch, text.split(" ")))


def parse_kinds(fields: Sequence[str]) -> KindColumns | None:
    """Return what these fields of regions say of kinds of memory; None if that is nothing.

    Raises:
        ValueError: One says something else.
    """
    if not any(fields):
        return None
    columns: dict[str, list[int]] = {}
    for row, text in enumerate(fields):
        for each in text.split(" ") if text else ():
            match = _KIND.fullmatch(each)
            if match is None:
                raise ValueError(each)
            of_all = columns.setdefault(match[1], [UNKNOWN] * len(fields))
            of_all[row] = int(match[2])
    return kind_columns(
        len(fields), {name: np.array(column, np.int64) for name, column in columns.items()}
    )


_KIND = re.compile(r"([a-z][a-z0-9_]*)=([0-9]{1,18})")

#: What spreadsheets take for a formula, or for what protects from one.
_FORMULA = re.compile(r"'*[=+\-@\t]")
_PROTECTED = re.compile(r"'+[=+\-@\t]")


def plain(field: str) -> str:
    """Return a name as it was before it was protected from spreadsheets."""
    return field[1:] if _PROTECTED.match(field) else field


def _quoted(name: str) -> str:
    """Return a name in quotes where it needs them.

    One that a spreadsheet would take for a formula gets an apostrophe in front, as they have it.
    """
    if _FORMULA.match(name):
        name = f"'{name}"
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow((name, ""))
    return text.getvalue()[:-1]
