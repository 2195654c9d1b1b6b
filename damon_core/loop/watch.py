"""Which hook a worker is in, and which hooks took long."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from attrs import frozen

from damon_core.clock import Clock
from damon_core.contract.registration import part_name
from damon_core.units import format_duration

#: A machine that has much to do holds a thread up for shorter times: they say nothing of a hook.
_LONG_US = 100_000


@frozen
class WatchedPart:
    """A part as messages name it.

    Attributes:
        kind: ``primitive``, ``callback`` or ``policy``.
        name: What it is called.
        backend: What the primitive's backend is called; empty for others.
        stop_timeout_us: How long its hooks may take once a context is to stop, by its own account.
    """

    kind: str
    name: str
    backend: str = ""
    stop_timeout_us: int = 0

    @classmethod
    def of(cls, kind: str, part: object, name: str = "") -> "WatchedPart":
        """Return how messages name a part."""
        timeout_us = getattr(part, "stop_timeout_us", 0)
        return cls(
            kind,
            name or part_name(part),
            str(getattr(part, "backend_name", "")) if kind == "primitive" else "",
            timeout_us if isinstance(timeout_us, int) else 0,
        )

    def __str__(self) -> str:
        backend = f" (backend '{self.backend}')" if self.backend else ""
        return f"{self.kind} '{self.name}'{backend}"


class Call(NamedTuple):
    """A call of a part.

    Attributes:
        part: The part.
        hook: The hook, or the method of a policy.
        began_us: When it began, on the context's clock.
    """

    part: WatchedPart
    hook: str
    began_us: int


class Watch:
    """Knows which call a context is in; its worker writes, any thread reads.

    Args:
        clock: The context's.

    Attributes:
        call: The call that is going on; None between calls.
        answered: The part that last answered true, and the one that last answered false.
        long: Calls that have ended and took long, with their times in microseconds. Whoever uses
            them clears the list.
    """

    def __init__(self, clock: Clock) -> None:
        self.call: Call | None = None
        self.answered: dict[bool, WatchedPart] = {}
        self.long: list[tuple[Call, int]] = []
        self._clock = clock

    def now_us(self) -> int:
        """Return the time of the context."""
        return self._clock.now_us()

    def enter(self, part: WatchedPart, hook: str) -> Call | None:
        """Note that a call begins; return the one that it interrupts, for `leave`."""
        before = self.call
        self.call = Call(part, hook, self._clock.now_us())
        return before

    def leave(self, before: Call | None) -> None:
        """Note that the call has ended."""
        call, self.call = self.call, before
        if call is not None and (took_us := self._clock.now_us() - call.began_us) >= _LONG_US:
            self.long.append((call, took_us))

    @contextmanager
    def calling(self, part: WatchedPart, hook: str) -> Generator[None, None, None]:
        """Note that a call goes on while inside."""
        before = self.enter(part, hook)
        try:
            yield
        finally:
            self.leave(before)

    @property
    def call_us(self) -> int:
        """How long the call that is going on has taken, in microseconds; 0 between calls."""
        call = self.call
        return 0 if call is None else max(self._clock.now_us() - call.began_us, 0)

    @property
    def place(self) -> str:
        """The call that is going on, as messages name it; empty between calls."""
        if (call := self.call) is None:
            return ""
        since_us = max(self._clock.now_us() - call.began_us, 0)
        return f"{call.part} has been in {call.hook} for {format_duration(since_us, 2)}"
