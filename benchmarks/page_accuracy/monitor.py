"""Monitors a pattern, and keeps every result, to be compared with the truth afterwards."""

import time
from collections.abc import Generator
from typing import Any

from attrs import define, field, frozen
from damon_vaddr import PidSource, ProcessBackend, ProcessMemory

from benchmarks.clearings import Clearings
from benchmarks.contexts import unlimited
from damon_core import Context, HookContext, Intervals, PageMap, Snapshot, hookimpl, start, stop

#: A time that isn't known exactly: between these two, in nanoseconds of CLOCK_MONOTONIC.
Between = tuple[int, int]
#: How late the begin and the end of an aggregation without a clearing may be known.
_SLACK_NS = 5_000_000


@frozen(eq=False)
class Result:
    """An aggregation.

    Attributes:
        snapshot: Its snapshot.
        page_map: Its map, of a backend that has one.
        cleared: Whether all accessed bits were cleared at its begin.
        begin_ns: When it began.
        looks_ns: When pages were looked at.
        cpu_us: The monitor's CPU time so far.
        slowdown: The share of its time that the process has lost so far, by our account.
    """

    snapshot: Snapshot
    page_map: PageMap | None
    cleared: bool
    begin_ns: Between
    looks_ns: list[Between]
    cpu_us: int
    slowdown: float

    @property
    def end_ns(self) -> Between:
        """When it ended: the last look."""
        return self.looks_ns[-1]


@define(eq=False)
class Keep:
    """A callback that keeps results. It only copies, so that its own cost hardly counts.

    Attributes:
        results: One for each aggregation.
    """

    results: list[Result] = field(factory=list, init=False)
    _clearings: Clearings = field(factory=Clearings, init=False)
    _cleared_ns: Between | None = field(default=None, init=False)
    _looks_ns: list[Between] = field(factory=list, init=False)

    @hookimpl(wrapper=True)
    def prepare_access_checks(self, context: HookContext) -> Generator[None, Any, Any]:
        began_ns = time.monotonic_ns()
        result = yield
        # Without epochs, what looks cost the process seems to be a clearing before the next look.
        if self._clearings.is_new(context) and self._cleared_ns is None:
            self._cleared_ns = began_ns, time.monotonic_ns()
        return result

    @hookimpl(wrapper=True)
    def check_accesses(self) -> Generator[None, Any, Any]:
        began_ns = time.monotonic_ns()
        result = yield
        self._looks_ns.append((began_ns, time.monotonic_ns()))
        return result

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        snapshot = context.snapshot
        if snapshot is None or not snapshot.targets:
            return
        if self._cleared_ns is None and self._clearings.epoch and self.results:
            begin_ns = self.results[-1].end_ns
        elif self._cleared_ns is None:
            ended_ns = snapshot.time_us * 1_000 + time.monotonic_ns() - time.time_ns()
            began_ns = ended_ns - snapshot.elapsed_us * 1_000
            begin_ns = began_ns - _SLACK_NS, began_ns + _SLACK_NS
        else:
            begin_ns = self._cleared_ns
        stats = context.stats
        self.results.append(
            Result(
                snapshot,
                snapshot.targets[0].page_map(),
                self._cleared_ns is not None,
                begin_ns,
                self._looks_ns,
                stats.cpu_us,
                stats.slowdown,
            )
        )
        self._cleared_ns, self._looks_ns = None, []


def monitored(
    pid: int, backend: ProcessBackend, intervals: Intervals | None, seconds: float, most_s: float
) -> list[Result]:
    """Monitor a process with the usual intervals and budgets, or with others and no budget.

    Args:
        pid: The process.
        backend: The backend.
        intervals: The intervals, if they aren't the usual ones.
        seconds: How long.
        most_s: How long to wait for three aggregations.
    """
    keep = Keep()
    primitive = ProcessMemory(PidSource([pid]), backend)
    if intervals is None:
        made = Context(primitive, [keep])
    else:
        made = unlimited(primitive, [keep], intervals=intervals)
    with made as context:
        start(context)
        began_s = time.monotonic()
        context.wait(seconds)
        while context.running and len(keep.results) < 3 and time.monotonic() - began_s < most_s:
            context.wait(0.1)
        if context.running:
            stop(context)
        if context.error is not None:
            raise context.error
    return keep.results
