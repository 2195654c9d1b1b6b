"""Which pages are looked at in one check, and what was seen there."""

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core.memory.regions import IntColumn

BoolColumn = npt.NDArray[np.bool_]


@define(eq=False)
class Samples:
    """The pages of one target that one check looks at.

    A policy chooses the addresses before `prepare_access_checks`; the primitive fills `accessed`
    in `check_accesses`, and `known` where it can't tell.

    Attributes:
        addresses: Addresses of pages, ascending.
        accessed: Whether each page was accessed since it was prepared; False at first.
        known: Whether that could be told; True at first. What isn't known counts neither as
            accessed nor as idle.
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
