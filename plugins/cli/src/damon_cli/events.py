"""Events that handlers of signals may set."""

import threading
from contextlib import suppress


class SignalEvent(threading.Event):
    """An event that a handler of signals may set, whatever its thread is doing.

    `threading.Event` takes a lock to be set, and to begin to wait. A handler that interrupts its
    thread while that holds the lock would wait for it for ever. One thread at a time may wait here,
    and what is set stays so.
    """

    def __init__(self) -> None:
        super().__init__()
        self._happened = False
        # Held until it is set: who waits is who wants to hold it, too.
        self._held = threading.Lock()
        self._held.acquire()

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._happened

    def set(self) -> None:
        """Set it, and wake the thread that waits."""
        self._happened = True
        with suppress(RuntimeError):  # it was set before, perhaps by what this has interrupted
            self._held.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it for so many seconds, or for ever; return whether it was set."""
        if not self._happened:
            self._held.acquire(timeout=-1 if timeout is None else timeout)
        return self._happened
