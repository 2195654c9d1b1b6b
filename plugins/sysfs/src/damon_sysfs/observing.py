"""The primitive `kdamond`: the results of kdamonds that run already, whoever has started them.

Nothing of theirs is changed: their settings are read, and their results come through a separate
trace instance.
"""

import contextlib
import logging
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from damon_vaddr import Identities

from damon_core import (
    DelegatedSampling,
    Grid,
    HookContext,
    Intervals,
    Measure,
    PluginError,
    RegionPolicy,
    Reported,
    Sampling,
    Target,
    TargetError,
    hookimpl,
)
from damon_sysfs.following import Followed, common_intervals
from damon_sysfs.ownership import TRACING
from damon_sysfs.running import STAT, Kernel, RunningKdamond, StatNumbers, is_meant
from damon_sysfs.trace import PAUSE_SECONDS, Instance, find_tracing

logger = logging.getLogger(__name__)
events = logging.getLogger("damon.events")

#: The names of trace instances, with the pid of the program.
_INSTANCE = re.compile(r"damon-follow-(\d+)-\d+")
#: How often to look whether kdamonds still run, and which others do: the latter no more often than
#: there are results, as it takes milliseconds.
_LOOK_NS, _SEARCH_NS = 1_000_000_000, 5_000_000_000
#: Each search looks at all threads of the kernel, thousands on a large machine: the share of a
#: processor that it may take, unless searches would be too far apart.
_SEARCH_SHARE, _MOST_SEARCH_NS = 0.002, 30_000_000_000
#: While results are late, they are looked for this often.
_LEAST_STEP_US, _MOST_STEP_US = 2_000, 100_000
#: Of several kdamonds, those are waited for that are late by this part of their interval.
_LATE = 0.5
#: The percentiles of idle times that are exported.
_PERCENTILES: Final = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)


class Following(DelegatedSampling):
    """Each aggregation of a kdamond is one of the context, as soon as its results have come."""

    def __init__(self, policy: RegionPolicy, kdamonds: "RunningKdamonds") -> None:
        super().__init__(policy)
        self._kdamonds = kdamonds
        self._longest_us = _MOST_STEP_US
        self._lost = kdamonds.missed_aggregations  # so far

    def set_longest_sleep(self, sleep_us: float) -> None:
        """Wake about this often, to see whether the kdamonds still run."""
        self._longest_us = max(int(sleep_us), _MOST_STEP_US)

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep until results are due, or for a while; return whether there are some."""
        if (quiet_us := self._kdamonds.quiet_us(intervals)) > 0:
            grid.wait(min(quiet_us, self._longest_us))
            return False
        grid.wait(min(self._kdamonds.due_in_us(), self._longest_us))
        return self._kdamonds.have_results(intervals)

    def is_complete(self, began_us: int, grid: Grid, intervals: Intervals) -> bool:
        """Return True: results are those of whole aggregations."""
        return True

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Count the checks of aggregations whose results were lost: kdamonds miss none.

        More time than an aggregation takes may have passed for other reasons: some were left out
        for the CPU budget, or there was no kdamond.
        """
        lost = self._kdamonds.missed_aggregations
        self.missed_checks += (lost - self._lost) * intervals.checks
        self._lost = lost

    def stretched(self, intervals: Intervals, factor: float) -> Intervals:
        """Return whole multiples of the kdamond's intervals: results come when those end."""
        return super().stretched(intervals, math.ceil(factor))


class RunningKdamonds:
    """Follows kdamonds that run already.

    Args:
        which: Which of them: ``all``, the number of a directory below ``kdamonds``, ``pid:PID``,
            or a module such as ``damon_stat``.
        waits: Whether to wait for others when the last of them has ended.
        kernel: Where the kernel shows them.
        tracing: The directories where tracefs may be mounted.
        instance: Makes the trace instance, of the mount of tracefs and its name.
        now_ns: The clock of that instance.

    Raises:
        TargetError: There is none, and it isn't to be waited for.
    """

    name = "kdamond"
    unknown_columns = ("resident_bytes",)

    def __init__(
        self,
        which: int | str = "all",
        *,
        waits: bool = False,
        kernel: Kernel | None = None,
        tracing: tuple[Path, ...] = TRACING,
        instance: Callable[[Path, str], Instance] = Instance,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._which = which
        self._waits = waits
        self._kernel = kernel or Kernel()
        self._tracing = tracing
        self._make_instance = instance
        self._now_ns = now_ns
        self._identities = Identities()
        self._instance: Instance | None = None
        self._followed: list[Followed] = []
        self._looked_ns = self._searched_ns = 0
        self._search_cost_us = 0  # CPU time of the last search
        self._shown_ns = 0  # when results were last shown
        self._has_shown = False  # whether there was anything in what was shown last
        self._is_quiet = False
        self._lost = self._missed = 0  # of those that aren't followed any more
        known = self._find()
        if not known and not waits:
            raise self._nothing()
        self.given_intervals = common_intervals(
            [Followed(each, self._identities) for each in known]
        )

    def sampling(self, policy: RegionPolicy) -> Sampling:
        """Return the way of sampling of one run."""
        return Following(policy, self)

    @property
    def lost_events(self) -> int:
        """Number of regions lost because the trace buffer wasn't read in time."""
        return self._lost + (self._instance.lost if self._instance is not None else 0)

    @property
    def missed_aggregations(self) -> int:
        """Number of aggregations left out because some of their regions were lost."""
        return self._missed + sum(each.missed for each in self._followed)

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Find the kdamonds and make a trace instance."""
        self._close()
        tracing = self.find_tracing()
        _clean(tracing)
        name = f"damon-follow-{os.getpid()}-{time.monotonic_ns()}"
        try:
            self._instance = self._make_instance(tracing, name)
        except (OSError, ValueError) as error:
            raise PluginError(self.name, f"tracing can't be used: {error}") from error
        self._search(context)
        if not self._followed:
            if not self._waits:
                raise self._nothing()
            self._say_that_it_waits(context)

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        """Drop kdamonds that have ended, look for others; return whether there may be results."""
        now_ns = self._now_ns()
        if now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            ended = [each for each in self._followed if not self._kernel.is_running(each.kdamond)]
            if ended or now_ns - self._searched_ns >= self._search_every_ns(context.intervals):
                self._search(context)
        return bool(self._followed) or self._waits

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Set the regions of targets to the last results."""
        self._shown_ns = self._now_ns()
        for each in self._followed:
            each.fill(context.intervals)
        self._show_targets(context)
        self._has_shown = bool(context.targets)
        self._pass_on_numbers()

    @hookimpl
    def cleanup(self) -> None:
        """Remove the trace instance."""
        self._close()

    def due_in_us(self) -> int:
        """Return how long it takes at least until results are due, in microseconds."""
        now_ns = self._now_ns()
        steps = [_MOST_STEP_US]
        for each in self._followed:
            if each.is_pending:
                return int(PAUSE_SECONDS * 1e6)
            aggregation_us = each.intervals.aggregation_us
            late_us = 0
            if each.ended_ns is not None:
                late_us = (now_ns - each.ended_ns) // 1_000 - aggregation_us
            steps.append(-late_us if late_us < 0 else aggregation_us // 20)
        if len(self._followed) == 1:
            steps = steps[1:]
        return max(min(steps), _LEAST_STEP_US)

    def quiet_us(self, in_force: Intervals) -> int:
        """Return for how long no results are needed, in microseconds; none are taken meanwhile.

        So that intervals that are longer than those of the kdamonds, as the CPU budget needs, cost
        less, whatever the kdamonds do.

        Args:
            in_force: The intervals in force.
        """
        if self._instance is None:
            return 0
        left_us = 0
        if self._shown_ns and self._followed:
            own_us = max(each.intervals.aggregation_us for each in self._followed)
            next_us = in_force.aggregation_us - (self._now_ns() - self._shown_ns) // 1_000
            # One that has begun before results are taken again is whole when it ends.
            left_us = max(next_us - round((1 + _LATE) * own_us), 0)
        if self._is_quiet != (left_us > 0):
            self._is_quiet = left_us > 0
            if self._is_quiet:
                self._instance.pause()
                for each in self._followed:
                    each.skip()
            else:
                self._instance.resume()
        return left_us

    def have_results(self, in_force: Intervals) -> bool:
        """Read new results; return whether there are some to show.

        Args:
            in_force: The intervals in force: with those of the kdamonds all results are shown.
        """
        if self._instance is None:
            return False
        found, tuned = self._instance.read(0.0)
        for each in self._followed:
            if (sampling_us := tuned.get(each.kdamond.pid)) is not None:
                each.tuned(sampling_us)
            each.take(found.of(each.kdamond.pid))
        fresh = [each for each in self._followed if each.fresh]
        if not fresh:
            # What was shown last is over: that is shown, too.
            return self._has_shown and not self._speaking(in_force)
        elapsed_us = (self._now_ns() - self._shown_ns) // 1_000
        own_us = max(each.intervals.aggregation_us for each in self._followed)
        if self._shown_ns and elapsed_us < in_force.aggregation_us - own_us * _LATE:
            return False
        all_are_fresh = all(each.fresh or each.ended_ns is None for each in self._followed)
        return all_are_fresh or elapsed_us >= in_force.aggregation_us + own_us * _LATE

    def measures(self, _context: HookContext) -> Sequence[Measure]:
        """Return what was lost, and the numbers of DAMON_STAT if it is followed."""
        found = [
            Measure(
                "kdamond_lost_regions",
                self.lost_events,
                "Regions of kdamonds that were lost because the trace buffer wasn't read in time.",
                counter=True,
            ),
            Measure(
                "kdamond_missed_aggregations",
                self.missed_aggregations,
                "Aggregations of kdamonds left out because some of their regions were lost.",
                counter=True,
            ),
        ]
        if any(each.kdamond.module == STAT for each in list(self._followed)):
            numbers = self._kernel.stat_numbers()
            found += [] if numbers is None else stat_measures(numbers)
        return found

    def _pass_on_numbers(self) -> None:
        """Give the target of DAMON_STAT what that says of it."""
        for each in self._followed:
            if each.kdamond.module == STAT:
                numbers = self._kernel.stat_numbers()
                reported = Reported() if numbers is None else numbers.reported()
                for target in each.targets.values():
                    target.reported = reported

    def _search_every_ns(self, in_force: Intervals) -> float:
        """Return how long after a search the next is due."""
        least_ns = max(_SEARCH_NS, in_force.aggregation_us * 1_000) if self._followed else _LOOK_NS
        return max(least_ns, min(self._search_cost_us * 1_000 / _SEARCH_SHARE, _MOST_SEARCH_NS))

    def _find(self) -> list[RunningKdamond]:
        return [each for each in self._kernel.running() if is_meant(each, self._which)]

    def find_tracing(self) -> Path:
        """Return where tracing is.

        Raises:
            PluginError: It isn't there for this user.
        """
        tracing = find_tracing(self._tracing)
        if tracing is None:
            raise PluginError(
                self.name,
                "results come by tracing, which isn't there for this user: as root, "
                "mount -t tracefs nodev /sys/kernel/tracing",
            )
        return tracing

    def _nothing(self) -> TargetError:
        """Return the error that says which kdamonds run instead."""
        others = self._kernel.running()
        label = "kdamonds" if self._which == "all" else f"kdamond '{self._which}'"
        if not others:
            return TargetError(label, "no kdamond is running: the kernel's DAMON is not in use")
        choice = "; ".join(f"'{each.which}' is {each}" for each in others)
        return TargetError(label, f"it is not running; what runs: {choice}")

    def _search(self, context: HookContext) -> None:
        """Follow the kdamonds that run now; those that are known stay, with what they know."""
        self._searched_ns = self._now_ns()
        known = {each.kdamond.identity: each for each in self._followed}
        known_before = set(known)
        before_us = context.clock.cpu_us()
        found = {each.identity: each for each in self._find()}
        self._search_cost_us = context.clock.cpu_us() - before_us
        for identity, each in known.items():
            if identity in found:
                each.refresh(found[identity])
            else:
                self._missed += each.missed
                events.info("context '%s': %s has ended", context.name, each.kdamond.name)
        for identity, one in found.items():
            if identity in known:
                continue
            events.info("context '%s': following %s", context.name, one)
            if one.intervals is None:
                logger.warning(
                    "%s: its intervals aren't known; 20 checks an aggregation are assumed", one
                )
            known[identity] = Followed(one, self._identities)
        if self._followed and not found and self._waits:
            self._say_that_it_waits(context)
        self._followed = [known[identity] for identity in found]
        self._show_targets(context)
        if self._instance is not None and found:
            self._instance.hold(sum(each.max_regions or 1_000 for each in found.values()))
            if found.keys() != known_before:
                self._instance.listen([each.pid for each in found.values()], tuning=True)
                self._is_quiet = False

    def _say_that_it_waits(self, context: HookContext) -> None:
        what = "any kdamond" if self._which == "all" else f"kdamond '{self._which}'"
        logger.warning("context '%s' waits for %s, which isn't running", context.name, what)

    def _speaking(self, in_force: Intervals) -> list[Followed]:
        """Return the kdamonds that haven't fallen silent."""
        now_ns, aggregation_us = self._now_ns(), in_force.aggregation_us
        return [each for each in self._followed if not each.is_silent(now_ns, aggregation_us)]

    def _show_targets(self, context: HookContext) -> None:
        """Give the context the targets, without those of kdamonds that say nothing any more."""
        speaking = self._speaking(context.intervals)
        targets = [target for each in speaking for target in each.targets.values()]
        context.targets[:] = _named_apart(targets)
        self.given_intervals = common_intervals(self._followed) or self.given_intervals

    def _close(self) -> None:
        instance, self._instance = self._instance, None
        if instance is not None:
            if instance.lost:
                logger.warning(
                    "%d regions of kdamonds were lost, %d aggregations were left out",
                    instance.lost,
                    self.missed_aggregations,
                )
            self._lost += instance.lost
            instance.close()
        self._missed = self.missed_aggregations
        self._followed = []
        self._looked_ns = self._searched_ns = self._shown_ns = 0
        self._has_shown = self._is_quiet = False


def stat_measures(numbers: StatNumbers) -> list[Measure]:
    """Return the numbers of DAMON_STAT."""
    found = [
        Measure(
            "stat_memory_idle_seconds",
            numbers.idle_ms[percent] / 1e3,
            "How long memory has been idle by DAMON_STAT, by percentile; less than 0 is in use.",
            {"percentile": str(percent)},
        )
        for percent in _PERCENTILES
    ]
    found.append(
        Measure(
            "stat_memory_bandwidth_bytes",
            numbers.bandwidth_bytes_per_s,
            "Bytes of memory accessed in a second, as DAMON_STAT estimates them.",
        )
    )
    if numbers.aggregation_us is not None:
        found.append(
            Measure(
                "stat_aggregation_interval_seconds",
                numbers.aggregation_us / 1e6,
                "The aggregation interval that DAMON_STAT has tuned itself to.",
            )
        )
    return found


def _named_apart(targets: Sequence[Target]) -> list[Target]:
    """Return targets whose names differ: two kdamonds may monitor the same process."""
    times = Counter(target.name for target in targets)
    for target in targets:
        if times[target.name] > 1:
            target.name = f"{target.name} ({target.labels['kdamond']})"
    return list(targets)


def _clean(tracing: Path) -> None:
    """Remove trace instances of programs that were killed; one that is in use stays."""
    with contextlib.suppress(OSError):
        for name in os.listdir(tracing / "instances"):
            found = _INSTANCE.fullmatch(name)
            if found is not None and not Path(f"/proc/{found[1]}").exists():
                with contextlib.suppress(OSError):
                    (tracing / "instances" / name).rmdir()
