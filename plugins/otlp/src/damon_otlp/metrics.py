"""Metrics as OpenTelemetry knows them, and their values in one collection.

Names have dots and units are of UCUM, as OpenTelemetry's conventions say. What can be added up
over targets is a sum that may fall (an UpDownCounter), as the conventions have it for memory; what
can't, such as an interval, is a gauge.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Final

from attrs import define, evolve, field
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

from damon_core import Measure
from damon_core.metrics import OF_CONTEXTS, OF_SNAPSHOTS, Instrument

#: The metrics that are everywhere, with the names that they have here.
NAMED: Final = {
    each: evolve(each, name=f"damon.{each.name}") for each in (*OF_SNAPSHOTS, *OF_CONTEXTS)
}

#: Of the sender itself.
DELIVERIES: Final = Instrument(
    "damon.otlp.deliveries", "{delivery}", "Deliveries of these metrics.", "counter"
)
SENDING: Final = Instrument(
    "damon.otlp.cpu",
    "s",
    "CPU time that deliveries have cost; it is part of that of the contexts, too.",
    "counter",
)

#: Of the process that monitors, by the semantic conventions.
PROCESS_CPU: Final = Instrument("process.cpu.time", "s", "CPU time of this process.", "counter")
PROCESS_MEMORY: Final = Instrument("process.memory.usage", "By", "Resident memory of this process.")
PROCESS_THREADS: Final = Instrument("process.thread.count", "{thread}", "Threads of this process.")
PROCESS_FILES: Final = Instrument(
    "process.unix.file_descriptor.count", "{file_descriptor}", "Open files of this process."
)
PROCESS_UPTIME: Final = Instrument(
    "process.uptime", "s", "How long this process has been running.", "gauge"
)

#: Units of which there are parts; what has another is sent as a whole number.
_FRACTIONAL: Final = {"s", "1", ""}

#: What names of measures end in, with the unit that this says.
_UNITS = {"_bytes": "By", "_seconds": "s", "_ratio": "1"}

Attributes = Mapping[str, str]
#: What tells counters apart: instrument, instance of the resource, and attributes.
Key = tuple[str, object, tuple[tuple[str, str], ...]]


def instrument_of(measure: Measure) -> Instrument:
    """Return what a number that a part knows of itself is here."""
    name, unit = f"damon.{measure.name.removesuffix('_total')}", ""
    for ending, of_ending in _UNITS.items():
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), of_ending
    return Instrument(name, unit, measure.help, "counter" if measure.counter else "gauge")


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
        if instrument.kind == "counter" and self._since is not None:
            instance = resource.attributes.get("service.instance.id")
            key = (instrument.name, instance, tuple(attributes.items()))
            self._counts[key] = value
            before = self._since.counts.get(key, 0)
            # A context that was started again counts from 0.
            value = value - before if value >= before else value
            begin_ns = max(begin_ns, self._since.time_ns)
        if instrument.unit not in _FRACTIONAL:
            value = round(value)
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
            if instrument.kind != "gauge":
                is_counter = instrument.kind == "counter"
                temporality = AggregationTemporality.CUMULATIVE
                if is_counter and self._since is not None:
                    temporality = AggregationTemporality.DELTA
                data = Sum(of_it, temporality, is_counter)
            yield Metric(instrument.name, instrument.help, instrument.unit, data)
