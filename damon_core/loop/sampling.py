"""The ways of sampling that come with the core; `damon_core.contract.sampling` describes them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

# `numpy.unique` imports this at its first call, which would count as what the first check takes.
import numpy.ma
from attrs import evolve

from damon_core.attributes import Intervals, RegionLimits
from damon_core.clock import Grid
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.registration import part_name
from damon_core.memory.target import Target

#: While an aggregation adds up, the worker wakes this often to see whether it is to go on.
_LONGEST_SLEEP_US = 100_000
#: Where the budget is short, it wakes as rarely as this.
_LONGEST_OF_ALL_US = 15_000_000

#: The share of the CPU budget that looks may take before aggregations become longer. The rest is
#: for the openings of epochs; they get what looks leave.
_LOOKS_SHARE = 0.75
#: How many aggregations an epoch may have: what is known of rates gets no older.
_MOST_AGGREGATIONS = 64
#: An epoch may end early after this share of its time. What it is short of, the next is longer.
_EARLY = 0.25
#: It does where the primitive says so, or if aggregations have become longer or shorter by more.
_ALIKE = 0.75
#: Where the primitive can't infer well, aggregations may become longer by this factor, so that each
#: is an epoch; and by that one until they are shorter again, and share epochs.
_LONGER, _TOO_LONG = 4.0, 8.0


class _Timed:
    """An aggregation is complete when its interval has passed since the last one."""

    most_aggregations = 1
    opening = False
    _longest_sleep_us = _LONGEST_SLEEP_US

    def set_epoch(self, epoch_us: float) -> None:
        """Do nothing: each aggregation begins anew."""

    def set_longest_sleep(self, sleep_us: float) -> None:
        """Sleep for longer at once from now on, or not, where an aggregation adds up by itself."""
        self._longest_sleep_us = max(_LONGEST_SLEEP_US, min(int(sleep_us), _LONGEST_OF_ALL_US))

    def is_complete(self, began_us: int, grid: Grid, intervals: Intervals) -> bool:
        """Return whether the aggregation interval has passed."""
        return grid.due_us - began_us >= intervals.aggregation_us


class _Checking(_Timed):
    """For ways with one check in each sampling interval, made by the loop."""

    def __init__(self) -> None:
        self.missed_checks = 0
        self._last_checks = 1  # of the previous aggregation; before the first it scales only zeros

    def step_us(self, intervals: Intervals) -> int:
        """Return the sampling interval."""
        return intervals.sampling_us

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep for a sampling interval; an iteration that a stop cuts short still completes."""
        grid.wait(self.step_us(intervals))
        self.missed_checks = grid.missed
        return True

    def _rescale(self, targets: Sequence[Target], checks: int) -> None:
        """Express the last nr_accesses in the checks of this aggregation.

        Missed or stretched checks are not a change of the access frequency.
        """
        for target in targets:
            target.regions.rescale_accesses(self._last_checks, checks)
        self._last_checks = checks


class RegionSampling(_Checking):
    """The primitive looks at whole regions and adds to their `nr_accesses`; no policy takes part.

    A check costs in proportion to the memory. So to save time checks become fewer, down to one an
    aggregation, before aggregations become longer.
    """

    policy_name = ""

    def __init__(self, _policy: RegionPolicy) -> None:
        super().__init__()

    def begin(self, limits: RegionLimits) -> None:
        """Do nothing: the regions are the primitive's."""

    def set_limits(self, limits: RegionLimits) -> None:
        """Do nothing: the primitive reads the limits."""

    def choose(self, targets: Sequence[Target]) -> None:
        """Do nothing: whole regions are checked."""

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Return 1: the primitive has counted."""
        return 1

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Age the regions."""
        self._rescale(targets, checks)
        for target in targets:
            target.regions.grow_older(elapsed_us)

    def adapt(self, targets: Sequence[Target]) -> None:
        """Do nothing: the regions stay."""

    def needed_factor(
        self, intervals: Intervals, check_us: float, aggregation_us: float, share: float
    ) -> float:
        """Return how far intervals are to be stretched so that sampling takes a share."""
        left = share - aggregation_us / intervals.aggregation_us
        if check_us < left * intervals.aggregation_us:
            return check_us / left / intervals.sampling_us
        return (check_us + aggregation_us) / share / intervals.sampling_us

    def stretched(self, intervals: Intervals, factor: float) -> Intervals:
        """Return intervals with fewer checks, aggregations as long as one check needs."""
        return intervals.stretched(math.ceil(intervals.sampling_us * factor))


class _Evenly(ABC):
    """Sampling and aggregation interval are stretched together: results keep their quality."""

    @abstractmethod
    def step_us(self, intervals: Intervals) -> int:
        """Return the time from one check to the next, on average."""

    def needed_factor(
        self, intervals: Intervals, check_us: float, aggregation_us: float, share: float
    ) -> float:
        """Return how far intervals are to be stretched so that sampling takes a share."""
        taken = check_us / self.step_us(intervals) + aggregation_us / intervals.aggregation_us
        return taken / share

    def stretched(self, intervals: Intervals, factor: float) -> Intervals:
        """Return intervals with as many checks an aggregation."""
        return intervals.with_sampling(math.ceil(intervals.sampling_us * factor))


class AccumulatingSampling(_Evenly, RegionSampling):
    """The primitive looks twice at what has added up since an aggregation began.

    To save time aggregations become longer; the sampling interval stays.
    """

    def __init__(self, policy: RegionPolicy) -> None:
        super().__init__(policy)
        self._began_us: int | None = None  # of the running aggregation
        self._looked = False  # whether its first check was made

    def step_us(self, intervals: Intervals) -> int:
        """Return half of the aggregation interval, if it has more than one check."""
        return intervals.aggregation_us // min(intervals.checks, 2)

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep for a sampling interval, then until the end of the aggregation, in steps."""
        if self._began_us is None:
            # From the clearing on, which may be late: a look too soon after it would see nothing.
            grid.follow()
            self._began_us = grid.due_us
        interval_us = intervals.aggregation_us if self._looked else intervals.sampling_us
        due_us = self._began_us + interval_us
        sleep_us = min(due_us, grid.due_us + self._longest_sleep_us)
        grid.until(sleep_us, intervals.sampling_us)
        return grid.due_us >= due_us

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Return how many checks the primitive's look stands for."""
        if self._looked:
            return intervals.checks - 1
        self._looked = True
        return 1

    def is_complete(self, began_us: int, grid: Grid, intervals: Intervals) -> bool:
        """Return whether the interval has passed since the accessed bits were cleared."""
        if self._began_us is not None:
            began_us = self._began_us
        return super().is_complete(began_us, grid, intervals)

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Express what the first look found in the checks of the aggregation; age the regions.

        Whatever that look found, each page that was touched at all was accessed in one interval at
        least.
        """
        for target in targets:
            regions = target.regions
            regions.nr_accesses *= checks
            if regions.touched_bytes is not None:
                share = regions.touched_bytes / np.maximum(regions.resident_bytes, 1)
                np.maximum(regions.nr_accesses, share, out=regions.nr_accesses)
        super().aggregate(targets, checks, elapsed_us, intervals)
        self._began_us, self._looked = None, False

    def stretched(self, intervals: Intervals, factor: float) -> Intervals:
        """Return intervals with longer aggregations."""
        aggregation_us = math.ceil(intervals.aggregation_us * factor)
        return evolve(intervals, aggregation_us=aggregation_us)


class SpacedSampling(_Timed, _Evenly):
    """The primitive looks at all pages, each time twice as long after an epoch began.

    An epoch begins with a clearing and has as many aggregations as needed for its cost. Only the
    first aggregation has several looks, the later ones have one, at the end. To save time epochs
    become longer, then aggregations too; the sampling interval stays. While the primitive can't
    infer later aggregations well, and epochs are short, aggregations become as long as these.
    """

    policy_name = ""

    def __init__(self, _policy: RegionPolicy) -> None:
        self.missed_checks = 0
        self.opening = False
        self.most_aggregations = _MOST_AGGREGATIONS
        self._began_us: int | None = None  # of the running aggregation
        self._looks = 0  # so far
        self._counted = 0  # checks that these stand for
        self._first = True  # whether the aggregation is the first one of its epoch
        self._epoch = 0
        self._epoch_us = 0.0  # that epochs take at least
        self._opened_us: int | None = None
        self._looked_us = 0  # the last look
        self._owed_us = 0.0  # by which epochs were shorter
        self._aggregation_us = self._first_us = 0  # of the last aggregation, and the first one
        self._outdated = self._doubtful = False
        # How long aggregations were when each began to be an epoch; None while they share epochs.
        self._shared_us: int | None = None

    def begin(self, limits: RegionLimits) -> None:
        """Do nothing: the primitive cuts the regions."""

    def set_limits(self, limits: RegionLimits) -> None:
        """Do nothing: the primitive reads the limits."""

    def set_epoch(self, epoch_us: float) -> None:
        """Let epochs take at least some time from now on, and decide what shares them.

        Aggregations share epochs, or each begins one where that is better and affordable.
        """
        self._epoch_us = epoch_us
        if not self._doubtful:
            self._shared_us = None
        elif self._shared_us is None:
            if epoch_us <= _LONGER * self._aggregation_us:
                self._shared_us = self._aggregation_us
        elif epoch_us > _TOO_LONG * self._shared_us:
            self._shared_us = None
        self.most_aggregations = _MOST_AGGREGATIONS if self._shared_us is None else 1

    def choose(self, targets: Sequence[Target]) -> None:
        """Begin an epoch if it is time; all pages are looked at."""
        if self._began_us is None:
            self._first = self.opening = self._is_due()
            if self._first:
                self._epoch += 1
                self._outdated = False
        for target in targets:
            target.epoch = self._epoch

    def _is_due(self) -> bool:
        """Return whether an epoch is to begin with the next aggregation."""
        if self._opened_us is None or self._shared_us is not None:
            self._owed_us = 0.0
            return True
        if not _ALIKE * self._first_us <= self._aggregation_us <= self._first_us / _ALIKE:
            self._outdated = True
        # An aggregation that is a little short is no reason for one more.
        passed_us = self._looked_us - self._opened_us + self._aggregation_us // 8
        needed_us = self._epoch_us * (_EARLY if self._outdated else 1.0) + self._owed_us
        if passed_us < needed_us:
            return False
        self._owed_us = max(self._owed_us + self._epoch_us - passed_us, 0.0)
        return True

    def step_us(self, intervals: Intervals) -> int:
        """Return the aggregation interval: that long it is from look to look in most of them."""
        return intervals.aggregation_us

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep until the next look is due, in steps."""
        if self._began_us is None:
            # From the clearing on, which may be late.
            grid.follow()
            self._began_us = grid.due_us
            if self._first:
                self._opened_us = grid.due_us
                self._first_us = intervals.aggregation_us
        due_us = self._began_us + self._distance_us(intervals)
        sleep_us = min(due_us, grid.due_us + self._longest_sleep_us)
        grid.until(sleep_us, intervals.sampling_us)
        return grid.due_us >= due_us

    def _distance_us(self, intervals: Intervals) -> int:
        """Return how long after the beginning of the aggregation the next look is."""
        if not self._first or self._looks + 1 >= _looks_of(intervals):
            return intervals.aggregation_us
        return intervals.sampling_us << self._looks

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Return how many checks have passed since the last look."""
        assert self._began_us is not None
        # A late look may be the last one.
        due = grid.due_us - self._began_us >= intervals.aggregation_us
        distance_us = intervals.aggregation_us if due else self._distance_us(intervals)
        checks = max(distance_us // intervals.sampling_us - self._counted, 0)
        self._looks += 1
        self._counted += checks
        self._looked_us = grid.due_us
        # The last look is one that every aggregation has.
        self.opening = self._first and not due
        return checks

    def is_complete(self, began_us: int, grid: Grid, intervals: Intervals) -> bool:
        """Return whether the interval has passed since the aggregation began."""
        if self._began_us is not None:
            began_us = self._began_us
        return super().is_complete(began_us, grid, intervals)

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Begin the next aggregation: the primitive completes the regions of this one."""
        self._began_us, self._looks, self._counted = None, 0, 0
        self._aggregation_us = intervals.aggregation_us

    def adapt(self, targets: Sequence[Target]) -> None:
        """Note whether the primitive has found that much has changed; it cuts the regions."""
        for target in targets:
            self._outdated |= target.outdated
            target.outdated = False
        self._doubtful = any(target.doubtful for target in targets)

    def needed_factor(
        self, intervals: Intervals, check_us: float, aggregation_us: float, share: float
    ) -> float:
        """Return how far aggregations are to be stretched so that looks take part of a share."""
        return super().needed_factor(intervals, check_us, aggregation_us, share * _LOOKS_SHARE)

    def stretched(self, intervals: Intervals, factor: float) -> Intervals:
        """Return intervals with longer aggregations."""
        aggregation_us = math.ceil(intervals.aggregation_us * factor)
        return evolve(intervals, aggregation_us=aggregation_us)


def _looks_of(intervals: Intervals) -> int:
    """Return how many looks an aggregation has: no two at the end that are close together."""
    return (2 * intervals.checks // 3).bit_length() + 1


class PageSampling(_Checking, _Evenly):
    """A policy chooses single pages, and adapts the regions to what was found there."""

    def __init__(self, policy: RegionPolicy) -> None:
        super().__init__()
        self.policy_name = part_name(policy)
        self._policy = policy

    def begin(self, limits: RegionLimits) -> None:
        """Let the policy begin anew."""
        self._policy.begin(limits)

    def set_limits(self, limits: RegionLimits) -> None:
        """Pass other limits on to the policy."""
        self._policy.set_limits(limits)

    def choose(self, targets: Sequence[Target]) -> None:
        """Let the policy choose pages."""
        self._policy.choose(targets)

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Let the policy use what was found; return 1."""
        self._policy.observe(targets)
        return 1

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Let the policy complete the regions."""
        self._rescale(targets, checks)
        self._policy.aggregate(targets, checks, elapsed_us)

    def adapt(self, targets: Sequence[Target]) -> None:
        """Let the policy adapt the regions."""
        self._policy.adapt(targets)


class DelegatedSampling(_Timed, _Evenly):
    """Something else samples, with its own clock; the primitive collects the regions."""

    policy_name = ""

    def __init__(self, _policy: RegionPolicy) -> None:
        self.missed_checks = 0

    def begin(self, limits: RegionLimits) -> None:
        """Do nothing: what samples adapts the regions."""

    def set_limits(self, limits: RegionLimits) -> None:
        """Do nothing: the primitive passes limits on."""

    def choose(self, targets: Sequence[Target]) -> None:
        """Do nothing: what samples chooses."""

    def step_us(self, intervals: Intervals) -> int:
        """Return the aggregation interval."""
        return intervals.aggregation_us

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep for an aggregation interval; one that is cut short has no results."""
        return grid.wait(self.step_us(intervals))

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Let the grid follow the other clock; return the checks of an aggregation."""
        grid.follow()
        return intervals.checks

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Count the checks that should have been made in this time."""
        self.missed_checks += max(elapsed_us // intervals.sampling_us - checks, 0)

    def adapt(self, targets: Sequence[Target]) -> None:
        """Do nothing: what samples adapts the regions."""
