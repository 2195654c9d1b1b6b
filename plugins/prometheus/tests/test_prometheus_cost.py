"""What scrapes cost, whose cost that is, and what other parts have measured."""

import logging
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest
from damon_prometheus import Listener, PrometheusCallback, exposition

from damon_core import Context, HookContext, Measure, Stats
from damon_core.metrics import SnapshotValues
from damon_core.testing import Recorder, ScriptedMemory, run, run_virtual

Make = Callable[..., Context]
MakeListener = Callable[..., Listener]
Values = Callable[[Listener], dict[str, float]]
Get = Callable[..., tuple[str, Message]]


class Given:
    """A part with given numbers."""

    name = "given"

    def __init__(self, *measures: Measure) -> None:
        self._measures = measures

    def measures(self, _context: HookContext) -> list[Measure]:
        return list(self._measures)


@pytest.fixture
def scraped(
    make_context: Make, make_listener: MakeListener, values: Values
) -> Callable[..., dict[str, float]]:
    """Return a function that scrapes contexts, each with the given parts."""

    def scrape(*parts: object) -> dict[str, float]:
        listener, found = make_listener(), dict[str, float]()
        callback = PrometheusCallback(listener=listener)

        def look(_context: Context) -> None:
            found.update(values(listener))

        run(make_context(callback, *parts, at_aggregation=look))
        return found

    return scrape


def test_scrapes_are_charged(make_context: Make, make_listener: MakeListener, get: Get) -> None:
    """What they cost is part of the context's CPU time; shared by all that run."""
    listener, charged = make_listener(), list[float]()

    def scrape(context: Context) -> None:
        before_us = context.stats.cpu_us
        listener.contexts.charge(0.25, {context.name: 0.05})
        charged.append(context.stats.cpu_us - before_us)

    run(make_context(PrometheusCallback(listener=listener), at_aggregation=scrape, checks=10))
    assert charged == [250_000]


def test_what_scrapes_cost_is_shown(make_listener: MakeListener, values: Values) -> None:
    """In sum, with or without contexts."""
    listener = make_listener()
    listener.contexts.charge(0.25, {})
    listener.contexts.charge(0.5, {})
    assert values(listener)["damon_scrape_cpu_seconds_total"] == 0.75


def test_every_request_costs(make_listener: MakeListener, values: Values, get: Get) -> None:
    """The thread of a client counts what it took."""
    listener = make_listener()
    listener.serve()
    for _ in range(3):
        get(listener.url)
    text, _ = get(listener.url)
    (line,) = [x for x in text.splitlines() if x.startswith("damon_scrape_cpu_seconds_total ")]
    assert float(line.split()[1]) > 0


def test_a_snapshot_is_rendered_once(
    make_context: Make,
    make_listener: MakeListener,
    get: Get,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scrapes until the next aggregation find what was made for the first."""
    listener, made = make_listener(), list[object]()

    def counted(*arguments: Any) -> SnapshotValues:
        made.append(arguments)
        return SnapshotValues(*arguments)

    monkeypatch.setattr("damon_prometheus.series.SnapshotValues", counted)

    def scrape(_context: Context) -> None:
        for _ in range(3):
            get(listener.url)

    callback = PrometheusCallback(listener=listener)
    run(make_context(callback, at_aggregation=scrape, checks=20))
    assert len(made) == 2


def test_formats_that_clients_make_up_are_not_kept(
    make_context: Make, make_listener: MakeListener
) -> None:
    """Each has a page of its version, and a few are kept."""
    listener, kept = make_listener(), list[int]()
    pages = exposition.Exposition(listener.contexts, listener.registry)

    def scrape(_context: Context) -> None:
        for version in range(1, 40):
            pages.answer(f"application/openmetrics-text;version={version}.0.0", None)
        ((served, _),) = listener.contexts.served()
        kept.append(listener.contexts.formats(served))

    run(make_context(PrometheusCallback(listener=listener), at_aggregation=scrape, checks=10))
    assert 0 < kept[0] <= 4


def test_the_page_is_what_the_client_library_makes(
    make_context: Make, make_listener: MakeListener
) -> None:
    """Put together from parts, it has the same lines, in the same order."""
    from prometheus_client import generate_latest

    listener, found = make_listener(), list[tuple[list[str], list[str]]]()
    pages = exposition.Exposition(listener.contexts, listener.registry)

    def scrape(_context: Context) -> None:
        page = pages.answer(None, None).body.decode().splitlines()
        theirs = [
            *generate_latest(listener.contexts).decode().splitlines(),
            *generate_latest(listener.registry).decode().splitlines(),
        ]
        found.append((page, theirs))

    contexts = PrometheusCallback(listener=listener)
    targets = {f"p{number}": [(4096 * number, 0.5)] for number in range(1, 300)}
    run(make_context(contexts, at_aggregation=scrape, checks=10, targets=targets))
    ((page, theirs),) = found
    changing = ("process_", "cpu")
    assert [line for line in page if not any(each in line for each in changing)] == [
        line for line in theirs if not any(each in line for each in changing)
    ]


# -- what parts know of themselves ------------------------------------------------------


def test_measures_of_parts(scraped: Callable[..., dict[str, float]]) -> None:
    """They are metrics, without either package knowing the other."""
    found = scraped(
        Given(
            Measure("mail", 7, "Letters.", {"to": "a"}, counter=True),
            Measure("box_bytes", 8, "A size."),
        )
    )
    assert found['damon_mail_total{to="a",context="db"}'] == 7
    assert found['damon_box_bytes{context="db"}'] == 8


def test_measures_of_the_program(scraped: Callable[..., dict[str, float]]) -> None:
    """They have no context."""
    reloaded = Measure("config_last_reload_successful", 1, "Whether.", of_context=False)
    assert scraped(Given(reloaded), Given(reloaded))["damon_config_last_reload_successful"] == 1


def test_measures_of_several_parts_add_up(scraped: Callable[..., dict[str, float]]) -> None:
    """No two series have the same labels."""
    sent = Measure("sent", 2, "Letters.", counter=True)
    assert scraped(Given(sent), Given(sent))['damon_sent_total{context="db"}'] == 4


def test_a_measure_called_like_a_metric(
    scraped: Callable[..., dict[str, float]], caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, and that is logged once."""
    with caplog.at_level(logging.WARNING):
        found = scraped(Given(Measure("regions", 99, "Regions.")))
    assert found['damon_regions{context="db",target="one"}'] == 2
    assert [each.getMessage() for each in caplog.records] == [
        "damon_regions is left out: another metric is called so"
    ]


def test_targets_left_out(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """By reason, as the primitive counts them."""
    listener, found = make_listener(), dict[str, float]()
    run_virtual(
        ScriptedMemory({}, left_out={"unreadable": 3, "limit": 0}),
        PrometheusCallback(listener=listener),
        Recorder(after_aggregation=lambda _context: found.update(values(listener))),
        aggregations=1,
    )
    assert {name: value for name, value in found.items() if "left_out" in name} == {
        'damon_targets_left_out{context="context",reason="unreadable"}': 3
    }


def test_statistics_are_those_of_the_context() -> None:
    """Charging a context that doesn't run has no effect."""
    context = Context(Recorder())
    context.charge_cpu(1)
    assert context.stats == Stats()
