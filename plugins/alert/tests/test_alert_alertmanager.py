"""A real Alertmanager shows an alert, and removes it when it is resolved or expires."""

import contextlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from damon_alert import AlertCallback, AlertOptions, Notify, Rule

from damon_core import Context, Intervals, Microseconds, start
from damon_core.testing import ScriptedMemory, ScriptedRegion, eventually, free_port

pytestmark = pytest.mark.needs("alertmanager")


Alerts = list[dict[str, Any]]


def wait_for(url: str, condition: Callable[[Alerts], bool]) -> Alerts:
    """Poll Alertmanager's alerts until a condition holds, and return them."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def look() -> tuple[Alerts] | None:
        try:
            with opener.open(f"{url}/api/v2/alerts", timeout=5) as answer:
                alerts: Alerts = json.load(answer)
        except OSError:  # it isn't up yet
            return None
        return (alerts,) if condition(alerts) else None

    (alerts,) = eventually(look)
    return alerts


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Return the address of an Alertmanager that runs for one test."""
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = free_port()
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


@contextlib.contextmanager
def alerting(url: str, *, repeat_us: int) -> Iterator[tuple[list[float], AlertCallback]]:
    """Run a context that alerts; the last of the heats yielded is that of its memory."""
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
    heats = [1.0]
    memory = ScriptedMemory({"redis[1]": [ScriptedRegion(0, 2 << 20, lambda _: heats[-1])]})
    with Context(
        memory, [callback], intervals=Intervals(10_000, 50_000, 1_000_000), name="cache"
    ) as context:
        start(context)
        yield heats, callback


def test_alert_shows_and_is_resolved(alertmanager: str) -> None:
    """Alertmanager shows the alert with its labels until it is resolved."""
    with alerting(alertmanager, repeat_us=60_000_000) as (heats, callback):
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
        heats.append(0.0)
        # Alertmanager lists alerts that haven't ended. This one would expire only in four minutes.
        wait_for(alertmanager, lambda alerts: not alerts)
    assert (callback.stats.sent, callback.stats.failed) == (2, 0)


@pytest.mark.slow
def test_alert_outlives_its_first_end_and_expires(alertmanager: str) -> None:
    """Repeats keep a firing alert alive, and it expires when monitoring has ended."""
    with alerting(alertmanager, repeat_us=500_000) as (_, callback):
        (first,) = wait_for(alertmanager, lambda alerts: len(alerts) == 1)
        (later,) = wait_for(
            alertmanager, lambda alerts: bool(alerts) and alerts[0]["endsAt"] > first["endsAt"]
        )
        assert later["startsAt"] == first["startsAt"]
    assert callback.stats.sent >= 2
    wait_for(alertmanager, lambda alerts: not alerts)
