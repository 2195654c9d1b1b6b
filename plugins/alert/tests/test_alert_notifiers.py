"""Each notifier against a real receiver."""

import contextlib
import datetime
import http.server
import itertools
import json
import logging
import os
import shlex
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from damon_alert import DeliveryError, Notification, Notify
from damon_alert.callback import make_notifier
from damon_alert.notification import rfc3339
from damon_alert.notifiers.alertmanager import alert_document
from damon_alert.notifiers.web import Endpoint

from damon_core import Microseconds
from damon_core.testing import eventually

Make = Callable[..., Notification]
LONG_S = 30.0
NEVER = threading.Event()


# -- the document ------------------------------------------------------------------------------


def test_json_document(make_notification: Make) -> None:
    """The JSON document is the one that README.md describes, of version 1."""
    assert make_notification(resolved=True, target="redis[1]").as_json() == {
        "version": 1,
        "status": "resolved",
        "alert": "large",
        "severity": "warning",
        "host": socket.gethostname(),
        "context": "db",
        "target": "redis[1]",
        "group": None,
        "target_labels": {},
        "labels": {"team": "storage"},
        "quantity": "working_set",
        "unit": "bytes",
        "comparison": "above",
        "threshold": 64 << 20,
        "clear": 48 << 20,
        "lasting_us": 0,
        "value": 40 << 20,
        "since": "2023-11-14T22:13:20.000000Z",
        "fired_at": "2023-11-14T22:13:50.000000Z",
        "resolved_at": "2023-11-14T22:14:50.000000Z",
        "summary": "working set of redis[1] in db: 40.0 MiB, no longer above 64.0 MiB",
    }


def test_readme_has_every_field_of_the_document(make_notification: Make) -> None:
    """README.md describes each field of the JSON document."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [key for key in make_notification().as_json() if f"`{key}`" not in readme] == []


def test_times_are_rfc3339() -> None:
    """Times are written in UTC, in the format of RFC 3339."""
    parsed = datetime.datetime.fromisoformat(rfc3339(1_700_000_000_000_001))
    assert parsed == datetime.datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=datetime.UTC)


# -- the log -----------------------------------------------------------------------------------


def test_log(make_notification: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The log gets one line at the level of the severity."""
    make_notifier(Notify("log")).send(make_notification(), NEVER)
    assert caplog.record_tuples == [
        (
            "damon_alert.log",
            logging.WARNING,
            "alert large (warning) is firing: working set of db: 70.0 MiB, above 64.0 MiB",
        )
    ]


# -- programs ----------------------------------------------------------------------------------


def script(tmp_path: Path, body: str) -> tuple[str, ...]:
    """Return the command of a shell script."""
    path = tmp_path / "script"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return (str(path),)


def send_to_program(notification: Notification, *command: str, limit_us: int = 30_000_000) -> None:
    """Run a program for a notification."""
    notify = Notify("program", command=command, time_limit=Microseconds(limit_us))
    make_notifier(notify).send(notification, NEVER)


def test_program_gets_json_and_environment(tmp_path: Path, make_notification: Make) -> None:
    """A program gets the document on its standard input, and environment variables."""
    out = shlex.quote(str(tmp_path))
    command = script(tmp_path, f"cat > {out}/stdin; env > {out}/env")
    notification = make_notification(target="redis[1]")
    send_to_program(notification, *command)
    assert json.loads((tmp_path / "stdin").read_text()) == notification.as_json()
    env = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {key: value for key, value in env.items() if key.startswith("DAMON_ALERT_")} == {
        "DAMON_ALERT_STATUS": "firing",
        "DAMON_ALERT_NAME": "large",
        "DAMON_ALERT_SEVERITY": "warning",
        "DAMON_ALERT_CONTEXT": "db",
        "DAMON_ALERT_TARGET": "redis[1]",
        "DAMON_ALERT_GROUP": "",
        "DAMON_ALERT_VALUE": "70.0 MiB",
        "DAMON_ALERT_THRESHOLD": "64.0 MiB",
        "DAMON_ALERT_SUMMARY": notification.summary,
    }


def test_program_arguments_reach_no_shell(tmp_path: Path, make_notification: Make) -> None:
    """Arguments are passed as they are."""
    command = script(tmp_path, f'printf %s "$1" > {shlex.quote(str(tmp_path))}/argument')
    send_to_program(make_notification(), *command, "$(id); `id` *")
    assert (tmp_path / "argument").read_text() == "$(id); `id` *"


def test_program_that_fails(tmp_path: Path, make_notification: Make) -> None:
    """An exit status other than 0 is a failure; its message has the last line of stderr."""
    command = script(tmp_path, "echo first >&2; echo no route >&2; exit 3")
    with pytest.raises(DeliveryError, match=r"^exit status 3: no route$"):
        send_to_program(make_notification(), *command)


def test_program_that_does_not_read(make_notification: Make) -> None:
    """A program needn't read its standard input."""
    send_to_program(make_notification(), "true")


def test_program_that_writes_a_lot(tmp_path: Path, make_notification: Make) -> None:
    """A program that writes more than a pipe holds doesn't block."""
    send_to_program(
        make_notification(), *script(tmp_path, "head -c 300000 /dev/zero | tee /dev/stderr")
    )


def alive(pid: int) -> bool:
    """Return whether a process exists and isn't a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for_pids(path: Path, count: int) -> list[int]:
    """Return the process ids that a script has written."""
    eventually(lambda: path.exists() and len(path.read_text().split()) >= count)
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.slow
def test_program_that_takes_too_long(tmp_path: Path, make_notification: Make) -> None:
    """A program that takes too long is ended with its children, even if it ignores SIGTERM."""
    pids = tmp_path / "pids"
    body = f"trap '' TERM; sleep 600 & echo $$ $! > {shlex.quote(str(pids))}; wait; sleep 600"
    with pytest.raises(DeliveryError, match="was ended: took longer than 2s"):
        send_to_program(make_notification(), *script(tmp_path, body), limit_us=2_000_000)
    started = wait_for_pids(pids, 2)
    eventually(lambda: not any(map(alive, started)))


def test_program_is_ended_with_the_monitoring(tmp_path: Path, make_notification: Make) -> None:
    """When monitoring is over, a program under way is ended."""
    pids = tmp_path / "pids"
    command = script(tmp_path, f"echo $$ > {shlex.quote(str(pids))}; exec sleep 600")
    notifier = make_notifier(Notify("program", command=command))
    cancelled = threading.Event()
    errors: list[DeliveryError] = []

    def send() -> None:
        try:
            notifier.send(make_notification(), cancelled)
        except DeliveryError as error:
            errors.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    (pid,) = wait_for_pids(pids, 1)
    cancelled.set()
    thread.join(LONG_S)
    assert [str(error) for error in errors] == ["was ended: monitoring is over"]
    assert not alive(pid)


def test_program_that_dies_of_a_signal(tmp_path: Path, make_notification: Make) -> None:
    """A program that a signal ends has failed."""
    with pytest.raises(DeliveryError, match=f"signal {signal.SIGKILL:d}"):
        send_to_program(make_notification(), *script(tmp_path, "kill -KILL $$"))


# -- HTTP --------------------------------------------------------------------------------------


def test_program_whose_errors_never_end(tmp_path: Path, make_notification: Make) -> None:
    """They don't fill the disk: what is kept is bounded, and the end of it is reported."""
    body = (
        "for i in $(seq 40); do head -c 1000000 /dev/zero >&2; sleep 0.02; done\n"
        "stat -L -c %s /proc/self/fd/2 >&2; exit 3"
    )
    with pytest.raises(DeliveryError, match=r"^exit status 3: [0-9]+$") as caught:
        send_to_program(make_notification(), *script(tmp_path, body))
    assert int(str(caught.value).rsplit(maxsplit=1)[-1]) < 20_000_000


class Hook(http.server.ThreadingHTTPServer):
    """An HTTP server that keeps the requests, and responds with the given answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.answers: list[int] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class HookHandler(http.server.BaseHTTPRequestHandler):
    """Answers 200 once `answers` are used up."""

    server: Hook

    def do_POST(self) -> None:
        """Keep the request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()
        self.wfile.write(b"because\r\nof this" if status >= 400 else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Return a running server."""
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class DrippingHandler(HookHandler):
    """Answers a byte at a time, each within any limit of a single read."""

    def do_POST(self) -> None:
        """Drip until the other side goes away."""
        self.server.requests.append((self.path, {}, None))
        with contextlib.suppress(OSError):
            for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(120)):
                self.wfile.write(bytes([byte]))
                time.sleep(0.02)


@pytest.fixture
def dripping(hook: Hook) -> Hook:
    """Return a running server whose answers never end."""
    hook.RequestHandlerClass = DrippingHandler
    return hook


@pytest.mark.parametrize("to", ["http", "alertmanager"])
def test_the_time_limit_is_for_the_whole(to: str, dripping: Hook, make_notification: Make) -> None:
    """A server that drips can't stretch it from read to read."""
    notify = Notify(to, url=dripping.url, time_limit=Microseconds(1_000_000))  # type: ignore[arg-type]
    with pytest.raises(DeliveryError, match=r"^was abandoned: took longer than 1s$") as caught:
        make_notifier(notify).send(make_notification(), NEVER)
    assert caught.value.temporary


def test_an_attempt_is_abandoned_when_it_is_cancelled(
    dripping: Hook, make_notification: Make
) -> None:
    """The end of monitoring doesn't wait for a server."""
    notify = Notify("http", url=dripping.url, time_limit=Microseconds(600_000_000))
    cancelled = threading.Event()

    def cancel() -> None:
        eventually(lambda: dripping.requests)
        cancelled.set()

    threading.Thread(target=cancel).start()
    with pytest.raises(DeliveryError, match=r"^was abandoned: monitoring is over$"):
        make_notifier(notify).send(make_notification(), cancelled)


def test_http_posts_the_document(hook: Hook, make_notification: Make) -> None:
    """The hook gets the JSON document at its path and query."""
    notification = make_notification()
    make_notifier(Notify("http", url=f"{hook.url}/a/b?c=d")).send(notification, NEVER)
    ((path, headers, body),) = hook.requests
    assert (path, body) == ("/a/b?c=d", notification.as_json())
    assert headers["content-type"] == "application/json"


def test_headers(
    hook: Hook, make_notification: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers come from the configuration, the environment, and files read each time."""
    monkeypatch.setenv("DAMON_TEST_TOKEN", "from-env")
    secret = tmp_path / "secret"
    secret.write_text("Bearer one\n")
    notifier = make_notifier(
        Notify(
            "http",
            url=hook.url,
            headers={"X-A": "plain"},
            headers_from_env={"X-B": "DAMON_TEST_TOKEN"},
            headers_from_file={"Authorization": secret},
        )
    )
    notifier.send(make_notification(), NEVER)
    secret.write_text("Bearer two\n")
    notifier.send(make_notification(), NEVER)
    seen = [
        (headers["x-a"], headers["x-b"], headers["authorization"])
        for _, headers, _ in hook.requests
    ]
    assert seen == [("plain", "from-env", "Bearer one"), ("plain", "from-env", "Bearer two")]


@pytest.mark.parametrize(
    ("status", "temporary"), [(500, True), (503, True), (429, True), (400, False), (404, False)]
)
def test_answers_that_are_failures(
    status: int, temporary: bool, hook: Hook, make_notification: Make
) -> None:
    """A server's failure is temporary, a refusal isn't; the message has the response's text."""
    hook.answers = [status]
    with pytest.raises(DeliveryError, match=f"answered {status}: becauseof this") as caught:
        make_notifier(Notify("http", url=hook.url)).send(make_notification(), NEVER)
    assert caught.value.temporary is temporary


def test_redirect_is_not_followed(hook: Hook, make_notification: Make) -> None:
    """A redirect is refused: documents and credentials go where the configuration says."""
    hook.answers = [307]
    with pytest.raises(DeliveryError, match="a redirect, which isn't followed") as caught:
        make_notifier(Notify("http", url=hook.url)).send(make_notification(), NEVER)
    assert not caught.value.temporary
    assert len(hook.requests) == 1


def test_proxy_of_the_environment_is_not_used(
    hook: Hook, make_notification: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that name a proxy change nothing."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    make_notifier(Notify("http", url=hook.url)).send(make_notification(), NEVER)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://[::1]", "::1", 80),
        ("https://[::1]/x", "::1", 443),
        ("http://[::1]:9093", "::1", 9093),
        ("http://host", "host", 80),
    ],
)
def test_host_and_port_of_an_address(url: str, host: str, port: int) -> None:
    """The endpoint connects to the host and port of the address."""
    connection = Endpoint(Notify("http", url=url)).connection()
    assert (connection.host, connection.port) == (host, port)


def test_logs_hide_the_path_of_a_hook() -> None:
    """A hook's name in logs lacks its path and query, which are often secret."""
    notifier = make_notifier(Notify("http", url="https://host:1/services/SECRET?key=SECRET"))
    assert notifier.description == "http hook at https://host:1"


@pytest.mark.needs("openssl")
def test_certificates_are_verified(hook: Hook, make_notification: Make, tmp_path: Path) -> None:
    """A server whose certificate isn't trusted gets nothing."""
    certificate = tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {certificate} -out {tmp_path}/crt.pem"
    )
    assert os.spawnvp(os.P_WAIT, "openssl", [*shlex.split(command), "-batch"]) == 0
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "crt.pem", certificate)
    hook.socket = tls.wrap_socket(hook.socket, server_side=True)
    url = hook.url.replace("http:", "https:")
    with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
        make_notifier(Notify("http", url=url)).send(make_notification(), NEVER)
    assert hook.requests == []
    make_notifier(Notify("http", url=url, ca_file=tmp_path / "crt.pem")).send(
        make_notification(), NEVER
    )
    assert len(hook.requests) == 1


# -- Alertmanager's document ---------------------------------------------------------------------


def test_alertmanager_document_of_a_firing_alert(make_notification: Make) -> None:
    """A firing alert has an end in the future."""
    assert alert_document(make_notification(target="redis[1]"), 1_700_000_500_000_000) == {
        "labels": {
            "alertname": "large",
            "severity": "warning",
            "instance": socket.gethostname(),
            "context": "db",
            "target": "redis[1]",
            "team": "storage",
        },
        "annotations": {
            "summary": "working set of redis[1] in db: 70.0 MiB, above 64.0 MiB",
            "value": "70.0 MiB",
            "threshold": "64.0 MiB",
        },
        "startsAt": "2023-11-14T22:13:50.000000Z",
        "endsAt": "2023-11-14T22:21:40.000000Z",
    }


def test_instance_may_be_named(make_notification: Make) -> None:
    """The label `instance` is the host's name unless the rule sets it."""
    notification = make_notification()
    rule = evolve(notification.rule, labels={"instance": "blue"})
    assert evolve(notification, rule=rule).labels["instance"] == "blue"


def test_alertmanager_document_of_a_resolved_alert(make_notification: Make) -> None:
    """A resolved alert has the labels of its firing, and ended when it was resolved."""
    firing = alert_document(make_notification(), 0)
    resolved = alert_document(make_notification(resolved=True), 1_700_000_500_000_000)
    assert resolved["labels"] == firing["labels"]
    assert resolved["startsAt"] == firing["startsAt"]
    assert resolved["endsAt"] == "2023-11-14T22:14:50.000000Z"


def test_alertmanager_is_posted_to_below_its_address(hook: Hook, make_notification: Make) -> None:
    """Alertmanager's address may have a prefix, with or without a slash at its end."""
    for prefix in ("", "/", "/am", "/am/"):
        make_notifier(Notify("alertmanager", url=hook.url + prefix)).send(
            make_notification(), NEVER
        )
    assert [path for path, _, _ in hook.requests] == [
        "/api/v2/alerts",
        "/api/v2/alerts",
        "/am/api/v2/alerts",
        "/am/api/v2/alerts",
    ]


def test_alertmanager_alert_ends_after_four_repeats(hook: Hook, make_notification: Make) -> None:
    """Each time it is sent, a firing alert's end is four repeats ahead."""
    before = time.time()
    make_notifier(Notify("alertmanager", url=hook.url, repeat=Microseconds(60_000_000))).send(
        make_notification(), NEVER
    )
    ((_, _, (alert,)),) = hook.requests
    ends = datetime.datetime.fromisoformat(alert["endsAt"]).timestamp()
    assert before + 240 - 0.001 <= ends <= time.time() + 240
