"""Which of its two ways the backend `kernel` takes for processes, where no option says so.

Where checks are rare pages are more exact, and take several times the CPU time; where they are
frequent regions are as good (docs/benchmarks.md). So pages are taken where they are affordable, and
in circumstances like those in which they were better.
"""

import logging
from pathlib import Path

from damon_core import HookContext, Intervals, RegionLimits, RegionPolicy, format_duration
from damon_sysfs.features import lacks_for_pages
from damon_sysfs.ownership import TRACING
from damon_sysfs.pages import LONGEST_US, KernelPages, step_us
from damon_sysfs.processes import KernelProcesses
from damon_sysfs.tree import Tree

logger = logging.getLogger(__name__)

#: What pages take of this program's CPU time, rounded up from `benchmarks.kernel_checks.native`: a
#: look, each page of it, and the end of an aggregation.
_LOOK_US, _PAGE_US, _END_US = 1_000, 5, 2_000
#: Which part of the CPU budget this may be: callbacks and the kdamond take some, too, and there are
#: slower machines.
_MOST = 0.5
#: With checks eight times as frequent they weren't better with all patterns. Kernels before 6.19
#: take as long as this for a commit.
_LEAST_SAMPLING_US = 100_000
#: With fewer checks it wasn't measured what is better.
_LEAST_CHECKS = 20
#: The policy looks at so many pages at a time: for each of the least number of regions, and of the
#: greatest.
_PAGES_OF_LEAST, _PAGES_OF_MOST = 3, 0.1


def why_regions(
    context: HookContext,
    policy: RegionPolicy | None,
    *,
    is_single: bool,
    tree: Tree | None = None,
    tracing: tuple[Path, ...] = TRACING,
    proc: Path = Path("/proc"),
) -> str:
    """Return why the kernel is to check its own regions; empty if it is to check pages.

    Args:
        context: The context, with its configured intervals.
        policy: The policy that it was given; None for the usual one.
        is_single: Whether one process is monitored, and never another.
        tree: The directories of kdamonds.
        tracing: The directories where tracefs may be mounted.
        proc: The mount of procfs.
    """
    intervals, budget = context.intervals, context.cpu_budget
    needed_us = own_us(intervals, context.limits)
    allowed_us = (1.0 if budget is None else budget) * _MOST * intervals.aggregation_us
    reasons = {
        "the kernel tunes intervals to a goal only where it forms regions": context.goal
        is not None,
        "pages are for a single process": not is_single,
        "pages are for contexts without a policy of their own": policy is not None,
        f"an aggregation has fewer than {_LEAST_CHECKS} checks": intervals.checks < _LEAST_CHECKS,
        f"the sampling interval isn't from {format_duration(_LEAST_SAMPLING_US)} to "
        f"{format_duration(LONGEST_US)}": (
            not _LEAST_SAMPLING_US <= intervals.sampling_us <= LONGEST_US
        ),
        f"pages take about {format_duration(round(needed_us), 2)} of CPU time an aggregation, and "
        f"may take {format_duration(round(allowed_us), 2)}": needed_us > allowed_us,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    return lacks_for_pages(tree or Tree(), tracing, proc)


def own_us(intervals: Intervals, limits: RegionLimits) -> float:
    """Return about how much CPU time an aggregation with pages takes this program."""
    pages = max(_PAGES_OF_LEAST * limits.min_regions, _PAGES_OF_MOST * limits.max_regions)
    pages = min(pages, limits.max_regions)
    looks = intervals.aggregation_us // step_us(intervals)
    return looks * (_LOOK_US + pages * _PAGE_US) + _END_US


class ChosenByContext(KernelProcesses):
    """The backend `kernel` for processes: pages or regions, as suits the context."""

    def for_context(
        self, context: HookContext, policy: RegionPolicy | None, *, is_single: bool
    ) -> KernelProcesses | KernelPages:
        """Return the backend for a context; say which way it is, and why.

        Args:
            context: The context, which is being made.
            policy: The policy that it was given; None for the usual one.
            is_single: Whether one process is monitored, and never another.
        """
        reason = why_regions(context, policy, is_single=is_single)
        if reason:
            logger.info(
                "context '%s': the kernel checks regions of its own: %s", context.name, reason
            )
            return self
        logger.info(
            "context '%s': the kernel checks pages that the policy chooses, for one process",
            context.name,
        )
        return KernelPages(sampler=self.sampler)
