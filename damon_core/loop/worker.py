"""The thread of a context, through all its runs: there is at most one at a time."""

import math
import threading
import time
from collections.abc import Callable

from damon_core.errors import BusyError, DamonError, NotRunningError, StopTimeoutError
from damon_core.loop.kdamond import Kdamond
from damon_core.loop.sharing import SharedBudget

#: How often a wait for a stop looks where the worker is.
_LOOK_S = 0.05
#: How long a call may take once nobody wants to wait any more: time for what works to end.
_LAST_CHANCE_S = 1.0


class Worker:
    """Starts and stops the runs of one context.

    A lock guards only which run there is; what the run does is its own.

    Args:
        name: The context's name, for messages.
        new_run: Makes a run within the CPU budget of a group. It isn't called while another run
            goes on.
        stop_timeout_us: How long a single call may take once the run is to end; None for no limit.

    Attributes:
        running: Whether there is a thread.
        kdamond: This or the last run; None before the first.
    """

    def __init__(
        self,
        name: str,
        new_run: Callable[[SharedBudget], Kdamond],
        stop_timeout_us: int | None = None,
    ) -> None:
        self._stop_timeout_s = math.inf if stop_timeout_us is None else stop_timeout_us / 1e6
        self.running = False
        self.kdamond: Kdamond | None = None
        self._name = name
        self._new_run = new_run
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(
        self, thread_name: str, shared_budget: SharedBudget, on_end: Callable[[], None]
    ) -> None:
        """Start a run in a new thread, which calls `on_end` last.

        Raises:
            BusyError: There is a run.
            DamonError: No thread could be started.
        """
        with self._lock:
            if self.running:
                raise BusyError(f"context '{self._name}' is already running", [self._name])
            kdamond = self._new_run(shared_budget)

            def work() -> None:
                try:
                    kdamond.run()
                finally:
                    on_end()

            # A daemon, so that a program that forgets to stop can end: the group stops its
            # contexts at exit.
            thread = threading.Thread(target=work, name=thread_name, daemon=True)
            before = self.kdamond, self._thread
            self.kdamond, self._thread, self.running = kdamond, thread, True
            try:
                thread.start()
            except RuntimeError as error:
                (self.kdamond, self._thread), self.running = before, False
                raise DamonError(f"context '{self._name}': no thread for it: {error}") from error

    def ended(self) -> None:
        """Take note that the run has ended; called in its thread, by `on_end`."""
        with self._lock:
            self.running = False

    def request_stop(self) -> None:
        """Ask the run to end, without waiting.

        Raises:
            NotRunningError: There is none.
        """
        with self._lock:
            if not self.running or self.kdamond is None:
                raise NotRunningError(f"context '{self._name}' is not running", [self._name])
            self.kdamond.stop()

    def charge_making(self, cpu_us: int) -> None:
        """Count CPU time that it took to make the context, in microseconds."""
        if self.kdamond is not None:
            self.kdamond.charge_making(cpu_us)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, at most `timeout` seconds, for the end of a run; return whether it has ended.

        Raises:
            DamonError: Called in the thread of the run.
        """
        self.refuse_in_run()
        with self._lock:  # A thread that is being started can't be waited for.
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def wait_for_stop(self, give_up: threading.Event | None = None) -> StopTimeoutError | None:
        """Wait for the end of a run that was asked to stop, as long as that makes progress.

        Args:
            give_up: Set when a call may take no longer than a second.

        Returns:
            What is wrong if a call takes too long; the run has it as its `error` from then on, and
            nobody waits for it again.
        """
        kdamond = self.kdamond
        if kdamond is None:
            return None
        known, since_s = kdamond.watch.call, time.monotonic()
        while not self.wait(_LOOK_S):
            if isinstance(kdamond.error, StopTimeoutError):
                return kdamond.error
            call, now_s = kdamond.watch.call, time.monotonic()
            if call is not known:
                known, since_s = call, now_s
            patience_s = self._stop_timeout_s
            if call is not None:
                patience_s = max(patience_s, call.part.stop_timeout_us / 1e6)
            if give_up is not None and give_up.is_set():
                patience_s = min(patience_s, _LAST_CHANCE_S)
            if now_s - since_s >= patience_s:
                place = kdamond.watch.place or "its worker is in no hook"
                error = StopTimeoutError(self._name, place)
                kdamond.error = kdamond.error or error
                return error
        return None

    def refuse_in_run(self) -> None:
        """Raise `DamonError` in the thread of the run, which can't wait for itself."""
        if self.running and self._thread is threading.current_thread():
            raise DamonError(
                f"context '{self._name}' can't wait for itself: return a true value from the "
                "callback, or call context.request_stop()"
            )

    def refuse_while_running(self) -> None:
        """Raise `BusyError` while there is a run."""
        with self._lock:
            if self.running:
                raise BusyError(f"context '{self._name}' is running: stop it first", [self._name])
