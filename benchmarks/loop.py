"""The cost of the monitoring loop itself: CPU time of the worker per sample.

The context's primitive does one numpy addition over its regions and nothing else. The baseline is
a bare Python loop that waits on the same clock and does the same addition; with aggregations, it
also copies the columns of a snapshot.
"""

import threading
from collections import deque
from functools import partial

import numpy as np

from benchmarks.measure import Comparison, is_quick, print_table, progress
from damon_core import Context, Intervals, Regions, SystemClock, Target, hookimpl, start

SAMPLING_US = 5_000
NEVER_US = 10**12
COLUMNS_OF_A_SNAPSHOT = 6
REGION_BYTES = 4096


class Adding:
    """A primitive that reports every region as accessed, and stops after some samples."""

    def __init__(self, regions: int, samples: int) -> None:
        self._regions = regions
        self._left = samples

    @hookimpl
    def init(self, context: Context) -> None:
        start_ = np.arange(self._regions) * REGION_BYTES
        context.targets.append(Target("benchmark", Regions(start_, start_ + REGION_BYTES)))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        context.targets[0].regions.nr_accesses += 1
        self._left -= 1
        if self._left == 0:
            context.request_stop()


def context_us(regions: int, samples: int, aggregate: bool) -> float:
    """Return the worker's CPU time per sample, microseconds."""
    intervals = Intervals(SAMPLING_US, SAMPLING_US if aggregate else NEVER_US, NEVER_US)
    with Context(Adding(regions, samples), intervals=intervals, cpu_budget=None) as context:
        start(context)
        context.wait()
        if context.error is not None:
            raise context.error
        return context.stats.cpu_us / context.stats.samples


def bare_us(regions: int, samples: int, aggregate: bool) -> float:
    """Return the CPU time per round of a bare loop in a thread, microseconds."""
    used_us = 0.0

    def work() -> None:
        nonlocal used_us
        clock, wake = SystemClock(), threading.Event()
        columns = [np.zeros(regions) for _ in range(COLUMNS_OF_A_SNAPSHOT)]
        published: deque[list[np.ndarray]] = deque(maxlen=1)
        begin_us, due_us = clock.cpu_us(), clock.now_us()
        for _ in range(samples):
            due_us += SAMPLING_US
            clock.wait_until(due_us, wake)
            columns[0] += 1
            if aggregate:
                published.append([column.copy() for column in columns])
                columns[0] = np.zeros(regions)
        used_us = clock.cpu_us() - begin_us

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return used_us / samples


def main() -> None:
    runs, samples = (1, 20) if is_quick("loop", __doc__) else (15, 100)
    rows = []
    for aggregate in (False, True):
        for regions in (10, 100, 1_000):
            what = f"{regions} regions, " + (
                "aggregation in each sample" if aggregate else "sampling only"
            )
            progress(what)
            result = Comparison.of(
                partial(context_us, regions, samples, aggregate),
                partial(bare_us, regions, samples, aggregate),
                runs,
            )
            rows.append([what, f"{result.figure:.0f}", f"{result.baseline:.0f}", result.ratio])
    print_table(
        f"CPU time per sample at a sampling interval of {SAMPLING_US / 1_000:g} ms "
        f"(medians of {runs} alternating runs of {samples} samples)",
        ["", "context, us", "bare loop, us", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
