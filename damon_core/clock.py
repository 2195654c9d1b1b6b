"""Time as the monitoring loop sees it: the machine's, or a virtual one for tests."""

import threading
import time
from typing import Protocol

#: Waits up to this long can't be ended early: nobody who stops a context would notice.
_SHORT_WAIT_US = 20_000


class Clock(Protocol):
    """What the loop needs of time; implement it to run the same loop on another time."""

    def now_us(self) -> int:
        """Return microseconds that never go back, from an arbitrary origin."""

    def unix_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC, to stamp results with."""

    def cpu_us(self) -> int:
        """Return the microseconds of processor time that the calling thread has used."""

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Return when `now_us` reaches `deadline_us`, or as soon as `wake` is set."""


class SystemClock:
    """The machine's monotonic clock.

    It is CLOCK_BOOTTIME, which is CLOCK_MONOTONIC plus the time for which the machine was
    suspended: intervals missed while suspended are seen, and counted, as any others.
    """

    def now_us(self) -> int:
        """Return the microseconds since boot."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000

    def unix_us(self) -> int:
        """Return the microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000

    def cpu_us(self) -> int:
        """Return the calling thread's processor time, kernel time included."""
        return time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) // 1_000

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Sleep until the deadline or until `wake` is set."""
        while (left_us := deadline_us - self.now_us()) > 0:
            if left_us <= _SHORT_WAIT_US:
                # A plain sleep costs about half of a wait that can be ended.
                if wake.is_set():
                    return
                time.sleep(left_us / 1e6)
            # One wait can't be longer than a C long of nanoseconds allows; a day is enough.
            elif wake.wait(min(left_us / 1e6, 86_400.0)):
                return


class VirtualClock:
    """A clock that only moves when it is told to, or when somebody waits on it.

    Waiting takes no time at all: hours of monitoring pass in milliseconds, exactly.

    Args:
        start_us: The first reading of `now_us`.
        unix_us: The first reading of `unix_us`.
    """

    def __init__(self, start_us: int = 0, unix_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = start_us
        self._unix_offset_us = unix_us - start_us

    def now_us(self) -> int:
        """Return the virtual time."""
        return self._now_us

    def unix_us(self) -> int:
        """Return the virtual time of day."""
        return self._now_us + self._unix_offset_us

    def cpu_us(self) -> int:
        """Return 0: virtual time uses no processor."""
        return 0

    def advance(self, us: int) -> None:
        """Let `us` microseconds pass, as slow work or a suspended machine would."""
        self._now_us += us

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Jump to the deadline, unless `wake` is set."""
        if not wake.is_set():
            self._now_us = max(self._now_us, deadline_us)
