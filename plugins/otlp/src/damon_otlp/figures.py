"""The values of metrics, from what contexts have published."""

import time
from itertools import accumulate

from attrs import frozen
from opentelemetry.sdk.resources import Resource

from damon_core import (
    OTHER,
    PAGE_SIZE_BYTES,
    SPECTRUM_US,
    Intervals,
    Snapshot,
    Stats,
    TargetSnapshot,
    Toll,
    bounded_owners,
    bounded_targets,
    format_duration,
    largest_owners,
)
from damon_otlp import metrics
from damon_otlp.metrics import Collection, Instrument
from damon_otlp.options import OtlpOptions
from damon_otlp.resources import resource_of_target, text

#: The number of buckets for frequencies above 0.
_BUCKETS = 10
_FREQUENCIES = tuple(f"{bucket / _BUCKETS:g}" for bucket in range(_BUCKETS))
#: How long to sleep between two targets. A worker that wakes up meanwhile gets the interpreter's
#: lock at once; otherwise it would wait for several milliseconds.
_PAUSE_S = 0.001


@frozen
class Published:
    """What a context has published.

    Attributes:
        context: The context's name.
        begin_ns: When it was started, Unix nanoseconds.
        running: Whether it monitors.
        stats: Its counts.
        intervals: Its intervals in force.
        snapshot: Its last aggregation, if there is one.
    """

    context: str
    begin_ns: int
    running: bool
    stats: Stats
    intervals: Intervals
    snapshot: Snapshot | None


class _Adding:
    """Adds values of one resource that have attributes in common."""

    def __init__(
        self, collection: Collection, resource: Resource, begin_ns: int, **common: str
    ) -> None:
        self._collection, self._resource, self._begin_ns = collection, resource, begin_ns
        self._common = {f"damon.{name}": text(value) for name, value in common.items()}

    def add(self, instrument: Instrument, value: float, **own: str) -> None:
        attributes = self._common | {
            f"damon.{name.replace('__', '.')}": text(each) for name, each in own.items()
        }
        self._collection.add(instrument, self._resource, attributes, value, self._begin_ns)


def add_process(collection: Collection, host: Resource, begin_ns: int) -> None:
    """Add what the process is that monitors."""
    # By the link, as /proc may belong to another pid namespace.
    with open("/proc/self/statm", "rb") as file:
        resident_bytes = int(file.read().split()[1]) * PAGE_SIZE_BYTES
    _Adding(collection, host, begin_ns).add(metrics.RESIDENT, resident_bytes)


def add_context(
    collection: Collection, host: Resource, published: Published, options: OtlpOptions
) -> None:
    """Add the values of a context; of one that has ended only its counts."""
    of_context = _Adding(collection, host, published.begin_ns, context=published.context)
    _add_counts(of_context, published)
    snapshot = published.snapshot
    if snapshot is None or not published.running:
        return
    of_context.add(metrics.LAST, snapshot.time_us / 1e6)
    named = largest_owners(snapshot.targets, options.max_owners)
    for target in bounded_targets(snapshot.targets, options.max_targets):
        resource = resource_of_target(host, published.context, target.name, target.labels)
        of_target = _Adding(
            collection,
            resource,
            published.begin_ns,
            context=published.context,
            target=target.name,
        )
        _add_target(of_target, target, snapshot.time_us, options)
        for owner in bounded_owners(target.owners, named):
            who = {"owner__kind": owner.kind, "owner__name": owner.name}
            of_target.add(metrics.OWNER, owner.total_bytes, **who)
            of_target.add(metrics.OWNER_WORKING_SET, owner.working_set_bytes, **who)
            of_target.add(metrics.OWNER_ACCESSED, owner.accessed_bytes, **who)
        time.sleep(_PAUSE_S)


def _add_counts(of_context: _Adding, published: Published) -> None:
    stats, intervals = published.stats, published.intervals
    of_context.add(metrics.RUNNING, int(published.running))
    of_context.add(metrics.SAMPLES, stats.samples)
    of_context.add(metrics.MISSED, stats.missed_samples)
    of_context.add(metrics.AGGREGATIONS, stats.aggregations)
    of_context.add(metrics.CPU, stats.cpu_us / 1e6)
    of_context.add(metrics.SLOWDOWN, stats.slowdown)
    of_context.add(metrics.STALL, stats.longest_stall_us / 1e6)
    of_context.add(metrics.SAMPLING, intervals.sampling_us / 1e6)
    of_context.add(metrics.AGGREGATION, intervals.aggregation_us / 1e6)
    for name, callback in stats.callbacks.items():
        of_context.add(metrics.FAILURES, callback.failures, callback=name)
        of_context.add(metrics.SWITCHED_OFF, int(callback.switched_off), callback=name)
        of_context.add(metrics.SKIPPED, callback.skipped, callback=name)


def _add_target(
    of_target: _Adding, target: TargetSnapshot, time_us: int, options: OtlpOptions
) -> None:
    of_target.add(metrics.WORKING_SET, target.working_set_bytes())
    of_target.add(metrics.ACCESSED, target.accessed_bytes())
    of_target.add(metrics.MONITORED, target.total_bytes)
    of_target.add(metrics.REGIONS, len(target))
    # The others are not always the same, so that their sum may shrink, which no counter does.
    if target.toll != Toll() and target.name != OTHER:
        of_target.add(metrics.LOST, target.toll.cpu_us / 1e6)
    # What is above each share: sums from the most frequent down, but not of what isn't accessed.
    above = [*accumulate(reversed(target.bytes_by_frequency(_BUCKETS)[1:]))]
    for bound, size in zip(_FREQUENCIES, reversed(above), strict=True):
        of_target.add(metrics.FREQUENCY, size, frequency__above=bound)
    for threshold_us in options.idle_thresholds:
        idle = target.idle(threshold_us)
        if idle.bytes is not None:
            at_least = {"idle__at_least": format_duration(threshold_us)}
            of_target.add(metrics.IDLE, idle.bytes, **at_least)
            of_target.add(metrics.IDLE_MEASURED, (time_us - idle.age_us) / 1e6, **at_least)
    if target.spectrum is not None:
        for within_us, known in zip(SPECTRUM_US, target.spectrum.within_bytes, strict=True):
            if known is not None:
                of_target.add(metrics.TOUCHED, known, touched__within=format_duration(within_us))
