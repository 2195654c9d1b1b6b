"""A point in time, as given by a user."""

from datetime import UTC, datetime, timedelta

from attrs import frozen


@frozen
class Moment:
    """A point in time, as given by a user.

    Attributes:
        us: Microseconds since the record began, or since 1970-01-01 UTC.
        since_start: Whether `us` counts from the start of the record.
    """

    us: int
    since_start: bool

    def of(self, start_us: int) -> int:
        """Return microseconds since 1970-01-01 UTC, for a record that began at `start_us`."""
        return start_us + self.us if self.since_start else self.us

    @property
    def text(self) -> str:
        """As it can be written for an option."""
        if self.since_start:
            return f"{self.us}us"
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.us)
        return when.isoformat()
