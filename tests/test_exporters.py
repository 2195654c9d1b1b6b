"""Metrics are the same ones, whatever the protocol: damon-prometheus and damon-otlp."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from damon_otlp.callback import OtlpCallback
from damon_otlp.options import OtlpOptions
from damon_otlp.sender import Sender
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions

from damon_core import (
    Context,
    Intervals,
    Measure,
    Microseconds,
    Owner,
    Toll,
    VirtualClock,
)
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, free_port, run

MIB = 1 << 20
#: What the conventions of Prometheus, as a receiver of OTLP, make of units.
SUFFIXES = {"By": "_bytes", "s": "_seconds", "1": "_ratio"}
#: What each exporter says of itself, and what is an attribute of resources there.
OWN = {"damon_target_info", "damon_build_info", "damon_scrape_cpu_seconds_total"}
#: What grows from one look to the next.
GROWING = {"damon_cpu_seconds_total"}


NAMES = ("a", "b", "c")


class Memory(ScriptedMemory):
    """Three targets of two units, about which everything is known that may be known."""

    def measures(self, _context: object) -> list[Measure]:
        return [
            Measure("scripts", 5, "Scripts.", counter=True),
            Measure("scripts_bytes", 6, "Their size.", of_context=False),
        ]


Values = dict[str, list[float]]


def of_prometheus(listener: Listener) -> Values:
    """Return the values of each metric, sorted."""
    found: Values = defaultdict(list)
    for metric in listener.contexts.collect():
        for sample in metric.samples:
            if sample.name not in OWN:
                found[sample.name].append(sample.value)
    return {name: sorted(values) for name, values in found.items()}


def of_otlp(sender: Sender) -> Values:
    """Return the values of each metric, by the name that Prometheus gives it."""
    found: Values = defaultdict(list)
    for name, value in _points(sender):
        if not name.startswith(("damon_otlp", "process_")):
            found[name].append(value)
    return {name: sorted(values) for name, values in found.items()}


def _points(sender: Sender) -> Iterator[tuple[str, float]]:
    for of_resource in sender.collect(None, begin_ns=1).data().resource_metrics:
        for metric in of_resource.scope_metrics[0].metrics:
            name = metric.name.replace(".", "_") + SUFFIXES.get(metric.unit or "", "")
            name += "_total" * bool(getattr(metric.data, "is_monotonic", False))
            for point in metric.data.data_points:
                yield name, point.value  # type: ignore[union-attr]


def test_both_have_the_same_numbers() -> None:
    """Of targets and groups, of all that a context knows, and of its parts."""
    found: list[tuple[Values, Values]] = []
    shared: dict[str, Any] = {"by": ("unit",), "windows": (Microseconds(50_000),)}
    prometheus = PrometheusCallback(PrometheusOptions(port=0, **shared))
    endpoint = f"http://127.0.0.1:{free_port()}/v1/metrics"
    otlp = OtlpCallback(OtlpOptions(endpoint=endpoint, timeout=Microseconds(100_000), **shared))

    def look(_context: Context) -> None:
        found.append((of_prometheus(prometheus.listener), of_otlp(otlp.sender)))

    regions = ScriptedRegion(0, 3 * MIB, 1.0), ScriptedRegion(3 * MIB, 8 * MIB, 0.0)
    run(
        Context(
            Memory(
                dict.fromkeys(NAMES, regions),
                20,
                labels={
                    name: {"unit": "db" if number else "web", "pod": f"p{number}"}
                    for number, name in enumerate(NAMES)
                },
                owners={
                    name: [Owner("cgroup", f"/{number}", 4096, 8192, 4096)]
                    for number, name in enumerate(NAMES)
                },
                tolls={name: Toll(cpu_us=1_000 * number) for number, name in enumerate(NAMES, 1)},
                left_out={"unreadable": 2},
            ),
            [prometheus, otlp, Recorder(after_aggregation=look)],
            intervals=Intervals(5_000, 50_000, 100_000),
            name="db",
            clock=VirtualClock(),
        )
    )
    one, other = found[1]
    assert one["damon_working_set_bytes"] == [3 * MIB, 6 * MIB]
    assert "damon_window_working_set_bytes" in one
    for name in GROWING:
        assert one.pop(name)
        assert other.pop(name)
    assert one == other
