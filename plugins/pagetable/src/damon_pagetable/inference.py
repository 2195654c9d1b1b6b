"""What is inferred of an aggregation that isn't the first one of its epoch.

Exact is what was accessed for the first time in the epoch: its bits are new. Of what was accessed
earlier in it the bits are set, so it is inferred how much of it was accessed again:

- At first, that a page that was accessed in the first aggregation of the epoch is accessed in each,
  with the period that was found there, and one that was accessed later isn't again.
- Witnesses (see `damon_pagetable.witnesses`) find where that is wrong: cold cells, and hot ones.
- As much is touched in all as in the first aggregation: what is new stands for something that isn't
  touched any more, that with the longest periods. So the working set stays right where accesses are
  at random. If witnesses contradict it, or much more is new, they are believed.

How long a page takes until it is accessed is as old as the epoch; for one that is new in an
aggregation it is taken to be that of most pages of the first.
"""

import math

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import CODES, Range
from damon_pagetable.pages import NEW, PageCodes, Pages, code_of
from damon_pagetable.witnesses import Verdict, Witnesses

_Weights = npt.NDArray[np.float64]

#: So many witnesses of hot pages are needed to contradict, and by so many standard errors.
_ENOUGH = 8
_CLEARLY = 3.0
#: Aggregations whose lengths differ by less than this are alike.
_SAME = 0.75
#: Smaller parts of what is touched aren't divided among periods.
_PRECISION = 0.005
#: If so much of what is touched has changed, the next epoch should begin soon.
_MUCH = 0.125
#: Where there are no witnesses, so much is more than is new at random.
_MORE = 0.25


@define(eq=False)
class Inference:
    """What is known and inferred of one process in an epoch.

    Attributes:
        later: Whether the aggregation isn't the first one of its epoch.
        witnesses: Those of the aggregation.
        weights: For each period, the share of its pages that was touched in the aggregation; None
            if those up to the longest were, and no others.
        typical: The period of what is new in a later aggregation: the median of the first.
        outdated: Whether much has changed in the aggregation.
        cooled: Where pages have turned out to be cold: their bits are to be cleared.
    """

    later: bool = field(default=False, init=False)
    witnesses: Witnesses | None = field(default=None, init=False)
    weights: _Weights | None = field(default=None, init=False)
    typical: int = field(default=NEW, init=False)
    outdated: bool = field(default=False, init=False)
    cooled: list[Range] = field(factory=list, init=False)
    longest: int = field(default=0, init=False)
    _began_us: int = field(default=0, init=False)
    _first_us: int = field(default=0, init=False)
    _level: float = field(default=0.0, init=False)

    def begin_epoch(self, now_us: int) -> None:
        """Begin an epoch: all bits were cleared."""
        self.later, self.outdated, self.weights = False, False, None
        self.witnesses, self.typical, self.cooled = None, NEW, []
        self._began_us = now_us

    def begin(self, pages: Pages, now_us: int) -> None:
        """Begin a later aggregation of the epoch; `Pages.settle` comes after it."""
        if not self.later:
            self.later = True
            self._level = pages.count(1, self.longest)
            self.typical = self._median(pages)
        self._began_us = now_us
        self.witnesses = None

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
        again = self._again((known, slow), new, cold, verdict, usual=self._is_usual(interval_us))
        self.outdated = cold + hot > _MUCH * self._level
        if not verdict.of_hot.asked and new > _MORE * self._level:
            self.outdated = True
        differs = abs(again - known) > _PRECISION * self._level
        self.weights = _weights(pages, again) if differs else None
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

    def _again(
        self, known: tuple[int, int], new: int, cold: int, verdict: Verdict, *, usual: bool
    ) -> float:
        """Return how many of the pages that were accessed before were touched again.

        Args:
            known: How many pages count as touched, and how many as too slow for that.
            new: How many are new.
            cold: How many have turned out to be cold.
            verdict: What the witnesses say.
            usual: Whether the aggregation is about as long as the first one of the epoch.
        """
        hot, slow = known
        most = float(hot + slow)
        expected = min(max(self._level - max(new, cold), 0.0), most)
        shares = verdict.of_hot, verdict.of_slow
        if verdict.of_hot.asked < _ENOUGH:
            return expected if usual and new <= _MORE * self._level else float(hot)
        found = sum(each.share * count for each, count in zip(shares, known, strict=True))
        errors = [each.error * count for each, count in zip(shares, known, strict=True)]
        if usual and abs(found - expected) <= _CLEARLY * math.hypot(*errors):
            return expected
        return found


def _weights(pages: Pages, touched: float) -> _Weights:
    """Divide touched pages among the periods, the shortest first."""
    weights = np.zeros(CODES)
    for period in range(1, NEW):
        count = pages.count(period, period)
        weights[period] = min(touched / count, 1.0) if count else float(touched > 0)
        touched = max(touched - count, 0.0)
    return weights
