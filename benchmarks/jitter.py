"""The spread of the actual sampling interval at 5 ms: alone, and while metrics are scraped.

Measured is the time between two calls of check_accesses. The baseline is the same number of bare
Python threads that wait on an Event for the points of the same grid.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from statistics import median

import numpy as np
from attrs import frozen
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions

from benchmarks.measure import Comparison, is_quick, percentile, print_table, progress
from damon_core import Context, Intervals, Regions, Target, hookimpl, start, stop

SAMPLING_US = 5_000
REGIONS = 1_000
REGION_BYTES = 4096
SCRAPE_SECONDS = 0.1

# A separate process, like a Prometheus server: it must not share our interpreter lock.
SCRAPER = """
import http.client, sys, threading, time, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.wait(float(sys.argv[2])):
    connection.request("GET", url.path)
    response = connection.getresponse()
    if response.status != 200 or b"damon_working_set_bytes{" not in response.read():
        sys.exit("no metrics")
"""


@frozen
class Spread:
    """The times between the checks of one run, in milliseconds."""

    distances_ms: list[float]
    missed_share: float

    @classmethod
    def of(cls, threads: list[list[int]], missed: int) -> "Spread":
        distances_ms = [
            (after - before) / 1e6 for times_ns in threads for before, after in pairwise(times_ns)
        ]
        return cls(distances_ms, missed / (len(distances_ms) + missed))

    def at(self, percent: float) -> float:
        return percentile(self.distances_ms, percent)

    @property
    def width_ms(self) -> float:
        return self.at(99) - self.at(1)


class Noting:
    """A primitive that records the times of its calls, and does little else."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []

    @hookimpl
    def init(self, context: Context) -> None:
        first = np.arange(REGIONS) * REGION_BYTES
        context.targets.append(Target("benchmark", Regions(first, first + REGION_BYTES)))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        self.times_ns.append(time.monotonic_ns())
        context.targets[0].regions.nr_accesses += 1


@contextmanager
def scraped(url: str) -> Iterator[None]:
    """Let a process read a page of metrics ten times a second during the block."""
    arguments = [sys.executable, "-c", SCRAPER, url, str(SCRAPE_SECONDS)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as scraper:
        yield
        # Closes its standard input, which ends it.
        scraper.communicate()
    if scraper.returncode != 0:
        raise SystemExit(f"the scraper failed: status {scraper.returncode}")


def of_contexts(count: int, seconds: float, scrape: bool = False) -> Spread:
    """Measure contexts that run at the same time."""
    listener = Listener(PrometheusOptions(port=0)) if scrape else None
    primitives = [Noting() for _ in range(count)]
    contexts = [
        Context(
            primitive,
            [PrometheusCallback(listener=listener)] if listener is not None else [],
            intervals=Intervals(sampling_us=SAMPLING_US),
            cpu_budget=None,
            name=f"context{number}",
        )
        for number, primitive in enumerate(primitives)
    ]
    start(*contexts)
    while any(context.snapshot is None for context in contexts):
        time.sleep(SAMPLING_US / 1e6)
    if listener is not None:
        with scraped(listener.url):
            time.sleep(seconds)
    else:
        time.sleep(seconds)
    stop(*contexts)
    return Spread.of(
        [primitive.times_ns for primitive in primitives],
        sum(context.stats.missed_samples for context in contexts),
    )


def of_threads(count: int, seconds: float) -> Spread:
    """Measure bare threads that wait for the points of the same grid."""
    ended = threading.Event()
    missed = 0
    times_ns: list[list[int]] = [[] for _ in range(count)]

    def work(noted_ns: list[int]) -> None:
        nonlocal missed
        period_ns = SAMPLING_US * 1_000
        due_ns = time.monotonic_ns() + period_ns
        while not ended.wait(max(0, due_ns - time.monotonic_ns()) / 1e9):
            now_ns = time.monotonic_ns()
            noted_ns.append(now_ns)
            late = (now_ns - due_ns) // period_ns
            missed += late
            due_ns += (1 + late) * period_ns

    threads = [threading.Thread(target=work, args=(noted_ns,)) for noted_ns in times_ns]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    ended.set()
    for thread in threads:
        thread.join()
    return Spread.of(times_ns, missed)


def main() -> None:
    runs, seconds = (1, 0.5) if is_quick("jitter", __doc__) else (7, 3.0)
    baseline_of = {
        "1 context": "1 bare thread",
        "3 contexts": "3 bare threads",
        "3 contexts, scraped": "3 bare threads",
    }
    measured: dict[str, Callable[[float], Spread]] = {
        "1 bare thread": partial(of_threads, 1),
        "1 context": partial(of_contexts, 1),
        "3 bare threads": partial(of_threads, 3),
        "3 contexts": partial(of_contexts, 3),
        "3 contexts, scraped": partial(of_contexts, 3, scrape=True),
    }
    spreads: dict[str, list[Spread]] = {what: [] for what in measured}
    for run in range(1, runs + 1):
        progress(f"run {run} of {runs}")
        for what, measure in measured.items():
            spreads[what].append(measure(seconds))
    rows = []
    for what, results in spreads.items():
        row = [what]
        row += [
            f"{median(result.at(percent) for result in results):.2f}" for percent in (1, 50, 99)
        ]
        row.append(f"{max(result.at(100) for result in results):.2f}")
        row.append(f"{median(100 * result.missed_share for result in results):.2f} %")
        if what in baseline_of:
            baselines = [result.width_ms for result in spreads[baseline_of[what]]]
            row.append(Comparison([result.width_ms for result in results], baselines).ratio)
        else:
            row.append("1")
        rows.append(row)
    print_table(
        f"Distance between checks at a sampling interval of {SAMPLING_US / 1_000:g} ms, "
        f"{REGIONS} regions per context, scraped every {SCRAPE_SECONDS:g} s (milliseconds; medians "
        f"of {runs} alternating runs of {seconds:g} s, max of all; ratio of p99 - p1 to the same "
        "number of bare threads)",
        ["", "p1", "p50", "p99", "max", "missed", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
