"""Alerts: rules and receivers, names in what is sent, and what receivers answer."""

import http.client
import io
import json
import random
import threading
from pathlib import Path
from typing import Any, ClassVar

from damon_alert.notification import Notification
from damon_alert.notifiers.alertmanager import alert_document
from damon_alert.notifiers.base import DeliveryError
from damon_alert.notifiers.hook import HttpNotifier
from damon_alert.notifiers.program import environment
from damon_alert.notifiers.web import Endpoint
from damon_alert.options import AlertOptions
from damon_alert.rules import Evaluator

from damon_core import Stats
from damon_core.registry.options import structure
from damon_core.testing import RegionRow, make_snapshot
from tests.fuzz.judging import Fault, Kind, attempt, check_line, check_refusal
from tests.fuzz.mutating import Mutator

_OPTIONS: dict[str, Any] = {
    "flush_timeout": "5s",
    "rule": [
        {"name": "a", "when": "working_set", "above": "1MiB", "per": "target", "severity": "info"},
        {"name": "b", "when": "idle_share", "above": "10%", "clear": 0.05, "idle_for": "1s"},
        {"name": "c", "when": "missed_samples", "below": 10, "within": "1m", "lasting": "0s"},
        {"name": "d", "when": "monitored", "above": 0, "labels": {"team": "db", "x": "y"}},
    ],
    "notify": [
        {"to": "log"},
        {"to": "http", "url": "http://127.0.0.1:1/x?y=z", "headers": {"A": "b"}},
        {"to": "http", "url": "http://[::1]:8/", "headers_from_file": {"Authorization": "FILE"}},
        {"to": "alertmanager", "url": "http://h:9093/p", "repeat": "1m", "time_limit": "1s"},
        {"to": "http", "url": "http://a", "headers_from_env": {"X": "HOME"}, "retry_for": "1s"},
        {"to": "program", "command": ["/bin/true", "x"], "queue_length": 10},
    ],
}
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"
_WORDS = [
    "HTTP/1.1",
    "HTTP/1.0",
    "200",
    "204",
    "100",
    "301",
    "404",
    "429",
    "500",
    "503",
    "999",
    "99999",
    "Content-Length:",
    "Transfer-Encoding:",
    "chunked",
    "5",
    "ffffffff",
    "-1",
    "\r\n",
    "\n",
    "Location:",
    "http:",
    "https:",
    "//",
    "[::1]",
    "@",
    "#",
    "?",
    ":0",
    ":99999",
]


class Alerts(Kind):
    """Options, names, a secret and a receiver's answer, as JSON."""

    name: ClassVar[str] = "alert"
    limit_s: ClassVar[float] = 3.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._secret = folder / "secret"

    def make(self, chance: random.Random) -> bytes:
        """Return options with values changed, strange names, a secret and an answer."""
        mutator = Mutator(chance, _WORDS)
        options: Any = _OPTIONS
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            options = mutator.value(options)
        answer = _ANSWER
        if chance.random() < 0.7:
            answer = mutator.raw(answer)
        made = {
            "options": options,
            "names": [mutator.name(), mutator.name()],
            "secret": chance.choice(("secret", mutator.name(), "")),
            "answer": answer.decode("latin-1"),
        }
        return json.dumps(made).encode()

    def judge(self, data: bytes) -> bool:
        """Check the options, make what would be sent, and read the answer."""
        try:
            made = json.loads(data)
            names = [str(each) for each in made["names"]]
            secret = str(made["secret"]).encode("utf-8", "surrogatepass")
            answer = str(made["answer"]).encode("latin-1", "replace")
            raw = json.loads(
                json.dumps(made["options"]).replace('"FILE"', json.dumps(str(self._secret)))
            )
        except (ValueError, KeyError, TypeError):
            return False
        self._secret.write_bytes(secret)
        options = attempt(lambda: structure(AlertOptions, raw, source="a.toml"), "a.toml")
        if options is None or len(names) < 2:
            return False
        sent = _notifications(options, *names[:2])
        for notification in sent:
            _judge_sent(notification)
        for notify in options.notify:
            # To load certificates takes as long as a hundred cases.
            if notify.url is None or not notify.url.startswith("http:"):
                continue
            endpoint = attempt(lambda notify=notify: Endpoint(notify))  # type: ignore[misc]
            if endpoint is not None and sent:
                _judge_answer(HttpNotifier(notify), sent.pop(), answer)
        return True


def _notifications(options: AlertOptions, context: str, target: str) -> list[Notification]:
    region = RegionRow(0, 1 << 30, nr_accesses=20), RegionRow(1 << 30, 3 << 30, age=10**6)
    evaluator = Evaluator(options.rule)
    found = []
    for number in (1, 2, 3):
        targets = {target: region} if number < 3 else {}
        snapshot = make_snapshot(targets, context=context, number=number)
        found += evaluator.evaluate(snapshot, Stats())
    return found


def _judge_sent(notification: Notification) -> None:
    check_line(notification.summary)
    document = json.loads(json.dumps(notification.as_json()))
    if document["target"] != notification.target:
        raise Fault(f"the target {notification.target!r} is sent as {document['target']!r}")
    json.dumps(alert_document(notification, 0)).encode()
    for key, value in environment(notification).items():
        # What the system takes for variables of a new program.
        if "\0" in value:
            raise Fault(f"{key} has a byte 0: no program can be started with it")
        value.encode("utf-8", "surrogateescape")


class _Socket:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.sent = b""

    def sendall(self, data: Any) -> None:
        self.sent += bytes(data)

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._answer)

    def close(self) -> None:
        """There is nothing to close."""

    shutdown = close


def _judge_answer(notifier: HttpNotifier, notification: Notification, answer: bytes) -> None:
    endpoint = notifier._endpoint  # noqa: SLF001  # nothing is to be sent
    client = _Socket(answer)

    def connection() -> http.client.HTTPConnection:
        made = http.client.HTTPConnection("127.0.0.1", 1)
        made.sock = client
        return made

    endpoint.connection = connection  # type: ignore[method-assign]
    try:
        notifier.send(notification, threading.Event())
    except DeliveryError as error:
        check_refusal(error)
    head = client.sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
    if client.sent and any(b":" not in line for line in head[1:]):
        raise Fault(f"a request of {head}")
