"""The metrics of a collection: names, units, kinds, attributes and resources."""

from collections.abc import Callable
from typing import Any

import pytest
from damon_otlp.callback import OtlpCallback
from damon_otlp.metrics import Since
from damon_otlp.options import OtlpOptions
from damon_otlp.sender import Sender
from opentelemetry.sdk.metrics.export import AggregationTemporality, Sum

from damon_core import Context, Microseconds
from damon_core.testing import run

MIB = 1 << 20
Make = Callable[..., Context]
Collect = Callable[..., "list[Point]"]
#: Name of the metric, attributes of the resource and of the point, value, and the whole metric.
Point = tuple[str, dict[str, Any], dict[str, Any], float, Any]


@pytest.fixture
def collected(make_context: Make, dead_endpoint: str) -> Collect:
    """Return a function that runs a context and returns what is collected after an aggregation."""

    def collect(since: Since | None = None, **options: Any) -> list[Point]:
        labels = options.pop("labels", None)
        sender = Sender(
            OtlpOptions(endpoint=dead_endpoint, timeout=Microseconds(100_000), **options)
        )
        found: list[list[Point]] = []

        def note(_context: Context) -> None:
            data = sender.collect(since, begin_ns=1).data()
            found.append(
                [
                    (
                        metric.name,
                        dict(of_resource.resource.attributes),
                        dict(point.attributes or {}),
                        point.value,  # type: ignore[union-attr]
                        metric,
                    )
                    for of_resource in data.resource_metrics
                    for scope in of_resource.scope_metrics
                    for metric in scope.metrics
                    for point in metric.data.data_points
                ]
            )

        callback = OtlpCallback(OtlpOptions(endpoint=dead_endpoint, **options), sender)
        run(make_context(callback, labels=labels, at_aggregation=note))
        return found[1]

    return collect


def values(points: list[Point], name: str) -> list[float]:
    """Return the values of a metric."""
    return [value for metric, _, _, value, _ in points if metric == name]


def test_working_set(collected: Collect) -> None:
    """The working set is what was accessed in the last aggregation."""
    assert values(collected(), "damon.working_set") == [3 * MIB]


def test_points_name_context_and_target(collected: Collect) -> None:
    """By attributes with dots."""
    (attributes,) = (each[2] for each in collected() if each[0] == "damon.working_set")
    assert attributes == {"damon.context": "db", "damon.target": "one"}


def test_frequencies_are_cumulative(collected: Collect) -> None:
    """What is accessed in each check is above every share; what never is, above none."""
    assert values(collected(), "damon.frequency") == [3 * MIB] * 10


def test_memory_is_an_amount(collected: Collect) -> None:
    """A sum that may fall: it can be added up over targets."""
    (metric,) = (each[4] for each in collected() if each[0] == "damon.monitored")
    assert isinstance(metric.data, Sum)
    assert not metric.data.is_monotonic
    assert metric.unit == "By"


def test_counters_rise(collected: Collect) -> None:
    """And say so; the unit says what is counted."""
    (metric,) = (each[4] for each in collected() if each[0] == "damon.samples")
    assert metric.data.is_monotonic
    assert metric.unit == "{check}"


def test_counters_since_the_last_delivery(collected: Collect) -> None:
    """With delta temporality they have what came since: here two aggregations since none."""
    points = collected(Since(1))
    (metric,) = (each[4] for each in points if each[0] == "damon.samples")
    assert metric.data.aggregation_temporality is AggregationTemporality.DELTA
    (memory,) = (each[4] for each in points if each[0] == "damon.working_set")
    assert memory.data.aggregation_temporality is AggregationTemporality.CUMULATIVE


def test_idle_thresholds(collected: Collect) -> None:
    """Each has a point, with when it was measured."""
    points = collected(idle_thresholds=(1_000, 50_000))
    found = {each[2]["damon.idle.at_least"]: each[3] for each in points if each[0] == "damon.idle"}
    assert found == {"1ms": 5 * MIB, "50ms": 5 * MIB}


def by_attribute(points: list[Point], name: str, attribute: str) -> dict[Any, float]:
    """Return the values of a metric, by one of the attributes of its points."""
    return {each[2].get(attribute): each[3] for each in points if each[0] == name}


def test_windows(collected: Collect) -> None:
    """What was accessed within each; one that is longer than the run isn't known."""
    points = collected(windows=(50_000, 10_000_000))
    assert by_attribute(points, "damon.window.working_set", "damon.window") == {"50ms": 3 * MIB}


def test_what_is_left_out(collected: Collect) -> None:
    """By reason."""
    found = by_attribute(collected(), "damon.targets.left_out", "damon.left_out.reason")
    assert found == {"unreadable": 3}


def test_groups(collected: Collect) -> None:
    """By labels instead of names: as attributes of points, and as those of a resource."""
    labels = {
        "one": {"unit": "db", "pid": "1", "rack": "7"},
        "two": {"unit": "db", "pid": "2", "rack": "7"},
        "three": {},
    }
    points = collected(labels=labels, by=("unit",))
    assert by_attribute(points, "damon.working_set", "unit") == {"db": 6 * MIB, None: 3 * MIB}
    resources = {each[2].get("unit"): each[1] for each in points if each[0] == "damon.working_set"}
    assert (resources["db"]["unit"], resources["db"]["rack"]) == ("db", "7")
    assert "process.pid" not in resources["db"]
    assert resources["db"]["service.instance.id"] == f"{resources[None]['host.name']}/db/db"
    assert "damon.target" not in {name for each in points for name in each[2]}


def test_attributes_of_kubernetes_have_their_names_in_points_too(collected: Collect) -> None:
    """Where it is what targets are added up by."""
    points = collected(labels={"one": {"pod": "web-1"}}, by=("pod",))
    assert by_attribute(points, "damon.working_set", "k8s.pod.name") == {"web-1": 3 * MIB}


def test_what_parts_know_of_themselves(collected: Collect) -> None:
    """Its unit is in its name, and what it is of is said by an attribute."""
    points = collected()
    (scripts,) = (each for each in points if each[0] == "damon.memory_scripts")
    assert scripts[2:4] == ({"damon.kind": "test", "damon.context": "db"}, 7)
    assert scripts[4].data.is_monotonic
    (load,) = (each for each in points if each[0] == "damon.memory_load")
    assert (load[2], load[3], load[4].unit) == ({}, 0.5, "s")


def test_the_process_is_described_by_the_conventions(collected: Collect) -> None:
    """With the names that every other process has."""
    points = collected()
    assert values(points, "process.memory.usage")[0] > MIB
    assert {*by_attribute(points, "process.cpu.time", "cpu.mode")} == {"user", "system"}
    assert values(points, "process.thread.count")[0] >= 1
    assert values(points, "process.unix.file_descriptor.count")[0] >= 3
    assert values(points, "process.uptime")[0] > 0


def test_an_executable_and_a_title(collected: Collect) -> None:
    """The name of the executable is of its file; a process may call itself otherwise."""
    labels = {"one": {"exe": "/usr/sbin/nginx", "comm": "nginx: worker"}}
    (resource,) = (each[1] for each in collected(labels=labels) if each[0] == "damon.working_set")
    assert resource["process.executable.path"] == "/usr/sbin/nginx"
    assert resource["process.executable.name"] == "nginx"
    assert resource["process.title"] == "nginx: worker"


@pytest.mark.slow
def test_deliveries_are_charged(make_context: Make, dead_endpoint: str) -> None:
    """What they cost is part of the context's CPU time, and shown in sum."""
    sender, charged = Sender(OtlpOptions(endpoint=dead_endpoint)), list[float]()

    def deliver(context: Context) -> None:
        before_us = context.stats.cpu_us
        sender.charge(0.25, {context.name: 0.05})
        charged.append(context.stats.cpu_us - before_us)

    options = OtlpOptions(endpoint=dead_endpoint, timeout=Microseconds(100_000))
    run(make_context(OtlpCallback(options, sender), at_aggregation=deliver, checks=10))
    assert charged[0] == 250_000
    assert sender.cpu_s >= 0.25


def test_a_target_without_labels_is_the_host_s(collected: Collect) -> None:
    """Its resource has no more attributes than that of the counts."""
    points = collected()
    resources = {name: resource for name, resource, *_ in points}
    assert resources["damon.working_set"] == resources["damon.samples"]
    assert resources["damon.samples"]["service.name"] == "damon"
    assert resources["damon.samples"]["host.name"]


def test_labels_become_attributes_of_the_resource(collected: Collect) -> None:
    """By the conventions' names where there are any."""
    labels = {"pid": "12", "container": "c0ffee", "pod": "web-1", "namespace": "shop", "unit": "u"}
    (resource,) = (
        each[1] for each in collected(labels={"one": labels}) if each[0] == "damon.working_set"
    )
    assert resource["process.pid"] == 12
    assert resource["container.id"] == "c0ffee"
    assert resource["k8s.pod.name"] == "web-1"
    assert resource["k8s.namespace.name"] == "shop"
    assert resource["unit"] == "u"


def test_targets_with_labels_are_instances_of_their_own(collected: Collect) -> None:
    """Receivers that know resources by their instance keep them apart."""
    points = collected(labels={"one": {"unit": "a"}, "two": {"unit": "b"}, "three": {}})
    instances = {
        each[2]["damon.target"]: each[1]["service.instance.id"]
        for each in points
        if each[0] == "damon.working_set"
    }
    assert instances["one"] == f"{instances['three']}/db/one"
    assert instances["two"] == f"{instances['three']}/db/two"


def test_targets_are_bounded(collected: Collect) -> None:
    """What is beyond max_targets is added up."""
    labels: dict[str, dict[str, str]] = {f"t{number}": {} for number in range(5)}
    points = collected(labels=labels, max_targets=2)
    assert values(points, "damon.working_set") == [3 * MIB, 3 * MIB, 9 * MIB]


def test_names_beyond_ascii(collected: Collect) -> None:
    """They arrive as they are."""
    points = collected(labels={"ümläut": {}})
    assert {each[2]["damon.target"] for each in points if "damon.target" in each[2]} == {"ümläut"}


def test_what_has_ended_leaves_nothing(make_context: Make, dead_endpoint: str) -> None:
    """A context that has ended is collected once more, without memory, and then forgotten."""
    options = OtlpOptions(endpoint=dead_endpoint, timeout=Microseconds(100_000))
    other = OtlpCallback(options)
    sender = other.sender
    with make_context(other, name="other") as running:
        sender.begin("other", running, options)
        run(make_context(OtlpCallback(options, sender)))

        def names() -> set[tuple[str, str]]:
            data = sender.collect(None, begin_ns=1).data()
            return {
                (metric.name, str((point.attributes or {}).get("damon.context")))
                for each in data.resource_metrics
                for metric in each.scope_metrics[0].metrics
                for point in metric.data.data_points
            }

        first, second = names(), names()
        sender.end("other")
    assert ("damon.samples", "db") in first
    assert ("damon.working_set", "db") not in first
    assert not [name for name, context in second if context == "db"]
