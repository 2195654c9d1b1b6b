"""Records that another program has written, such as pandas, Polars or DuckDB.

Nothing is certain then: aggregations may be divided between row groups, rows may have another
order, columns may be missing or of other types. What belongs together is put together again.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from attrs import define, field

from damon_core import DamonError, InputError
from damon_parquet.parts import Part, open_file, time_span_us
from damon_parquet.raw import numbers
from damon_parquet.schema import FIELDS, SPARSE, WITH_PAGES
from damon_parquet.snapshots import codes

#: Columns that can be filled in.
_OPTIONAL = ("idle_since", "resident_bytes", "areas", *SPARSE)
#: What says which rows belong together, and in which order.
_KEYS = ("time", "number", "context", "target", "start")
#: Row groups are put together until they have as many rows.
_PART_ROWS = 1 << 16
#: As many rows can be sorted in memory.
_MOST_ROWS = 1 << 22
#: Contexts that share a file hand theirs over as they come.
_DISORDER_US = 120_000_000


def rewritten_parts(fd: int, path: Path, metadata: Any) -> tuple[list[Part], set[str]]:
    """Return the parts of a file of another program, and the columns that are filled in.

    Raises:
        InputError: It isn't a record, or one that can't be put together again; and why.
    """
    file = open_file(fd, metadata)
    types = {each.name: each.type for each in file.schema_arrow}
    missing = set(WITH_PAGES.names) - types.keys()
    needed = [name for name in FIELDS if name in missing - set(_OPTIONAL)]
    if len(needed) > len(FIELDS) - len(_OPTIONAL) - len(_KEYS):
        raise InputError(f"'{path}' is Parquet, but no record of memory accesses")
    if needed:
        raise InputError(f"'{path}' is no record: it lacks {_listed(needed)}")
    for name in WITH_PAGES.names:
        if name not in missing and not _can_be(types[name], _wanted(name)):
            raise InputError(
                f"'{path}': the column '{name}' is of type {types[name]}, not {_wanted(name)}"
            )
    rows = _Rows(path, file, missing)
    groups = [index for index in range(metadata.num_row_groups) if rows.count(index)]
    runs = list(_runs(rows, groups))
    if not _is_in_order(rows, runs):
        if metadata.num_rows > _MOST_ROWS:
            raise InputError(
                f"'{path}' has its rows in another order, and too many to sort them here: sort "
                f"them by {_listed(_KEYS)}"
            )
        return [_Sorted(rows, groups)], missing
    leads = [0, *(run.lead for run in runs[1:]), 0]
    parts: list[Part] = []
    for index, run in enumerate(runs):
        if run.lead < run.rows or index == 0:
            # The rest of the last aggregation, and all of runs that are nothing else.
            behind = itertools.takewhile(lambda each: each.lead == each.rows, runs[index + 1 :])
            more = [*behind]
            after = index + 1 + len(more)
            parts.append(_Run(rows, run, leads[index], more, runs[after : after + 1]))
    return parts, missing


@define
class _GroupRun:
    """Row groups that are read together.

    Attributes:
        groups: Which.
        rows: How many rows they have.
        lead: How many of these belong to the last aggregation of the run before.
    """

    groups: list[int]
    rows: int
    lead: int = 0


class _Rows:
    """The columns of a file as they should be."""

    def __init__(self, path: Path, file: pq.ParquetFile, missing: set[str]) -> None:
        self.path = path
        self._file = file
        self._missing = missing

    def count(self, group: int) -> int:
        """Return the number of rows of a row group."""
        rows: int = self._file.metadata.row_group(group).num_rows
        return rows

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return columns of row groups, those that are missing filled in.

        Raises:
            DamonError: They can't be read, or have values that they can't have.
        """
        needed = {name for name in columns if name not in self._missing}
        for name in set(columns) & self._missing:
            needed |= _FILLED_FROM.get(name, {"time"})
        where = f"'{self.path}', row groups {groups[0] + 1} to {groups[-1] + 1}"
        try:
            found = self._file.read_row_groups(
                list(groups), columns=sorted(needed), use_threads=False
            )
            table = pa.table({name: self._as_wanted(found, name) for name in sorted(needed)})
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise DamonError(f"{where}: {reason}") from error
        for name in needed:
            if not WITH_PAGES.field(name).nullable and table[name].null_count:
                raise DamonError(f"{where}: the column '{name}' has empty fields")
        return pa.table(
            {
                name: _filled(name, table) if name in self._missing else table[name]
                for name in columns
            }
        )

    @staticmethod
    def _as_wanted(table: pa.Table, name: str) -> pa.ChunkedArray:
        try:
            return table[name].cast(_wanted(name))
        except pa.ArrowException as error:
            raise pa.ArrowInvalid(f"the column '{name}': {error}") from error


class _Run:
    """Row groups from the first aggregation that begins in them to the end of the last."""

    checked = True

    def __init__(
        self,
        rows: _Rows,
        run: _GroupRun,
        lead: int,
        more: Sequence[_GroupRun],
        last: Sequence[_GroupRun],
    ) -> None:
        self._rows, self._lead = rows, lead
        self._groups = [*run.groups, *(group for each in more for group in each.groups)]
        self._last = last[0] if last and last[0].lead else None
        self.name = f"row groups {self._groups[0] + 1} to {self._groups[-1] + 1}"

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some of its columns."""
        table = self._rows.read(self._groups, columns).slice(self._lead)
        if self._last is None:
            return table
        rest = self._rows.read(self._last.groups, columns).slice(0, self._last.lead)
        return pa.concat_tables([table, rest])

    def span_us(self) -> tuple[int, int]:
        """Return its first and its last time."""
        return time_span_us(self.read(["time"]))

    def present(self) -> set[str]:
        """Return which of the columns that are often null have values."""
        return _present(self.read(list(SPARSE)))


class _Sorted:
    """All rows of a file, sorted."""

    name = "its rows, sorted"
    checked = True

    def __init__(self, rows: _Rows, groups: Sequence[int]) -> None:
        self._rows, self._groups = rows, groups
        keys = rows.read(groups, _KEYS)
        self._order = pc.sort_indices(keys, [(name, "ascending") for name in _KEYS])

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some of its columns."""
        return self._rows.read(self._groups, columns).take(self._order)

    def span_us(self) -> tuple[int, int]:
        """Return its first and its last time."""
        return time_span_us(self._rows.read(self._groups, ["time"]))

    def present(self) -> set[str]:
        """Return which of the columns that are often null have values."""
        return _present(self._rows.read(self._groups, list(SPARSE)))


def _present(table: pa.Table) -> set[str]:
    return {name for name in table.column_names if table[name].null_count < len(table)}


def _runs(rows: _Rows, groups: Sequence[int]) -> Iterator[_GroupRun]:
    """Yield row groups, small ones together."""
    run = _GroupRun([], 0)
    for group in groups:
        run.groups.append(group)
        run.rows += rows.count(group)
        if run.rows >= _PART_ROWS:
            yield run
            run = _GroupRun([], 0)
    if run.groups:
        yield run


@define
class _Last:
    """The aggregation that rows ended in.

    Attributes:
        key: Its time, number and context.
        targets: Its targets, in their order.
        start: The first address of its last region.
        ended: The keys of all aggregations before.
        latest_us: The latest time so far.
        of_contexts: The time and number of the last aggregation of each context.
    """

    key: tuple[int, int, str] | None = None
    targets: list[str | None] = field(factory=list)
    start: int = -1
    ended: set[int] = field(factory=set)
    latest_us: int = 0
    of_contexts: dict[str, tuple[int, int]] = field(factory=dict)


def _is_in_order(rows: _Rows, runs: Sequence[_GroupRun]) -> bool:
    """Return whether rows that belong together follow one another; note leads of runs."""
    last = _Last()
    return all(_follows(rows.read(run.groups, _KEYS), run, last) for run in runs)


def _follows(keys: pa.Table, run: _GroupRun, last: _Last) -> bool:
    """Return whether rows are in order, behind those before."""
    contexts, context_names = codes(keys, "context")
    targets, target_names = codes(keys, "target")
    time, number, start = (numbers(keys, name) for name in ("time", "number", "start"))
    begins = (np.diff(time) != 0) | (np.diff(number) != 0) | (np.diff(contexts) != 0)
    parts = begins | (np.diff(targets) != 0)
    if ((np.diff(start) <= 0) & ~parts).any():
        return False
    firsts = np.concatenate(([0], np.flatnonzero(begins) + 1))
    of_targets = np.concatenate(([0], np.flatnonzero(parts) + 1))
    names = [target_names[code] if code >= 0 else None for code in targets[of_targets].tolist()]
    bounds = np.searchsorted(of_targets, [*firsts.tolist(), len(time)]).tolist()
    heads = zip(
        time[firsts].tolist(),
        number[firsts].tolist(),
        (context_names[code] for code in contexts[firsts].tolist()),
        strict=True,
    )
    for index, key in enumerate(heads):
        these = names[bounds[index] : bounds[index + 1]]
        if key == last.key:
            # Only at the beginning of a run: the aggregation goes on.
            run.lead = int(firsts[1]) if len(firsts) > 1 else run.rows
            if these[0] == last.targets[-1]:
                if start[0] <= last.start:
                    return False
                del these[0]
            these = last.targets + these
        else:
            if last.key is not None:
                last.ended.add(hash(last.key))
            before = last.of_contexts.get(key[2], (0, 0))
            # A clock that was set back turns times back, but not numbers.
            if (
                hash(key) in last.ended
                or (key[0] < before[0] and key[1] < before[1])
                or key[0] < last.latest_us - _DISORDER_US
            ):
                return False
            last.of_contexts[key[2]] = key[0], key[1]
        if len(set(these)) < len(these):
            return False
        last.key, last.targets = key, these
        last.latest_us = max(last.latest_us, key[0])
    last.start = int(start[-1])
    return True


# -- columns -----------------------------------------------------------------------------


def _wanted(name: str) -> pa.DataType:
    """Return the type that a column is to have; names of all kinds become plain ones."""
    kind = WITH_PAGES.field(name).type
    return pa.string() if pa.types.is_dictionary(kind) else kind


def _can_be(found: pa.DataType, wanted: pa.DataType) -> bool:
    try:
        pa.nulls(0, found).cast(wanted)
    except pa.ArrowException:
        return False
    return True


_FILLED_FROM = {
    "resident_bytes": {"start", "end"},
    "idle_since": {"time", "number", "alike_since", "aggregation_us", "nr_accesses"},
}


def _filled(name: str, table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return what stands in for a column that is missing."""
    if name == "resident_bytes":
        return pc.subtract(table["end"], table["start"])
    if name != "idle_since":
        return pa.nulls(len(table), _wanted(name))
    age = pc.subtract(table["number"], table["alike_since"])
    idle_us = pc.multiply(pc.add(age, 1), table["aggregation_us"])
    since = pc.subtract(table["time"].cast(pa.int64()), idle_us)
    accessed = pc.greater(table["nr_accesses"], 0)
    return pc.if_else(accessed, pa.scalar(None, pa.int64()), since).cast(_wanted(name))


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " and ".join([*([", ".join(quoted[:-1])] if quoted[1:] else []), quoted[-1]])
