"""Files of the kernel that are arrays of 64-bit words, read at many places with few calls.

Checks look at some dozens of pages, so what a call of numpy costs counts more than what it does:
reductions such as `any` take several times as long as `count_nonzero`, and an operation with a
plain number twice as long as with an array of no dimensions, so constants are such (`as_word`).
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

WORD_BYTES = 8


def as_word(value: int) -> WordColumn:
    """Return a constant for operations with columns of words."""
    return np.array(value, dtype=np.uint64)


def as_number(value: int) -> IntColumn:
    """Return a constant for operations with columns of numbers."""
    return np.array(value, dtype=np.int64)


_ONE = as_number(1)
#: Shifted by this, the number of a word or page is its place in bytes.
_IN_BYTES = as_number(3)


class Places(NamedTuple):
    """Places in a file of words, and the calls that get there.

    Attributes:
        offsets: Where each call begins, bytes.
        sizes: How much each call reads or writes, bytes.
        pick: Which of the words that all calls get each place is; None if all are, in order.
    """

    offsets: list[int]
    sizes: list[int]
    pick: IntColumn | None

    @classmethod
    def of(cls, index: IntColumn, near: IntColumn | int) -> Self:
        """Return the places of words.

        Args:
            index: The numbers of the words, ascending; the same one may be there repeatedly.
            near: Words at most this far apart are got in one call, with those between.
        """
        steps = index[1:] - index[:-1]
        cuts = (steps > near).nonzero()[0]
        if len(cuts) == len(steps):
            return cls((index << _IN_BYTES).tolist(), [WORD_BYTES] * len(index), None)
        # From one word that is got to the next it is one step, within a run and behind it.
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
        """Return the words at the places, and which of them the file has.

        Returns:
            The words, 0 where the file ends before or can't be read; and where it could, None if
            everywhere.
        """
        told = None
        try:
            data = b"".join(map(os.pread, itertools.repeat(descriptor), self.sizes, self.offsets))
            complete = len(data) == sum(self.sizes)
        except OSError:  # somewhere there is no such memory, or none any more
            complete = False
        if not complete:
            data, told = self._read_each(descriptor)
        words = np.frombuffer(data, dtype=np.uint64)
        if self.pick is None:
            return words, told
        return words[self.pick], None if told is None else told[self.pick]

    def write(self, descriptor: int, words: WordColumn) -> BoolColumn | None:
        """Write words, or'ed where a place is there repeatedly; 0 to what lies between places.

        Returns:
            Where that could be done; None if everywhere.
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
        except OSError:  # no such memory, or none any more
            return self._write_each(descriptor, parts)
        return None

    def _read_each(self, descriptor: int) -> tuple[bytes, BoolColumn]:
        """Return all words, though some can't be read, and which could."""
        parts, told = [], []
        for size, offset in zip(self.sizes, self.offsets, strict=True):
            try:
                part = os.pread(descriptor, size, offset)
            except OSError:
                part = b""
            parts.append(part.ljust(size, b"\0"))
            got = len(part) // WORD_BYTES
            told += [True] * got + [False] * (size // WORD_BYTES - got)
        return b"".join(parts), np.array(told, dtype=np.bool_)

    def _write_each(self, descriptor: int, parts: list[bytes]) -> BoolColumn:
        """Write all words, though some can't be, and return which could."""
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


def read_range(descriptor: int, places: Range) -> WordColumn:
    """Return the words of a file from one place to before another, fewer where it ends."""
    data = os.pread(descriptor, (places.end - places.start) * WORD_BYTES, places.start * WORD_BYTES)
    return np.frombuffer(data, dtype=np.uint64)


def count(column: BoolColumn) -> int:
    """Return how many of a column are true."""
    return int(np.count_nonzero(column))


def every(column: BoolColumn) -> bool:
    """Tell whether all of a column is true."""
    return int(np.count_nonzero(column)) == len(column)
