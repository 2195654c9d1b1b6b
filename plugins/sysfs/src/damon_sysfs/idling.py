"""For how long regions have been idle, which the kernel doesn't tell.

Its age of a region says for how many aggregations the frequency has stayed alike, and a few
accesses more or less are alike.
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

    def after(self, table: Table, elapsed_us: int) -> _IntColumn:
        """Return how many microseconds each region has been idle, after one more aggregation.

        A region has been as long as the part of it that was accessed last.
        """
        first = np.searchsorted(self._end, table.start, side="right")
        last = np.searchsorted(self._start, table.end, side="left")
        # Each from first to before last, and what lies between two of them, which isn't needed.
        bounds = np.array((first, last)).ravel(order="F")
        # One element more, as the end of the last slice may be the end of the column.
        least = np.minimum.reduceat(np.append(self._idle_us, 0), bounds)[::2]
        unused = table.nr_accesses == 0
        # Where nothing was known, an empty slice tells one element nevertheless.
        idle_us: _IntColumn = unused * (elapsed_us + (first < last) * least)
        self._start, self._end, self._idle_us = table.start, table.end, idle_us
        return idle_us
