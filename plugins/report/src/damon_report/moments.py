"""A point in time, as given by a user."""

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
