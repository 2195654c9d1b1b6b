"""Snapshots as a table of rows."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from damon_core import Area, Snapshot, TargetSnapshot
from damon_parquet.schema import SCHEMA

#: Columns that regions have, each for itself.
_REGION = ("start", "end", "nr_accesses", "age", "idle_us", "resident_bytes")

#: What was last told of the areas of targets, context by context.
Told = dict[str, dict[str, tuple[Area, ...]]]

_Column = npt.NDArray[Any]


def to_table(snapshots: Sequence[Snapshot], told: Told) -> pa.Table:
    """Return the rows of snapshots, those of one aggregation one behind the other.

    Args:
        snapshots: In the order of their rows.
        told: The areas that earlier rows told; those that differ are told now, and noted.
    """
    targets = [target for snapshot in snapshots for target in snapshot.targets or (None,)]
    # A target without regions, and an aggregation without targets, are kept by a row of zeros.
    counts = np.array([max(len(target), 1) if target is not None else 1 for target in targets])
    of_targets = [max(len(snapshot.targets), 1) for snapshot in snapshots]
    begins = np.concatenate(([0], np.cumsum(counts)))
    sizes = np.diff(begins[np.concatenate(([0], np.cumsum(of_targets)))])

    def each(values: Sequence[int]) -> pa.Array:
        return pa.array(np.repeat(np.array(values, dtype=np.int64), sizes))

    columns: dict[str, pa.Array] = {
        "time": each([snapshot.time_us for snapshot in snapshots]),
        "context": _names([snapshot.context for snapshot in snapshots], sizes),
        "number": each([snapshot.number for snapshot in snapshots]),
        "elapsed_us": each([snapshot.elapsed_us for snapshot in snapshots]),
        "max_nr_accesses": each([snapshot.max_nr_accesses for snapshot in snapshots]),
        "target": _names([None if target is None else target.name for target in targets], counts),
    }
    for name in ("sampling_us", "aggregation_us", "update_us"):
        columns[name] = each([getattr(snapshot.intervals, name) for snapshot in snapshots])
    whole = all(target is not None and len(target) for target in targets)
    regions: dict[str, _Column] = {}
    for name in _REGION:
        # Where no row of zeros is needed, the snapshots' own columns: fewer and longer.
        parts: Sequence[Snapshot | TargetSnapshot | None] = snapshots if whole else targets
        regions[name] = np.concatenate([_values(part, name) for part in parts])
    for name in ("start", "end", "resident_bytes"):
        columns[name] = pa.array(regions[name])
    columns["nr_accesses"] = pa.array(_rounded(regions["nr_accesses"]))
    # What doesn't change while nothing happens takes no room: since when, not for how long.
    columns["alike_since"] = pa.array(columns["number"].to_numpy() - regions["age"])
    idle_us = regions["idle_us"]
    columns["idle_since"] = pa.array(columns["time"].to_numpy() - idle_us, mask=idle_us == 0)
    contexts = [
        snapshot.context
        for snapshot, count in zip(snapshots, of_targets, strict=True)
        for _ in range(count)
    ]
    areas: list[tuple[Area, ...] | None] = []
    for snapshot in snapshots:
        areas += _changes(snapshot, told)
    assert len(areas) == len(contexts)
    owners = [(target.owners or None) if target is not None else None for target in targets]
    columns["areas"] = _lists(areas, begins, "areas")
    columns["owners"] = _lists(
        [each and [attrs.astuple(owner) for owner in each] for each in owners], begins, "owners"
    )
    return pa.table(
        [columns[field.name].cast(field.type) for field in SCHEMA],
        schema=SCHEMA,
    )


def _rounded(counts: _Column) -> npt.NDArray[np.float32]:
    """Return counts with fractions rounded to seven binary digits: the rest is noise."""
    mantissa, exponent = np.frexp(counts)
    rounded = np.ldexp(np.round(mantissa * 128) / 128, exponent)
    return np.where(counts == np.round(counts), counts, rounded).astype(np.float32)


def _changes(snapshot: Snapshot, told: Told) -> list[tuple[Area, ...] | None]:
    """Return for each target its areas, None where they have been told."""
    if not snapshot.targets:
        told.pop(snapshot.context, None)
        return [None]
    before = told.get(snapshot.context, {})
    changes = [
        None if _same(before.get(target.name), target.areas) else target.areas
        for target in snapshot.targets
    ]
    told[snapshot.context] = {target.name: target.areas for target in snapshot.targets}
    return changes


def _same(before: tuple[Area, ...] | None, now: tuple[Area, ...]) -> bool:
    return before is now or before == now


def _values(part: Snapshot | TargetSnapshot | None, name: str) -> _Column:
    column: _Column = np.empty(0) if part is None else getattr(part, name)
    return column if len(column) else np.zeros(1, np.float64 if name == "nr_accesses" else np.int64)


def _names(names: Sequence[str | None], counts: Sequence[int] | _Column) -> pa.Array:
    """Return names, each repeated, as a dictionary."""
    distinct = dict.fromkeys(name for name in names if name is not None)
    codes: dict[str | None, int] = {name: code for code, name in enumerate(distinct)}
    of_each = np.array([codes.get(name, -1) for name in names], dtype=np.int32)
    indices = np.repeat(of_each, counts)
    texts = [_text(name) for name in distinct]
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, mask=indices < 0), pa.array(texts, pa.string())
    )


def _lists(values: Sequence[Any], begins: _Column, name: str) -> pa.Array:
    """Return a column that has lists in the rows that `begins` tells, and null elsewhere."""
    kind = SCHEMA.field(name).type
    lengths = np.zeros(begins[-1] + 1, dtype=np.int32)
    mask = np.ones(begins[-1], dtype=bool)
    flat: list[Any] = []
    for begin, items in zip(begins.tolist(), values, strict=False):
        if items is not None:
            mask[begin] = False
            lengths[begin + 1] = len(items)
            flat += items
    names = [field.name for field in kind.value_type]
    elements = pa.array(
        [dict(zip(names, map(_text, item), strict=True)) for item in flat], kind.value_type
    )
    offsets = pa.array(np.cumsum(lengths, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, elements, type=kind, mask=pa.array(mask))


def _text(value: Any) -> Any:
    """Return a value as it can be in a file: what isn't Unicode in a name becomes ``\\udc80``."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
