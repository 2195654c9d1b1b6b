"""Work beside workers, in portions."""

import time

#: After how much CPU time to sleep, and how long. A worker that wakes up meanwhile gets the
#: interpreter's lock at once; otherwise it would wait for several milliseconds.
_PORTION_S = 0.002
_PAUSE_S = 0.0002


class Pacer:
    """Sleeps after each portion of the work of a thread."""

    def __init__(self) -> None:
        self._next_s = time.thread_time() + _PORTION_S

    def rest(self) -> None:
        """Sleep, if a portion is done."""
        if time.thread_time() >= self._next_s:
            time.sleep(_PAUSE_S)
            self._next_s = time.thread_time() + _PORTION_S
