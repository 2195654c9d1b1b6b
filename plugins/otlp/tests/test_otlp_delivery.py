"""Deliveries to a receiver, real ones and dead ones."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damon_otlp.callback import OtlpCallback
from damon_otlp.headers import read_headers
from damon_otlp.options import OtlpOptions

from damon_core import (
    AttributeValueError,
    Context,
    InputError,
    Microseconds,
    Plugins,
    SystemClock,
    build_contexts,
    check_config,
    start,
    stop,
)
from damon_core.testing import eventually, run

MIB = 1 << 20
HOUR, SOON = Microseconds(3_600_000_000), Microseconds(100_000)
Make = Callable[..., Context]


def options(endpoint: str, **others: Any) -> OtlpOptions:
    """Return options with short times."""
    times = {"interval": Microseconds(100_000), "timeout": Microseconds(5_000_000)}
    return OtlpOptions(endpoint=endpoint, **(times | others))


def points(receiver: Any, name: str) -> list[Any]:
    """Return all points of a metric that were received so far."""
    return [
        point
        for request in list(receiver.requests)
        for of_resource in request.resource_metrics
        for scope in of_resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points
    ]


def test_what_is_received(make_context: Make, receiver: Any) -> None:
    """The working set arrives while the context runs."""
    callback = OtlpCallback(options(receiver.endpoint))
    with make_context(callback, checks=None, clock=SystemClock()) as context:
        start(context)
        eventually(lambda: points(receiver, "damon.working_set"))
    assert points(receiver, "damon.working_set")[0].as_int == 3 * MIB


def test_the_end_is_delivered(make_context: Make, receiver: Any) -> None:
    """Once, with all that was counted, however short the run."""
    callback = OtlpCallback(options(receiver.endpoint, interval=HOUR))
    context = make_context(callback)
    run(context)
    assert [point.as_int for point in points(receiver, "damon.running")] == [0]
    assert points(receiver, "damon.samples")[0].as_int == context.stats.samples


def test_contexts_share_a_request(make_context: Make, receiver: Any) -> None:
    """Those with the same options, by their configuration."""
    part = {"use": "otlp", "endpoint": receiver.endpoint, "interval": "1h"}
    primitive = {"use": "sim", "size": "1MiB", "uniform": {"rate": 0.5}, "ends_after": "200ms"}
    plugins = Plugins.discover()
    config = check_config(
        {
            "context": [
                {"name": name, "primitive": primitive, "callback": [part]} for name in ("a", "b")
            ]
        },
        plugins,
    )
    contexts = build_contexts(config, plugins)
    run(*contexts)
    for context in contexts:
        context.close()
    (request,) = receiver.requests
    assert request


def test_headers_are_sent(make_context: Make, receiver: Any, tmp_path: Path) -> None:
    """Those in the file."""
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer s3cret\nX-Scope-OrgID: 7\n", encoding="utf-8")
    run(make_context(OtlpCallback(options(receiver.endpoint, headers_file=file))))
    assert receiver.headers[0]["authorization"] == "Bearer s3cret"
    assert receiver.headers[0]["x-scope-orgid"] == "7"


def test_deltas_add_up(make_context: Make, receiver: Any) -> None:
    """To what was counted in all, though deliveries fail in between."""
    receiver.status = 400  # which isn't tried again
    callback = OtlpCallback(options(receiver.endpoint, temporality="delta"))
    with make_context(callback, checks=None, clock=SystemClock()) as context:
        start(context)
        eventually(lambda: callback.sender.failed >= 2)
        receiver.status = 200
        eventually(lambda: callback.sender.delivered >= 2)  # and it knows that it works again
        stop(context)
        counted = context.stats.samples
    assert sum(point.as_int for point in points(receiver, "damon.samples")) == counted


def test_failures_are_counted(make_context: Make, receiver: Any) -> None:
    """And sent when the receiver is back."""
    receiver.status = 400
    callback = OtlpCallback(options(receiver.endpoint))
    with make_context(callback, checks=None, clock=SystemClock()) as context:
        start(context)
        eventually(lambda: callback.sender.failed >= 2)
        receiver.status = 200
        eventually(lambda: points(receiver, "damon.otlp.deliveries"))
    counts = {
        point.attributes[0].value.string_value: point.as_int
        for point in points(receiver, "damon.otlp.deliveries")[:2]
    }
    assert counts["failure"] >= 2


def test_a_receiver_that_fails_is_logged_once(
    make_context: Make, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, and not by the SDK as well."""
    receiver.status = 400
    callback = OtlpCallback(options(receiver.endpoint))
    with make_context(callback, checks=None, clock=SystemClock()) as context:
        start(context)
        eventually(lambda: callback.sender.failed >= 3)
    errors = [
        each
        for each in caplog.records
        if each.levelno >= logging.WARNING and not each.name.startswith("damon_core")
    ]
    (message,) = [each.getMessage() for each in errors]
    assert receiver.endpoint in message
    assert "400" in message


def test_a_receiver_that_is_back_is_logged(
    make_context: Make, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Once."""
    caplog.set_level(logging.INFO, logger="damon_otlp")
    receiver.status = 400
    callback = OtlpCallback(options(receiver.endpoint))
    with make_context(callback, checks=None, clock=SystemClock()) as context:
        start(context)
        eventually(lambda: callback.sender.failed)
        receiver.status = 200
        eventually(lambda: callback.sender.delivered >= 2)
    found = [each for each in caplog.messages if "again" in each and "delivered to" in each]
    assert len([each for each in found if "can't" not in each]) == 1


def test_a_dead_receiver_doesn_t_delay_the_monitoring(
    make_context: Make, dead_endpoint: str
) -> None:
    """On virtual time no aggregation is lost, and the callback hasn't failed."""
    context = make_context(OtlpCallback(options(dead_endpoint, timeout=SOON)), checks=2_000)
    run(context)
    assert context.stats.samples == 2_000
    assert context.stats.callback_failures == 0


def test_the_end_waits_no_longer_than_a_delivery(make_context: Make, dead_endpoint: str) -> None:
    """So says what the core is given as its limit."""
    callback = OtlpCallback(options(dead_endpoint, timeout=SOON))
    assert callback.stop_timeout_us == 1_100_000
    context = make_context(callback, checks=None, clock=SystemClock())
    start(context)
    begin_s = time.monotonic()
    stop(context)
    assert context.error is None
    assert time.monotonic() - begin_s < 30
    context.close()


def test_a_context_starts_again(make_context: Make, receiver: Any) -> None:
    """And is sent again."""
    context = make_context(OtlpCallback(options(receiver.endpoint, interval=HOUR)))
    run(context)
    run(context)
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "not set or empty"),
        ("Authorization", "line 1 isn't a header"),
        ("X-A: 1\nbad name: 2", "line 2 isn't a header"),
        ("X-A: ü", "printable ASCII"),
    ],
)
def test_bad_headers(
    monkeypatch: pytest.MonkeyPatch, dead_endpoint: str, lines: str, problem: str
) -> None:
    """One line says what is wrong and where."""
    monkeypatch.setenv("HEADERS", lines)
    with pytest.raises(InputError, match=problem):
        read_headers(options(dead_endpoint, headers_variable="HEADERS"))


def test_messages_have_no_secrets(monkeypatch: pytest.MonkeyPatch, dead_endpoint: str) -> None:
    """Of headers that can't be sent."""
    monkeypatch.setenv("HEADERS", "Authorization: s3cret\x01")
    with pytest.raises(InputError) as raised:
        read_headers(options(dead_endpoint, headers_variable="HEADERS"))
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "grpc://host:4317", "http://", "http://u:p@host/v1/metrics"]
)
def test_bad_endpoints(endpoint: str) -> None:
    """They are refused."""
    with pytest.raises(AttributeValueError):
        OtlpOptions(endpoint=endpoint)


def test_only_one_source_of_headers(dead_endpoint: str, tmp_path: Path) -> None:
    """Two are refused."""
    with pytest.raises(AttributeValueError, match="headers_file"):
        options(dead_endpoint, headers_file=tmp_path, headers_variable="HEADERS")
