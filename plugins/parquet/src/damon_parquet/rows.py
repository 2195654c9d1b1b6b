"""Snapshots as a table of rows."""

import json
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from damon_core import (
    COLUMNS,
    REGION_COLUMNS,
    SPECTRUM_US,
    UNKNOWN,
    Area,
    Column,
    PageMap,
    Reported,
    Snapshot,
    Spectrum,
    TargetSnapshot,
    Toll,
    kind_names,
    rounded_counts,
)
from damon_parquet.pages import to_pages
from damon_parquet.schema import IDLE, IDLE_AGES, SCHEMA, TOLL, WITH_PAGES

#: The areas of targets as rows before have them, context by context.
KnownAreas = dict[str, dict[str, tuple[Area, ...]]]

_Column = npt.NDArray[Any]


#: The pages of the targets of a snapshot, in their order.
Maps = Sequence[PageMap | None]


def to_table(
    snapshots: Sequence[Snapshot], known: KnownAreas, maps: Sequence[Maps] | None = None
) -> pa.Table:
    """Return the rows of snapshots, those of one aggregation one behind the other.

    Args:
        snapshots: In the order of their rows.
        known: The areas that earlier rows have; those that differ are kept now, and noted.
        maps: Every page of the targets of each snapshot, if the record keeps these.
    """
    targets = [target for snapshot in snapshots for target in snapshot.targets or (None,)]
    # A target without regions, and an aggregation without targets, are kept by a row of zeros.
    counts = np.array([max(len(target), 1) if target is not None else 1 for target in targets])
    of_targets = [max(len(snapshot.targets), 1) for snapshot in snapshots]
    begins = np.concatenate(([0], np.cumsum(counts)))
    sizes = np.diff(begins[np.concatenate(([0], np.cumsum(of_targets)))])

    def of_snapshots(name: str) -> pa.Array:
        values = [COLUMNS[name].get(snapshot) for snapshot in snapshots]
        if COLUMNS[name].dtype == "text":
            return _names(values, sizes)
        return pa.array(np.repeat(np.array(values, dtype=np.int64), sizes))

    columns: dict[str, pa.Array] = {
        name: of_snapshots(name) for name, column in COLUMNS.items() if column.of == "aggregation"
    }
    columns["time"] = columns.pop("time_us")
    names = [None if target is None else target.name for target in targets]
    columns["target"] = _names(names, counts)
    whole = all(target is not None and len(target) for target in targets)
    # Where no row of zeros is needed, the snapshots' own columns: fewer and longer.
    parts: Sequence[Snapshot | TargetSnapshot | None] = snapshots if whole else targets
    regions = {
        name: np.concatenate([_values(part, COLUMNS[name]) for part in parts])
        for name in REGION_COLUMNS
    }
    for name in ("start", "end", "resident_bytes"):
        columns[name] = pa.array(regions[name])
    columns["nr_accesses"] = pa.array(rounded_counts(regions["nr_accesses"]))
    columns["alike_since"] = pa.array(columns["number"].to_numpy() - regions["age"])
    idle_us = regions["idle_us"]
    columns["idle_since"] = pa.array(columns["time"].to_numpy() - idle_us, mask=idle_us == 0)
    areas: list[tuple[Area, ...] | None] = []
    for snapshot in snapshots:
        areas += _changes(snapshot, known)
    owners = [(target.owners or None) if target is not None else None for target in targets]
    for name in ("touched_bytes", *IDLE):
        size_bytes = np.concatenate([_values(part, COLUMNS[name]) for part in parts])
        # Null until it is known: -1 stands for that in between.
        columns[name] = pa.array(size_bytes, mask=size_bytes == UNKNOWN)
    for name in TOLL:
        figures = [
            None if each is None or each.toll == Toll() else COLUMNS[name].get(each)
            for each in targets
        ]
        columns[name] = _of_first_rows(figures, begins)
    stale = [None if each is None else each.stale_us or None for each in targets]
    columns["stale_us"] = _of_first_rows(stale, begins)
    for name in IDLE_AGES:
        ages = [None if each is None else COLUMNS[name].get(each) for each in targets]
        columns[name] = _of_first_rows(ages, begins)
    labels = [None if each is None or not each.labels else to_json(each) for each in targets]
    columns["labels"] = _names(labels, counts)
    columns["areas"] = _lists(areas, begins, "areas")
    columns["owners"] = _lists(
        [each and [attrs.astuple(owner) for owner in each] for each in owners], begins, "owners"
    )
    spectra = [None if each is None else _classes(each.spectrum) for each in targets]
    columns["spectrum"] = _lists(spectra, begins, "spectrum")
    columns["kinds"] = _kinds(parts)
    said = [Reported() if each is None else each.reported for each in targets]
    columns["reported_idle_us"] = _lists(
        [each.idle_us for each in said], begins, "reported_idle_us"
    )
    columns["reported_bytes_per_second"] = _of_first_rows(
        [each.bytes_per_second for each in said], begins
    )
    schema = SCHEMA
    if maps is not None:
        schema = WITH_PAGES
        of_each = [
            each
            for snapshot, kept in zip(snapshots, maps, strict=True)
            for each in (kept if snapshot.targets else (None,))
        ]
        columns["pages"] = to_pages(of_each, begins)
    return pa.table(
        [
            columns[field.name] if field.name == "pages" else columns[field.name].cast(field.type)
            for field in schema
        ],
        schema=schema,
    )


def to_json(target: TargetSnapshot) -> str:
    """Return the labels of a target as text: the same for the same labels."""
    return json.dumps(dict(target.labels), sort_keys=True)


def _classes(spectrum: Spectrum | None) -> list[tuple[int | None, int]] | None:
    """Return the times and bytes of what is known of a spectrum, last all bytes."""
    if spectrum is None:
        return None
    sizes = zip(SPECTRUM_US, spectrum.within_bytes, strict=True)
    known: list[tuple[int | None, int]] = [(us, size) for us, size in sizes if size is not None]
    return [*known, (None, spectrum.total_bytes)]


def _changes(snapshot: Snapshot, known: KnownAreas) -> list[tuple[Area, ...] | None]:
    """Return for each target its areas, None where rows before have the same."""
    if not snapshot.targets:
        known.pop(snapshot.context, None)
        return [None]
    before = known.get(snapshot.context, {})
    changes = [
        None if _same(before.get(target.name), target.areas) else target.areas
        for target in snapshot.targets
    ]
    known[snapshot.context] = {target.name: target.areas for target in snapshot.targets}
    return changes


def _same(before: tuple[Area, ...] | None, now: tuple[Area, ...]) -> bool:
    return before is now or before == now


def _values(part: Snapshot | TargetSnapshot | None, column: Column) -> _Column:
    """Return a column of regions; where there is none, a zero."""
    values: _Column | None = None if part is None else column.get(part)
    if values is None:
        count = 0 if part is None else len(part)
        return np.full(max(count, 1), UNKNOWN if column.optional else 0, column.dtype)
    return values if len(values) else np.zeros(1, column.dtype)


def _of_first_rows(figures: Sequence[int | None], begins: _Column) -> pa.Array:
    """Return a column that has the figures of targets in their first rows, and null elsewhere."""
    values, mask = np.zeros(begins[-1], dtype=np.int64), np.ones(begins[-1], dtype=bool)
    values[begins[:-1]] = [figure or 0 for figure in figures]
    mask[begins[:-1]] = [figure is None for figure in figures]
    return pa.array(values, mask=mask)


def _kinds(parts: Sequence[Snapshot | TargetSnapshot | None]) -> pa.Array:
    """Return the bytes of regions by kind of memory: null where none is known."""
    kind = SCHEMA.field("kinds").type
    tables = [
        (1, None) if part is None or not len(part) else (len(part), part.kinds) for part in parts
    ]
    names = list(dict.fromkeys(name for _, table in tables for name in kind_names(table)))
    if not names:
        return pa.nulls(sum(count for count, _ in tables), kind)
    sizes = np.full((sum(count for count, _ in tables), len(names)), UNKNOWN, dtype=np.int64)
    begin = 0
    for count, table in tables:
        for name in kind_names(table):
            assert table is not None
            sizes[begin : begin + count, names.index(name)] = table[name]
        begin += count
    known = sizes != UNKNOWN
    counts = np.count_nonzero(known, axis=1)
    codes = pa.array(np.nonzero(known)[1].astype(np.int32))
    elements = pa.StructArray.from_arrays(
        [pa.array(names, pa.string()).take(codes), pa.array(sizes[known])],
        fields=[*kind.value_type],
    )
    offsets = pa.array(np.append(0, np.cumsum(counts)), pa.int32())
    return pa.ListArray.from_arrays(offsets, elements, type=kind, mask=pa.array(counts == 0))


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
    """Return a column that has lists in the rows that `begins` names, and null elsewhere."""
    kind = SCHEMA.field(name).type
    lengths = np.zeros(begins[-1] + 1, dtype=np.int32)
    mask = np.ones(begins[-1], dtype=bool)
    flat: list[Any] = []
    for begin, items in zip(begins.tolist(), values, strict=False):
        if items is not None:
            mask[begin] = False
            lengths[begin + 1] = len(items)
            flat += items
    if pa.types.is_struct(kind.value_type):
        names = [field.name for field in kind.value_type]
        flat = [dict(zip(names, map(_text, item), strict=True)) for item in flat]
    elements = pa.array(flat, kind.value_type)
    offsets = pa.array(np.cumsum(lengths, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, elements, type=kind, mask=pa.array(mask))


def _text(value: Any) -> Any:
    """Return a value as it can be in a file: what isn't Unicode in a name becomes ``\\udc80``."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
