"""The pages of one access check, and its results."""

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core.memory.regions import IntColumn

BoolColumn = npt.NDArray[np.bool_]


@define(eq=False)
class Samples:
    """The pages of one target that are checked in one sampling interval.

    A policy chooses the addresses before `prepare_access_checks`. In `check_accesses` the
    primitive sets `accessed`, and clears `known` where it has no answer.

    Attributes:
        addresses: Addresses of pages, ascending.
        accessed: Whether each page was accessed since it was prepared; False at first.
        known: Whether that is known; True at first. Unknown counts neither as accessed nor as
            idle.
    """

    addresses: IntColumn
    accessed: BoolColumn = field()
    known: BoolColumn = field()

    @accessed.default
    def _nothing_accessed(self) -> BoolColumn:
        return np.zeros(len(self.addresses), dtype=np.bool_)

    @known.default
    def _everything_known(self) -> BoolColumn:
        return np.ones(len(self.addresses), dtype=np.bool_)
