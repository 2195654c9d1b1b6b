"""Spans of idle time that backends can measure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from attrs import frozen


class IdleSpan(NamedTuple):
    """A time for which memory hasn't been accessed, and where its bytes are kept.

    Attributes:
        us: The time in microseconds.
        column: The column of `Regions` and snapshots with the bytes idle for at least that time.
        age: The attribute of `IdleAges` that says how old these numbers are.
    """

    us: int
    column: str
    age: str


#: The spans that backends measure, the shortest first.
IDLE_SPANS: Final = (
    IdleSpan(10_000_000, "idle_10s_bytes", "idle_10s_age_us"),
    IdleSpan(60_000_000, "idle_1m_bytes", "idle_1m_age_us"),
    IdleSpan(600_000_000, "idle_10m_bytes", "idle_10m_age_us"),
)

#: Stands in these columns for what isn't known of a region.
UNKNOWN: Final = -1


@frozen
class IdleAges:
    """How old the numbers of idle bytes are, in microseconds before the end of the aggregation.

    None where there is no number.

    Attributes:
        idle_10s_age_us: Of those idle for 10 seconds.
        idle_1m_age_us: Of those idle for a minute.
        idle_10m_age_us: Of those idle for ten minutes.
    """

    idle_10s_age_us: int | None = None
    idle_1m_age_us: int | None = None
    idle_10m_age_us: int | None = None

    def older(self, us: int) -> "IdleAges":
        """Return the ages some microseconds later."""
        ages = (getattr(self, span.age) for span in IDLE_SPANS)
        return IdleAges(*(None if age is None else age + us for age in ages))

    @classmethod
    def oldest(cls, all_ages: Sequence["IdleAges"]) -> "IdleAges":
        """Return the greatest of each age, for numbers that are added up."""
        if len(all_ages) == 1:
            return all_ages[0]
        ages = ([getattr(each, span.age) for each in all_ages] for span in IDLE_SPANS)
        return cls(
            *(max((age for age in of_span if age is not None), default=None) for of_span in ages)
        )
