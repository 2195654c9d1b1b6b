"""The metrics of contexts, collected from what they have published.

A scrape never waits for a worker. What follows from a snapshot is rendered once for all scrapes
until the next one. It does share the interpreter's lock with the workers, so it works in small
portions and sleeps between them.
"""

import logging
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Protocol

from attrs import Factory, define, field
from prometheus_client import Metric
from prometheus_client.registry import Collector

from damon_core import Context
from damon_prometheus import families as f
from damon_prometheus.following import Followed, Follower
from damon_prometheus.grouping import text
from damon_prometheus.options import PrometheusOptions
from damon_prometheus.series import Page, snapshot_metrics

logger = logging.getLogger(__name__)

#: After how much CPU time a scrape sleeps, and how long. A worker that wakes up meanwhile gets the
#: interpreter's lock at once; otherwise it would wait for several milliseconds.
_PORTION_S = 0.002
_PAUSE_S = 0.0002
#: How many series are rendered at once.
_CHUNK = 200
#: How many formats are kept for a snapshot; clients choose them.
_MOST_FORMATS = 4


class Encoder(Protocol):
    """Renders metrics in a format, without what belongs to the whole page."""

    @property
    def content_type(self) -> str:
        """The format."""

    def lines(self, metric: Metric) -> bytes:
        """Return the series of a metric."""


class _Pacer:
    """Sleeps after each portion of work."""

    def __init__(self) -> None:
        self._next_s = time.thread_time() + _PORTION_S

    def rest(self) -> None:
        if time.thread_time() >= self._next_s:
            time.sleep(_PAUSE_S)
            self._next_s = time.thread_time() + _PORTION_S


@define(eq=False)
class Served:
    """A context that is served.

    Attributes:
        label: What its series call it.
        context: The context. Weak: one that has ended is served only as long as something else
            refers to it.
        options: What to serve of it.
        began_us: When it began, on its clock.
        follower: Follows its aggregations.
        followed: The last one; None before the first and after the end.
        ended: Whether it has ended.
    """

    label: str
    context: weakref.ref[Context]
    options: PrometheusOptions
    began_us: int
    follower: Follower = field(
        default=Factory(
            lambda self: Follower(self.options.by, self.options.windows, self.began_us),
            takes_self=True,
        ),
        init=False,
    )
    followed: Followed | None = field(default=None, init=False)
    ended: bool = field(default=False, init=False)
    _rendering: threading.Lock = field(factory=threading.Lock, init=False)
    _rendered_of: Followed | None = field(default=None, init=False)
    _rendered: dict[str, dict[str, bytes]] = field(factory=dict, init=False)

    @property
    def formats(self) -> int:
        """In how many formats the last snapshot is rendered."""
        return len(self._rendered)

    def rendered(self, encoder: Encoder) -> Mapping[str, bytes]:
        """Return the series that follow from the last snapshot, by their families."""
        with self._rendering:
            followed = self.followed
            if followed is None:
                self._rendered_of, self._rendered = None, {}
                return {}
            if followed is not self._rendered_of or len(self._rendered) >= _MOST_FORMATS:
                self._rendered_of, self._rendered = followed, {}
            if encoder.content_type not in self._rendered:
                pacer = _Pacer()
                metrics = snapshot_metrics(self.label, self.options, followed, pacer.rest)
                self._rendered[encoder.content_type] = {
                    name: b"".join(_lines(encoder, metric, pacer))
                    for name, metric in metrics.items()
                }
            return self._rendered[encoder.content_type]


def _lines(encoder: Encoder, metric: Metric, pacer: _Pacer) -> Iterator[bytes]:
    for first in range(0, len(metric.samples), _CHUNK):
        part = Metric(metric.name, "", metric.type)
        part.samples = metric.samples[first : first + _CHUNK]
        yield encoder.lines(part)
        pacer.rest()


class ContextsCollector(Collector):
    """Collects the metrics of any number of contexts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: dict[tuple[int, int], Served] = {}
        self._versions = {
            "version": version("damon-core"),
            "plugin_version": version("damon-prometheus"),
        }
        self._cpu_s = 0.0
        self._expected: weakref.WeakSet[object] = weakref.WeakSet()
        self._refused: set[str] = set()

    @property
    def expected(self) -> int:
        """How many callbacks were made for contexts that haven't begun yet."""
        return len(self._expected)

    def expect(self, callback: object) -> None:
        """Take note that a callback was made for a context that will begin."""
        with self._lock:
            self._expected.add(callback)

    def forget(self, callback: object) -> None:
        """Expect nothing of a callback any more."""
        with self._lock:
            self._expected.discard(callback)

    def begin(self, callback: object, context: Context, options: PrometheusOptions) -> None:
        """Begin to serve a context for `callback`."""
        key = (id(callback), id(context))
        with self._lock:
            self._expected.discard(callback)
            self._served = {
                other: served
                for other, served in self._served.items()
                if other != key
                and served.context() is not None
                and not (served.ended and served.label == context.name)
            }
            taken = {served.label for served in self._served.values()}
            label, number = context.name, 1
            while label in taken:
                number += 1
                label = f"{context.name}#{number}"
            now_us = context.clock.now_us()
            self._served[key] = Served(label, weakref.ref(context), options, now_us)
        if label != context.name:
            logger.warning(
                "a context named '%s' is served already: the metrics of the new one have "
                'context="%s"',
                context.name,
                label,
            )

    def follow(self, callback: object, context: Context) -> None:
        """Serve the last snapshot of a context; called in its worker."""
        served = self._served.get((id(callback), id(context)))
        snapshot = context.snapshot
        if served is not None and snapshot is not None:
            served.followed = served.follower.follow(context, snapshot)

    def end(self, callback: object, context: Context) -> None:
        """Mark a context as ended: from now on only its counts are served, and no snapshot."""
        with self._lock:
            served = self._served.get((id(callback), id(context)))
            if served is not None:
                served.ended, served.followed = True, None

    def served(self) -> list[tuple[Served, Context]]:
        """Return the contexts that are served."""
        with self._lock:
            everything = list(self._served.values())
        found = ((served, served.context()) for served in everything)
        return [(served, context) for served, context in found if context is not None]

    def charge(self, cpu_s: float, shares: Mapping[str, float]) -> None:
        """Add what a request has cost to the contexts that are served.

        Args:
            cpu_s: All of it, in seconds of CPU time.
            shares: What of it was for one context, by its label; the rest is for all alike.
        """
        with self._lock:
            self._cpu_s += cpu_s
        running = [(served, context) for served, context in self.served() if not served.ended]
        rest_s = max(cpu_s - sum(shares.values()), 0.0)
        for served, context in running:
            own_s = shares.get(served.label, 0.0) + rest_s / len(running)
            context.charge_cpu(round(own_s * 1e6))

    def collect(self) -> Iterator[Metric]:
        """Return the current metrics."""
        page = Page(f.OF_SNAPSHOTS)
        for served, _ in self.served():
            if (followed := served.followed) is not None:
                rest = _Pacer().rest
                metrics = snapshot_metrics(served.label, served.options, followed, rest)
                for name, metric in metrics.items():
                    page.metrics[name].samples += metric.samples
        yield from (metric for metric in page.metrics.values() if metric.samples)
        yield from self.counts()

    def counts(self) -> Iterator[Metric]:
        """Return what may have changed since the last snapshots."""
        page, pacer = Page(f.COUNTS), _Pacer()
        measures: dict[str, Metric] = {}
        for served, context in self.served():
            _add_counts(page, served, context)
            self._add_measures(measures, served, context)
            pacer.rest()
        page.add(f.SCRAPES, {}, self._cpu_s)
        page.add(f.BUILD, self._versions, 1)
        yield from (metric for metric in page.metrics.values() if metric.samples)
        yield from measures.values()

    def _add_measures(self, measures: dict[str, Metric], served: Served, context: Context) -> None:
        """Add what the parts of a context know of themselves."""
        ours = {family.name for family in f.FAMILIES}
        for measure in context.measures():
            name = f"damon_{measure.name.removesuffix('_total')}" + "_total" * measure.counter
            if name in ours:
                if name not in self._refused:
                    self._refused.add(name)
                    logger.warning("%s is left out: another metric is called so", name)
                continue
            kind = "counter" if measure.counter else "gauge"
            metric = measures.setdefault(name, f.Family(name, measure.help, kind).empty())
            labels = {each: text(value) for each, value in measure.labels.items()}
            if measure.of_context:
                labels["context"] = text(served.label)
            _add_up(metric, name, labels, measure.value, of_context=measure.of_context)


def _add_up(
    metric: Metric, name: str, labels: dict[str, str], value: float, *, of_context: bool
) -> None:
    """Add a series; where several parts of a context have the same, it is their sum."""
    for place, sample in enumerate(metric.samples):
        if sample.labels == labels:
            if of_context:
                metric.samples[place] = sample._replace(value=sample.value + value)
            return
    metric.add_sample(name, labels, value)


def _add_counts(page: Page, served: Served, context: Context) -> None:
    labels = {"context": text(served.label)}
    stats, intervals = context.stats, context.intervals
    page.add(f.RUNNING, labels, 0 if served.ended else 1)
    page.add(f.SAMPLES, labels, stats.samples)
    page.add(f.MISSED, labels, stats.missed_samples)
    page.add(f.AGGREGATIONS, labels, stats.aggregations)
    page.add(f.CPU, labels, stats.cpu_us / 1e6)
    page.add(f.SLOWDOWN, labels, stats.slowdown)
    page.add(f.STALL, labels, stats.longest_stall_us / 1e6)
    page.add(f.STALENESS, labels, stats.staleness_us / 1e6)
    page.add(f.RESTING, labels, stats.resting)
    page.add(f.SAMPLING, labels, intervals.sampling_us / 1e6)
    page.add(f.AGGREGATION, labels, intervals.aggregation_us / 1e6)
    for reason, count in context.left_out.items():
        page.add(f.LEFT_OUT, {**labels, "reason": reason}, count)
    for name, callback in stats.callbacks.items():
        of_callback = {**labels, "callback": text(name)}
        page.add(f.FAILURES, of_callback, callback.failures)
        page.add(f.SWITCHED_OFF, of_callback, int(callback.switched_off))
        page.add(f.SKIPPED, of_callback, callback.skipped)
