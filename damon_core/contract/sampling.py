"""The contract of ways of sampling: which memory is checked, when, and by what.

A primitive names its way by an attribute ``sampling``: a class, or another callable, that is given
the context's policy and returns the `Sampling` of one run. Five come with the core:

- `damon_core.RegionSampling`, where the primitive has no such attribute: in `check_accesses` the
  primitive looks at whole regions, such as the mappings of a process, and adds to their
  `nr_accesses`, at most 1 a check. The regions are the primitive's; the core ages them.
- `damon_core.AccumulatingSampling`: regions are given as with `RegionSampling`, and what shows
  accesses adds up by itself once it was cleared, as the accessed bits of a process do. An
  aggregation has two checks: one a sampling interval after it began, the other at its end. The
  primitive clears in the first `prepare_access_checks` of an aggregation, and for targets that are
  new. In the first `check_accesses` after that it adds to the regions' `nr_accesses` as above:
  that stands for all checks of the aggregation. In every `check_accesses` it sets
  `touched_bytes`: what was accessed since the clearing. It may leave out a clearing, to see what is
  idle for longer than an aggregation; then both are its best knowledge of the aggregation.
- `damon_core.SpacedSampling`: for primitives that see every page, of which again what shows
  accesses adds up. The time between two clearings is an epoch, of one or more aggregations: as many
  as the cost of a clearing needs. In `prepare_access_checks` the primitive clears those targets
  whose `epoch` has changed since it last did. The checks are looks: in the first aggregation of an
  epoch one, two, four, eight … sampling intervals after it began, and at the end. So when a
  page is first found accessed, and so how often it is accessed, is known to within a factor of two.
  In later aggregations there is one look, at the end: it finds what was accessed for the first time
  in the epoch. The primitive infers the rest, and sets a target's `outdated` where it finds that
  much has changed, so that the next clearing comes early. While it can't infer that well, it sets
  `doubtful`: then every aggregation begins an epoch, if they needn't become more than four times as
  long for that.
  In `describe_regions` the primitive leaves the regions of the aggregation in `context.targets`,
  cut as suits what it knows of the pages, at most ``context.limits.max_regions`` of them, complete
  with `nr_accesses` (out of ``context.intervals.checks``), `touched_bytes`, `age` and `idle_us`,
  and beside them the pages themselves, as `Target.page_map`.
- `damon_core.PageSampling`: before each check the policy chooses single pages, `Target.samples`;
  the primitive says which of them were accessed, and the policy adapts the regions.
- `damon_core.DelegatedSampling`: something else samples, such as the kernel, and the primitive
  collects. An iteration takes an aggregation interval, and `check_accesses` leaves in
  `context.targets` the regions of the aggregation, complete with `nr_accesses` (out of
  ``context.intervals.checks``), `age` and `idle_us`. In `prepare_access_checks` the primitive
  passes on `context.intervals` and `context.limits`. Its `check_accesses` may wait for results
  that are a little late. A stop ends the sleep without `check_accesses`: an aggregation that is
  cut short has no results.

A primitive whose way depends on the context has a method ``choose_sampling(context, policy)``
instead, which returns it. It is called once, when the context is made, with its intervals and
limits as they are configured, and with the policy that was given; None for the usual one.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from damon_core.attributes import Intervals, RegionLimits
from damon_core.clock import Grid
from damon_core.contract.policy import RegionPolicy
from damon_core.memory.target import Target


class Sampling(Protocol):
    """How one run samples. The worker calls the methods in the order in which they stand here.

    An iteration is `choose`, `prepare_access_checks`, `after_sampling`, `rest`, `check_accesses`,
    `observe`; `aggregate` and `adapt` stand around the callbacks of an aggregation.
    """

    @property
    def policy_name(self) -> str:
        """What the policy is called; empty where none takes part."""

    @property
    def missed_checks(self) -> int:
        """How many checks of this run were due but not made."""

    @property
    def most_aggregations(self) -> int:
        """How many aggregations an epoch may have now; 1 where each begins anew."""

    @property
    def opening(self) -> bool:
        """Whether what the primitive does now opens an epoch, so that its cost is that of all."""

    def set_epoch(self, epoch_us: float) -> None:
        """Let epochs take at least some time from now on, where they have many aggregations."""

    def set_longest_sleep(self, sleep_us: float) -> None:
        """Let what waits for long wake about this often, to see whether the run is to go on."""

    def begin(self, limits: RegionLimits) -> None:
        """Begin the run."""

    def set_limits(self, limits: RegionLimits) -> None:
        """Use other limits from now on."""

    def choose(self, targets: Sequence[Target]) -> None:
        """Choose the memory of the next check."""

    def step_us(self, intervals: Intervals) -> int:
        """Return the time from one check to the next, on average."""

    def rest(self, grid: Grid, intervals: Intervals) -> bool:
        """Sleep until the next check is due, or for a while; return whether it is to be made now.

        If not, the worker makes sure that the context is to go on, and calls this again.
        """

    def observe(self, targets: Sequence[Target], grid: Grid, intervals: Intervals) -> int:
        """Use what the primitive found; return the number of checks that it stands for."""

    def is_complete(self, began_us: int, grid: Grid, intervals: Intervals) -> bool:
        """Return whether the aggregation is complete that began when the last one ended."""

    def aggregate(
        self, targets: Sequence[Target], checks: int, elapsed_us: int, intervals: Intervals
    ) -> None:
        """Complete the regions of an aggregation: `nr_accesses` of `checks`, `age`, `idle_us`."""

    def adapt(self, targets: Sequence[Target]) -> None:
        """Prepare the regions for the next aggregation, after the callbacks."""

    def needed_factor(
        self, intervals: Intervals, check_us: float, aggregation_us: float, share: float
    ) -> float:
        """Return how far intervals are to be stretched so that sampling takes a share of the time.

        Args:
            intervals: The intervals to stretch.
            check_us: Time that a check takes, on average.
            aggregation_us: Time that the end of an aggregation takes.
            share: The share, above 0.
        """

    def stretched(self, intervals: Intervals, factor: float) -> Intervals:
        """Return intervals that are stretched by a factor of at least 1, as this way does it."""


#: What the attribute ``sampling`` of a primitive is.
SamplingFactory: TypeAlias = Callable[[RegionPolicy], Sampling]
