"""Every page of targets as a column: run-length coded, and back.

A run is neighbouring pages of which the same is known. What is known of a page is its period, and
if it wasn't accessed in the aggregation, for how long. Where a run begins follows from how many
pages that aren't in memory there are between it and the one before: mostly none, so that takes no
room, and addresses would be half of all. Blocks that were looked at are kept as runs of neighbours,
too: memory in none of them is unknown if they have weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from damon_core import (
    ABSENT,
    BLOCK_BYTES,
    BLOCK_PAGES,
    CODES,
    PAGE_SIZE_BYTES,
    UNTOUCHED,
    DamonError,
    PageMap,
)
from damon_parquet.raw import raw

_Column = npt.NDArray[Any]


def _fields(**kinds: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name, kind in kinds.items()]


def _list_of(fields: list[pa.Field]) -> pa.DataType:
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


_BLOCKS = _fields(start=pa.int64(), blocks=pa.int64(), weight=pa.float64())
_RUNS = _fields(gap=pa.int64(), pages=pa.int64(), period=pa.uint8(), idle_us=pa.int64())
# Of targets without pages all of these are null.
_PAGES = [
    pa.field("shortest", pa.uint8()),
    pa.field("longest", pa.uint8()),
    pa.field("watched_us", pa.int64()),
    pa.field("blocks", _list_of(_BLOCKS)),
    pa.field("runs", _list_of(_RUNS)),
]
#: The type of the column.
PAGES = pa.struct(_PAGES)

#: A weight that means that all of a target was looked at.
_ALL = 0.0


class _Coded(NamedTuple):
    """A map as columns of its runs, and of its blocks."""

    blocks: list[_Column]
    runs: list[_Column]


def to_pages(maps: Sequence[PageMap | None], begins: _Column) -> pa.Array:
    """Return the column: maps in the rows where they begin, and null elsewhere.

    Args:
        maps: The map of each target, or None.
        begins: The first row of each target, and the number of rows.
    """
    count = int(begins[-1])
    rows = [row for row, each in zip(begins.tolist(), maps, strict=False) if each is not None]
    known = [each for each in maps if each is not None]
    coded = [_coded(each) for each in known]
    mask = np.ones(count, dtype=np.bool_)
    mask[rows] = False
    numbers = []
    for field, values in (
        (_PAGES[0], [each.shortest for each in known]),
        (_PAGES[1], [each.longest for each in known]),
        (_PAGES[2], [each.watched_us for each in known]),
    ):
        column = np.zeros(count, dtype=field.type.to_pandas_dtype())
        column[rows] = values
        numbers.append(pa.array(column))
    lists = [
        _lists([getattr(each, name) for each in coded], fields, rows, count)
        for name, fields in (("blocks", _BLOCKS), ("runs", _RUNS))
    ]
    return pa.StructArray.from_arrays([*numbers, *lists], fields=_PAGES, mask=pa.array(mask))


def _lists(
    columns: Sequence[list[_Column]], fields: list[pa.Field], rows: list[int], count: int
) -> pa.Array:
    """Return a column that has the elements of each in its row."""
    lengths = np.zeros(count + 1, dtype=np.int64)
    lengths[np.array(rows, dtype=np.int64) + 1] = [len(each[0]) for each in columns]
    arrays = []
    for place, field in enumerate(fields):
        kind = field.type.to_pandas_dtype()
        parts = [np.zeros(0, dtype=kind), *(each[place] for each in columns)]
        arrays.append(pa.array(np.concatenate(parts).astype(kind, copy=False)))
    elements = pa.StructArray.from_arrays(arrays, fields=fields)
    offsets = pa.array(lengths.cumsum().astype(np.int32))
    return pa.ListArray.from_arrays(offsets, elements, type=_list_of(fields))


def _coded(known: PageMap) -> _Coded:
    """Return the runs of a map."""
    apart = np.diff(known.blocks) != BLOCK_BYTES
    weights = np.full(len(known.blocks), _ALL) if known.weights is None else known.weights
    first = np.flatnonzero(np.append(len(known.blocks) > 0, apart | (np.diff(weights) != 0)))
    blocks = [known.blocks[first], np.diff(first, append=len(known.blocks)), weights[first]]

    flat = known.codes.reshape(-1)
    begins = np.empty(len(flat), dtype=np.bool_)
    begins[:1] = True
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[(np.flatnonzero(apart) + 1) * BLOCK_PAGES] = True
    first = np.flatnonzero(begins)
    pages, codes = np.diff(first, append=len(flat)), flat[first]
    there = codes != ABSENT
    first, pages, codes = first[there], pages[there], codes[there]
    at = known.addresses(first) // PAGE_SIZE_BYTES
    gaps = at - np.append(known.blocks[:1] // PAGE_SIZE_BYTES, (at + pages)[:-1])[: len(at)]
    return _Coded(blocks, [gaps, pages, known.code_periods[codes], known.code_idle_us[codes]])


class PagesColumn:
    """The column, read when somebody asks for pages.

    Args:
        read: Reads the columns with given names.
        where: Where in which file it is, for messages.
        is_known: Whether there is anything in it.
    """

    def __init__(
        self, read: Callable[[Sequence[str]], pa.Table], where: str, *, is_known: bool
    ) -> None:
        self._read = read
        self._where = where
        self._is_known = is_known
        self._column: pa.StructArray | None = None

    def page_map(self, row: int) -> PageMap | None:
        """Return the map in a row; None if there is none.

        Raises:
            DamonError: It can't be read, or can't be one.
        """
        if not self._is_known:
            return None
        if self._column is None:
            self._column = self._read(["pages"]).column(0).combine_chunks()
        scalar = self._column[row]
        if not scalar.is_valid:
            return None
        try:
            return _page_map(scalar)
        except (ValueError, IndexError) as error:
            raise DamonError(f"{self._where}: {error}") from error


def _page_map(scalar: pa.StructScalar) -> PageMap:
    """Return the map that a field holds.

    Raises:
        ValueError: It can't be one.
    """
    if not all(scalar[field.name].is_valid for field in _PAGES):
        raise ValueError("what is known of the pages of a target is incomplete")
    numbers = {name: scalar[name].as_py() for name in ("shortest", "longest", "watched_us")}
    start, counts, weights = _columns(scalar["blocks"], _BLOCKS)
    blocks = start.repeat(counts) + _within(counts) * BLOCK_BYTES
    weighted = bool(len(weights)) and weights[0] != _ALL
    codes, idle_us = _decoded(blocks, _columns(scalar["runs"], _RUNS))
    return PageMap(
        blocks, codes, idle_us, **numbers, weights=weights.repeat(counts) if weighted else None
    )


def _decoded(blocks: _Column, runs: Sequence[_Column]) -> tuple[npt.NDArray[np.uint8], _Column]:
    """Return the codes of pages, and the idle times that these mean."""
    gaps, pages, periods, idle_us = runs
    untouched = idle_us > 0
    times = np.unique(idle_us[untouched])
    if len(times) > CODES - UNTOUCHED:
        raise ValueError("the pages of a target have more idle times than there can be")
    table = np.zeros(CODES, dtype=np.int64)
    table[UNTOUCHED : UNTOUCHED + len(times)] = times
    table[UNTOUCHED + len(times) :] = times[-1] if len(times) else 0
    code = np.where(untouched, UNTOUCHED + np.searchsorted(times, idle_us), periods)
    flat = np.zeros(len(blocks) * BLOCK_PAGES, dtype=np.uint8)
    at = (gaps + pages).cumsum() - pages + (blocks[:1] // PAGE_SIZE_BYTES).sum()
    block = np.searchsorted(blocks, at * PAGE_SIZE_BYTES, side="right") - 1
    place = block * BLOCK_PAGES
    if len(at):
        place += at - blocks[block] // PAGE_SIZE_BYTES
        if (gaps < 0).any() or (pages < 1).any() or (place + pages > len(flat)).any():
            raise ValueError("pages of a target are in none of its blocks")
    flat[place.repeat(pages) + _within(pages)] = code.astype(np.uint8).repeat(pages)
    return flat.reshape(-1, BLOCK_PAGES), table


def _columns(elements: Any, fields: list[pa.Field]) -> list[_Column]:
    """Return the elements of a list as columns."""
    values = elements.values
    return [raw(values.field(field.name).cast(field.type)) for field in fields]


def _within(counts: _Column) -> _Column:
    """Return 0, 1, 2 … for each of the counts, one behind the other."""
    ends = counts.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    found: _Column = np.arange(total) - (ends - counts).repeat(counts)
    return found
