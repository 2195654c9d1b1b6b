"""Series as the client library renders them, by a shorter way."""

import pytest
from attrs import evolve
from damon_prometheus.exposition import Format
from damon_prometheus.lines import GroupLines, Lines
from damon_prometheus.options import PrometheusOptions
from damon_prometheus.series import snapshot_lines
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric
from prometheus_client.exposition import choose_encoder

from damon_core.metrics import Followed
from damon_core.testing import RegionRow, make_snapshot

ACCEPTED = (
    "",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "text/plain;version=1.0.0;escaping=dots",
    "application/openmetrics-text;version=1.0.0;escaping=underscores",
    "application/openmetrics-text;version=1.0.0;escaping=values",
    "application/openmetrics-text;version=0.0.1",
)


class Fixed:
    """A collector of given metrics."""

    def __init__(self, *metrics: Metric) -> None:
        self.metrics = metrics

    def collect(self) -> list[Metric]:
        """Return them."""
        return list(self.metrics)


def both(accept: str, *metrics: Metric) -> tuple[bytes, bytes]:
    """Return a page, and the client library's."""
    wanted = Format.wanted(accept)
    encode, _ = choose_encoder(accept)
    return wanted.page(metrics) + wanted.end, encode(Fixed(*metrics))


@pytest.mark.parametrize("accept", ACCEPTED)
@given(
    st.dictionaries(st.sampled_from(["b", "a", "le", "x.y", "Größe"]), st.text(), max_size=3),
    st.floats() | st.integers(-(1 << 53), 1 << 53),
)
def test_any_label_and_value(accept: str, labels: dict[str, str], value: float) -> None:
    """Escaped and sorted as the library does it, in each of its formats."""
    metric = Metric("damon_size_bytes", "Some\nsize.", "gauge")
    metric.add_sample("damon_size_bytes", labels, value)
    metric.add_sample("damon_size_bytes", {**labels, "one": "more"}, value)
    ours, theirs = both(accept, metric)
    assert ours == theirs


@pytest.mark.parametrize("accept", ACCEPTED)
def test_any_kind_of_metric(accept: str) -> None:
    """What others register may be anything that the library knows."""
    registry = CollectorRegistry()
    Gauge("size", "A size.", ["of"], registry=registry).labels("it").set(1e9)
    Counter("calls", "Calls.", registry=registry).inc(3, {"trace": "1"})
    Histogram("time", "A time.", unit="seconds", registry=registry).observe(0.1, {"trace": "2"})
    Info("build", "Which.", registry=registry).info({"version": "1"})
    later = Metric("later", "With a time.", "gauge")
    later.add_sample("later", {}, 1, timestamp=7)
    ours, theirs = both(accept, *registry.collect(), later)
    assert ours == theirs


PLAIN = st.dictionaries(st.sampled_from(["b", "a", "above", "z_1"]), st.text(), max_size=3)


@given(st.lists(PLAIN, min_size=1, max_size=3), PLAIN, st.floats())
def test_labels_of_groups(groups: list[dict[str, str]], further: dict[str, str], of: float) -> None:
    """Each series has those of its group and others, which win; sorted together."""
    metric = Metric("size", "A size.", "gauge")
    for labels in groups:
        metric.add_sample("size", {"context": "c", **labels, **further}, of)
    own = [{"context": "c", **labels} for labels in groups]
    values = [(number, of) for number in range(len(groups))]
    found = GroupLines(Lines(), own).of("size", values, further)
    assert found.encode() == Lines().of(metric)


def test_names_that_have_to_be_escaped_are_left_to_the_library() -> None:
    """A label of a third party may be called like this."""

    def lines(label: str) -> dict[str, bytes] | None:
        found = make_snapshot({"p": [RegionRow(0, 4096)]})
        labelled = evolve(found, targets=(evolve(found.targets[0], labels={label: "L"}),))
        followed = Followed(labelled, 0, (None,), {}, 0)
        return snapshot_lines("db", PrometheusOptions(), followed, Lines())

    assert lines("size") is not None
    assert lines("größe") is None


def test_a_label_is_rendered_once() -> None:
    """However many series have it."""
    lines, metric = Lines(), Metric("size", "A size.", "gauge")
    for number in range(3):
        metric.add_sample("size", {"context": "a", "number": f"{number}"}, number)
    assert lines.of(metric) == (
        b'size{context="a",number="0"} 0.0\n'
        b'size{context="a",number="1"} 1.0\n'
        b'size{context="a",number="2"} 2.0\n'
    )
