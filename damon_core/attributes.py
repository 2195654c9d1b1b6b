"""The attributes of monitoring: intervals, region limits, and what intervals are tuned to."""

from typing import Any

from attrs import Attribute, field, frozen

from damon_core.errors import AttributeValueError
from damon_core.units import format_duration

#: The share of one processor that a context may use by default.
DEFAULT_CPU_BUDGET = 0.02


def check_positive(_instance: object, attribute: "Attribute[Any]", value: object) -> None:
    """Refuse, as a validator of attrs, what isn't a whole number above 0.

    For options that may be left out it goes into `attrs.validators.optional`.

    Raises:
        AttributeValueError: It isn't.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise AttributeValueError(attribute.name, repr(value), "must be a whole number above 0")
    if value < 1:
        raise AttributeValueError(attribute.name, value, "must be above 0")


def check_share(name: str, value: float | None) -> None:
    """Refuse what is no share of one processor.

    Raises:
        AttributeValueError: It isn't above 0 and at most 1; None is allowed.
    """
    if value is not None and not 0.0 < value <= 1.0:
        raise AttributeValueError(name, value, "must be above 0 and at most 1")


def _share(_instance: object, attribute: "Attribute[float]", value: float) -> None:
    check_share(attribute.name, value)


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

    sampling_us: int = field(default=5_000, validator=check_positive)
    aggregation_us: int = field(default=100_000, validator=check_positive)
    update_us: int = field(default=1_000_000, validator=check_positive)

    def __attrs_post_init__(self) -> None:
        for name in ("aggregation_us", "update_us"):
            if getattr(self, name) < self.sampling_us:
                raise AttributeValueError(
                    name,
                    format_duration(getattr(self, name)),
                    "must not be shorter than the sampling interval "
                    f"({format_duration(self.sampling_us)})",
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
        AttributeValueError: A value is below 1, or `max_regions` is below `min_regions`.
    """

    min_regions: int = field(default=10, validator=check_positive)
    max_regions: int = field(default=1_000, validator=check_positive)

    def __attrs_post_init__(self) -> None:
        if self.max_regions < self.min_regions:
            raise AttributeValueError(
                "max_regions",
                self.max_regions,
                f"must not be below min_regions ({self.min_regions})",
            )


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

    access_share: float = field(default=0.04, validator=_share)
    aggregations: int = field(default=3, validator=check_positive)
    min_sampling_us: int = field(default=5_000, validator=check_positive)
    max_sampling_us: int = field(default=10_000_000, validator=check_positive)

    def __attrs_post_init__(self) -> None:
        if self.max_sampling_us < self.min_sampling_us:
            raise AttributeValueError(
                "max_sampling_us",
                format_duration(self.max_sampling_us),
                "must not be shorter than the shortest sampling interval "
                f"({format_duration(self.min_sampling_us)})",
            )

    def within(self, sampling_us: int) -> int:
        """Return the sampling interval nearest to `sampling_us` that tuning may choose."""
        return min(max(sampling_us, self.min_sampling_us), self.max_sampling_us)
