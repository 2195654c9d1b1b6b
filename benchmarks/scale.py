"""What the size of the target and the number of regions cost.

First, a context's worker on simulated memory of growing size with one pattern stretched to it:
processor time per aggregation, without the sleep, as a ratio to that at 1 GiB.

Then the policies alone at 1000 areas, all different from their neighbours: a usual sampling
interval (choosing pages, taking results in) and the rest of an aggregation (plan, results, merging,
splitting), as a ratio to a bare numpy pass over as many columns as regions have.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, median

import numpy as np
from attrs import frozen
from damon_sim import SimulatedMemory, Zone, Zones

from benchmarks.accuracy.runs import CHECKS, POLICIES, make_policy
from benchmarks.measure import Comparison, is_quick, print_table, progress
from damon_core import (
    Bytes,
    Context,
    Intervals,
    RegionLimits,
    Regions,
    Target,
    VirtualClock,
    format_size,
    hookimpl,
    start,
)

GIB = 1 << 30
SIZES = tuple(GIB << doublings for doublings in (0, 5, 10, 15, 20))
REGIONS = 1_000
REGION_BYTES = 64 << 20
COLUMNS = len(Regions.__slots__)
WARM_UP = 20
#: Until policies have settled on the areas that they were given.
STRIPES_WARM_UP = 20


class Meter:
    """Measures the worker's processor time after some aggregations, and then stops it."""

    def __init__(self, aggregations: int) -> None:
        self._last = WARM_UP + aggregations
        self._begin_ns = 0
        self.us = 0.0

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        number = context.stats.aggregations
        if number == WARM_UP:
            self._begin_ns = time.thread_time_ns()
        if number < self._last:
            return False
        self.us = (time.thread_time_ns() - self._begin_ns) / 1_000 / (self._last - WARM_UP)
        return True


def aggregation_us(policy: str, size_bytes: int, aggregations: int, seeds: int) -> float:
    """Return the worker's processor time per aggregation, microseconds."""
    sixteenth = Bytes(size_bytes // 16)
    rates = (0, 1, 0, 0, 0.6, 0, 0, 0, 0, 0.3, 1, 0, 0, 0, 0, 0.8)
    pattern = Zones(tuple(Zone(sixteenth, rate) for rate in rates))
    results = []
    for seed in range(1, seeds + 1):
        meter = Meter(aggregations)
        context = Context(
            SimulatedMemory(size_bytes, pattern, seed),
            [meter],
            clock=VirtualClock(),
            policy=make_policy(policy, seed),
            cpu_budget=None,
        )
        with context:
            start(context)
            context.wait()
            if context.error is not None:
                raise context.error
        results.append(meter.us)
    return fmean(results)


@frozen
class Step:
    """What a policy takes for an aggregation, and what it then has.

    Attributes:
        interval_us: Processor time of a usual sampling interval, microseconds.
        aggregation_us: All the rest: a plan made at the first check, results, merging, splitting.
        regions: The regions that there are.
        pages: Pages looked at in a sampling interval.
    """

    interval_us: float
    aggregation_us: float
    regions: int
    pages: float


class Striped:
    """A policy at work on memory of which every second area is hot, one region each.

    Args:
        policy: The name of the policy.
    """

    def __init__(self, policy: str) -> None:
        self._policy = make_policy(policy, 1)
        self._policy.begin(RegionLimits(REGIONS, REGIONS))
        border = np.arange(REGIONS + 1) * REGION_BYTES
        self._target = Target("benchmark", Regions(border[:-1], border[1:]), adaptive=True)
        for _ in range(STRIPES_WARM_UP):
            self.step()

    def step(self) -> Step:
        """Go through one aggregation."""
        policy, targets = self._policy, [self._target]
        pages = 0
        intervals_ns = []
        for _ in range(CHECKS):
            begin_ns = time.thread_time_ns()
            policy.choose(targets)
            interval_ns = time.thread_time_ns() - begin_ns
            samples = self._target.samples
            assert samples is not None
            samples.accessed[:] = samples.addresses // REGION_BYTES % 2 == 1
            pages += len(samples.addresses)
            begin_ns = time.thread_time_ns()
            policy.observe(targets)
            intervals_ns.append(interval_ns + time.thread_time_ns() - begin_ns)
        begin_ns = time.thread_time_ns()
        policy.aggregate(targets, CHECKS, Intervals().aggregation_us)
        whole_ns = sum(intervals_ns) + time.thread_time_ns() - begin_ns
        regions = len(self._target.regions)
        self._target.regions.reset_aggregated()
        begin_ns = time.thread_time_ns()
        policy.adapt(targets)
        whole_ns += time.thread_time_ns() - begin_ns
        usual_ns = median(intervals_ns)
        return Step(
            interval_us=usual_ns / 1e3,
            aggregation_us=(whole_ns - CHECKS * usual_ns) / 1e3,
            regions=regions,
            pages=pages / CHECKS,
        )


def bare_pass_us(passes: int) -> float:
    """Return the processor time of one addition to each column of a table of regions."""
    columns = [np.zeros(REGIONS) for _ in range(COLUMNS)]
    begin_ns = time.thread_time_ns()
    for _ in range(passes):
        for column in columns:
            np.add(column, 1, out=column)
    return (time.thread_time_ns() - begin_ns) / 1e3 / passes


def compare_sizes(policy: str, runs: int, aggregations: int, seeds: int) -> None:
    """Print what an aggregation costs at each size."""
    rows = []
    for size in SIZES:
        progress(f"{policy}, {format_size(size)}")
        result = Comparison.of(
            partial(aggregation_us, policy, size, aggregations, seeds),
            partial(aggregation_us, policy, SIZES[0], aggregations, seeds),
            runs,
        )
        rows.append([format_size(size), f"{result.figure:.0f}", result.ratio])
    print_table(
        f"Processor time per aggregation of {CHECKS} checks, policy {policy} (medians of {runs} "
        f"alternating runs of {aggregations} aggregations with each of {seeds} seeds)",
        ["target", "us", "ratio to 1 GiB"],
        rows,
    )


def compare_steps(policies: Sequence[str], runs: int, steps: int) -> None:
    """Print what policies take at many regions."""
    rows = []
    for policy in policies:
        progress(f"{policy}, {REGIONS} regions")
        striped = Striped(policy)
        seen = striped.step()

        def mean(of: Callable[[Step], float], striped: Striped = striped) -> float:
            return fmean(of(striped.step()) for _ in range(steps))

        in_all: Callable[[Step], float] = lambda s: s.aggregation_us + CHECKS * s.interval_us  # noqa: E731
        figures: list[tuple[str, float | None, Callable[[Step], float]]] = [
            ("per sampling interval", 50.0, lambda step: step.interval_us),
            ("per aggregation, the rest", 1_000.0, lambda step: step.aggregation_us),
            ("per aggregation, in all", None, in_all),
        ]
        for what, aim_us, of in figures:
            result = Comparison.of(partial(mean, of), partial(bare_pass_us, 20 * steps), runs)
            rows.append(
                [
                    f"{policy} {what}",
                    f"{seen.regions:.0f}",
                    f"{seen.pages:.0f}",
                    f"{result.figure:.0f}",
                    f"{min(result.figures):.0f}",
                    f"{aim_us:.0f}" if aim_us else "-",
                    f"{result.baseline:.1f}",
                    result.ratio,
                ]
            )
    print_table(
        f"Processor time of a policy at {REGIONS} regions (medians of {runs} alternating runs of "
        f"{steps} aggregations; the bare pass adds 1 to {COLUMNS} columns)",
        ["", "regions", "pages a check", "us", "best", "aim, us", "bare pass, us", "ratio"],
        rows,
    )


def main() -> None:
    quick = is_quick(__doc__)
    for policy in POLICIES:
        compare_sizes(policy, *((1, 2, 1) if quick else (7, 60, 3)))
    compare_steps(POLICIES, *((1, 1) if quick else (45, 5)))


if __name__ == "__main__":
    main()
