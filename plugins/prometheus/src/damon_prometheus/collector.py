"""The metrics, collected from snapshots and counts at the time of a scrape.

A scrape reads what the contexts have published and never waits for a worker. It does share the
interpreter's lock with the workers, so it works in small portions and sleeps between them.
"""

import logging
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from attrs import define, field, frozen
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from damon_core import (
    OTHER,
    PAGE_SIZE_BYTES,
    SPECTRUM_US,
    Context,
    Snapshot,
    Toll,
    bounded_owners,
    bounded_targets,
    format_duration,
    largest_owners,
)
from damon_prometheus.options import PrometheusOptions

logger = logging.getLogger(__name__)

#: The number of buckets for frequencies above 0.
FREQUENCY_BUCKETS = 10

#: How long a scrape sleeps between two targets and between two metrics. A worker that wakes up
#: meanwhile gets the lock at once; otherwise it would wait for several milliseconds.
_PAUSE_S = 0.001


@frozen
class _Family:
    """The description of one metric."""

    name: str
    help: str
    labels: tuple[str, ...]
    counter: bool = field(default=False, kw_only=True)

    def empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if self.counter else GaugeMetricFamily
        return kind(self.name, self.help, labels=self.labels)


_TARGET = ("context", "target")
_CONTEXT = ("context",)
_CALLBACK = ("context", "callback")
_OWNER = (*_TARGET, "kind", "owner")

_WORKING_SET = _Family(
    "damon_working_set_bytes", "Bytes accessed during the last aggregation interval.", _TARGET
)
_ACCESSED = _Family("damon_accessed_bytes", "Mean bytes accessed in a sampling interval.", _TARGET)
_MONITORED = _Family("damon_monitored_bytes", "Monitored resident bytes.", _TARGET)
_FREQUENCY = _Family(
    "damon_frequency_bytes",
    "Bytes by access frequency, the share of checks that found an access: above the next lower "
    "value of the label, and up to this one.",
    (*_TARGET, "frequency"),
)
_IDLE = _Family(
    "damon_idle_bytes",
    "Bytes without an access for at least as long as the label says, as last measured; missing "
    "where that isn't known.",
    (*_TARGET, "at_least"),
)
_IDLE_MEASURED = _Family(
    "damon_idle_measured_timestamp_seconds",
    "When the idle bytes were measured, in Unix time.",
    (*_TARGET, "at_least"),
)
_TOUCHED = _Family(
    "damon_touched_bytes",
    "Bytes that are accessed within the time that the label says, and so at least that often; "
    "missing where that isn't known.",
    (*_TARGET, "within"),
)
_REGIONS = _Family("damon_regions", "Number of regions.", _TARGET)
_OWNER_BYTES = _Family("damon_owner_bytes", "Monitored bytes of an owner.", _OWNER)
_OWNER_WORKING_SET = _Family(
    "damon_owner_working_set_bytes",
    "Bytes of an owner that were accessed during the last aggregation interval.",
    _OWNER,
)
_OWNER_ACCESSED = _Family(
    "damon_owner_accessed_bytes",
    "Mean bytes of an owner that were accessed in a sampling interval.",
    _OWNER,
)
_SAMPLES = _Family("damon_samples_total", "Access checks made.", _CONTEXT, counter=True)
_MISSED = _Family(
    "damon_missed_samples_total",
    "Access checks left out because their time had passed.",
    _CONTEXT,
    counter=True,
)
_AGGREGATIONS = _Family(
    "damon_aggregations_total", "Aggregations completed.", _CONTEXT, counter=True
)
_FAILURES = _Family(
    "damon_callback_failures_total", "Calls of a callback that failed.", _CALLBACK, counter=True
)
_SWITCHED_OFF = _Family(
    "damon_callback_switched_off",
    "1 while a callback that failed too often in a row is tried only now and then.",
    _CALLBACK,
)
_SKIPPED = _Family(
    "damon_callback_skipped_calls_total",
    "Calls of a callback that were left out because it was switched off.",
    _CALLBACK,
    counter=True,
)
_CPU = _Family(
    "damon_cpu_seconds_total",
    "CPU time of the monitoring thread and of the kernel's sampling for it.",
    _CONTEXT,
    counter=True,
)
_LOST = _Family(
    "damon_target_lost_seconds_total",
    "CPU time that monitoring has cost a target, where that is known.",
    _TARGET,
    counter=True,
)
_SLOWDOWN = _Family(
    "damon_slowdown_ratio",
    "Share of its time that the target which lost the largest has lost since it was added.",
    _CONTEXT,
)
_STALL = _Family(
    "damon_longest_stall_seconds",
    "Longest time for which monitoring has locked the memory map of a target.",
    _CONTEXT,
)
_SAMPLING = _Family("damon_sampling_interval_seconds", "Sampling interval in force.", _CONTEXT)
_AGGREGATION = _Family(
    "damon_aggregation_interval_seconds", "Aggregation interval in force.", _CONTEXT
)
_RUNNING = _Family("damon_running", "1 while the context monitors, 0 when it has ended.", _CONTEXT)
_LAST = _Family(
    "damon_last_aggregation_timestamp_seconds",
    "When the last aggregation ended, in Unix time.",
    _CONTEXT,
)
_RESIDENT = _Family(
    "damon_process_resident_memory_bytes", "Resident memory of the monitoring process.", ()
)
_BUILD = _Family(
    "damon_build_info",
    "Always 1; the labels are the versions of damon-core and damon-prometheus.",
    ("version", "plugin_version"),
)

_FAMILIES = (
    _WORKING_SET,
    _ACCESSED,
    _MONITORED,
    _FREQUENCY,
    _IDLE,
    _IDLE_MEASURED,
    _TOUCHED,
    _REGIONS,
    _OWNER_BYTES,
    _OWNER_WORKING_SET,
    _OWNER_ACCESSED,
    _SAMPLES,
    _MISSED,
    _AGGREGATIONS,
    _FAILURES,
    _SWITCHED_OFF,
    _SKIPPED,
    _CPU,
    _LOST,
    _SLOWDOWN,
    _STALL,
    _SAMPLING,
    _AGGREGATION,
    _RUNNING,
    _LAST,
    _RESIDENT,
    _BUILD,
)
_FREQUENCY_LABELS = tuple(
    f"{bucket / FREQUENCY_BUCKETS:g}" for bucket in range(FREQUENCY_BUCKETS + 1)
)


class _Scrape:
    """The metric families of one scrape, filled step by step."""

    def __init__(self) -> None:
        self._families = {family.name: family.empty() for family in _FAMILIES}

    def add(self, family: _Family, labels: Sequence[str], value: float) -> None:
        # A name that isn't Unicode would make an error of the whole scrape.
        texts = [label.encode(errors="backslashreplace").decode() for label in labels]
        self._families[family.name].add_metric(texts, value)

    def result(self) -> Iterator[Metric]:
        for family in self._families.values():
            if family.samples:
                yield family
                time.sleep(_PAUSE_S)


@define(eq=False)
class _Served:
    """A context that is served."""

    label: str
    # Weak: an ended context is served only as long as something else refers to it.
    context: weakref.ref[Context]
    options: PrometheusOptions
    ended: bool = False


class ContextsCollector(Collector):
    """Collects the metrics of any number of contexts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: dict[tuple[int, int], _Served] = {}
        self._versions = (version("damon-core"), version("damon-prometheus"))

    def begin(self, callback: object, context: Context, options: PrometheusOptions) -> None:
        """Begin to serve a context for `callback`."""
        key = (id(callback), id(context))
        with self._lock:
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
            self._served[key] = _Served(label, weakref.ref(context), options)
        if label != context.name:
            logger.warning(
                "a context named '%s' is served already: the metrics of the new one have "
                'context="%s"',
                context.name,
                label,
            )

    def end(self, callback: object, context: Context) -> None:
        """Mark a context as ended: from now on only its counts are served, and no snapshot."""
        with self._lock:
            served = self._served.get((id(callback), id(context)))
            if served is not None:
                served.ended = True

    def collect(self) -> Iterator[Metric]:
        """Return the current metrics."""
        scrape = _Scrape()
        with self._lock:
            everything = list(self._served.values())
        for served in everything:
            context = served.context()
            if context is not None:
                _add_counts(scrape, served, context)
                snapshot = context.snapshot
                if snapshot is not None and not served.ended:
                    _add_snapshot(scrape, served, snapshot)
        scrape.add(_RESIDENT, (), _own_resident_bytes())
        scrape.add(_BUILD, self._versions, 1)
        return scrape.result()


def _own_resident_bytes() -> int:
    # By the link, as /proc may belong to another pid namespace.
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE_SIZE_BYTES


def _add_counts(scrape: _Scrape, served: _Served, context: Context) -> None:
    labels = (served.label,)
    stats, intervals = context.stats, context.intervals
    scrape.add(_RUNNING, labels, 0 if served.ended else 1)
    scrape.add(_SAMPLES, labels, stats.samples)
    scrape.add(_MISSED, labels, stats.missed_samples)
    scrape.add(_AGGREGATIONS, labels, stats.aggregations)
    scrape.add(_CPU, labels, stats.cpu_us / 1e6)
    scrape.add(_SLOWDOWN, labels, stats.slowdown)
    scrape.add(_STALL, labels, stats.longest_stall_us / 1e6)
    scrape.add(_SAMPLING, labels, intervals.sampling_us / 1e6)
    scrape.add(_AGGREGATION, labels, intervals.aggregation_us / 1e6)
    for name, callback in stats.callbacks.items():
        scrape.add(_FAILURES, (served.label, name), callback.failures)
        scrape.add(_SWITCHED_OFF, (served.label, name), int(callback.switched_off))
        scrape.add(_SKIPPED, (served.label, name), callback.skipped)


def _add_snapshot(scrape: _Scrape, served: _Served, snapshot: Snapshot) -> None:
    scrape.add(_LAST, (served.label,), snapshot.time_us / 1e6)
    for target in bounded_targets(snapshot.targets, served.options.max_targets):
        labels = (served.label, target.name)
        scrape.add(_WORKING_SET, labels, target.working_set_bytes())
        scrape.add(_ACCESSED, labels, target.accessed_bytes())
        scrape.add(_MONITORED, labels, target.total_bytes)
        scrape.add(_REGIONS, labels, len(target))
        # The others are not always the same, so that their sum may shrink, which no counter does.
        if target.toll != Toll() and target.name != OTHER:
            scrape.add(_LOST, labels, target.toll.cpu_us / 1e6)
        by_frequency = target.bytes_by_frequency(FREQUENCY_BUCKETS)
        for bound, size_bytes in zip(_FREQUENCY_LABELS, by_frequency, strict=True):
            scrape.add(_FREQUENCY, (*labels, bound), size_bytes)
        for threshold_us in served.options.idle_thresholds:
            idle = target.idle(threshold_us)
            if idle.bytes is not None:
                at_least = (*labels, format_duration(threshold_us))
                scrape.add(_IDLE, at_least, idle.bytes)
                scrape.add(_IDLE_MEASURED, at_least, (snapshot.time_us - idle.age_us) / 1e6)
        if target.spectrum is not None:
            for within_us, size in zip(SPECTRUM_US, target.spectrum.within_bytes, strict=True):
                if size is not None:
                    scrape.add(_TOUCHED, (*labels, format_duration(within_us)), size)
        time.sleep(_PAUSE_S)
    _add_owners(scrape, served, snapshot)


def _add_owners(scrape: _Scrape, served: _Served, snapshot: Snapshot) -> None:
    named = largest_owners(snapshot.targets, served.options.max_owners)
    for target in bounded_targets(snapshot.targets, served.options.max_targets):
        for owner in bounded_owners(target.owners, named):
            labels = (served.label, target.name, owner.kind, owner.name)
            scrape.add(_OWNER_BYTES, labels, owner.total_bytes)
            scrape.add(_OWNER_WORKING_SET, labels, owner.working_set_bytes)
            scrape.add(_OWNER_ACCESSED, labels, owner.accessed_bytes)
