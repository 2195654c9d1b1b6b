"""Reading a configuration again: who asks for it, who does it, and what came of it."""

import itertools
import threading
import time
from collections.abc import Iterator

from attrs import define, field, frozen

from damon_core.contract.measures import Measure


@frozen
class Reload:
    """The last time that a configuration was read.

    Attributes:
        problem: What was wrong with it; empty if it is in force.
        number: The last request that was there when it was read.
    """

    problem: str = ""
    number: int = 0


@define(eq=False)
class Reloading:
    """Passes requests to read the configuration again to the thread that does so.

    Attributes:
        last: The last time.
        in_force_s: When the configuration that is in force was read, in Unix time.
    """

    last: Reload = field(factory=Reload, init=False)
    in_force_s: float = field(factory=time.time, init=False)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1), init=False)
    _requested: int = field(default=0, init=False)
    _begun: int = field(default=0, init=False)
    _done: threading.Condition = field(factory=threading.Condition, init=False)

    def request(self) -> int:
        """Ask for it, from any thread or a handler of signals.

        Returns:
            The number of the request.
        """
        number = next(self._numbers)
        self._requested = max(self._requested, number)
        return number

    def reload(self, patience_s: float) -> str:
        """Ask for it, and wait until it has happened: see `Reloader`."""
        number = self.request()
        with self._done:
            if not self._done.wait_for(lambda: self.last.number >= number, patience_s):
                raise TimeoutError
            return self.last.problem

    def begin(self) -> bool:
        """Return whether it was asked for; what is asked from now on is another request."""
        self._begun, before = self._requested, self._begun
        return self._begun > before

    def end(self, problem: str = "") -> None:
        """Say what came of it.

        Args:
            problem: What is wrong with the configuration; empty if it is in force.
        """
        with self._done:
            self.last = Reload(problem, self._begun)
            if not problem:
                self.in_force_s = time.time()
            self._done.notify_all()

    def measures(self, _context: object) -> Iterator[Measure]:
        """Return what came of it, as numbers; the same for all contexts."""
        yield Measure(
            "config_last_reload_successful",
            int(not self.last.problem),
            "1 if the configuration is in force as it was last read, 0 if it had mistakes then.",
            of_context=False,
        )
        yield Measure(
            "config_last_reload_timestamp_seconds",
            self.in_force_s,
            "When the configuration that is in force was read, in Unix time.",
            of_context=False,
        )
