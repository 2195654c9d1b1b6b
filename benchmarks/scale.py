"""How the cost depends on the size of the target and the number of regions.

First, a context's worker on simulated memory of growing size, with one pattern stretched to it:
CPU time per aggregation, without the sleep, as a ratio to that at 1 GiB. The contexts of all sizes
take turns after each aggregation.

Then the policies alone with 1000 areas, all different from their neighbours: a usual sampling
interval (choosing pages, recording results) and the rest of an aggregation (plan, results, merging,
splitting), as a ratio to a bare numpy pass over the same number of columns as regions have.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, median
from threading import Semaphore

import numpy as np
from attrs import frozen
from damon_sim import SimulatedMemory, Zone, Zones

from benchmarks.accuracy.runs import CHECKS, POLICIES, make_policy
from benchmarks.measure import Comparison, is_quick, print_table, progress, with_quartiles
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
#: Aggregations until policies have settled on the given areas.
STRIPES_WARM_UP = 20


class Turn:
    """Measures the worker's CPU time for each aggregation, in turns with other contexts.

    The turns give all contexts the same conditions: processors change their speed from second to
    second.

    Args:
        mine: Released when it is this context's turn.
        following: Released when it is the next context's turn.
        aggregations: The number measured, after some to settle; then the context ends.

    Attributes:
        us: The CPU time of each aggregation in microseconds.
    """

    def __init__(self, mine: Semaphore, following: Semaphore, aggregations: int) -> None:
        self.us: list[float] = []
        self._mine = mine
        self._following = following
        self._last = WARM_UP + aggregations
        self._begin_ns = 0

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        number = context.stats.aggregations
        if number > WARM_UP:
            self.us.append((time.thread_time_ns() - self._begin_ns) / 1_000)
        if number > 1:  # the caller releases the first context
            self._following.release()
        if number == self._last:
            return True
        self._mine.acquire()
        self._begin_ns = time.thread_time_ns()
        return False


def aggregations_us(policy: str, aggregations: int, seed: int) -> list[list[float]]:
    """Return the worker's CPU time for each aggregation at each size, microseconds."""
    rates = (0, 1, 0, 0, 0.6, 0, 0, 0, 0, 0.3, 1, 0, 0, 0, 0, 0.8)
    order = [Semaphore(0) for _ in SIZES]
    turns, contexts = [], []
    for place, size_bytes in enumerate(SIZES):
        turns.append(Turn(order[place], order[(place + 1) % len(SIZES)], aggregations))
        pattern = Zones(tuple(Zone(Bytes(size_bytes // 16), rate) for rate in rates))
        contexts.append(
            Context(
                SimulatedMemory(size_bytes, pattern, seed),
                [turns[-1]],
                clock=VirtualClock(),
                policy=make_policy(policy, seed),
                cpu_budget=None,
                name=format_size(size_bytes),
            )
        )
    start(*contexts)
    order[0].release()
    for context in contexts:
        context.wait()
        if context.error is not None:
            raise context.error
    return [turn.us for turn in turns]


@frozen
class Step:
    """The cost of a policy's aggregation, and its result.

    Attributes:
        interval_us: CPU time of a usual sampling interval, microseconds.
        aggregation_us: CPU time of the rest: the plan made at the first check, results, merging,
            splitting.
        regions: The number of regions.
        pages: Pages checked in a sampling interval.
    """

    interval_us: float
    aggregation_us: float
    regions: int
    pages: float


class Striped:
    """A policy on memory in which every second area is hot, with one region per area.

    Args:
        policy: The name of the policy.
    """

    def __init__(self, policy: str) -> None:
        self._policy = make_policy(policy, 1)
        self._policy.begin(RegionLimits(REGIONS, REGIONS))
        border = np.arange(REGIONS + 1) * REGION_BYTES
        self._target = Target("benchmark", Regions(border[:-1], border[1:]))
        for _ in range(STRIPES_WARM_UP):
            self.step()

    def step(self) -> Step:
        """Run one aggregation and return its cost."""
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
    """Return the CPU time of one addition to each column of a table of regions."""
    columns = [np.zeros(REGIONS) for _ in range(COLUMNS)]
    begin_ns = time.thread_time_ns()
    for _ in range(passes):
        for column in columns:
            np.add(column, 1, out=column)
    return (time.thread_time_ns() - begin_ns) / 1e3 / passes


def compare_sizes(policy: str, seeds: int, aggregations: int) -> None:
    """Print the cost of an aggregation at each size."""
    progress(f"{policy}, {format_size(SIZES[0])} to {format_size(SIZES[-1])}")
    us: list[list[float]] = [[] for _ in SIZES]
    for seed in range(1, seeds + 1):
        for known, more in zip(us, aggregations_us(policy, aggregations, seed), strict=True):
            known.extend(more)
    rows = []
    for size, each in zip(SIZES, us, strict=True):
        ratios = [one / base for one, base in zip(each, us[0], strict=True)]
        rows.append([format_size(size), f"{median(each):.0f}", with_quartiles(ratios)])
    print_table(
        f"CPU time per aggregation of {CHECKS} checks, policy {policy} (medians of "
        f"{aggregations} aggregations with each of {seeds} seeds, all sizes in turns; between "
        "their quartiles)",
        ["target", "us", "ratio to 1 GiB"],
        rows,
    )


def compare_steps(policies: Sequence[str], runs: int, steps: int) -> None:
    """Print the cost of policies with many regions."""
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
        f"CPU time of a policy at {REGIONS} regions (medians of {runs} alternating runs of "
        f"{steps} aggregations; the bare pass adds 1 to {COLUMNS} columns)",
        ["", "regions", "pages per check", "us", "best", "aim, us", "bare pass, us", "ratio"],
        rows,
    )


def main() -> None:
    quick = is_quick("scale", __doc__)
    for policy in POLICIES:
        compare_sizes(policy, *((1, 2) if quick else (5, 200)))
    compare_steps(POLICIES, *((1, 1) if quick else (45, 5)))


if __name__ == "__main__":
    main()
