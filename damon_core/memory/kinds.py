"""Kinds of memory: how many bytes of each region are of which, by names that a primitive gives."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from damon_core.errors import AttributeValueError
from damon_core.memory.idle import UNKNOWN

#: Bytes by kind: a record for each region, with a 64-bit field for each kind, so
#: ``kinds["anonymous"]`` is a column. `UNKNOWN` stands for what isn't known of a region.
KindColumns: TypeAlias = npt.NDArray[np.void]

#: The one kind that isn't memory in use: all others are parts of `resident_bytes`, which may
#: overlap, as what is anonymous may be huge.
SWAPPED: Final = "swapped"

#: What kinds are called. So they are words in any format.
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def kind_columns(count: int, columns: Mapping[str, npt.NDArray[Any]]) -> KindColumns:
    """Return the bytes of some regions by kind, put together of a column for each kind.

    Args:
        count: The number of regions.
        columns: Bytes of each region, by the name of the kind: lower case, digits and ``_``.

    Raises:
        AttributeValueError: A name has other characters.
    """
    for name in columns:
        if not _NAME.fullmatch(name):
            raise AttributeValueError("kinds", repr(name), "must be of a-z, 0-9 and _")
    table: KindColumns = np.empty(count, dtype=[(name, np.int64) for name in columns])
    for name, column in columns.items():
        table[name] = column
    return table


def kind_names(kinds: KindColumns | None) -> tuple[str, ...]:
    """Return the names of the kinds that a table has, in their order; none if there is no table."""
    return () if kinds is None else kinds.dtype.names or ()


def known_kinds(kinds: KindColumns | None) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yield the kinds that are known of any region, with their bytes: 0 where they aren't known."""
    for name in kind_names(kinds):
        assert kinds is not None
        if (kinds[name] != UNKNOWN).any():
            yield name, np.maximum(kinds[name], 0)


def join_kinds(tables: Sequence[tuple[int, KindColumns | None]]) -> KindColumns | None:
    """Return the kinds of tables of regions, one table behind the other.

    What isn't known of one table is unknown of its regions.

    Args:
        tables: The number of regions of each, and their kinds.
    """
    names = dict.fromkeys(name for _, kinds in tables for name in kind_names(kinds))
    if not names:
        return None
    if len(tables) == 1:
        return tables[0][1]
    unknown = [np.full(count, UNKNOWN, dtype=np.int64) for count, _ in tables]
    return kind_columns(
        sum(count for count, _ in tables),
        {
            name: np.concatenate(
                [
                    kinds[name] if kinds is not None and name in kind_names(kinds) else nothing
                    for (_, kinds), nothing in zip(tables, unknown, strict=True)
                ]
            )
            for name in names
        },
    )


def is_kinds(column: npt.NDArray[Any]) -> bool:
    """Return whether a column is one of `kind_columns`."""
    names = column.dtype.names
    return names is not None and all(
        _NAME.fullmatch(name) and column.dtype[name] == np.int64 for name in names
    )
