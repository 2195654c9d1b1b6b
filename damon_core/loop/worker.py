"""The thread of a context, through all its runs: there is at most one at a time."""

import threading
from collections.abc import Callable

from damon_core.errors import BusyError, DamonError, NotRunningError
from damon_core.loop.kdamond import Kdamond
from damon_core.loop.pacing import SharedBudget


class Worker:
    """Starts and stops the runs of one context.

    A lock guards only which run there is; what the run does is its own.

    Args:
        name: The context's name, for messages.
        new_run: Makes a run within the CPU budget of a group. It isn't called while another run
            goes on.

    Attributes:
        running: Whether there is a thread.
        kdamond: This or the last run; None before the first.
    """

    def __init__(self, name: str, new_run: Callable[[SharedBudget], Kdamond]) -> None:
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

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, at most `timeout` seconds, for the end of a run; return whether it has ended."""
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def is_current_thread(self) -> bool:
        """Return whether the caller is the run itself."""
        return self.running and self._thread is threading.current_thread()

    def refuse_while_running(self) -> None:
        """Raise `BusyError` while there is a run."""
        with self._lock:
            if self.running:
                raise BusyError(f"context '{self._name}' is running: stop it first", [self._name])
