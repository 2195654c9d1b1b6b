"""The goal of a context in the kernel's terms: kdamonds tune their own intervals (Linux 6.15)."""

from collections.abc import Iterable

from attrs import frozen

from damon_core import Intervals, IntervalsGoal, Regions

_INTERVALS = "contexts/0/monitoring_attrs/intervals/"
_FOLDER = _INTERVALS + "intervals_goal/"
#: In the directory of a kdamond.
GOAL = _FOLDER + "aggrs"
#: The kernel counts in ten-thousandths.
_WHOLE = 10_000
#: A goal isn't changed while the share of the memory that is there changes by less than this.
_SIMILAR = 1.25


@frozen
class KernelGoal:
    """What a kdamond tunes its intervals to.

    Attributes:
        access_bp: Access events by possible ones, in ten-thousandths; from 1 on.
        aggregations: Over how many aggregations.
        min_sampling_us: The shortest sampling interval.
        max_sampling_us: The longest.
    """

    access_bp: int
    aggregations: int
    min_sampling_us: int
    max_sampling_us: int

    def files(self, sampling_us: int) -> dict[str, str]:
        """Return the files of the goal, and their values.

        Args:
            sampling_us: The sampling interval in force: the kernel refuses one out of range.
        """
        return {
            _FOLDER + "access_bp": str(self.access_bp),
            GOAL: str(self.aggregations),
            _FOLDER + "min_sample_us": str(min(self.min_sampling_us, sampling_us)),
            _FOLDER + "max_sample_us": str(max(self.max_sampling_us, sampling_us)),
        }


#: Files of no goal.
NO_GOAL = {GOAL: "0"}


class GoalKeeper:
    """Says a context's goal in the kernel's terms.

    The share of a goal is that of the memory which is there. The kernel counts all that is mapped,
    so that a program which reserves much would never reach it.
    """

    def __init__(self) -> None:
        self._share = 1.0  # of the monitored memory that is there

    def goal(self, goal: IntervalsGoal | None, regions: Iterable[Regions]) -> KernelGoal | None:
        """Return the goal of a kdamond; None where the kernel can't have it.

        Args:
            goal: The context's.
            regions: The regions of all targets, with their resident bytes.
        """
        if goal is None:
            return None
        monitored_bytes = resident_bytes = 0
        for each in regions:
            monitored_bytes += int((each.end - each.start).sum())
            resident_bytes += int(each.resident_bytes.sum())
        share = resident_bytes / monitored_bytes if monitored_bytes else 1.0
        if share and not 1 / _SIMILAR < share / self._share < _SIMILAR:
            self._share = share
        access_bp = round(goal.access_share * self._share * _WHOLE)
        if access_bp < 1:
            return None
        return KernelGoal(access_bp, goal.aggregations, goal.min_sampling_us, goal.max_sampling_us)


def tuned_to(intervals: Intervals, sampling_us: int) -> Intervals:
    """Return intervals that the kernel has tuned: an aggregation has as many checks as before."""
    return Intervals(
        sampling_us, sampling_us * intervals.checks, max(intervals.update_us, sampling_us)
    )
