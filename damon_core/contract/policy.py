"""How regions are sampled, merged, split and aged: the contract of region adjustment policies.

A policy takes part where single pages are checked (`damon_core.PageSampling`). It adapts the
regions of all targets of a context together, because the limits are the context's.
"""

from collections.abc import Sequence
from typing import Protocol

from damon_core.attributes import RegionLimits
from damon_core.memory.target import Target


class RegionPolicy(Protocol):
    """Chooses the pages to check, and adapts the regions to what was found.

    One object serves one context; it may keep state from aggregation to aggregation, and begins
    anew with `begin`. All methods are called in the worker, in the order of the methods here. A
    target's regions may be replaced by the primitive between two calls (an update): they then
    cover other ranges.
    """

    def begin(self, limits: RegionLimits) -> None:
        """Forget everything: a run begins."""

    def set_limits(self, limits: RegionLimits) -> None:
        """Keep within other limits: they have changed while the context runs."""

    def choose(self, targets: Sequence[Target]) -> None:
        """Before each check: set the `samples` of each target."""

    def observe(self, targets: Sequence[Target]) -> None:
        """After each check: take in what the primitive found at the samples."""

    def aggregate(self, targets: Sequence[Target], checks: int, elapsed_us: int) -> None:
        """After the last of `checks` checks, before the callbacks: complete the regions.

        It leaves regions with `nr_accesses` from 0 to `checks`, with `age` and `idle_us` grown by
        this aggregation of `elapsed_us`, never more than `limits.max_regions` in all.
        """

    def adapt(self, targets: Sequence[Target]) -> None:
        """After the callbacks, with counters cleared: prepare regions for the next aggregation."""
