"""Sums over parts of an address space without its unmapped addresses."""

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core import Area, TargetSnapshot

IntColumn = npt.NDArray[np.int64]
FloatGrid = npt.NDArray[np.float64]

#: The rows of `region_sums`: bytes that regions cover; those bytes times their frequency; resident
#: bytes; resident bytes that were accessed.
COVERED, HEAT, RESIDENT, TOUCHED = range(4)
SUMS = 4


@frozen(eq=False)
class Folding:
    """Areas as columns, to find how much is mapped below an address."""

    areas: tuple[Area, ...]
    _start: IntColumn = field(init=False, repr=False)
    _size: IntColumn = field(init=False, repr=False)
    _below: IntColumn = field(init=False, repr=False)

    @_start.default
    def _starts(self) -> IntColumn:
        return np.array([area.start for area in self.areas], np.int64)

    @_size.default
    def _sizes(self) -> IntColumn:
        return np.array([area.end - area.start for area in self.areas], np.int64)

    @_below.default
    def _sizes_below(self) -> IntColumn:
        return np.cumsum(self._size) - self._size

    def mapped_below(self, addresses: IntColumn) -> IntColumn:
        """Return the mapped bytes below each address.

        Without any area all addresses count as mapped.
        """
        if not self.areas:
            return addresses
        index = self._start.searchsorted(addresses, side="right") - 1
        np.maximum(index, 0, out=index)
        inside: IntColumn = np.minimum(addresses - self._start[index], self._size[index])
        np.maximum(inside, 0, out=inside)
        inside += self._below[index]
        return inside

    def overlap(self, start: IntColumn, end: IntColumn) -> npt.NDArray[np.bool_]:
        """Return of each range whether a part of it is in an area; there is at least one area."""
        last = self._start.searchsorted(end) - 1
        found: npt.NDArray[np.bool_] = (last >= 0) & (self._start[last] + self._size[last] > start)
        return found


def mapped_areas(target: TargetSnapshot, named: Folding) -> tuple[Area, ...]:
    """Return the areas of a target, and as areas without a name what else is in memory.

    Names are read now and then, so what was mapped since isn't in an area yet. A region that
    overlaps areas is in these, and the rest of it is a hole; one that overlaps none is memory.

    Args:
        target: The regions.
        named: The areas of the target, at least one.
    """
    outside = ~named.overlap(target.start, target.end) & (target.resident_bytes > 0)
    if not outside.any():
        return named.areas
    ranges = zip(target.start[outside].tolist(), target.end[outside].tolist(), strict=True)
    return tuple(sorted((*named.areas, *(Area(start, end, "") for start, end in ranges))))


def region_sums(
    target: TargetSnapshot, folding: Folding, addresses: IntColumn, mapped: IntColumn
) -> FloatGrid:
    """Return sums over the regions below each of the given addresses.

    The difference of two columns is the sum between these addresses; it is exactly 0 if no region
    lies there. A region's resident bytes, and those accessed, are spread evenly over its mapped
    part.

    Args:
        target: The regions.
        folding: The areas of the target.
        addresses: Addresses in any order.
        mapped: `Folding.mapped_below` of the addresses.

    Returns:
        `SUMS` rows with one element per address.
    """
    if not len(target.start):
        return np.zeros((SUMS, len(addresses)))
    start = folding.mapped_below(target.start)
    size = folding.mapped_below(target.end) - start if folding.areas else target.end - start
    per_byte = np.empty((SUMS, len(size)))
    per_byte[COVERED] = 1.0
    per_byte[HEAT] = target.frequency
    mapped_bytes = np.maximum(size, 1)
    np.divide(target.resident_bytes, mapped_bytes, out=per_byte[RESIDENT])
    np.divide(target.working_set(), mapped_bytes, out=per_byte[TOUCHED])
    below = np.zeros((SUMS, len(size) + 1))
    np.cumsum(per_byte * size, axis=1, out=below[:, 1:])
    index = target.start.searchsorted(addresses, side="right") - 1
    np.maximum(index, 0, out=index)
    inside = np.minimum(mapped - start[index], size[index])
    np.maximum(inside, 0, out=inside)
    sums: FloatGrid = per_byte.take(index, axis=1)
    sums *= inside
    sums += below.take(index, axis=1)
    return sums
