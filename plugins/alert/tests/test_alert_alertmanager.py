"""A real Alertmanager shows an alert, and removes it when it is resolved or expires."""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from damon_alert import AlertCallback, AlertOptions, Notify, Rule

from damon_core import (
    Context,
    Intervals,
    Microseconds,
    Range,
    RegionLimits,
    Regions,
    Target,
    hookimpl,
    start,
)

pytestmark = pytest.mark.needs("alertmanager")
LONG_S = 60.0


class Switched:
    """A primitive with one target that is accessed while `hot`."""

    def __init__(self) -> None:
        self.hot = True

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(
            Target("redis[1]", Regions.evenly([Range(0, 2 << 20)], context.limits))
        )

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        context.targets[0].regions.nr_accesses += self.hot


def wait_for(url: str, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Poll Alertmanager's alerts until a condition holds, and return them."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        try:
            with opener.open(f"{url}/api/v2/alerts", timeout=5) as answer:
                alerts: list[dict[str, Any]] = json.load(answer)
        except OSError:  # it isn't up yet
            pass
        else:
            if condition(alerts):
                return alerts
        time.sleep(0.05)
    raise AssertionError("waited too long for Alertmanager")


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Return the address of an Alertmanager that runs for one test."""
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, lambda _: True)
            yield url
        finally:
            process.terminate()


def started(url: str, *, repeat_us: int) -> tuple[Context, Switched, AlertCallback]:
    """Return a running context with its primitive and its alert callback."""
    rule = Rule(
        "large",
        "working_set",
        above="1MiB",
        per="target",
        severity="critical",
        labels={"team": "db"},
    )
    notify = Notify("alertmanager", url=url, repeat=Microseconds(repeat_us))
    callback = AlertCallback(AlertOptions((rule,), (notify,)))
    primitive = Switched()
    context = Context(
        primitive,
        [callback],
        intervals=Intervals(10_000, 50_000, 1_000_000),
        limits=RegionLimits(2, 2),
        name="cache",
    )
    start(context, exclusive=False)
    return context, primitive, callback


def test_alert_shows_and_is_resolved(alertmanager: str) -> None:
    """Alertmanager shows the alert with its labels until it is resolved."""
    context, primitive, callback = started(alertmanager, repeat_us=60_000_000)
    try:
        (alert,) = wait_for(alertmanager, lambda alerts: len(alerts) == 1)
        assert alert["labels"] == {
            "alertname": "large",
            "severity": "critical",
            "instance": socket.gethostname(),
            "context": "cache",
            "target": "redis[1]",
            "team": "db",
        }
        assert alert["annotations"]["summary"] == (
            "working set of redis[1] in cache: 2.0 MiB, above 1.0 MiB"
        )
        assert alert["status"]["state"] == "active"
        primitive.hot = False
        # Alertmanager lists alerts that haven't ended. This one would expire only in four minutes.
        wait_for(alertmanager, lambda alerts: not alerts)
    finally:
        context.request_stop()
        context.wait(LONG_S)
    assert (callback.stats.sent, callback.stats.failed) == (2, 0)


def test_alert_outlives_its_first_end_and_expires(alertmanager: str) -> None:
    """Repeats keep a firing alert alive, and it expires when monitoring has ended."""
    context, _, callback = started(alertmanager, repeat_us=500_000)
    try:
        (first,) = wait_for(alertmanager, lambda alerts: len(alerts) == 1)
        (later,) = wait_for(
            alertmanager, lambda alerts: bool(alerts) and alerts[0]["endsAt"] > first["endsAt"]
        )
        assert later["startsAt"] == first["startsAt"]
    finally:
        context.request_stop()
        context.wait(LONG_S)
    assert callback.stats.sent >= 2
    wait_for(alertmanager, lambda alerts: not alerts)
