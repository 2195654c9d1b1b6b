"""The metrics of contexts, collected from what they have published.

A scrape never waits for a worker. What follows from a snapshot is rendered once for all scrapes
until the next one. It does share the interpreter's lock with the workers, so it works in small
portions and sleeps between them.
"""

import threading
import weakref
from collections.abc import Hashable, Iterator, Mapping
from importlib.metadata import version
from typing import Protocol

from attrs import define, field
from prometheus_client import Metric
from prometheus_client.registry import Collector

from damon_core import Context, HookContext, Measure
from damon_core.metrics import (
    Exported,
    Exports,
    Followed,
    Measures,
    Pacer,
    context_values,
    text,
)
from damon_prometheus import families as f
from damon_prometheus.lines import Lines
from damon_prometheus.options import PrometheusOptions
from damon_prometheus.series import Page, snapshot_lines, snapshot_metrics

#: How many series are rendered at once.
_CHUNK = 200
#: How many formats are kept for a snapshot; clients choose them.
_MOST_FORMATS = 4

Served = Exported[PrometheusOptions]


class Encoder(Protocol):
    """Renders metrics in a format, without what belongs to the whole page."""

    @property
    def content_type(self) -> str:
        """The format."""

    @property
    def plain(self) -> Lines | None:
        """Renders series as the format has them, if it doesn't escape plain names."""

    def lines(self, metric: Metric) -> bytes:
        """Return the series of a metric."""


@define(eq=False)
class _Rendering:
    """What the last snapshot of a context is in the formats that were asked for."""

    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _of: Followed | None = field(default=None, init=False)
    _rendered: dict[str, Mapping[str, bytes]] = field(factory=dict, init=False)

    @property
    def formats(self) -> int:
        return len(self._rendered)

    def get(self, served: Served, encoder: Encoder) -> Mapping[str, bytes]:
        with self._lock:
            followed = served.followed
            if followed is None:
                self._of, self._rendered = None, {}
                return {}
            if followed is not self._of or len(self._rendered) >= _MOST_FORMATS:
                self._of, self._rendered = followed, {}
            if encoder.content_type not in self._rendered:
                self._rendered[encoder.content_type] = _rendered(served, followed, encoder)
            return self._rendered[encoder.content_type]


def _rendered(served: Served, followed: Followed, encoder: Encoder) -> Mapping[str, bytes]:
    """Return the series that follow from a snapshot, by their families."""
    pacer = Pacer()
    if encoder.plain is not None:
        given = served.label, served.options, followed, encoder.plain
        if (found := snapshot_lines(*given, pacer.rest)) is not None:
            return found
    metrics = snapshot_metrics(served.label, served.options, followed, pacer.rest)
    return {name: b"".join(_lines(encoder, metric, pacer)) for name, metric in metrics.items()}


def _lines(encoder: Encoder, metric: Metric, pacer: Pacer) -> Iterator[bytes]:
    for first in range(0, len(metric.samples), _CHUNK):
        part = Metric(metric.name, "", metric.type)
        part.samples = metric.samples[first : first + _CHUNK]
        yield encoder.lines(part)
        pacer.rest()


class ContextsCollector(Collector):
    """Collects the metrics of any number of contexts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exports: Exports[PrometheusOptions] = Exports()
        self._renderings: weakref.WeakKeyDictionary[Served, _Rendering] = (
            weakref.WeakKeyDictionary()
        )
        self._measures = Measures(
            [each.name.removeprefix("damon_").removesuffix("_total") for each in f.FAMILIES]
        )
        self._versions = {
            "version": version("damon-core"),
            "plugin_version": version("damon-prometheus"),
        }
        self._cpu_s = 0.0
        self._expected: weakref.WeakSet[object] = weakref.WeakSet()

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
        self.forget(callback)
        self._exports.begin(_key(callback, context), context, options)

    def follow(self, callback: object, context: Context) -> None:
        """Serve the last snapshot of a context; called in its worker."""
        self._exports.follow(_key(callback, context), context)

    def end(self, callback: object, context: Context) -> None:
        """Mark a context as ended: from now on only its counts are served, and no snapshot."""
        self._exports.end(_key(callback, context))

    def served(self) -> list[tuple[Served, HookContext]]:
        """Return the contexts that are served."""
        return self._exports.current()

    def charge(self, cpu_s: float, shares: Mapping[str, float]) -> None:
        """Add what a request has cost to the contexts that are served.

        Args:
            cpu_s: All of it, in seconds of CPU time.
            shares: What of it was for one context, by its label; the rest is for all alike.
        """
        with self._lock:
            self._cpu_s += cpu_s
        self._exports.charge(cpu_s, shares)

    def rendered(self, served: Served, encoder: Encoder) -> Mapping[str, bytes]:
        """Return the series that follow from the last snapshot of a context, by their families."""
        return self._rendering(served).get(served, encoder)

    def formats(self, served: Served) -> int:
        """Return in how many formats the last snapshot of a context is rendered."""
        return self._rendering(served).formats

    def _rendering(self, served: Served) -> _Rendering:
        with self._lock:
            return self._renderings.setdefault(served, _Rendering())

    def collect(self) -> Iterator[Metric]:
        """Return the current metrics."""
        page = Page(f.SNAPSHOTS)
        for served, _ in self.served():
            if (followed := served.followed) is not None:
                rest = Pacer().rest
                metrics = snapshot_metrics(served.label, served.options, followed, rest)
                for name, metric in metrics.items():
                    page.metrics[name].samples += metric.samples
        yield from (metric for metric in page.metrics.values() if metric.samples)
        yield from self.counts()

    def counts(self) -> Iterator[Metric]:
        """Return what may have changed since the last snapshots."""
        page, pacer = Page(f.COUNTS), Pacer()
        everything = self.served()
        for served, context in everything:
            own = {"context": text(served.label)}
            for each in context_values(context, running=not served.ended):
                page.add(f.BY_INSTRUMENT[each.instrument], {**own, **each.labels}, each.value)
            pacer.rest()
        page.add(f.SCRAPES, {}, self._cpu_s)
        page.add(f.BUILD, self._versions, 1)
        yield from (metric for metric in page.metrics.values() if metric.samples)
        measures: dict[str, Metric] = {}
        for measured in self._measures.collect(everything):
            family = _family(measured.measure)
            metric = measures.setdefault(family.name, family.empty())
            metric.add_sample(family.name, dict(measured.labels), measured.value)
        yield from measures.values()


def _key(callback: object, context: Context) -> Hashable:
    return id(callback), id(context)


def _family(measure: Measure) -> f.Family:
    """Return what a measure is called here."""
    name = f"damon_{measure.name.removesuffix('_total')}" + "_total" * measure.counter
    return f.Family(name, measure.help, "counter" if measure.counter else "gauge")
