"""The callback in a context, with receivers that work, are dead, or hang."""

import http.server
import json
import logging
import re
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from damon_alert import AlertCallback, AlertOptions, Notification, Notify, Rule
from damon_alert import plugin as alert_plugin

from damon_core import (
    Callback,
    ConfigError,
    Context,
    Intervals,
    Microseconds,
    PartError,
    Plugins,
    VirtualClock,
    hookimpl,
    start,
)
from damon_core.testing import (
    Recorder,
    ScriptedMemory,
    ScriptedRegion,
    eventually,
    free_port,
    run,
    run_virtual,
)

#: Aggregations of one check each.
FAST = Intervals(sampling_us=1_000, aggregation_us=1_000, update_us=1_000_000)
LARGE = Rule("large", "working_set", above="1MiB")


def memory(checks: int | None, *, always: bool = False) -> ScriptedMemory:
    """Return 2 MiB that are accessed in every other check, or in each."""
    region = ScriptedRegion(0, 2 << 20, heat=lambda check: float(always or check % 2 == 0))
    return ScriptedMemory({"a": [region]}, checks)


def run_alert(callback: AlertCallback, aggregations: int, *, always: bool = False) -> Context:
    """Run a context on virtual time, whose aggregations are one check each."""
    return run_virtual(memory(aggregations, always=always), callback, intervals=FAST, name="db")


class Receiver:
    """A receiver in this process."""

    description = "in this process"
    repeat_s = None

    def __init__(self) -> None:
        self.statuses: list[str] = []

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        self.statuses.append(notification.status)


def test_alerts_of_a_run() -> None:
    """Each firing and each end is delivered in order, all of them by the end of the run."""
    receiver = Receiver()
    callback = AlertCallback(AlertOptions((LARGE,), ()), [receiver])
    run_alert(callback, 5)
    assert receiver.statuses == ["firing", "resolved", "firing", "resolved", "firing"]
    assert (callback.stats.sent, callback.stats.queued) == (5, 0)


def test_what_became_of_notifications_is_measured() -> None:
    """By receiver, for whatever exports metrics."""
    callback = AlertCallback(AlertOptions((LARGE,), ()), [Receiver()])
    context = run_alert(callback, 5)
    found = {
        " ".join((each.name, *each.labels.values())): each.value for each in context.measures()
    }
    assert found == {
        "alert_notifications in this process sent": 5,
        "alert_notifications in this process failed": 0,
        "alert_notifications in this process dropped": 0,
        "alert_notifications_queued in this process": 0,
        "alerts_firing": 0,
    }


def test_readme_lists_what_is_measured() -> None:
    """With the names and labels that exporters for Prometheus make of it."""
    callback = AlertCallback(AlertOptions((LARGE,), ()), [Receiver()])
    measured = {
        f"damon_{each.name}" + "_total" * each.counter: {"context", *each.labels}
        for each in run_alert(callback, 1).measures()
    }
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(damon_\w+)` \| \w+ \| ([\w, ]*?) \|", readme, re.MULTILINE)
    assert {name: set(labels.split(", ")) for name, labels in table} == measured


def test_firing_alerts_are_measured() -> None:
    """Of the context that is asked about."""
    seen: list[float] = []

    def look(context: Context) -> None:
        seen.extend(each.value for each in context.measures() if each.name == "alerts_firing")

    callback = AlertCallback(AlertOptions((LARGE,), ()))
    run_virtual(
        memory(3), callback, Recorder(after_aggregation=look), intervals=FAST, aggregations=3
    )
    assert seen == [1, 0, 1]


def test_firing_alerts_can_be_read_while_the_context_runs() -> None:
    """`firing` returns the alerts of a context as long as it runs."""

    firing: list[list[str]] = []
    callback = AlertCallback(AlertOptions((LARGE,), ()))
    asks = Recorder(
        after_aggregation=lambda context: firing.append(
            [alert.name for alert in callback.firing(context)]
        )
    )
    context = Context(memory(3), [callback, asks], intervals=FAST, clock=VirtualClock())
    assert callback.firing(context) == ()
    run(context)
    assert firing == [["large"], [], ["large"]]
    assert callback.firing(context) == ()


def test_alert_that_fires_at_the_end_is_not_resolved() -> None:
    """The end of monitoring resolves nothing."""
    receiver = Receiver()
    run_alert(AlertCallback(AlertOptions((LARGE,), ()), [receiver]), 5, always=True)
    assert receiver.statuses == ["firing"]


def test_restart_begins_inactive() -> None:
    """A restarted context begins with every alert inactive; the counts go on."""
    receiver = Receiver()
    callback = AlertCallback(AlertOptions((LARGE,), ()), [receiver])
    context = Context(memory(1), [callback], intervals=FAST, clock=VirtualClock())
    for _ in range(2):
        run(context)
    assert receiver.statuses == ["firing", "firing"]
    assert callback.stats.sent == 2


def test_threads_end_with_the_run() -> None:
    """The receivers' threads live from the start to the end of monitoring."""
    receiver = Receiver()
    callback = AlertCallback(AlertOptions((LARGE,), ()), [receiver])
    before = threading.active_count()
    run_alert(callback, 3)
    assert threading.active_count() == before


def test_one_callback_serves_several_contexts() -> None:
    """Contexts that share a callback have their own alerts; the counts are common."""
    receiver = Receiver()
    callback = AlertCallback(AlertOptions((LARGE,), ()), [receiver])
    contexts = [
        Context(memory(1), [callback], intervals=FAST, clock=VirtualClock(), name=name)
        for name in ("one", "other")
    ]
    run(*contexts)
    assert receiver.statuses == ["firing", "firing"]


def test_every_receiver_gets_notifications(caplog: pytest.LogCaptureFixture) -> None:
    """All receivers get each notification, and each has its own counts."""
    caplog.set_level(logging.INFO)
    receiver = Receiver()
    callback = AlertCallback(AlertOptions((LARGE,)), [receiver])
    run_alert(callback, 1)
    assert [(stats.receiver, stats.sent) for stats in callback.stats.receivers] == [
        ("log", 1),
        ("in this process", 1),
    ]
    assert (
        "alert large (warning) is firing: working set of db: 2.0 MiB, above 1.0 MiB" in caplog.text
    )


def test_failure_before_start_is_survived() -> None:
    """If the primitive fails before the callback started, no failure of the callback is counted."""

    class Broken:
        @hookimpl
        def init(self) -> None:
            raise ValueError("no memory")

    context = Context(Broken(), [AlertCallback(AlertOptions((LARGE,)))], clock=VirtualClock())
    run(context, check=False)
    assert isinstance(context.error, PartError)
    assert context.stats.callback_failures == 0


# -- dead and hanging receivers ----------------------------------------------------------------


@pytest.fixture
def hanging_url() -> Iterator[str]:
    """Return the address of a listener that accepts and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dead_url() -> str:
    """Return an address without a listener."""
    return f"http://127.0.0.1:{free_port()}"


def check_receiver_delays_nothing(url: str) -> None:
    """Run 2,000 aggregations, each with a notification to a receiver that doesn't accept it."""
    notify = Notify("http", url=url, queue_length=10, time_limit=Microseconds(60_000_000))
    receiver = Receiver()
    options = AlertOptions((LARGE,), (notify,), flush_timeout=Microseconds(100_000))
    callback = AlertCallback(options, [receiver])
    context = run_alert(callback, 2_000)
    stats = callback.stats.receivers[0]
    assert context.stats.aggregations == 2_000
    assert context.stats.callback_failures == 0
    assert stats.sent == 0
    assert stats.dropped >= 1_900
    assert stats.queued == 0


@pytest.mark.slow
def test_dead_receiver_delays_nothing(dead_url: str) -> None:
    """With a closed port all aggregations run, the queue fills, and drops are counted."""
    check_receiver_delays_nothing(dead_url)


@pytest.mark.slow
def test_hanging_receiver_delays_nothing(hanging_url: str) -> None:
    """With a receiver that never responds all aggregations run, and the run ends in time."""
    # One attempt may take a minute: only a callback that waited for it would fail here.
    begin = time.monotonic()
    check_receiver_delays_nothing(hanging_url)
    assert time.monotonic() - begin < 55


class _Unreliable(http.server.BaseHTTPRequestHandler):
    """Answers 503 to the first two requests."""

    def do_POST(self) -> None:
        """Keep the request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen: list[Any] = self.server.seen  # type: ignore[attr-defined]
        seen.append(body)
        self.send_response(503 if len(seen) < 3 else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_server_that_recovers_gets_the_alert() -> None:
    """A server that fails twice gets the same document a third time, and no more."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Unreliable) as server:
        seen: list[Any] = []
        server.seen = seen  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        notify = Notify("http", url=f"http://127.0.0.1:{server.server_port}")
        callback = AlertCallback(AlertOptions((LARGE,), (notify,)))
        # On the machine's time: the end of monitoring would end the retries.
        with Context(memory(None, always=True), [callback], intervals=FAST) as context:
            start(context)
            eventually(lambda: callback.stats.sent)
        server.shutdown()
        thread.join()
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert callback.stats.failed == 0


# -- registration and configuration ------------------------------------------------------------


def test_registration() -> None:
    """The package registers the callback 'alert'."""
    registered: list[Callback] = []
    alert_plugin.register_callbacks(registered.append)
    assert [(part.name, part.factory, part.options) for part in registered] == [
        ("alert", AlertCallback, AlertOptions)
    ]


def plugins() -> Plugins:
    """Return a manager with this package alone."""
    return Plugins({"alert": alert_plugin})


def test_configuration() -> None:
    """A table parsed from TOML becomes the callback."""
    made = plugins().make_callback(
        "alert",
        {
            "rule": [
                {
                    "name": "cold",
                    "when": "idle_share",
                    "idle_for": "10m",
                    "above": "50%",
                    "clear": 0.4,
                    "lasting": "30s",
                    "per": "target",
                    "severity": "critical",
                    "labels": {"team": "db"},
                }
            ],
            "notify": [{"to": "program", "command": ["true"], "time_limit": "5s"}],
        },
    )
    assert isinstance(made, AlertCallback)
    rule = made._options.rule[0]  # noqa: SLF001  # nothing else shows what was read
    assert (rule.lasting, rule.condition.threshold, rule.condition.clear) == (30_000_000, 0.5, 0.4)


def test_configuration_reports_all_mistakes() -> None:
    """All mistakes are reported at once, each with its path."""
    with pytest.raises(ConfigError) as caught:
        plugins().make_callback(
            "alert",
            {
                "rule": [
                    {"name": "a", "when": "working_set", "above": "20%"},
                    {"name": "b", "when": "wss", "above": "20MiB"},
                ],
                "notify": [{"to": "http"}, {"to": "log", "colour": "red"}],
            },
        )
    text = str(caught.value)
    assert "rule[0].above: found '20%', write a size like '64MiB' or '1.5GB'" in text
    assert "rule[1].when: found 'wss', must be one of 'working_set'" in text
    assert "notify[0].url: found nothing, write one like 'http://127.0.0.1:9093'" in text
    assert "notify[1].colour: unknown key" in text


@pytest.mark.parametrize("options", [Rule, Notify, AlertOptions])
def test_every_option_has_help(options: type) -> None:
    """Each option has one line of help."""
    assert [option.name for option in fields(options) if not option.metadata.get("help")] == []


def test_readme_examples_are_the_same() -> None:
    """README.md's configuration is valid, and equal to its example in Python."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    toml = tomllib.loads(readme.partition("```toml\n")[2].partition("```")[0])
    (table,) = toml["context"]["callback"]
    assert table.pop("use") == "alert"
    from_toml = plugins().make_callback("alert", table)
    names: dict[str, Any] = {}
    exec(readme.partition("```python\n")[2].partition("```")[0], names)
    assert isinstance(from_toml, AlertCallback)
    in_python = names["callback"]
    assert in_python._options == from_toml._options  # noqa: SLF001  # nothing else shows them


def test_readme_has_every_option() -> None:
    """README.md describes each option."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    names = [option.name for cls in (Rule, Notify, AlertOptions) for option in fields(cls)]
    assert [name for name in names if f"`{name}`" not in readme] == []
