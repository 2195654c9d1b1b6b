"""A round: planned pages, handed out in slices, and what was seen there."""

from typing import NamedTuple

import numpy as np

from damon_core.memory.regions import IntColumn
from damon_core.memory.samples import BoolColumn, Samples


class Results(NamedTuple):
    """What checks told.

    Attributes:
        addresses: The pages looked at that something is known of, ascending.
        hits: Whether each was accessed.
        spread: Which of them were spread evenly within their areas.
        untold: The pages looked at that nothing is known of, in any order.
    """

    addresses: IntColumn
    hits: BoolColumn
    spread: BoolColumn
    untold: IntColumn

    @classmethod
    def none(cls) -> "Results":
        """Return the results of no checks."""
        nowhere, nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return cls(nowhere, nothing, nothing, nowhere)


class Round:
    """Pages to look at, one slice in each sampling interval.

    Neighbouring pages go to different slices, in a new order each time: programs access memory
    in pulses, and in a fixed order those would look like borders.

    Args:
        pages: The pages, ascending.
        spread: Which of them were spread evenly within their areas.
        slices: In how many slices they are handed out.
        rng: The source of chance.
    """

    def __init__(
        self, pages: IntColumn, spread: BoolColumn, slices: int, rng: np.random.Generator
    ) -> None:
        blocks = -(-len(pages) // slices)
        block = np.arange(blocks * slices).reshape(blocks, slices)
        # A row holds what a slice looks at: one page of each block, so it ascends as they do.
        self._positions: IntColumn = np.ascontiguousarray(rng.permuted(block, axis=1).T)
        self._pages = pages
        self._spread = spread
        self._repeats = bool((pages[1:] == pages[:-1]).any())
        self._next = 0
        self._handed_out: tuple[IntColumn, Samples] | None = None
        self._looked: list[tuple[IntColumn, Samples]] = []

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def exhausted(self) -> bool:
        """Whether all slices were handed out."""
        return self._next == len(self._positions)

    def next_samples(self) -> Samples:
        """Hand out the next slice."""
        positions = self._positions[self._next]
        self._next += 1
        if len(positions) and positions[-1] >= len(self._pages):  # the last block isn't full
            positions = positions[:-1]
        pages = self._pages[positions]
        if self._repeats and len(pages):
            # One look at a page tells all that a check can tell of it.
            first = np.concatenate(([True], pages[1:] != pages[:-1]))
            positions, pages = positions[first], pages[first]
        samples = Samples(pages)
        self._handed_out = positions, samples
        return samples

    def observe(self, samples: Samples) -> None:
        """Take in what was seen in the slice that was handed out last."""
        if self._handed_out is not None and self._handed_out[1] is samples:
            self._looked.append(self._handed_out)
            self._handed_out = None

    def results(self) -> Results:
        """Return what was seen."""
        if not self._looked:
            return Results.none()
        positions = np.concatenate([positions for positions, _ in self._looked])
        known = np.concatenate([samples.known for _, samples in self._looked])
        accessed = np.concatenate([samples.accessed for _, samples in self._looked])
        told = np.zeros(len(self._pages), dtype=np.bool_)
        hit = np.zeros(len(self._pages), dtype=np.bool_)
        told[positions] = known
        hit[positions] = accessed
        if told.all():
            return Results(self._pages, hit, self._spread, self._pages[:0])
        untold = self._pages[positions[~known]]
        return Results(self._pages[told], hit[told], self._spread[told], untold)
