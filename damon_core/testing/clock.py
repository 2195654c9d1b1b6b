"""Virtual time whose sleeps can be seen, and held."""

import threading

from damon_core.clock import VirtualClock

#: How long a sleep is held at most: far longer than any test takes to stop its context.
HOLD_S = 60.0


class NotingClock(VirtualClock):
    """Virtual time that notes each sleep, and can hold one until the context is stopped.

    Args:
        events: Where each sleep is noted, as "sleep".
        hold_at: The number of the sleep to hold, from 1; 0 for none.

    Attributes:
        held: Set when the sleep to hold has begun. Until the context is stopped, its worker
            stays there: what the test does meanwhile happens between two checks.
    """

    def __init__(self, events: list[str] | None = None, hold_at: int = 0) -> None:
        super().__init__()
        self.held = threading.Event()
        self._events = [] if events is None else events
        self._left = hold_at

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Jump to the deadline; the sleep to hold lasts until `wake` is set.

        Raises:
            TimeoutError: Nobody has stopped the context for a minute.
        """
        self._events.append("sleep")
        self._left -= 1
        if self._left == 0:
            self.held.set()
            if not wake.wait(HOLD_S):
                raise TimeoutError("nobody has stopped the context whose sleep is held")
        super().wait_until(deadline_us, wake)
