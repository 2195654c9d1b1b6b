"""Columns of Arrow as they lie in memory.

pyarrow's own functions are in `pyarrow.compute`, which takes longer to import than a short record
to read.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def raw(array: pa.Array) -> npt.NDArray[Any]:
    """Return numbers as they lie in memory; those that are null mean nothing.

    By DLPack, as pyarrow's own ways import pandas where that is installed, for half a second.
    """
    whole = pa.Array.from_buffers(
        array.type, len(array), [None, array.buffers()[1]], offset=array.offset
    )
    column: npt.NDArray[Any] = np.from_dlpack(whole)
    return column


def nulls(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which are null."""
    there = array.buffers()[0]
    if there is None:
        return np.zeros(len(array), dtype=bool)
    bits = np.unpackbits(
        np.frombuffer(there, np.uint8), count=array.offset + len(array), bitorder="little"
    )
    missing: npt.NDArray[np.bool_] = bits[array.offset :] == 0
    return missing


def numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column of numbers, or of times as microseconds."""
    column = table.column(name).combine_chunks()
    return raw(column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column)
