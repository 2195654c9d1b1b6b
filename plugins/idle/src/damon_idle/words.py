"""Kernel files that are arrays of 64-bit words, read at many places with few system calls.

A check is of a few dozen pages, so the overhead of numpy calls dominates: reductions such as `any`
take several times as long as `count_nonzero`, and an operation with a plain number twice as long as
one with an array of no dimensions. So constants are such arrays (`as_word`).
"""

import itertools
import os
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from damon_core import Range

IntColumn = npt.NDArray[np.int64]
BoolColumn = npt.NDArray[np.bool_]
WordColumn = npt.NDArray[np.uint64]
ByteColumn = npt.NDArray[np.uint8]

WORD_BYTES = 8


def as_word(value: int) -> WordColumn:
    """Return a constant for operations with columns of words."""
    return np.array(value, dtype=np.uint64)


def as_byte(value: int) -> ByteColumn:
    """Return a constant for operations with columns of bytes."""
    return np.array(value, dtype=np.uint8)


def as_number(value: int) -> IntColumn:
    """Return a constant for operations with columns of numbers."""
    return np.array(value, dtype=np.int64)


_ONE = as_number(1)
#: The index of a word, shifted by this, is its offset in bytes.
_IN_BYTES = as_number(3)


class Places(NamedTuple):
    """Places in a file of words, and the system calls to read or write them.

    Attributes:
        offsets: The offset of each call, in bytes.
        sizes: The size of each call, in bytes.
        pick: The index of each place in the words of all calls; None if they are the same.
    """

    offsets: list[int]
    sizes: list[int]
    pick: IntColumn | None

    @classmethod
    def of(cls, index: IntColumn, near: IntColumn | int) -> Self:
        """Return the places of words.

        Args:
            index: The indices of the words, ascending; with repetitions allowed.
            near: Words at most this far apart are read in one call, with those in between.
        """
        steps = index[1:] - index[:-1]
        cuts = (steps > near).nonzero()[0]
        if len(cuts) == len(steps):
            return cls((index << _IN_BYTES).tolist(), [WORD_BYTES] * len(index), None)
        # In the words of all calls, the first word of a run follows the last one of the run before.
        steps[cuts] = _ONE
        pick = np.zeros(len(index), dtype=np.int64)
        np.add.accumulate(steps, out=pick[1:])
        first = np.zeros(len(cuts) + 1, dtype=np.int64)
        np.add(cuts, _ONE, out=first[1:])
        ends = np.empty(len(first), dtype=np.int64)
        begin = pick[first]
        ends[:-1] = begin[1:]
        ends[-1] = pick[-1] + 1
        return cls(
            (index[first] << _IN_BYTES).tolist(), ((ends - begin) << _IN_BYTES).tolist(), pick
        )

    def read(self, descriptor: int) -> tuple[WordColumn, BoolColumn | None]:
        """Return the words at the places, and which of them could be read.

        Returns:
            The words, 0 where the file has ended or can't be read; and whether each could be read,
            None if all could.
        """
        readable = None
        try:
            data = b"".join(map(os.pread, itertools.repeat(descriptor), self.sizes, self.offsets))
            complete = len(data) == sum(self.sizes)
        except OSError:  # some of this memory doesn't exist, or no longer
            complete = False
        if not complete:
            data, readable = self._read_each(descriptor)
        words = np.frombuffer(data, dtype=np.uint64)
        if self.pick is None:
            return words, readable
        return words[self.pick], None if readable is None else readable[self.pick]

    def write(self, descriptor: int, words: WordColumn) -> BoolColumn | None:
        """Write words to the places, and 0 between those of one call; or repeated ones together.

        Returns:
            Whether each could be written; None if all could.
        """
        if self.pick is None:
            each = words
        else:
            each = np.zeros(int(self.pick[-1]) + 1, dtype=np.uint64)
            np.bitwise_or.at(each, self.pick, words)
        if len(self.sizes) == len(each):
            parts = each.view("V8").tolist()
        else:
            data, parts, end = each.tobytes(), [], 0
            for size in self.sizes:
                parts.append(data[end : end + size])
                end += size
        try:
            for _ in map(os.pwrite, itertools.repeat(descriptor), parts, self.offsets):
                pass
        except OSError:  # some of this memory doesn't exist, or no longer
            return self._write_each(descriptor, parts)
        return None

    def _read_each(self, descriptor: int) -> tuple[bytes, BoolColumn]:
        """Read call by call; return all words, 0 where that failed, and whether each was read."""
        parts, readable = [], []
        for size, offset in zip(self.sizes, self.offsets, strict=True):
            try:
                part = os.pread(descriptor, size, offset)
            except OSError:
                part = b""
            parts.append(part.ljust(size, b"\0"))
            got = len(part) // WORD_BYTES
            readable += [True] * got + [False] * (size // WORD_BYTES - got)
        return b"".join(parts), np.array(readable, dtype=np.bool_)

    def _write_each(self, descriptor: int, parts: list[bytes]) -> BoolColumn:
        """Write call by call; return whether the word at each place was written."""
        written = []
        for part, offset in zip(parts, self.offsets, strict=True):
            try:
                os.pwrite(descriptor, part, offset)
                done = True
            except OSError:
                done = False
            written += [done] * (len(part) // WORD_BYTES)
        each = np.array(written, dtype=np.bool_)
        return each if self.pick is None else each[self.pick]


def read_range(descriptor: int, index: Range) -> WordColumn:
    """Return the words of a file in a range of indices, fewer if the file ends before."""
    data = os.pread(descriptor, (index.end - index.start) * WORD_BYTES, index.start * WORD_BYTES)
    return np.frombuffer(data, dtype=np.uint64)


def count(column: BoolColumn) -> int:
    """Return the number of true values in a column."""
    return int(np.count_nonzero(column))


def every(column: BoolColumn) -> bool:
    """Return whether all values of a column are true."""
    return int(np.count_nonzero(column)) == len(column)
