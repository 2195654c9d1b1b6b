"""What is inferred of an aggregation that isn't the first one of its epoch.

Exact is what was accessed for the first time in the epoch: its bits are new. Of what was accessed
earlier in it the bits are set, so it is inferred how much of it was accessed again:

- At first, that a page that was accessed in the first aggregation of the epoch is accessed in each,
  with the period that was found there, and one that was accessed later isn't again, unless more was
  new than accesses at random make it.
- Witnesses (see `damon_pagetable.witnesses`) find where that is wrong: cold cells, and hot ones.
- As much is touched in all as in the first aggregation: what is new stands for something that isn't
  touched any more, that with the longest periods. So the working set stays right where accesses are
  at random. If witnesses contradict it, or much more is new, they are believed.

How long a page takes until it is accessed is as old as the epoch; for one that is new in an
aggregation it is taken to be that of most pages of the first.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import CODES, Range
from damon_pagetable.growth import Growth
from damon_pagetable.pages import NEW, PageCodes, Pages, code_of
from damon_pagetable.witnesses import Kind, Verdict, Witnesses

_Weights = npt.NDArray[np.float64]

#: So many cells of hot pages are needed to contradict, and by so many standard errors.
_ENOUGH = 4
_CLEARLY = 4.0
#: Aggregations whose lengths differ by less than this are alike.
_SAME = 0.75
#: Smaller parts of what is touched aren't divided among periods.
_PRECISION = 0.005
#: If so much of what is touched has changed, the next epoch should begin soon.
_MUCH = 0.125
#: By this factor more may be new than there was at the end of the first aggregation.
_MORE = 1.25


@define(eq=False)
class Inference:
    """What is known and inferred of one process in an epoch.

    Attributes:
        later: Whether the aggregation isn't the first one of its epoch.
        growth: How much had been accessed at each look of the first one.
        witnesses: Those of the aggregation.
        weights: For each period, the share of its pages that was touched in the aggregation; None
            if those up to the longest were, and no others.
        typical: The period of what is new in a later aggregation: the median of the first.
        outdated: Whether much has changed in the aggregation.
        cooled: Where pages have turned out to be cold: their bits are to be cleared.
    """

    later: bool = field(default=False, init=False)
    growth: Growth = field(factory=Growth, init=False)
    _is_change: bool = field(default=False, init=False)  # whether more was new than at random
    witnesses: Witnesses | None = field(default=None, init=False)
    weights: _Weights | None = field(default=None, init=False)
    typical: int = field(default=NEW, init=False)
    outdated: bool = field(default=False, init=False)
    cooled: list[Range] = field(factory=list, init=False)
    longest: int = field(default=0, init=False)
    _began_us: int = field(default=0, init=False)
    _first_us: int = field(default=0, init=False)
    _level: float = field(default=0.0, init=False)
    _counts: dict[Kind, int] = field(factory=dict, init=False)  # pages at its begin

    def begin_epoch(self, now_us: int) -> None:
        """Begin an epoch: all bits were cleared."""
        self.later, self.outdated, self.weights = False, False, None
        self.witnesses, self.typical, self.cooled = None, NEW, []
        self._began_us = now_us
        self.growth, self._is_change = Growth(), False

    def begin(self, pages: Pages, now_us: int) -> None:
        """Begin a later aggregation of the epoch; `Pages.settle` comes after it."""
        if not self.later:
            self.later = True
            self._level = pages.count(1, self.longest)
            self.typical = self._median(pages)
        self._began_us = now_us
        self.witnesses = None
        # As witnesses are chosen: by the end of the aggregation pages may be of another kind.
        self._counts = {
            Kind.HOT: pages.count(1, self.longest),
            Kind.RECENT: pages.count(NEW, NEW),
            Kind.SLOW: pages.count(self.longest + 1, NEW - 1),
        }

    def settled(self, elapsed_us: int) -> int:
        """Return the period of what was new in the last aggregation, found at some time in it.

        What is more than accesses at random can be is hot, until witnesses say otherwise.
        """
        return self.typical if self._is_change else code_of(elapsed_us)

    def look(self, new: int, elapsed_us: int) -> None:
        """Note how many pages a look found accessed for the first time in the epoch.

        Args:
            new: Their number.
            elapsed_us: The time from the clearing to the look.
        """
        if not self.later:
            self.growth.add(new, elapsed_us)

    def _median(self, pages: Pages) -> int:
        """Return the median period of what was touched in the first aggregation."""
        count = 0
        for code in range(1, self.longest + 1):
            count += pages.count(code, code)
            if 2 * count >= self._level:
                return code
        return self.longest

    def end(self, pages: Pages, elapsed_us: int, now_us: int) -> PageCodes:
        """End an aggregation; return all pages.

        Args:
            pages: The pages.
            elapsed_us: The time from the clearing to the last look.
            now_us: The time of the clock.
        """
        if not self.later:
            found = pages.found(elapsed_us, now_us)
            self.longest, self._first_us = found.longest, elapsed_us
            return found
        interval_us = now_us - self._began_us
        longest = self._longest(interval_us)
        verdict = Verdict()
        if self.witnesses is not None:
            verdict = self.witnesses.verdict(interval_us)
        self.cooled = verdict.cold
        cold = pages.cool(verdict.cold, longest, self._began_us) if verdict.cold else 0
        hot = sum(pages.recode(each, longest + 1, NEW - 1, self.typical) for each in verdict.hot)
        new = pages.count(NEW, NEW)
        known, slow = pages.count(1, longest), pages.count(longest + 1, NEW - 1)
        # Ever less is new in a steady program.
        self._is_change = new > _MORE * self.growth.rate * interval_us + _MUCH * self._level
        self.outdated = cold + hot > _MUCH * self._level
        if len(verdict.shares[Kind.HOT].of_cells) < _ENOUGH:
            self.outdated |= self._is_change
            again = float(known) if self._is_change else self._level - new
        else:
            again = self._level - max(new, cold)
            parts = [(each, self._counts[kind]) for kind, each in verdict.shares.items()]
            seen = sum(each.mean * count for each, count in parts)
            errors = [each.error * count for each, count in parts]
            differs = abs(seen - again) > _CLEARLY * math.hypot(*errors)
            if differs or not self._is_usual(interval_us):
                again = seen
        again = min(max(again, 0.0), float(known + slow))
        self.weights = None
        if abs(again - known) > _PRECISION * self._level:
            by_period = [pages.count(period, period) for period in range(1, NEW)]
            self.weights = _weights(by_period, again)
            # The map can't divide a period: it has about as much as is touched, but not nothing.
            shown = np.cumsum(by_period[:longest])
            excess = np.where((shown == 0) & (again > 0), np.inf, np.abs(shown - again))
            longest = int(np.flatnonzero(excess == excess.min())[-1]) + 1
        self._level = again + new
        typical = min(self.typical, longest)
        return pages.found(elapsed_us, now_us, longest=longest, new=typical)

    def _longest(self, interval_us: int) -> int:
        """Return the longest period of a page that is touched in each aggregation."""
        if self._is_usual(interval_us):
            return self.longest
        found = code_of(interval_us)
        return found if interval_us < self._first_us else max(found, self.longest)

    def _is_usual(self, interval_us: int) -> bool:
        """Return whether an aggregation is about as long as the first one of the epoch."""
        return _SAME * self._first_us < interval_us < self._first_us / _SAME


def _weights(counts: Sequence[int], touched: float) -> _Weights:
    """Divide touched pages among the periods from 1 on, the shortest first."""
    weights = np.zeros(CODES)
    for period, count in enumerate(counts, 1):
        weights[period] = min(touched / count, 1.0) if count else float(touched > 0)
        touched = max(touched - count, 0.0)
    return weights
