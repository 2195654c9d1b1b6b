"""The sampling interval that an `IntervalsGoal` needs."""

from collections import deque

from damon_core.attributes import IntervalsGoal

#: Tuning changes intervals by at most this factor at once, and leaves smaller changes out.
_MOST_TUNING = 2.0
_LEAST_TUNING = 1.1


class GoalTuner:
    """Finds the sampling interval that reaches an `IntervalsGoal`.

    Args:
        goal: The goal.
    """

    def __init__(self, goal: IntervalsGoal) -> None:
        self._goal = goal
        self._shares: deque[float] = deque(maxlen=goal.aggregations)

    def begin(self, sampling_us: int) -> int:
        """Return the sampling interval to begin with, and forget all aggregations."""
        self._shares.clear()
        return self._goal.within(sampling_us)

    def tuned(self, sampling_us: int, access_share: float) -> int:
        """Return the sampling interval for the next aggregation.

        Args:
            sampling_us: The one of the last aggregation.
            access_share: Access events of the last aggregation by possible ones.
        """
        self._shares.append(access_share)
        if len(self._shares) < self._goal.aggregations:
            return sampling_us
        mean = sum(self._shares) / len(self._shares)
        # Events grow about as the interval does: a page is more likely accessed in longer time.
        factor = self._goal.access_share / mean if mean > 0 else _MOST_TUNING
        factor = min(max(factor, 1 / _MOST_TUNING), _MOST_TUNING)
        tuned_us = self._goal.within(round(sampling_us * factor))
        if 1 / _LEAST_TUNING < tuned_us / sampling_us < _LEAST_TUNING:
            return sampling_us
        self._shares.clear()
        return tuned_us
