"""The attributes of monitoring: intervals and region limits."""

from typing import Any

from attrs import Attribute, field, frozen

from damon_core.errors import AttributeValueError
from damon_core.units import format_duration


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
