"""What a scrape costs: the first one after an aggregation, and those until the next.

Measured is the CPU time of the thread that makes the page, compressed as Prometheus asks for it.
The baseline is the client library's: it renders as many metrics of the same names and values, which
are there already, and compresses the page as the library does. So it has nothing to compute.
"""

import gzip
import statistics
import time
from collections.abc import Callable

from attrs import frozen
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions
from damon_prometheus.exposition import Exposition
from prometheus_client import Metric, generate_latest

from benchmarks.measure import Comparison, is_quick, print_table, progress
from damon_core import Context
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, run_virtual

MIB = 1 << 20


@frozen
class Fixed:
    """Metrics that are there already, as the client library takes them."""

    metrics: list[Metric]

    def collect(self) -> list[Metric]:
        return self.metrics


@frozen
class Result:
    """Milliseconds of CPU time.

    Attributes:
        series: How many series the page has.
        first: The first scrape of a snapshot, against the client library.
        again_ms: Further ones.
    """

    series: int
    first: Comparison
    again_ms: list[float]

    @property
    def row(self) -> list[str]:
        first, again = self.first.figure, statistics.median(self.again_ms)
        return [
            f"{self.series}",
            f"{self.first.baseline:.1f}",
            f"{first:.1f}",
            f"{again:.2f}",
            self.first.ratio,
            f"{again / first:.3f}",
        ]


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of some work in this thread."""
    before_s = time.thread_time()
    work()
    return 1e3 * (time.thread_time() - before_s)


def measure(targets: int, regions: int, runs: int) -> Result:
    """Scrape a context of some targets after each aggregation."""
    listener = Listener(PrometheusOptions(port=0))
    pages = Exposition(listener.contexts, listener.registry)
    script = [
        ScriptedRegion(place * MIB, (place + 1) * MIB, heat=place % 11 / 10)
        for place in range(regions)
    ]
    memory = ScriptedMemory({f"process[{number}]": script for number in range(targets)})
    first, baseline, again, series = list[float](), list[float](), list[float](), list[int]()

    def scrape() -> object:
        return pages.answer(None, "gzip")

    def after_aggregation(_context: Context) -> None:
        metrics = list(listener.contexts.collect())
        series.append(sum(len(metric.samples) for metric in metrics))
        baseline.append(cpu_ms(lambda: gzip.compress(generate_latest(Fixed(metrics)))))
        first.append(cpu_ms(scrape))
        again.extend(cpu_ms(scrape) for _ in range(3))

    try:
        run_virtual(
            memory,
            PrometheusCallback(PrometheusOptions(max_targets=targets), listener),
            Recorder(after_aggregation=after_aggregation),
            aggregations=runs,
        )
    finally:
        listener.release(None)
    return Result(series[0], Comparison(first, baseline), again)


def main() -> None:
    """Measure contexts of few and of many targets, and print a table."""
    quick = is_quick("scrape", __doc__)
    rows = []
    for targets, regions in [(1, 1_000), (20, 50), (400, 20)]:
        progress(f"{targets} targets of {regions} regions")
        rows.append([f"{targets} x {regions}", *measure(targets, regions, 1 if quick else 15).row])
    print_table(
        "CPU time of a scrape (milliseconds; medians of 15 aggregations; ratio to the client "
        "library, of the first scrape after an aggregation; ratio to that, of further ones)",
        ["targets x regions", "series", "library", "first", "again", "ratio first", "ratio again"],
        rows,
    )


if __name__ == "__main__":
    main()
