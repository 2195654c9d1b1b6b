"""What something else says of memory that it monitors, such as the kernel's DAMON_STAT."""

from typing import Final

from attrs import frozen

#: The percentiles of idle times: from 0 to 100.
_PERCENTILES: Final = 101


@frozen
class Reported:
    """Figures that something else has computed of a target and a primitive only passes on.

    They stand beside what snapshots compute from regions, which never uses them.

    Attributes:
        idle_us: For how long the bytes of the target haven't been accessed, in microseconds: 101
            times, from the 0th to the 100th percentile. A negative one says for how long bytes
            have been in use. None if nobody says it.
        bytes_per_second: How many bytes are accessed in a second; None if nobody says it.

    Raises:
        ValueError: There are idle times, but not 101.
    """

    idle_us: tuple[int, ...] | None = None
    bytes_per_second: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.idle_us is not None and len(self.idle_us) != _PERCENTILES:
            raise ValueError(
                f"idle times are those of {_PERCENTILES} percentiles, not {len(self.idle_us)}"
            )
