"""The attributes of monitoring: intervals, region limits, and what intervals are tuned to."""

from typing import Annotated

from attrs import field, frozen

from damon_core.units import Microseconds
from damon_core.validators import at_most, not_below, not_shorter_than, positive, share

#: The share of one processor that a context may use by default.
DEFAULT_CPU_BUDGET = 0.02
#: The share of its time that a target may lose by default.
DEFAULT_MAX_SLOWDOWN = 0.01
#: How long a target's memory map may be locked at once by default. A walk of 1 GiB takes 15 to
#: 25 ms; 50 ms are a delay that people don't notice, and services with a time limit survive. The
#: longer stalls are, the rarer they have to be, by the square of their length; twice as long ones
#: take no more than a thousandth of the time (`damon_core.loop.tolls.allowed_share`). With a lower
#: limit, programs of 1 GiB would have an aggregation a minute.
DEFAULT_MAX_STALL_US = 50_000
#: How old values may get by default before targets are looked at in turns.
DEFAULT_MAX_STALENESS_US = 60_000_000
#: How long a hook may take by default once its context was asked to stop.
DEFAULT_STOP_TIMEOUT_US = 10_000_000

#: A context holds all regions in memory, and goes through them in each aggregation.
MOST_REGIONS = 1_000_000
MOST_AGGREGATIONS = 1_000_000

#: A plain number in code, and a duration like ``5ms`` where people write it.
_Duration = Annotated[int, Microseconds]
#: No interval may be so short that no check fits in it.
_HOLDS_A_CHECK = not_shorter_than("sampling_us", "the sampling interval")


@frozen
class Intervals:
    """How often to sample, to aggregate and to follow changes of the target.

    Attributes:
        sampling_us: Microseconds between two access checks.
        aggregation_us: Microseconds over which checks are added up; not below `sampling_us`.
        update_us: Microseconds between two looks for changes of the targets; not below
            `sampling_us`.

    Raises:
        AttributeValueError: A value isn't a positive whole number, or is below `sampling_us`.
    """

    sampling_us: _Duration = field(
        default=5_000,
        validator=positive,
        metadata={"key": "sampling_interval", "help": "time between two access checks"},
    )
    aggregation_us: _Duration = field(
        default=100_000,
        validator=[positive, _HOLDS_A_CHECK],
        metadata={
            "key": "aggregation_interval",
            "help": "time over which checks are added up; not below sampling_interval",
        },
    )
    update_us: _Duration = field(
        default=1_000_000,
        validator=[positive, _HOLDS_A_CHECK],
        metadata={
            "key": "update_interval",
            "help": "time between two looks for changes of the targets",
        },
    )

    @property
    def checks(self) -> int:
        """How many checks an aggregation makes."""
        return self.aggregation_us // self.sampling_us

    def stretched(self, sampling_us: int) -> "Intervals":
        """Return these intervals with a sampling interval of at least `sampling_us`.

        Aggregation and update intervals stay as they are while one check fits in them.
        """
        if sampling_us <= self.sampling_us:
            return self
        return Intervals(
            sampling_us=sampling_us,
            aggregation_us=max(self.aggregation_us, sampling_us),
            update_us=max(self.update_us, sampling_us),
        )

    def with_sampling(self, sampling_us: int) -> "Intervals":
        """Return these intervals with another sampling interval and the same number of checks.

        The aggregation interval keeps its ratio to the sampling interval; the update interval
        only grows where it would be shorter than the sampling interval.
        """
        if sampling_us == self.sampling_us:
            return self
        return Intervals(
            sampling_us=sampling_us,
            aggregation_us=round(self.aggregation_us * sampling_us / self.sampling_us),
            update_us=max(self.update_us, sampling_us),
        )


@frozen
class RegionLimits:
    """How many regions a context may have: quality below, cost above.

    Attributes:
        min_regions: The least number of regions that the monitored memory is cut into.
        max_regions: The number of regions that is never exceeded; not below `min_regions`.

    Raises:
        AttributeValueError: A value is below 1 or above `MOST_REGIONS`, or `max_regions` is below
            `min_regions`.
    """

    min_regions: int = field(
        default=10,
        validator=[positive, at_most(MOST_REGIONS)],
        metadata={"help": "the least number of regions that the memory is cut into"},
    )
    max_regions: int = field(
        default=1_000,
        validator=[positive, at_most(MOST_REGIONS), not_below("min_regions")],
        metadata={"help": "the greatest number of regions, which is never exceeded"},
    )


@frozen
class Attributes:
    """Intervals and limits together, so that a change of both is one."""

    intervals: Intervals
    limits: RegionLimits


@frozen
class IntervalsGoal:
    """How many access events an aggregation should see: intervals are tuned to it.

    Too few events, and differences drown in noise; too many, and everything looks hot. Linux's
    `intervals_goal` (6.15 and later) is the source of the rule.

    Attributes:
        access_share: Observed access events as a share of the possible ones, by bytes.
        aggregations: Over how many aggregations the share is measured.
        min_sampling_us: The shortest sampling interval that tuning may choose.
        max_sampling_us: The longest.

    Raises:
        AttributeValueError: A value is out of range, or `max_sampling_us` is below
            `min_sampling_us`.
    """

    access_share: float = field(
        default=0.04,
        validator=share,
        metadata={"help": "the share of possible access events, by bytes, that tuning aims at"},
    )
    aggregations: int = field(
        default=3,
        validator=[positive, at_most(MOST_AGGREGATIONS)],
        metadata={"help": "over how many aggregations the share is measured"},
    )
    min_sampling_us: _Duration = field(
        default=5_000,
        validator=positive,
        metadata={
            "key": "min_sampling",
            "help": "the shortest sampling interval that tuning may choose",
        },
    )
    max_sampling_us: _Duration = field(
        default=10_000_000,
        validator=[
            positive,
            not_shorter_than("min_sampling_us", "the shortest sampling interval"),
        ],
        metadata={
            "key": "max_sampling",
            "help": "the longest one; the CPU budget may still stretch it",
        },
    )

    def within(self, sampling_us: int) -> int:
        """Return the sampling interval nearest to `sampling_us` that tuning may choose."""
        return min(max(sampling_us, self.min_sampling_us), self.max_sampling_us)
