"""Rows back to snapshots."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import frozen

from damon_core import (
    NO_LABELS,
    SPECTRUM_US,
    UNKNOWN,
    Area,
    AttributeValueError,
    IdleAges,
    Intervals,
    KindColumns,
    Owner,
    Reported,
    Snapshot,
    Spectrum,
    TargetRows,
    Toll,
    assemble_snapshot,
    freeze_labels,
    kind_columns,
    region_mistake,
)
from damon_parquet.pages import PagesColumn
from damon_parquet.raw import nulls, numbers, raw
from damon_parquet.rows import KnownAreas
from damon_parquet.schema import AGGREGATION, IDLE, IDLE_AGES, REPORTED, TOLL

#: Reads columns of a row group.
Read = Callable[[Sequence[str]], pa.Table]

_Column = npt.NDArray[Any]


def note_areas(read: Read, known: KnownAreas) -> None:
    """Note the areas that rows have."""
    areas = read(["areas"]).column(0)
    if areas.null_count == len(areas):
        return
    names = read(["context", "target"])
    for row, items in _lists_by_row(areas, _areas).items():
        context, target = (names[name][row].as_py() for name in ("context", "target"))
        known.setdefault(context, {})[target] = items


def snapshots_of(
    read: Read,
    known: KnownAreas,
    present: set[str],
    *,
    where: str,
    check: bool = False,
) -> Generator[Snapshot]:
    """Yield the snapshots of rows.

    Args:
        read: Reads columns of it. They are read a few at a time: all together take much memory.
        known: The areas that earlier rows have; those of these rows are noted.
        present: Which of the columns that are often null have any values: to read none takes long.
        where: Where in which file the rows are, for messages.
        check: Whether rows may say what can't be.

    Raises:
        ValueError: They do.
    """
    outline = _Outline.of(read(["context", "target", *AGGREGATION]))
    heads, rows, targets = outline.heads, outline.rows, outline.targets
    columns = _regions(read, outline)
    counts = np.diff(targets)
    counts[columns["end"][targets[:-1]] == 0] = 0
    sizes = counts.tolist()
    begins = targets.tolist()
    areas = _lists_by_row(read(["areas"]).column(0), _areas)
    owners = _lists_by_row(read(["owners"]).column(0), _owners) if "owners" in present else {}
    spectra = (
        _lists_by_row(read(["spectrum"]).column(0), _spectrum) if "spectrum" in present else {}
    )
    pages = PagesColumn(read, where, is_known="pages" in present)
    touched_bytes, has_touched = _touched(read, outline, present)
    idle = _idle(read, present)
    kinds, has_kinds = _kinds(read, outline, present)
    tolls, ages = _tolls(read, present), _idle_ages(read, present)
    stale = _of_first_rows(read, "stale_us") if "stale_us" in present else {}
    labels = _labels(read, present, begins[:-1])
    reported = _reported(read, present)
    intervals: dict[tuple[int, int, int], Intervals] = {}
    for index, (begin, end) in enumerate(pairwise(rows)):
        first, last = outline.places[index], outline.places[index + 1]
        context = outline.contexts[index]
        before = known.get(context, {})
        now: dict[str, tuple[Area, ...]] = {}
        parts = []
        for part in range(first, last):
            name = outline.names[part]
            if name is None:
                continue
            now[name] = areas.get(begins[part], before.get(name, ()))
            row = begins[part]
            parts.append(
                TargetRows(
                    name,
                    sizes[part],
                    now[name],
                    owners.get(row, ()),
                    tolls.get(row, Toll()),
                    ages.get(row, IdleAges()),
                    labels=labels[part],
                    spectrum=spectra.get(row),
                    pages=partial(pages.page_map, row),
                    stale_us=stale.get(row, 0),
                    reported=reported.get(row, Reported()),
                )
            )
        known[context] = now
        key = heads["sampling_us"][index], heads["aggregation_us"][index], heads["update_us"][index]
        if key not in intervals:
            intervals[key] = Intervals(*key)
        kept: Any = slice(begin, end)
        if sum(sizes[first:last]) != end - begin:
            kept = begin + np.flatnonzero(columns["end"][begin:end] != 0)
        of_regions = {name: column[kept] for name, column in columns.items()}
        if has_touched[index]:
            of_regions["touched_bytes"] = touched_bytes[kept]
        of_regions |= {name: column[kept] for name, column in idle.items()}
        if has_kinds[index]:
            of_regions["kinds"] = kinds[kept]
        if check:
            _check(of_regions, parts, heads, index)
        # Rounding may have made them more than there were checks.
        most = heads["max_nr_accesses"][index]
        of_regions["nr_accesses"] = np.minimum(of_regions["nr_accesses"], most)
        yield assemble_snapshot(
            of_regions,
            parts,
            context=context,
            number=heads["number"][index],
            time_us=heads["time"][index],
            elapsed_us=heads["elapsed_us"][index],
            intervals=intervals[key],
            max_nr_accesses=heads["max_nr_accesses"][index],
        )


def _check(
    columns: dict[str, _Column],
    parts: Sequence[TargetRows],
    heads: dict[str, list[int]],
    index: int,
) -> None:
    most = heads["max_nr_accesses"][index]
    where = f"aggregation {heads['number'][index]}"
    if most < 1 or heads["elapsed_us"][index] < 0:
        raise ValueError(f"{where} has a number of checks below 1, or a negative time")
    mistake = region_mistake(columns, [part.count for part in parts], most)
    if mistake is not None:
        row, why = mistake
        start, end = columns["start"][row], columns["end"][row]
        raise ValueError(f"{where}, region {start:#x} to {end:#x}: {why}")


@frozen(eq=False)
class _Outline:
    """Which rows are whose.

    Attributes:
        rows: Where aggregations begin, and the end.
        heads: What the rows of each aggregation have in common.
        contexts: The name of the context of each aggregation.
        targets: Where targets begin, and the end.
        names: The name of each target; None for the row of an aggregation without any.
        places: Where the first targets of aggregations are among all, and how many there are.
    """

    rows: list[int]
    heads: dict[str, list[int]]
    contexts: list[str]
    targets: _Column
    names: list[str | None]
    places: list[int]

    @classmethod
    def of(cls, table: pa.Table) -> "_Outline":
        """Return the outline of whole aggregations."""
        contexts, context_names = codes(table, "context")
        targets, target_names = codes(table, "target")
        time, number = numbers(table, "time"), numbers(table, "number")
        changed = (np.diff(time) != 0) | (np.diff(number) != 0) | (np.diff(contexts) != 0)
        rows = np.concatenate(([0], np.flatnonzero(changed) + 1))
        changed |= np.diff(targets) != 0
        of_targets = np.concatenate(([0], np.flatnonzero(changed) + 1, [len(time)]))
        return cls(
            [*rows.tolist(), len(time)],
            {name: numbers(table, name)[rows].tolist() for name in AGGREGATION},
            [context_names[code] for code in contexts[rows].tolist()],
            of_targets,
            [
                target_names[code] if code >= 0 else None
                for code in targets[of_targets[:-1]].tolist()
            ],
            np.searchsorted(of_targets, [*rows, len(time)]).tolist(),
        )


def _regions(read: Read, outline: _Outline) -> dict[str, _Column]:
    """Return the columns of snapshots."""
    count = np.diff(outline.rows)
    number, time = (np.repeat(outline.heads[name], count) for name in ("number", "time"))
    columns = {"age": number - numbers(read(["alike_since"]), "alike_since")}
    since = read(["idle_since"])
    columns["idle_us"] = time - numbers(since, "idle_since")
    columns["idle_us"][nulls(since.column(0).combine_chunks())] = 0
    table = read(["start", "end", "resident_bytes", "nr_accesses"])
    columns["nr_accesses"] = numbers(table, "nr_accesses").astype(np.float64)
    for name in ("start", "end", "resident_bytes"):
        columns[name] = numbers(table, name)
    return columns


def _touched(
    read: Read, outline: _Outline, present: set[str]
) -> tuple[_Column, npt.NDArray[np.bool_]]:
    """Return the touched bytes of each row, and for each aggregation whether they are known."""
    if "touched_bytes" not in present:
        return np.empty(0), np.zeros(len(outline.rows) - 1, bool)
    column = read(["touched_bytes"]).column(0).combine_chunks()
    unknown = np.add.reduceat(nulls(column), outline.rows[:-1])
    return raw(column), unknown == 0


def _kinds(
    read: Read, outline: _Outline, present: set[str]
) -> tuple[KindColumns, npt.NDArray[np.bool_]]:
    """Return the bytes of each row by kind, and for each aggregation whether any are known.

    Raises:
        ValueError: A kind has no possible name.
    """
    if "kinds" not in present:
        return kind_columns(0, {}), np.zeros(len(outline.rows) - 1, bool)
    column = read(["kinds"]).column(0).combine_chunks()
    lengths = np.where(nulls(column), 0, np.diff(raw(column.offsets)))
    elements = column.flatten()
    names = elements.field("kind").dictionary_encode()
    table = np.full((len(names.dictionary), len(lengths)), UNKNOWN, dtype=np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    table[raw(names.indices), rows] = raw(elements.field("bytes"))
    columns = dict(zip(names.dictionary.to_pylist(), table, strict=True))
    has_any = np.add.reduceat(lengths, outline.rows[:-1]) > 0
    try:
        return kind_columns(len(lengths), columns), has_any
    except AttributeValueError as error:
        raise ValueError(str(error)) from error


def _tolls(read: Read, present: set[str]) -> dict[int, Toll]:
    """Return what monitoring has cost targets, by their first rows."""
    if not present & set(TOLL):
        return {}
    table = read(TOLL)
    rows = np.flatnonzero(~nulls(table.column(TOLL[0]).combine_chunks()))
    figures = [numbers(table, name)[rows].tolist() for name in TOLL]
    return {row: Toll(*each) for row, *each in zip(rows.tolist(), *figures, strict=True)}


def _idle(read: Read, present: set[str]) -> dict[str, _Column]:
    """Return the columns of bytes idle for spans that have values."""
    columns = {}
    for name in sorted(present.intersection(IDLE)):
        array = read([name]).column(0).combine_chunks()
        columns[name] = np.where(nulls(array), UNKNOWN, raw(array))
    return columns


def _idle_ages(read: Read, present: set[str]) -> dict[int, IdleAges]:
    """Return how old bytes idle for spans are, of targets, by their first rows."""
    ages: dict[int, dict[str, int]] = {}
    for name in sorted(present.intersection(IDLE_AGES)):
        for row, age_us in _of_first_rows(read, name).items():
            ages.setdefault(row, {})[name] = age_us
    return {row: IdleAges(**of_target) for row, of_target in ages.items()}


def _of_first_rows(read: Read, name: str) -> dict[int, int]:
    """Return the values of a column that targets have in their first rows, by these rows."""
    array = read([name]).column(0).combine_chunks()
    rows = np.flatnonzero(~nulls(array))
    return dict(zip(rows.tolist(), raw(array)[rows].tolist(), strict=True))


def _reported(read: Read, present: set[str]) -> dict[int, Reported]:
    """Return what something else says of targets, by their first rows.

    Raises:
        ValueError: Idle times aren't those of all percentiles.
    """
    idle_name, bandwidth_name = REPORTED
    idle: dict[int, tuple[int, ...]] = {}
    bandwidths: dict[int, int] = {}
    if idle_name in present:
        idle = _lists_by_row(read([idle_name]).column(0), tuple)
    if bandwidth_name in present:
        bandwidths = _of_first_rows(read, bandwidth_name)
    rows = idle.keys() | bandwidths.keys()
    return {row: Reported(idle.get(row), bandwidths.get(row)) for row in rows}


def _labels(
    read: Read, present: set[str], first_rows: Sequence[int]
) -> Sequence[Mapping[str, str]]:
    """Return the labels of each target in each aggregation, by their first rows.

    Raises:
        ValueError: They aren't labels.
    """
    if "labels" not in present:
        return [NO_LABELS] * len(first_rows)
    of_rows, texts = codes(read(["labels"]), "labels")
    known = [*map(_from_json, texts), NO_LABELS]  # the last, -1, stands for none
    return [known[code] for code in of_rows[first_rows].tolist()]


def _from_json(text: str) -> Mapping[str, str]:
    try:
        return freeze_labels(json.loads(text))
    except (ValueError, TypeError, AttributeError, AttributeValueError) as error:
        raise ValueError(f"labels can't be understood: {text!r:.60}") from error


def codes(table: pa.Table, name: str) -> tuple[_Column, list[str]]:
    """Return the numbers of names, -1 for null, and the names."""
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    codes = np.where(nulls(column.indices), -1, raw(column.indices))
    return codes, column.dictionary.to_pylist()


def _lists_by_row(chunks: pa.ChunkedArray, make: Any) -> dict[int, Any]:
    """Return the lists that there are, by row."""
    column = chunks.combine_chunks()
    rows = np.flatnonzero(~nulls(column)).tolist()
    return {row: make(column[row].as_py()) for row in rows}


def _areas(items: Sequence[dict[str, Any]]) -> tuple[Area, ...]:
    return tuple(Area(**item) for item in items)


def _owners(items: Sequence[dict[str, Any]]) -> tuple[Owner, ...]:
    return tuple(Owner(**item) for item in items)


def _spectrum(items: Sequence[dict[str, Any]]) -> Spectrum:
    sizes = {item["within_us"]: item["bytes"] for item in items}
    return Spectrum(tuple(sizes.get(us) for us in SPECTRUM_US), sizes[None])
