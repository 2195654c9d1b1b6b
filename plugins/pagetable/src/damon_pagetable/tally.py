"""Counts of pages between borders, for memory of any size: in parts that fit into the caches."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable.machine import ENTRIES
from damon_pagetable.tables import IntColumn

#: How many pages are counted at once.
_PART = 1 << 16

Codes = npt.NDArray[np.uint8]


class _Part(NamedTuple):
    """A part of all pages.

    Attributes:
        codes: Their codes.
        spans: Which spans between borders it has pages of.
        begins: Where each of these begins in it.
        weights: Those of its blocks.
    """

    codes: Codes
    spans: slice
    begins: IntColumn
    weights: npt.NDArray[np.float64] | None


class Tally:
    """Counts pages by spans.

    Args:
        codes: A code for each page; see `damon_pagetable.pages`.
        first: The number of the first page of each span, ascending. A span ends where the next one
            begins, the last one with the last page.
        weights: For how many blocks each block of 512 pages stands; None for one.
    """

    def __init__(
        self, codes: Codes, first: IntColumn, weights: npt.NDArray[np.float64] | None = None
    ) -> None:
        self._codes = codes
        self._first = first
        self._weights = weights

    def of(self, codes: Codes) -> "Tally":
        """Return what counts other codes of the same pages."""
        return Tally(codes, self._first, self._weights)

    def count(self, least: int, most: int = 255) -> IntColumn:
        """Return how many pages of each span have codes from `least` to `most`."""
        found: IntColumn = np.zeros(len(self._first), dtype=np.int64)
        if least > most:
            return found
        for part in self._parts():
            # Codes below the least become very large.
            wanted = part.codes - np.uint8(least) <= np.uint8(most - least)
            if part.weights is None:
                found[part.spans] += np.add.reduceat(wanted, part.begins, dtype=np.int64)
            else:
                weighted = (wanted.reshape(-1, ENTRIES) * part.weights[:, np.newaxis]).reshape(-1)
                found[part.spans] += np.rint(np.add.reduceat(weighted, part.begins)).astype(
                    np.int64
                )
        return found

    def smallest(self) -> Codes:
        """Return the smallest code of each span but 0; 0 if it has no other."""
        found: Codes = np.full(len(self._first), 255, dtype=np.uint8)
        for part in self._parts():
            here = np.minimum.reduceat(part.codes - np.uint8(1), part.begins)
            found[part.spans] = np.minimum(found[part.spans], here)
        return found + np.uint8(1)

    def bounds(self, some: npt.NDArray[np.bool_]) -> tuple[IntColumn, IntColumn]:
        """Return where the pages that are in memory begin and end, for those spans that have some.

        Returns:
            The number of the first such page of each, and the number after that of the last one.
        """
        start = self._first[some]
        end = np.append(self._first[1:], len(self._codes))[some]
        for row in np.flatnonzero(self._codes[start] == 0).tolist():
            start[row] += _first_there(self._codes[start[row] : end[row]])
        for row in np.flatnonzero(self._codes[end - 1] == 0).tolist():
            end[row] -= _first_there(self._codes[start[row] : end[row]][::-1])
        return start, end

    def _parts(self) -> Iterator[_Part]:
        for begin in range(0, len(self._codes), _PART):
            codes = self._codes[begin : begin + _PART]
            low = max(int(np.searchsorted(self._first, begin, side="right")) - 1, 0)
            high = int(np.searchsorted(self._first, begin + len(codes)))
            if low < high:
                begins = np.maximum(self._first[low:high] - begin, 0)
                weights = self._weights
                if weights is not None:
                    weights = weights[begin // ENTRIES : (begin + len(codes)) // ENTRIES]
                yield _Part(codes, slice(low, high), begins, weights)


def _first_there(codes: Codes) -> int:
    """Return the number of the first page that is in memory; there is one."""
    begin, size = 0, 512
    while True:
        there = codes[begin : begin + size] != 0
        number = int(there.argmax())
        if there[number]:
            return begin + number
        begin, size = begin + size, min(2 * size, _PART)
