"""Snapshots as a table of rows, and back."""

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from damon_core import (
    Area,
    Intervals,
    Owner,
    Snapshot,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
)
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


def note_areas(table: pa.Table, told: Told) -> None:
    """Note what rows tell of areas; the table needs no other columns than that and the names."""
    lists = table.column("areas")
    found = table.select(["context", "target", "areas"]).filter(lists.is_valid())
    for row in found.to_pylist():
        told.setdefault(row["context"], {})[row["target"]] = _areas(row["areas"])


def from_table(table: pa.Table, told: Told) -> Generator[Snapshot]:
    """Yield the snapshots of rows.

    Args:
        table: Whole aggregations; columns of lists may be missing if there are none.
        told: The areas that earlier rows told; what these tell is noted.
    """
    if not table.num_rows:
        return
    columns = {name: _numpy(table, name) for name in _NUMBERS}
    columns |= _derived(table, columns)
    contexts, context_names = _codes(table, "context")
    targets, target_names = _codes(table, "target")
    changed = (
        (np.diff(columns["time"]) != 0)
        | (np.diff(columns["number"]) != 0)
        | (np.diff(contexts) != 0)
    )
    borders = [0, *(np.flatnonzero(changed) + 1).tolist(), table.num_rows]
    changed |= np.diff(targets) != 0
    target_borders = np.concatenate(([0], np.flatnonzero(changed) + 1, [table.num_rows]))
    # Where the borders of aggregations are among those of targets.
    places = np.searchsorted(target_borders, borders).tolist()
    of_target = targets[target_borders[:-1]].tolist()
    counts = np.diff(target_borders)
    counts[columns["end"][target_borders[:-1]] == 0] = 0
    areas = _told_lists(table, "areas", _areas)
    owners = _told_lists(table, "owners", _owners)
    begins = target_borders.tolist()
    sizes = counts.tolist()
    intervals: dict[tuple[int, int, int], Intervals] = {}
    heads = {name: columns[name][borders[:-1]].tolist() for name in _AGGREGATION}
    for index, ((begin, end), (first, last)) in enumerate(
        zip(pairwise(borders), pairwise(places), strict=True)
    ):
        context = context_names[contexts[begin]]
        before = told.get(context, {})
        now: dict[str, tuple[Area, ...]] = {}
        parts = []
        for part in range(first, last):
            code = of_target[part]
            if code < 0:
                continue
            name = target_names[code]
            now[name] = areas.get(begins[part], before.get(name, ()))
            parts.append(TargetRows(name, sizes[part], now[name], owners.get(begins[part], ())))
        told[context] = now
        key = heads["sampling_us"][index], heads["aggregation_us"][index], heads["update_us"][index]
        if key not in intervals:
            intervals[key] = Intervals(*key)
        rows: Any = slice(begin, end)
        if sum(sizes[first:last]) != end - begin:
            rows = begin + np.flatnonzero(columns["end"][begin:end] != 0)
        yield assemble_snapshot(
            {name: columns[name][rows] for name in _REGION},
            parts,
            context=context,
            number=heads["number"][index],
            time_us=heads["time"][index],
            elapsed_us=heads["elapsed_us"][index],
            intervals=intervals[key],
            max_nr_accesses=heads["max_nr_accesses"][index],
        )


_AGGREGATION = (
    "time",
    "number",
    "elapsed_us",
    "sampling_us",
    "aggregation_us",
    "update_us",
    "max_nr_accesses",
)
_NUMBERS = (*_AGGREGATION, "start", "end", "resident_bytes")


def _derived(table: pa.Table, columns: dict[str, _Column]) -> dict[str, _Column]:
    """Return the columns of snapshots that are kept in another form."""
    since = table.column("idle_since").cast(pa.int64()).combine_chunks()
    idle_us = columns["time"] - _numbers(since)
    idle_us[_flags(since.is_null())] = 0
    return {
        "nr_accesses": _numpy(table, "nr_accesses").astype(np.float64),
        "age": columns["number"] - _numpy(table, "alike_since"),
        "idle_us": idle_us,
    }


def _numpy(table: pa.Table, name: str) -> _Column:
    column = table.column(name).combine_chunks()
    if name == "time":
        column = column.cast(pa.int64())
    return _numbers(column)


def _numbers(array: pa.Array) -> _Column:
    """Return numbers as they lie in memory; those that are null mean nothing.

    By DLPack, as pyarrow's own ways import pandas where that is installed, for half a second.
    """
    whole = pa.Array.from_buffers(
        array.type, len(array), [None, array.buffers()[1]], offset=array.offset
    )
    column: _Column = np.from_dlpack(whole)
    return column


def _flags(array: pa.Array) -> npt.NDArray[np.bool_]:
    return _numbers(array.cast(pa.uint8())).astype(bool)


def _codes(table: pa.Table, name: str) -> tuple[_Column, list[str]]:
    """Return the numbers of names, -1 for null, and the names."""
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    codes = np.where(_flags(column.indices.is_null()), -1, _numbers(column.indices))
    return codes, column.dictionary.to_pylist()


def _told_lists(table: pa.Table, name: str, make: Any) -> dict[int, Any]:
    """Return the lists that there are, by row."""
    if name not in table.column_names:
        return {}
    column = table.column(name).combine_chunks()
    there = column.is_valid()
    rows = np.flatnonzero(_flags(there)).tolist()
    return {
        row: make(items) for row, items in zip(rows, column.filter(there).to_pylist(), strict=True)
    }


def _areas(items: Sequence[dict[str, Any]]) -> tuple[Area, ...]:
    return tuple(Area(**item) for item in items)


def _owners(items: Sequence[dict[str, Any]]) -> tuple[Owner, ...]:
    return tuple(Owner(**item) for item in items)
