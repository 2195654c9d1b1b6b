"""One kdamond that is followed: its targets, its last results, and the intervals in force."""

import contextlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import evolve
from damon_vaddr import Identities, Process

from damon_core import Intervals, Regions, Target
from damon_sysfs.events import Aggregation, Collector, Events, Table
from damon_sysfs.idling import Idling
from damon_sysfs.running import STAT_CHECKS, RunningKdamond

#: More than a kdamond has: an aggregation is complete only when no more events come.
_UNKNOWN_TARGETS = 1 << 30
#: Where nobody says what intervals are in force, what aggregations take is believed if it differs
#: by more than this, twice in a row: the kernel itself takes longer than it should.
_DIFFERENT = 1.5
#: It has fallen silent when no results have come for twice its interval, and for this long: on a
#: busy machine they come late.
_LEAST_SILENCE_US = 10_000_000
#: How often changes of the targets are looked for.
_UPDATE_US = 1_000_000


class Followed:
    """A kdamond that is followed.

    Args:
        kdamond: What is known of it.
        identities: Makes the labels of processes.

    Attributes:
        kdamond: What is known of it.
        intervals: The intervals in force, as far as they are known.
        targets: Its targets, by their number; those that aren't known come with their results.
        fresh: Whether there are results that weren't shown yet.
        ended_ns: When its last aggregation ended, on the clock of `time.monotonic_ns`; None before.
    """

    def __init__(self, kdamond: RunningKdamond, identities: Identities) -> None:
        self.kdamond = kdamond
        self.targets: dict[int, Target] = {}
        self.fresh = False
        self.ended_ns: int | None = None
        self._identities = identities
        self._collector = Collector()
        self._idling: dict[int, Idling] = {}
        self._tables: dict[int, tuple[Table, npt.NDArray[np.int64]]] = {}
        self._odd_us = 0
        self._has_gap = False
        self._is_exact = kdamond.is_exact
        self.intervals = _usable(kdamond.intervals)
        for number in range(len(kdamond.targets)):
            self._add(number)

    def refresh(self, kdamond: RunningKdamond) -> None:
        """Note what is known of it now: its settings may have changed."""
        before, self.kdamond = self.kdamond, kdamond
        self._is_exact |= kdamond.is_exact
        if kdamond.intervals not in (None, before.intervals):
            self.intervals = _usable(kdamond.intervals)
        if kdamond.targets != before.targets:
            self.targets.clear()
            self._idling.clear()
            self._tables.clear()
            for number in range(len(kdamond.targets)):
                self._add(number)

    def is_silent(self, now_ns: int, aggregation_us: int) -> bool:
        """Return whether it has nothing to say any more, as if watermarks switched it off.

        Args:
            now_ns: The time, on the clock of `time.monotonic_ns`.
            aggregation_us: The aggregation interval of the context.
        """
        if self.ended_ns is None:
            return False
        longest_us = max(2 * max(self.intervals.aggregation_us, aggregation_us), _LEAST_SILENCE_US)
        return now_ns - self.ended_ns > longest_us * 1_000

    @property
    def is_pending(self) -> bool:
        """Whether events have come that may be a part of an aggregation."""
        return self._collector.is_waiting

    @property
    def missed(self) -> int:
        """Number of aggregations left out because some of their regions were lost."""
        return self._collector.missed

    def skip(self) -> None:
        """Know that some of its aggregations aren't taken; those under way neither."""
        self._collector.forget()
        self._has_gap = True

    def take(self, events: Events) -> None:
        """Use its new events, if there are any."""
        targets = len(self.kdamond.targets) or _UNKNOWN_TARGETS
        # Once some events have come, all have, unless more come during a pause.
        closed = self.is_pending and not len(events)
        for aggregation in self._collector.take(events, targets, closed):
            self._show(aggregation)

    def _show(self, aggregation: Aggregation) -> None:
        if self.ended_ns is not None and not self._has_gap:
            self._measure((aggregation.time_ns - self.ended_ns) // 1_000)
        self.ended_ns, self.fresh = aggregation.time_ns, True
        unit = self.kdamond.unit_bytes
        self._tables.clear()
        for number, found in aggregation.tables.items():
            table = evolve(found, start=found.start * unit, end=found.end * unit)
            aggregation_us = self.intervals.aggregation_us
            if number in self._idling and not self._has_gap:
                idle_us = self._idling[number].after(table, aggregation_us)
            else:
                idling = self._idling[number] = Idling()
                idle_us = idling.begin(table, aggregation_us)
            self._tables[number] = table, idle_us
            if number not in self.targets:
                self._add(number)
        self._has_gap = False

    def fill(self, in_force: Intervals) -> None:
        """Set the regions of its targets to its last results.

        Args:
            in_force: The intervals of the context, which may be longer than its own: counts are
                brought to their number of checks, and ages to their aggregations.
        """
        self.fresh = False
        scale = in_force.checks / self.intervals.checks
        for number, target in self.targets.items():
            if number not in self._tables:
                target.regions = Regions()
                continue
            table, idle_us = self._tables[number]
            regions = target.regions = Regions(table.start, table.end)
            regions.idle_us = idle_us
            counts = table.nr_accesses.clip(0, self.intervals.checks) * scale
            regions.nr_accesses = counts.clip(0, in_force.checks)
            regions.age = table.age * self.intervals.aggregation_us // in_force.aggregation_us

    def tuned(self, sampling_us: int) -> None:
        """Note the sampling interval that the kernel has tuned it to."""
        self._is_exact = True
        self.intervals = _usable(self.intervals.with_sampling(sampling_us))

    def _measure(self, elapsed_us: int) -> None:
        """Note how long an aggregation took."""
        ratio = elapsed_us / self.intervals.aggregation_us
        if self._is_exact or 1 / _DIFFERENT < ratio < _DIFFERENT:
            self._odd_us = 0
        elif self._odd_us and 1 / _DIFFERENT < elapsed_us / self._odd_us < _DIFFERENT:
            self._believe(elapsed_us)
            self._odd_us = 0
        else:
            self._odd_us = elapsed_us

    def _believe(self, aggregation_us: int) -> None:
        checks = max(self.intervals.checks, 1)
        sampling_us = max(round(aggregation_us / checks), 1)
        self.intervals = _usable(self.intervals.with_sampling(sampling_us))

    def _add(self, number: int) -> None:
        """Make a target."""
        known = self.kdamond
        several = len(known.targets) > 1 or number > 0
        labels = {"kdamond": known.which}
        if known.operations:
            labels["operations"] = known.operations
        name = known.name + (f" target {number}" if several else "")
        pid = known.targets[number] if number < len(known.targets) else None
        if pid is not None:
            name, more = self._process(pid)
            labels |= more
        target = Target(name)
        target.labels = labels
        self.targets[number] = target

    def _process(self, pid: int) -> tuple[str, dict[str, str]]:
        """Return what to call a process, and its labels; only its pid if it may be another one.

        It is the same one if it was there before the kdamond was started: settings only have the
        pid, which the kernel may have given to a later process.
        """
        with contextlib.suppress(OSError):
            process = Process.open(pid)
            try:
                if process.started <= self.kdamond.started:
                    return process.label(), dict(self._identities.labels(process))
            finally:
                process.close()
        return f"pid {pid}", {"pid": str(pid)}


def _usable(intervals: Intervals | None) -> Intervals:
    """Return intervals for a context; the kernel's defaults where none are known."""
    known = intervals or Intervals(5_000, 5_000 * STAT_CHECKS)
    return evolve(known, update_us=max(_UPDATE_US, known.aggregation_us))


def common_intervals(followed: Sequence[Followed]) -> Intervals | None:
    """Return the intervals for the results of several together: the longest ones."""
    return max(
        (each.intervals for each in followed),
        key=lambda intervals: intervals.aggregation_us,
        default=None,
    )
