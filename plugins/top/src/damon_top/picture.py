"""What the screen shows of one context, taken at one moment from what any thread may read."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol, cast

from attrs import frozen

from damon_core import Context, DamonError, Intervals, Snapshot, Stats
from damon_top.history import Frame, History

#: The share of a processor is that of the last so many microseconds.
_CPU_WITHIN_US = 5_000_000


class Alert(Protocol):
    """Something that asks for attention, from a callback with a method `firing`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def severity(self) -> str: ...  # noqa: D102
    @property
    def summary(self) -> str: ...  # noqa: D102


@frozen(eq=False)
class Picture:
    """One context at one moment.

    Attributes:
        name: The context's name.
        source: Its primitive, and the backend if there is one.
        running: Whether it runs.
        error: What ended it, empty if it didn't fail.
        snapshot: The last aggregation; None before the first.
        stats: Its counts.
        intervals: The intervals in force.
        budget: The share of a processor that it may use; None for any.
        cpu: The share of a processor that its worker uses.
        max_slowdown: The share of its time that a target may lose; None for any.
        now_us: The time, on the context's clock.
        frames: What is remembered.
        alerts: What asks for attention.
    """

    name: str
    source: str
    running: bool
    error: str
    snapshot: Snapshot | None
    stats: Stats
    intervals: Intervals
    budget: float | None
    cpu: float
    max_slowdown: float | None
    now_us: int
    frames: Sequence[Frame]
    alerts: Sequence[Alert]


class Watcher:
    """Takes pictures of one context, and passes on what the user wants of it.

    Args:
        context: The context, not running yet.
        history: A callback of it.

    Attributes:
        wanted: The intervals that the user wants; those in force may be longer.
    """

    def __init__(self, context: Context, history: History) -> None:
        self.wanted = context.intervals
        self._context = context
        self._history = history
        self._spent: deque[tuple[int, int]] = deque()

    def look(self) -> Picture:
        """Return the context as it is now."""
        context = self._context
        # In this order: a context that has ended has set its error and last snapshot before.
        running = context.running
        stats, now_us = context.stats, context.clock.now_us()
        self._spent.append((now_us, stats.cpu_us))
        while len(self._spent) > 2 and self._spent[1][0] <= now_us - _CPU_WITHIN_US:
            self._spent.popleft()
        begin_us, before_us = self._spent[0]
        return Picture(
            name=context.name,
            source="/".join(filter(None, [context.primitive_name, context.backend_name])),
            running=running,
            error=_told(context.error),
            snapshot=context.snapshot,
            stats=stats,
            intervals=context.intervals,
            budget=context.cpu_budget,
            cpu=(stats.cpu_us - before_us) / max(now_us - begin_us, 1),
            max_slowdown=context.max_slowdown,
            now_us=now_us if running else self._ended_us(now_us),
            frames=self._history.frames(context),
            alerts=[
                alert
                for callback in context.callbacks
                if callable(firing := getattr(callback, "firing", None))
                for alert in cast(Sequence[Alert], firing(context))
            ],
        )

    def want(self, sampling_us: int) -> None:
        """Ask for another sampling interval, with as many checks in an aggregation."""
        self.wanted = self.wanted.with_sampling(sampling_us)
        self._context.commit(intervals=self.wanted)

    def _ended_us(self, now_us: int) -> int:
        """Return the time at which the picture of what has ended stands still."""
        frames = self._history.frames(self._context)
        return frames[-1].whole.end_us - 1 if frames else now_us


def _told(error: BaseException | None) -> str:
    if error is None:
        return ""
    if isinstance(error, DamonError):
        return error.message
    return f"{type(error).__name__}: {error}"
