"""Which changes of the aggregation interval are worth a line in a log that grows for years."""

from attrs import define

#: A change is notable if the interval is longer, or shorter, by half.
_NOTABLE = 1.5
#: How long nothing is said of an interval that swings below the longest that was said.
_QUIET_US = 600_000_000


@define(eq=False)
class Notices:
    """Decides whether a change is said: a new longest interval at once, others now and then.

    On a busy machine costs swing, and intervals with them.

    Attributes:
        is_owed: Whether what was said last isn't so any more: there is to be a notice later.
    """

    is_owed: bool = False
    _said_us: int = 0
    _longest_us: int = 0
    _quiet_until_us: int = 0

    def take(self, interval_us: int, configured_us: int, now_us: int) -> bool:
        """Return whether an interval is to be said now; then it counts as said.

        Args:
            interval_us: The interval in force from now on.
            configured_us: As it would be if nothing stretched it.
            now_us: The time.
        """
        known_us = max(self._said_us, configured_us)
        self.is_owed = not known_us / _NOTABLE < interval_us < known_us * _NOTABLE
        is_longest = interval_us >= max(self._longest_us, configured_us) * _NOTABLE
        if not self.is_owed or (now_us < self._quiet_until_us and not is_longest):
            return False
        self.is_owed = False
        self._said_us = interval_us
        self._longest_us = max(self._longest_us, interval_us)
        self._quiet_until_us = now_us + _QUIET_US
        return True
