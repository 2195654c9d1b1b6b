"""The context as hooks see it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from damon_core.attributes import Intervals, IntervalsGoal, RegionLimits
from damon_core.clock import Clock
from damon_core.contract.measures import Measure
from damon_core.contract.reloading import Reloader
from damon_core.memory.snapshot import Snapshot
from damon_core.memory.target import Target
from damon_core.stats import Stats


class HookContext(Protocol):
    """What every hook is given: the monitoring context that it is called for.

    `damon_core.Context` is one. Hooks run in the worker of the context, so they may change
    `targets` and read everything else freely.
    """

    @property
    def name(self) -> str:
        """What results and messages call the context."""

    @property
    def targets(self) -> list[Target]:
        """The monitoring targets; the primitive builds and changes the list."""

    @property
    def intervals(self) -> Intervals:
        """The intervals in force: they may be longer than those configured."""

    @property
    def goal(self) -> IntervalsGoal | None:
        """What intervals are tuned to; None if they aren't tuned.

        For what samples and can tune itself: then its primitive has `tuned_intervals`. The shortest
        sampling interval is one that the CPU budget allows, so it may change at any time.
        """

    @property
    def limits(self) -> RegionLimits:
        """The region limits in force."""

    @property
    def cpu_budget(self) -> float | None:
        """The share of one processor that the worker may use; None for no limit."""

    @property
    def max_slowdown(self) -> float | None:
        """The share of its time that a target may lose; None for no limit."""

    @property
    def max_stall_us(self) -> int | None:
        """How long a target's memory map may be locked at once; None for no limit."""

    @property
    def max_staleness_us(self) -> int:
        """How old values may get before targets are looked at in turns, in microseconds."""

    @property
    def late_after_us(self) -> int:
        """From which age on values count as late, in microseconds."""

    @property
    def clock(self) -> Clock:
        """The time that the context runs on."""

    @property
    def primitive_name(self) -> str:
        """What the primitive is called."""

    @property
    def backend_name(self) -> str:
        """What the primitive's backend is called; empty if it has none."""

    @property
    def policy_name(self) -> str:
        """What adjusts the regions; empty where no policy does."""

    @property
    def callbacks(self) -> Sequence[object]:
        """The callbacks, in the order in which they are called."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The last complete aggregation; None before the first."""

    @property
    def stats(self) -> Stats:
        """Counts since the start, and the cost."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many of what should be monitored are left out now, by reason.

        A reason is one word, such as ``unreadable``, as in a label of a metric; the log says more.
        Empty if nothing is left out, or the primitive doesn't count.
        """

    @property
    def unknown_columns(self) -> Sequence[str]:
        """The columns of results that the primitive doesn't know, by their names in `COLUMNS`.

        They have something else in their place, as `fill_in` says.
        """

    @property
    def error(self) -> BaseException | None:
        """What ended the run; None if nothing failed."""

    @property
    def running(self) -> bool:
        """Whether the context has a worker."""

    @property
    def reloader(self) -> Reloader | None:
        """Has the configuration read again; None where the program doesn't do that."""

    def measures(self) -> Sequence[Measure]:
        """Return the numbers that the parts know of themselves; from any thread."""

    def charge_cpu(self, cpu_us: int) -> None:
        """Count CPU time that another thread has spent for the context, in microseconds.

        It belongs to the cost of monitoring, like the worker's own: it is in `stats`, and comes out
        of the CPU budget. May be called from any thread.
        """

    def private(self, callback: object) -> dict[str, Any]:
        """Return the private data that a callback keeps with this context.

        Raises:
            KeyError: The object isn't a callback of this context.
        """

    def request_stop(self) -> None:
        """Ask the context to stop, without waiting.

        Raises:
            NotRunningError: It isn't running.
        """
