"""A round: planned pages, checked in slices, and their results."""

from typing import NamedTuple

import numpy as np

from damon_core.memory.regions import FloatColumn, IntColumn
from damon_core.memory.samples import BoolColumn, Samples


class Results(NamedTuple):
    """The results of checks.

    Attributes:
        addresses: The pages with an answer, ascending.
        hits: Whether each was accessed.
        stands_for_bytes: How much of its area each check stands for; 0 if it was made because of
            earlier results.
        unknown: The pages without an answer, in any order.
    """

    addresses: IntColumn
    hits: BoolColumn
    stands_for_bytes: FloatColumn
    unknown: IntColumn

    @classmethod
    def none(cls) -> "Results":
        """Return the results of no checks."""
        nowhere, nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return cls(nowhere, nothing, np.zeros(0), nowhere)


class Round:
    """Pages to check, one slice in each sampling interval.

    Neighbouring pages are in different slices, in random order: programs access memory in
    bursts, which would look like borders if the order were fixed.

    Args:
        pages: The pages, ascending.
        stands_for_bytes: How much of its area each check stands for; 0 if it was made because of
            earlier results.
        slices: The number of slices.
        rng: The random number generator.
    """

    def __init__(
        self, pages: IntColumn, stands_for_bytes: FloatColumn, slices: int, rng: np.random.Generator
    ) -> None:
        blocks = -(-len(pages) // slices)
        block = np.arange(blocks * slices).reshape(blocks, slices)
        # A row is a slice, with one page of each block: so it ascends like the blocks.
        self._positions: IntColumn = np.ascontiguousarray(rng.permuted(block, axis=1).T)
        self._pages = pages
        self._stands_for_bytes = stands_for_bytes
        self._repeats = bool((pages[1:] == pages[:-1]).any())
        self._next = 0
        self._handed_out: tuple[IntColumn, Samples] | None = None
        self._looked: list[tuple[IntColumn, Samples]] = []

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def exhausted(self) -> bool:
        """Whether `next_samples` has returned all slices."""
        return self._next == len(self._positions)

    def next_samples(self) -> Samples:
        """Return the next slice."""
        positions = self._positions[self._next]
        self._next += 1
        if len(positions) and positions[-1] >= len(self._pages):  # the last block isn't full
            positions = positions[:-1]
        pages = self._pages[positions]
        if self._repeats and len(pages):
            # A second sample of a page in the same check would have the same result.
            first = np.concatenate(([True], pages[1:] != pages[:-1]))
            positions, pages = positions[first], pages[first]
        samples = Samples(pages)
        self._handed_out = positions, samples
        return samples

    def observe(self, samples: Samples) -> None:
        """Record the results of the last slice."""
        if self._handed_out is not None and self._handed_out[1] is samples:
            self._looked.append(self._handed_out)
            self._handed_out = None

    def results(self) -> Results:
        """Return the results of all slices observed."""
        if not self._looked:
            return Results.none()
        positions = np.concatenate([positions for positions, _ in self._looked])
        known = np.concatenate([samples.known for _, samples in self._looked])
        accessed = np.concatenate([samples.accessed for _, samples in self._looked])
        has_answer = np.zeros(len(self._pages), dtype=np.bool_)
        hit = np.zeros(len(self._pages), dtype=np.bool_)
        has_answer[positions] = known
        hit[positions] = accessed
        if has_answer.all():
            return Results(self._pages, hit, self._stands_for_bytes, self._pages[:0])
        unknown = self._pages[positions[~known]]
        return Results(
            self._pages[has_answer], hit[has_answer], self._stands_for_bytes[has_answer], unknown
        )
