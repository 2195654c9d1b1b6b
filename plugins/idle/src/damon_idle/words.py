"""Files of the kernel that are arrays of 64-bit words, read at many places with few calls."""

import os

import numpy as np
import numpy.typing as npt

from damon_core import Range

IntColumn = npt.NDArray[np.int64]
BoolColumn = npt.NDArray[np.bool_]
WordColumn = npt.NDArray[np.uint64]

WORD_BYTES = 8


def read_words(descriptor: int, index: IntColumn, near: int) -> tuple[WordColumn, BoolColumn]:
    """Return the words of a file at the given places, and which of them the file has.

    Args:
        descriptor: The file.
        index: The numbers of the words, ascending, each once.
        near: Words at most this far apart are read in one call, with those between.

    Returns:
        The words, 0 where the file ends before or can't be read; and where it could.
    """
    if not len(index):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.bool_)
    runs = _runs(index, near)
    start = index[runs]
    count = index[np.append(runs[1:], len(index)) - 1] - start + 1
    offsets, sizes = (start * WORD_BYTES).tolist(), (count * WORD_BYTES).tolist()
    parts = _read_all(descriptor, sizes, offsets)
    data = b"".join(parts)
    told = np.ones(len(index), dtype=np.bool_)
    if len(data) != sum(sizes):
        got = np.array([len(part) // WORD_BYTES for part in parts], dtype=np.int64)
        of_run = np.repeat(np.arange(len(runs)), np.diff(np.append(runs, len(index))))
        told = index - start[of_run] < got[of_run]
        data = b"".join(part.ljust(size, b"\0") for part, size in zip(parts, sizes, strict=True))
    words = np.frombuffer(data, dtype=np.uint64)
    if len(words) != len(index):  # what lies between was read as well
        skipped = np.cumsum(count) - count - start
        words = words[index + np.repeat(skipped, np.diff(np.append(runs, len(index))))]
    return words, told


def read_range(descriptor: int, places: Range) -> WordColumn:
    """Return the words of a file from one place to before another, fewer where it ends."""
    data = os.pread(descriptor, (places.end - places.start) * WORD_BYTES, places.start * WORD_BYTES)
    return np.frombuffer(data, dtype=np.uint64)


def write_words(descriptor: int, index: IntColumn, words: WordColumn) -> BoolColumn:
    """Write words to the given places of a file, neighbours in one call.

    Args:
        descriptor: The file.
        index: The numbers of the words, ascending, each once.
        words: What to write there.

    Returns:
        Where that could be done.
    """
    written = np.ones(len(index), dtype=np.bool_)
    if not len(index):
        return written
    runs = _runs(index, near=1)
    data = words.tobytes()
    limits = [*(runs * WORD_BYTES).tolist(), len(data)]
    offsets = (index[runs] * WORD_BYTES).tolist()
    for number, offset in enumerate(offsets):
        try:
            os.pwrite(descriptor, data[limits[number] : limits[number + 1]], offset)
        except OSError:  # no such memory, or none any more
            first, last = limits[number] // WORD_BYTES, limits[number + 1] // WORD_BYTES
            written[first:last] = False
    return written


def distinct(ascending: IntColumn) -> tuple[IntColumn, IntColumn]:
    """Return the different numbers of a column that ascends, and which of them each one is."""
    first = np.diff(ascending, prepend=-1) > 0
    return ascending[first], np.cumsum(first) - 1


def _runs(index: IntColumn, near: int) -> IntColumn:
    """Return where runs begin whose members are at most `near` apart."""
    return np.concatenate(([0], np.flatnonzero(np.diff(index) > near) + 1))


def _read_all(descriptor: int, sizes: list[int], offsets: list[int]) -> list[bytes]:
    pread = os.pread
    try:
        return [
            pread(descriptor, size, offset) for size, offset in zip(sizes, offsets, strict=True)
        ]
    except OSError:  # somewhere there is no such memory, or none any more
        return [
            _read_one(descriptor, size, offset) for size, offset in zip(sizes, offsets, strict=True)
        ]


def _read_one(descriptor: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, size, offset)
    except OSError:
        return b""
