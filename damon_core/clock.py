"""Time as the monitoring loop sees it: clocks, and the points at which checks are due."""

import threading
import time
from typing import Protocol

#: Waits up to this long can't be interrupted: too short to delay a stop noticeably.
_SHORT_WAIT_US = 20_000


class Clock(Protocol):
    """What the loop needs from a clock; implement it to run the loop on a different time."""

    def now_us(self) -> int:
        """Return microseconds from an arbitrary origin, never decreasing."""

    def unix_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC, the timestamp of results."""

    def cpu_us(self) -> int:
        """Return the CPU time of the calling thread in microseconds."""

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Return when `now_us` reaches `deadline_us`, or as soon as `wake` is set."""


class SystemClock:
    """The machine's monotonic clock.

    It is CLOCK_BOOTTIME, that is CLOCK_MONOTONIC plus the time that the machine was suspended:
    intervals missed while suspended are counted like any others.
    """

    def now_us(self) -> int:
        """Return the microseconds since boot."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000

    def unix_us(self) -> int:
        """Return the microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000

    def cpu_us(self) -> int:
        """Return the CPU time of the calling thread in microseconds, kernel time included."""
        return time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) // 1_000

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Sleep until the deadline or until `wake` is set."""
        while (left_us := deadline_us - self.now_us()) > 0:
            if left_us <= _SHORT_WAIT_US:
                # A plain sleep costs about half as much as a wait that can be interrupted.
                if wake.is_set():
                    return
                time.sleep(left_us / 1e6)
            # The longest possible wait is a C long of nanoseconds; a day is short enough.
            elif wake.wait(min(left_us / 1e6, 86_400.0)):
                return


class VirtualClock:
    """A clock that moves only when `advance` is called, or when a thread waits on it.

    Waiting takes no real time: hours of monitoring pass in milliseconds, and exactly.

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
        """Return the virtual time as microseconds since 1970-01-01 UTC."""
        return self._now_us + self._unix_offset_us

    def cpu_us(self) -> int:
        """Return 0: virtual time uses no CPU time."""
        return 0

    def advance(self, us: int) -> None:
        """Let `us` microseconds pass, as slow work or a suspended machine would."""
        self._now_us += us

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Jump to the deadline, unless `wake` is set."""
        if not wake.is_set():
            self._now_us = max(self._now_us, deadline_us)


class Grid:
    """The points in time at which checks are due, at equal distances.

    A late wake-up doesn't move the grid, so there is no drift. Points that have already passed
    (slow work, a suspended machine) are skipped and counted, never made up for.

    Args:
        clock: The clock.
        wake: Ends a sleep early.

    Attributes:
        due_us: The last point waited for, or the time at which the wait was ended early.
        missed: The number of points skipped.
    """

    def __init__(self, clock: Clock, wake: threading.Event) -> None:
        self._clock = clock
        self._wake = wake
        self.due_us = clock.now_us()
        self.missed = 0

    def wait(self, step_us: int) -> bool:
        """Sleep until the next point, `step_us` after the last one.

        Returns:
            Whether the sleep lasted until then; False if `wake` ended it.
        """
        self.due_us += step_us
        self._leave_out(self._clock.now_us() + 1, step_us)
        self._clock.wait_until(self.due_us, self._wake)
        now_us = self._clock.now_us()
        if now_us < self.due_us:
            self.due_us = now_us
            return False
        self._leave_out(now_us - step_us + 1, step_us)
        return True

    def until(self, due_us: int, slack_us: int) -> bool:
        """Sleep until a time; where that has passed by more than `slack_us`, go on from now.

        Returns:
            Whether the sleep lasted until then; otherwise `wake` ended it.
        """
        self._clock.wait_until(due_us, self._wake)
        now_us = self._clock.now_us()
        self.due_us = due_us if due_us <= now_us <= due_us + slack_us else now_us
        return now_us >= due_us

    def follow(self) -> None:
        """Continue the grid from now; for callers whose steps are measured by another clock."""
        self.due_us = max(self.due_us, self._clock.now_us())

    def _leave_out(self, earliest_us: int, step_us: int) -> None:
        """Skip points before `earliest_us`."""
        if self.due_us < earliest_us:
            missed = -((self.due_us - earliest_us) // step_us)
            self.missed += missed
            self.due_us += missed * step_us
