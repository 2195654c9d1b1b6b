"""The intervals in force: those configured, tuned to a goal, stretched to a CPU budget.

Everything here runs in the worker. It puts new intervals in force between two iterations and
rescales the counters of regions.
"""

import math
from collections.abc import Callable, Sequence

from attrs import evolve

from damon_core.attributes import Intervals, IntervalsGoal
from damon_core.contract.sampling import Sampling
from damon_core.loop.budget import BudgetKeeper
from damon_core.loop.notices import Notices
from damon_core.loop.tolls import TollKeeper
from damon_core.loop.tuning import GoalTuner
from damon_core.memory.target import Toll
from damon_core.units import format_duration, format_size

#: The part of the budget that wake-ups may take in which nothing is looked at, and the CPU time of
#: one.
_FOR_WAKING = 0.03
_WAKING_US = 50
#: As long as some of the memory hasn't been looked at, aggregations with parts of it are shorter.
_BEGINNING_PARTS = 8
#: So many new targets make looks dearer at once; fewer may be small beside those that are there.
_MANY_NEW = 16


class Pace:
    """The intervals that one run should use; its worker puts them in force between iterations.

    Args:
        intervals: Those configured.
        goal: Tune them to this share of access events; None leaves them.
        budget: Keeps the worker within its CPU budgets.
        tolls: Keeps what targets lose within its limits.
        sampling: The way of sampling: it knows how intervals are stretched.
        better_backends: Returns what works here and is preferred to the backend in use.
        tuned_elsewhere: Returns the intervals to which what samples has tuned itself; None if it
            doesn't: then they are tuned here.
        max_staleness_us: How long an aggregation should be at most: where the budget needs longer
            ones, and an aggregation may look at a part of the targets, it looks at fewer.
        rotates: Whether it may.

    Attributes:
        wanted: The intervals to put in force: those configured or tuned to the goal, stretched
            where the budget or the targets need longer ones.
        part: Which part of the memory an aggregation is to look at, of what there is.
        least_part: The least that it may be.
        is_beginning: Whether there is memory that was never looked at.
        notices: Which changes of the aggregation interval are said.
    """

    def __init__(
        self,
        intervals: Intervals,
        goal: IntervalsGoal | None,
        budget: BudgetKeeper,
        tolls: TollKeeper,
        sampling: Sampling,
        *,
        better_backends: Callable[[], Sequence[str]] = tuple,
        tuned_elsewhere: Callable[[], Intervals | None] = lambda: None,
        max_staleness_us: float = math.inf,
        rotates: bool = False,
    ) -> None:
        self.part = self.least_part = 1.0
        self.is_beginning = False
        self._max_staleness_us = max_staleness_us
        self._rotates = rotates
        self._better_backends = better_backends
        self._tolls = tolls
        self.notices = Notices()
        self._goal = goal
        self._tuner = GoalTuner(goal) if goal else None
        self._find_tuned = tuned_elsewhere
        self._tuned: Intervals | None = None  # elsewhere
        self._is_chosen = False  # whether these are longer than they would have to be
        self._budget = budget
        self._sampling = sampling
        self._has_epochs = sampling.most_aggregations > 1
        self._opened = False  # whether the running aggregation opened an epoch
        self.wanted = self._base = self._in_force = intervals
        self.change(intervals)

    def change(self, intervals: Intervals) -> None:
        """Replace the configured intervals."""
        self._configured = intervals
        self._tuned = None
        self._tuned_us = intervals.sampling_us
        if self._tuner is not None:
            self._tuned_us = self._tuner.begin(intervals.sampling_us)
        self._rebase()
        self._budget.fit(self._base)
        self._decide()

    def turn(self, now_us: int) -> int:
        """Return when the run may begin; it asks again then."""
        return self._budget.turn(now_us)

    def begun(self, cpu_us: int) -> None:
        """Add the CPU time that the beginning of the run took."""
        self._budget.begun(cpu_us)

    def has_result(self, cpu_us: int) -> None:
        """Add the CPU time of the run up to its first result."""
        self._budget.has_result(cpu_us)

    def set_memory(self, targets: int, *, is_beginning: bool) -> None:
        """Note how many targets there are, and whether some were never looked at.

        Args:
            targets: How many there are: an aggregation looks at one at least.
            is_beginning: Whether some were never looked at.
        """
        if (1 / max(targets, 1), is_beginning) != (self.least_part, self.is_beginning):
            self.least_part, self.is_beginning = 1 / max(targets, 1), is_beginning
            self._budget.is_beginning = is_beginning
            self._decide()

    def looks_at(self, part: float) -> None:
        """Note which part of the memory the next aggregation really looks at."""
        self._budget.part = part

    def opened(self, cpu_us: int) -> None:
        """Add CPU time that the opening of an epoch took."""
        self._opened = True
        self._budget.opened(cpu_us)

    def checked(self, cpu_us: int, in_force: Intervals) -> None:
        """Add the CPU time of a check that was made with the intervals in force."""
        self._in_force = in_force
        if self._budget.checked(cpu_us, self._base, in_force):
            self._decide()

    def charged(self, cpu_us: int, elapsed_us: int) -> None:
        """Add the CPU time that other threads have spent in an aggregation of some length."""
        self._budget.charged(cpu_us, elapsed_us)

    def aggregated(
        self, access_share: float | None, cpu_us: int, elapsed_us: int, toll: Toll
    ) -> None:
        """Take an aggregation into account.

        Args:
            access_share: Access events by possible ones; None if there was nothing to access.
            cpu_us: The CPU time of its end, microseconds.
            elapsed_us: How long it took.
            toll: What it has cost the target that it cost most.
        """
        if self._has_epochs:
            self._tolls.aggregated_in_epoch(toll, opened=self._opened)
            self._opened = False
        else:
            self._tolls.aggregated(toll, elapsed_us, self._stretched_by(elapsed_us))
        if self._tuner is not None:
            self._tuned = self._find_tuned()
            if self._tuned is not None:
                self._tuned_us = self._tuned.sampling_us
            elif access_share is not None:
                self._tuned_us = self._tuner.tuned(self._tuned_us, access_share)
            self._rebase()
        self._budget.aggregated(cpu_us, elapsed_us, self._base)
        if self._has_epochs:
            self._sampling.set_epoch(self.epoch_us)
            # How many aggregations an epoch has may depend on what it costs.
            self._budget.fit(self._base)
            self._tolls.fit_epochs(self._sampling.most_aggregations * self._base.aggregation_us)
        self._decide()

    def grown(self, before: int, after: int) -> None:
        """Take new targets into account, if they are many: looks at all of them will cost more.

        Args:
            before: How many there were.
            after: How many there are.
        """
        if before and after - before >= _MANY_NEW:
            self._budget.grown(after / before, self._base)
            if self._has_epochs:
                self._sampling.set_epoch(self.epoch_us)
            self._decide()

    def updated(self, cpu_us: int) -> None:
        """Add the CPU time of an update."""
        self._budget.updated(cpu_us, self._base)
        self._decide()

    def end(self) -> None:
        """Leave a shared budget to the others."""
        self._budget.end()

    def _rebase(self) -> None:
        """Compute the intervals as they would be without a budget.

        What samples and tunes itself is given the shortest that it may choose.
        """
        sampling_us = self._tuned_us
        if self._goal is not None and self._tuned is not None:
            sampling_us = self._goal.min_sampling_us
        self._base = self._configured.with_sampling(sampling_us)

    def _stretched_by(self, elapsed_us: int) -> float:
        """Return how far the intervals of an aggregation were stretched, if only by its work."""
        base = self._base
        return max(
            self._in_force.sampling_us / base.sampling_us, elapsed_us / base.aggregation_us, 1.0
        )

    @property
    def _factor(self) -> float:
        """How far intervals are stretched."""
        return max(self._budget.factor, self._tolls.factor, 1.0)

    @property
    def goal(self) -> IntervalsGoal | None:
        """What intervals are tuned to, with the shortest that the limits allow."""
        goal = self._goal
        if goal is None:
            return None
        factor = max(self._budget.factor, self._tolls.factor)
        least_us = max(math.ceil(self._base.sampling_us * factor), goal.min_sampling_us)
        most_us = max(goal.max_sampling_us, least_us)
        return evolve(goal, min_sampling_us=least_us, max_sampling_us=most_us)

    @property
    def epoch_us(self) -> float:
        """How long an epoch is to take, at least, where it has many aggregations."""
        return max(self._budget.epoch_us, self._tolls.epoch_us)

    @property
    def limit(self) -> str:
        """What stretches the intervals: an argument of `Context`; empty if nothing does."""
        if self._factor <= 1.0:
            return ""
        if self._budget.factor >= self._tolls.factor:
            return "cpu_budget"
        return "max_stall" if self._tolls.stalls else "max_slowdown"

    def notice(self, memory_bytes: int, now_us: int) -> str:
        """Return what users should know of a change of intervals; empty if it isn't notable now.

        Args:
            memory_bytes: How much memory is monitored; 0 if that isn't known.
            now_us: The time.
        """
        aggregation_us, configured_us = self.wanted.aggregation_us, self._base.aggregation_us
        if self._is_chosen:
            configured_us = aggregation_us
        if not self.notices.take(aggregation_us, configured_us, now_us):
            return ""
        if aggregation_us <= configured_us:
            return f"one aggregation every {format_duration(aggregation_us, 3)} again"
        memory = format_size(memory_bytes) if memory_bytes else "its memory"
        return (
            f"one aggregation every {format_duration(aggregation_us, 3)} instead of "
            f"{format_duration(configured_us, 3)}: {self._reason(memory)}"
        )

    def rotation_notice(self, rarer: int, targets: int, rarest: Sequence[tuple[str, float]]) -> str:
        """Return what users should know where targets are looked at in turns.

        Args:
            rarer: How many are looked at less often than they should be.
            targets: Of how many.
            rarest: Some of them, and how often, in microseconds.
        """
        most = format_duration(round(self._max_staleness_us), 3)
        named = ", ".join(f"{name} every {format_duration(round(us), 2)}" for name, us in rarest)
        return (
            f"{rarer} of {targets} targets, the biggest, are looked at less often than every "
            f"{most} (max_staleness), such as {named}: {self._reason('all of them')}"
        )

    def _reason(self, memory: str) -> str:
        """Return which limit stretches the intervals, and what would change that."""
        limit, tolls = self.limit, self._tolls
        advice = f"a higher {limit} makes it shorter"
        if limit == "cpu_budget":
            return f"{memory} at {100 * self._budget.allowed:.3g} % of a processor; {advice}"
        if limit == "max_slowdown":
            return f"{memory} at {100 * tolls.max_slowdown:.3g} % of the target's time; {advice}"
        stall_us, most_us = tolls.stall_us, tolls.max_stall_us
        most = format_duration(most_us, 3)
        found = f", more than max_stall ({most})" if stall_us > most_us else f" (max_stall: {most})"
        better = self._better_backends()
        works = f" ({', '.join(better)})" if better else ""
        return (
            f"a walk of {memory} holds the target up for {format_duration(stall_us, 3)}{found}, "
            f"so it is to be rare; another backend{works} may be better, {advice}"
        )

    def _decide(self) -> None:
        base, factor = self._base, self._factor
        self.part = 1.0
        if self._rotates:
            factor = self._rotated(factor)
        stretched, tuned = self._sampling.stretched(base, factor), self._tuned
        self._is_chosen = tuned is not None and tuned.sampling_us > stretched.sampling_us
        if tuned is not None and tuned.sampling_us >= stretched.sampling_us:
            stretched = tuned
        update_us = max(stretched.update_us, self._budget.update_us)
        self.wanted = evolve(stretched, update_us=update_us)
        self._sampling.set_longest_sleep(_WAKING_US / (_FOR_WAKING * self._budget.allowed))

    def _rotated(self, factor: float) -> float:
        """Return how far intervals are stretched if an aggregation looks at a part of the memory.

        Args:
            factor: How far they are if it looks at all of it.
        """
        most_us = self._max_staleness_us / (_BEGINNING_PARTS if self.is_beginning else 1)
        most = max(most_us / self._base.aggregation_us, self._tolls.factor, 1.0)
        if factor <= most:
            return factor
        longest_us, self.part = self._budget.in_parts(
            self._base, most * self._base.aggregation_us, self.least_part
        )
        return min(longest_us / self._base.aggregation_us, factor)
