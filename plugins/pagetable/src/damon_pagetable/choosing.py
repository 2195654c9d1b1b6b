"""Which blocks of 2 MiB are looked at where not all of a process can be.

Memory is cut into cells: ranges of addresses of one size, a power of two, some of them halved. In
each cell that has memory one block is chosen at random, and stands for all of it. So all parts of
the memory are looked at about equally closely, and estimates are better than those by mere chance.

The random order of all blocks is fixed: what is chosen stays chosen, and if cells become larger,
some of the blocks that were chosen still are. So for how long a block is idle is known, however
often others come and go.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable.tables import IntColumn, table_bytes

FloatColumn = npt.NDArray[np.float64]

#: The size of cells that have one block each.
BLOCK_SHIFT = table_bytes(1).bit_length() - 1
#: Numbers of splitmix64, which takes each number of 64 bits to another.
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_GOLDEN = 0x9E3779B97F4A7C15
_LAST_SHIFT = np.uint64(31)


class Cells(NamedTuple):
    """Blocks that stand for others, in columns.

    Attributes:
        blocks: Their addresses, ascending.
        weights: For how many blocks each stands, itself included.
        start: The address of the first block for which each stands. Blocks of one cell, which have
            the same, stand for all of the cell together.
        end: The first address after the last one.
    """

    blocks: IntColumn
    weights: FloatColumn
    start: IntColumn
    end: IntColumn

    @classmethod
    def alone(cls, addresses: IntColumn, size: int) -> "Cells":
        """Return the blocks, or other parts of memory of some size, at addresses: for themselves.

        Args:
            addresses: Their addresses, ascending.
            size: Their size in bytes.
        """
        return cls(addresses, np.ones(len(addresses)), addresses, addresses + size)

    @property
    def exact(self) -> npt.NDArray[np.bool_]:
        """Which blocks stand for themselves only."""
        alone: npt.NDArray[np.bool_] = self.weights == 1
        return alone

    @property
    def first(self) -> IntColumn:
        """For each block the number of the first one of its cell."""
        return np.searchsorted(self.start, self.start)

    def at(self, blocks: IntColumn) -> "Cells":
        """Return those of some blocks, all of which are known."""
        rows = np.searchsorted(self.blocks, blocks)
        return Cells(self.blocks[rows], self.weights[rows], self.start[rows], self.end[rows])

    def spread(self, blocks: "Cells") -> "Cells":
        """Let blocks stand for more: each for its part of what the cell that it is in stands for.

        Args:
            blocks: Blocks in these cells, each of which stands for itself.
        """
        row = np.searchsorted(self.blocks, blocks.blocks, side="right") - 1
        weights, alone = self.weights[row], self.weights[row] == 1
        start = np.where(alone, blocks.start, self.start[row])
        return Cells(blocks.blocks, weights, start, np.where(alone, blocks.end, self.end[row]))

    def chosen(self, most: float, shift: int = BLOCK_SHIFT) -> "Cells":
        """Choose one of each cell, for all in it.

        Args:
            most: How many to choose, at most; at least 1.
            shift: The least size of cells in bytes, as its logarithm to base 2.

        Returns:
            Those that were chosen; these if that is all of them.
        """
        count = len(self.blocks)
        if count <= most:
            return self
        first = _cells(self.blocks, most, shift)
        order = _order(self.blocks)
        size = np.diff(first, append=count)
        place = np.flatnonzero(order == np.minimum.reduceat(order, first).repeat(size))
        weights = np.add.reduceat(self.weights, first)
        last = first + size - 1
        return Cells(self.blocks[place], weights, self.start[first], self.end[last])


def _cells(addresses: IntColumn, most: float, shift: int) -> IntColumn:
    """Cut memory into cells; return the numbers of those addresses that are the first in one.

    There are cells of two sizes, one of which is half of the other, so that there are as many as
    there may be. Which of the larger ones are halved is at random, but always the same.
    """
    while True:
        begins = _begins(addresses, shift)
        count = int(np.count_nonzero(begins))
        if count <= most:
            break
        shift += 1
    halves = np.flatnonzero(_begins(addresses, shift - 1) & ~begins)
    room = int(most - count)
    if room < len(halves):
        order = _order(addresses[halves] >> shift << shift)
        halves = halves[np.argpartition(order, room)[:room]] if room else halves[:0]
    begins[halves] = True
    return np.flatnonzero(begins)


def _begins(addresses: IntColumn, shift: int) -> npt.NDArray[np.bool_]:
    """Return which addresses are the first in a cell."""
    cell = addresses >> shift
    begins = np.empty(len(cell), dtype=np.bool_)
    begins[:1] = True
    np.not_equal(cell[1:], cell[:-1], out=begins[1:])
    return begins


def _order(addresses: IntColumn) -> npt.NDArray[np.uint64]:
    """Return a number for each block by which they are in random order."""
    mixed = (addresses >> BLOCK_SHIFT).astype(np.uint64) * np.uint64(_GOLDEN)
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> _LAST_SHIFT)
