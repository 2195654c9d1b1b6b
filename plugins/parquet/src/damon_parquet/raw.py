"""Columns of Arrow as they lie in memory."""

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
