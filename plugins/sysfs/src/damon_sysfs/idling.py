"""Idle times of regions, which the kernel doesn't report.

The kernel's age of a region counts the aggregations for which its access frequency has stayed
similar, and frequencies that differ by a few accesses are similar.
"""

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_sysfs.events import Table

_IntColumn = npt.NDArray[np.int64]


def _no_addresses() -> _IntColumn:
    return np.zeros(0, dtype=np.int64)


@define(eq=False)
class Idling:
    """The idle times of one target's memory, from aggregation to aggregation."""

    _start: _IntColumn = field(factory=_no_addresses, init=False)
    _end: _IntColumn = field(factory=_no_addresses, init=False)
    _idle_us: _IntColumn = field(factory=_no_addresses, init=False)

    def begin(self, table: Table, elapsed_us: int) -> _IntColumn:
        """Return the idle time of each region of which nothing is known but its age.

        That is how DAMON_STAT has it: what isn't accessed has been idle for its age and the
        aggregation.

        Args:
            table: The regions of the aggregation.
            elapsed_us: The duration of an aggregation.
        """
        idle_us: _IntColumn = (table.nr_accesses == 0) * (table.age + 1) * elapsed_us
        self._start, self._end, self._idle_us = table.start, table.end, idle_us
        return idle_us

    def after(self, table: Table, elapsed_us: int) -> _IntColumn:
        """Return the idle time of each region in microseconds, after one more aggregation.

        The idle time of a region is the shortest of its parts'.

        Args:
            table: The regions of the aggregation.
            elapsed_us: The duration of the aggregation.
        """
        first = np.searchsorted(self._end, table.start, side="right")
        last = np.searchsorted(self._start, table.end, side="left")
        # `reduceat` also returns the minimum between two slices, which isn't needed.
        bounds = np.array((first, last)).ravel(order="F")
        # With one more element, as the end of the last slice may be the end of the column.
        least = np.minimum.reduceat(np.append(self._idle_us, 0), bounds)[::2]
        unused = table.nr_accesses == 0
        # Even for an empty slice, where nothing was known, `reduceat` returns an element.
        idle_us: _IntColumn = unused * (elapsed_us + (first < last) * least)
        self._start, self._end, self._idle_us = table.start, table.end, idle_us
        return idle_us
