"""What a context tells of itself: counts since its start, and its cost."""

from attrs import field, frozen


@frozen
class CallbackStats:
    """How one callback has fared.

    Attributes:
        failures: How many of its calls raised.
        switched_off: Whether it failed too often in a row and isn't called any more.
        last_error: The last failure in one line, empty if there was none.
    """

    failures: int = 0
    switched_off: bool = False
    last_error: str = ""


@frozen
class Stats:
    """Counts of a context since its last start; a copy, taken at one moment.

    Attributes:
        samples: Access checks made.
        missed_samples: Checks that should have been made but whose time had passed already
            (slow work, a suspended machine, a kernel that samples more slowly than it was asked
            to). They are never made up for.
        aggregations: Aggregations completed.
        updates: Updates of the targets made.
        cpu_us: Processor time of the worker, kernel time included, and of whoever samples for it,
            up to its last iteration.
        callbacks: The callbacks by name.
    """

    samples: int = 0
    missed_samples: int = 0
    aggregations: int = 0
    updates: int = 0
    cpu_us: int = 0
    callbacks: dict[str, CallbackStats] = field(factory=dict)

    @property
    def callback_failures(self) -> int:
        """Failures of all callbacks together."""
        return sum(callback.failures for callback in self.callbacks.values())
