"""The metrics: their names, units and kinds, and their values in one collection.

Names have dots and units are of UCUM, as OpenTelemetry's conventions say. What can be added up
over targets is a sum that may fall (an UpDownCounter), as the conventions have it for memory; what
can't, such as an interval, is a gauge.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from importlib.metadata import version

from attrs import define, field, frozen
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope


class Kind(Enum):
    """How values of a metric relate to one another."""

    GAUGE = "gauge"
    AMOUNT = "up-down counter"
    COUNTER = "counter"


@frozen
class Instrument:
    """What is measured.

    Attributes:
        name: Its name, with dots.
        unit: Its unit, in UCUM.
        description: What it means, in one line.
        kind: Gauge, amount or counter.
    """

    name: str
    unit: str
    description: str
    kind: Kind = Kind.AMOUNT


WORKING_SET = Instrument(
    "damon.working_set", "By", "Bytes accessed during the last aggregation interval."
)
ACCESSED = Instrument("damon.accessed", "By", "Mean bytes accessed in a sampling interval.")
MONITORED = Instrument("damon.monitored", "By", "Monitored resident bytes.")
FREQUENCY = Instrument(
    "damon.frequency",
    "By",
    "Bytes that an access was found to in more than the share of checks that the attribute says.",
)
IDLE = Instrument(
    "damon.idle",
    "By",
    "Bytes without an access for at least as long as the attribute says, as last measured; "
    "missing where that isn't known.",
)
IDLE_MEASURED = Instrument(
    "damon.idle.measured.timestamp",
    "s",
    "When the idle bytes were measured, in Unix time.",
    Kind.GAUGE,
)
TOUCHED = Instrument(
    "damon.touched",
    "By",
    "Bytes that are accessed within the time that the attribute says, and so at least that often; "
    "missing where that isn't known.",
)
REGIONS = Instrument("damon.regions", "{region}", "Number of regions.")
OWNER = Instrument("damon.owner", "By", "Monitored bytes of an owner.")
OWNER_WORKING_SET = Instrument(
    "damon.owner.working_set",
    "By",
    "Bytes of an owner that were accessed during the last aggregation interval.",
)
OWNER_ACCESSED = Instrument(
    "damon.owner.accessed",
    "By",
    "Mean bytes of an owner that were accessed in a sampling interval.",
)
LOST = Instrument(
    "damon.target.lost",
    "s",
    "CPU time that monitoring has cost a target, where that is known.",
    Kind.COUNTER,
)
SAMPLES = Instrument("damon.samples", "{check}", "Access checks made.", Kind.COUNTER)
MISSED = Instrument(
    "damon.missed_samples",
    "{check}",
    "Access checks left out because their time had passed.",
    Kind.COUNTER,
)
AGGREGATIONS = Instrument(
    "damon.aggregations", "{aggregation}", "Aggregations completed.", Kind.COUNTER
)
FAILURES = Instrument(
    "damon.callback.failures", "{call}", "Calls of a callback that failed.", Kind.COUNTER
)
SKIPPED = Instrument(
    "damon.callback.skipped_calls",
    "{call}",
    "Calls of a callback that were left out because it was switched off.",
    Kind.COUNTER,
)
SWITCHED_OFF = Instrument(
    "damon.callback.switched_off",
    "{callback}",
    "1 while a callback that failed too often in a row is tried only now and then.",
)
CPU = Instrument(
    "damon.cpu",
    "s",
    "CPU time of the monitoring thread and of the kernel's sampling for it.",
    Kind.COUNTER,
)
SLOWDOWN = Instrument(
    "damon.slowdown",
    "1",
    "Share of its time that the target which lost the largest has lost since it was added.",
    Kind.GAUGE,
)
STALL = Instrument(
    "damon.longest_stall",
    "s",
    "Longest time for which monitoring has locked the memory map of a target.",
    Kind.GAUGE,
)
SAMPLING = Instrument("damon.sampling_interval", "s", "Sampling interval in force.", Kind.GAUGE)
AGGREGATION = Instrument(
    "damon.aggregation_interval", "s", "Aggregation interval in force.", Kind.GAUGE
)
RUNNING = Instrument(
    "damon.running", "{context}", "1 while the context monitors, 0 when it has ended."
)
LAST = Instrument(
    "damon.last_aggregation.timestamp",
    "s",
    "When the last aggregation ended, in Unix time.",
    Kind.GAUGE,
)
RESIDENT = Instrument(
    "damon.process.resident_memory", "By", "Resident memory of the monitoring process."
)
DELIVERIES = Instrument(
    "damon.otlp.deliveries", "{delivery}", "Deliveries of these metrics.", Kind.COUNTER
)

Attributes = Mapping[str, str]
#: What tells counters apart: instrument, instance of the resource, and attributes.
Key = tuple[str, object, tuple[tuple[str, str], ...]]


@define
class Since:
    """What counters were at the last delivery, for those that say what was counted since.

    Attributes:
        time_ns: When it was, Unix nanoseconds.
        counts: The counters then.
    """

    time_ns: int
    counts: dict[Key, float] = field(factory=dict)


class Collection:
    """The values of one collection, put together step by step.

    Args:
        time_ns: The time that they are of, Unix nanoseconds.
        since: What counters were at the last delivery; None: they say the whole count.
    """

    def __init__(self, time_ns: int, since: Since | None = None) -> None:
        self._time_ns = time_ns
        self._since = since
        self._points: dict[Resource, dict[Instrument, list[NumberDataPoint]]] = {}
        self._counts: dict[Key, float] = {}

    def add(
        self,
        instrument: Instrument,
        resource: Resource,
        attributes: Attributes,
        value: float,
        begin_ns: int,
    ) -> None:
        """Add a value.

        Args:
            instrument: What it is of.
            resource: Whose it is.
            attributes: What it is of besides.
            value: It; of counters the whole count.
            begin_ns: When counting began, Unix nanoseconds.
        """
        if instrument.kind is Kind.COUNTER and self._since is not None:
            instance = resource.attributes.get("service.instance.id")
            key = (instrument.name, instance, tuple(attributes.items()))
            self._counts[key] = value
            before = self._since.counts.get(key, 0)
            # A context that was started again counts from 0.
            value = value - before if value >= before else value
            begin_ns = max(begin_ns, self._since.time_ns)
        point = NumberDataPoint(dict(attributes), begin_ns, self._time_ns, value)
        self._points.setdefault(resource, {}).setdefault(instrument, []).append(point)

    def delivered(self) -> Since:
        """Return what counters are now, for the next collection after a delivery."""
        return Since(self._time_ns, self._counts)

    def data(self) -> MetricsData:
        """Return all values as the SDK has them."""
        scope = InstrumentationScope("damon_otlp", version("damon-otlp"))
        return MetricsData(
            [
                ResourceMetrics(
                    resource, [ScopeMetrics(scope, list(self._metrics(points)), "")], ""
                )
                for resource, points in self._points.items()
            ]
        )

    def _metrics(self, points: Mapping[Instrument, list[NumberDataPoint]]) -> Iterator[Metric]:
        for instrument, of_it in points.items():
            data: Gauge | Sum = Gauge(of_it)
            if instrument.kind is not Kind.GAUGE:
                is_counter = instrument.kind is Kind.COUNTER
                temporality = AggregationTemporality.CUMULATIVE
                if is_counter and self._since is not None:
                    temporality = AggregationTemporality.DELTA
                data = Sum(of_it, temporality, is_counter)
            yield Metric(instrument.name, instrument.description, instrument.unit, data)
