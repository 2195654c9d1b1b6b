"""Where metrics are served, who may read them, and for how long."""

import base64
import gc
import logging
import socket
import ssl
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from email.message import Message
from pathlib import Path

import pytest
from damon_prometheus import (
    BasicAuthOptions,
    Listener,
    ListenerOptions,
    PrometheusCallback,
    PrometheusOptions,
    TlsOptions,
    plugin,
    server,
)

from damon_core import (
    Callback,
    ConfigError,
    Context,
    InputError,
    Microseconds,
    Plugins,
    build_contexts,
    check_config,
    hookimpl,
    start,
    stop,
)
from damon_core.testing import eventually, free_port, run

Make = Callable[..., Context]
MakeListener = Callable[..., Listener]
Get = Callable[..., tuple[str, Message]]
Serving = Callable[..., AbstractContextManager[Listener]]


@pytest.fixture
def serving(make_listener: MakeListener) -> Serving:
    """Return a function that makes a listener that responds."""

    @contextmanager
    def serve(**options: object) -> Iterator[Listener]:
        listener = make_listener(**options)
        listener.serve()
        yield listener

    return serve


def registered() -> Callback:
    """Return the callback of a fresh registration of the plugin."""
    found: list[Callback] = []
    plugin.register_callbacks(found.append)
    return found[0]


def close(*callbacks: object) -> None:
    """Close the listeners of callbacks that never ran."""
    for callback in callbacks:
        assert isinstance(callback, PrometheusCallback)
        callback.release()


def status(get: Get, url: str, **arguments: object) -> tuple[int, Message]:
    """Return the status of a response that isn't 200, and its headers."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(url, **arguments)
    return caught.value.code, caught.value.headers


# -- HTTP ------------------------------------------------------------------------------


def test_metrics_page(serving: Serving, get: Get) -> None:
    """/metrics is in Prometheus's text format."""
    with serving() as listener:
        text, headers = get(listener.url)
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "\ndamon_build_info{" in text


def test_front_page(serving: Serving, get: Get) -> None:
    """/ links to /metrics."""
    with serving() as listener:
        text, headers = get(listener.url.removesuffix("metrics"))
    assert headers["Content-Type"].startswith("text/html")
    assert 'href="/metrics"' in text


@pytest.mark.parametrize("path", ["/metric", "/metrics/", "//[", "/favicon.ico"])
def test_other_pages(serving: Serving, get: Get, path: str) -> None:
    """Every other path is 404."""
    with serving() as listener:
        assert status(get, listener.url.removesuffix("/metrics") + path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_get_only(serving: Serving, get: Get, method: str) -> None:
    """Other methods than GET and HEAD are refused."""
    with serving() as listener:
        code, headers = status(get, listener.url, method=method)
    assert (code, headers["Allow"]) == (405, "GET, HEAD")


def test_head(serving: Serving, get: Get) -> None:
    """It says what GET would, without a body: checks of health use it."""
    with serving() as listener:
        _, of_get = get(listener.url)
        nothing, headers = get(listener.url, method="HEAD")
    # The program's own CPU time has another number of digits at the next scrape.
    assert nothing == ""
    assert headers["Content-Type"] == of_get["Content-Type"]
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    "accept", ["text/plain;version=abc", "application/openmetrics-text;version=", "*/*;q=x"]
)
def test_odd_formats_asked_for(serving: Serving, get: Get, accept: str) -> None:
    """A client that asks for a version that isn't one gets the plain format."""
    with serving() as listener:
        _, headers = get(listener.url, headers={"Accept": accept})
    assert headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))


def test_one_metric(serving: Serving, get: Get) -> None:
    """name[] restricts a scrape, as with other exporters."""
    with serving() as listener:
        text, _ = get(listener.url + "?name[]=damon_build_info")
    (sample,) = [line for line in text.splitlines() if not line.startswith("#")]
    assert sample.startswith("damon_build_info{")


def test_failing_collector(serving: Serving, get: Get, caplog: pytest.LogCaptureFixture) -> None:
    """A failing foreign collector gives a logged 500, and the next scrape succeeds."""

    class Failing:
        def collect(self) -> list[object]:
            raise RuntimeError("no")

    with serving() as listener:
        failing = Failing()
        listener.registry.register(failing)  # type: ignore[arg-type]
        assert status(get, listener.url)[0] == 500
        listener.registry.unregister(failing)  # type: ignore[arg-type]
        get(listener.url)
    assert "can't be collected" in caplog.text


def test_quiet(
    serving: Serving, get: Get, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Scrapes, refusals and misbehaving clients are logged at level DEBUG only."""
    with caplog.at_level(logging.DEBUG), serving() as listener:
        get(listener.url)
        status(get, listener.url + "x")
        with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as rude:
            rude.sendall(b"\0\xff not HTTP at all\r\n\r\n")
            while rude.recv(4096):
                pass
    assert capfd.readouterr() == ("", "")
    levels = {entry.levelno for entry in caplog.records if entry.name == server.logger.name}
    assert levels == {logging.DEBUG}


# -- slow clients ----------------------------------------------------------------------


def test_silent_clients(serving: Serving, get: Get) -> None:
    """Clients that send nothing don't delay others."""
    with serving() as listener:
        silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]
        get(listener.url)
        for connection in silent:
            connection.close()


@pytest.mark.needs("openssl")
def test_silent_tls_clients(serving: Serving, get: Get, certificate: TlsOptions) -> None:
    """Clients that never complete the TLS handshake don't delay others."""
    trust = ssl.create_default_context(cafile=certificate.certificate_file)
    with serving(tls=certificate) as listener:
        silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]
        get(listener.url, tls=trust)
        for connection in silent:
            connection.close()


def test_slow_client(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then is disconnected when its time is over."""
    monkeypatch.setattr(server, "CLIENT_TIME_LIMIT_S", 0.5)
    with (
        serving() as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=30) as slow,
    ):
        # A byte often enough that no single wait of the server's is long.
        slow.settimeout(0.05)
        give_up = time.monotonic() + 30
        while not _was_cut(slow):
            assert time.monotonic() < give_up
            slow.sendall(b"G")


def _was_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_too_many_clients(serving: Serving, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send no request make room for those that do, the first that came first."""
    monkeypatch.setattr(server, "MAX_CLIENTS", 3)
    with serving() as listener:
        silent = [
            socket.create_connection(("127.0.0.1", listener.port), timeout=30) for _ in range(3)
        ]
        get(listener.url)
        assert _was_cut(silent[0])
        for connection in silent:
            connection.close()


def test_stop_with_silent_clients(serving: Serving) -> None:
    """A listener closes at once, even if clients are connected."""
    with (
        serving() as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=30) as silent,
    ):
        listener.release("test")
        assert not listener.is_open
        assert _was_cut(silent)


# -- who may scrape --------------------------------------------------------------------


@pytest.mark.needs("openssl")
def test_tls(serving: Serving, get: Get, certificate: TlsOptions) -> None:
    """With a certificate, metrics are served over TLS to clients that trust it."""
    trust = ssl.create_default_context(cafile=certificate.certificate_file)
    with serving(tls=certificate) as listener:
        assert listener.url.startswith("https://127.0.0.1:")
        assert "damon_build_info" in get(listener.url, tls=trust)[0]


@pytest.mark.needs("openssl")
def test_plain_http_to_tls(serving: Serving, get: Get, certificate: TlsOptions) -> None:
    """With TLS configured, plain HTTP gets no metrics."""
    with (
        serving(tls=certificate) as listener,
        pytest.raises((ConnectionError, urllib.error.URLError)),
    ):
        get(listener.url.replace("https", "http"))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Return a file with a bearer token."""
    path = tmp_path / "token"
    path.write_text("s3cret\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Bearer s3cret2", "Basic s3cret", "s3cret", "é"]
)
@pytest.mark.parametrize("path", ["", "?name[]=x"])
def test_wrong_token(
    serving: Serving, get: Get, token_file: Path, header: str | None, path: str
) -> None:
    """Without the token the response is 401 with a challenge."""
    headers = {} if header is None else {"Authorization": header}
    with serving(bearer_token_file=token_file) as listener:
        code, answered = status(get, listener.url + path, headers=headers)
    assert (code, answered["WWW-Authenticate"]) == (401, 'Bearer realm="damon"')


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer s3cret"])
def test_right_token(serving: Serving, get: Get, token_file: Path, header: str) -> None:
    """With the token the metrics are served."""
    with serving(bearer_token_file=token_file) as listener:
        get(listener.url, headers={"Authorization": header})


def test_front_page_needs_token(serving: Serving, get: Get, token_file: Path) -> None:
    """No page at all is served without the token."""
    with serving(bearer_token_file=token_file) as listener:
        assert status(get, listener.url.removesuffix("metrics"))[0] == 401


def test_token_variable(serving: Serving, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token may come from an environment variable."""
    monkeypatch.setenv("DAMON_TEST_TOKEN", "other")
    with serving(bearer_token_variable="DAMON_TEST_TOKEN") as listener:
        get(listener.url, headers={"Authorization": "Bearer other"})
        assert status(get, listener.url)[0] == 401


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of basic authentication."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def test_basic_auth(serving: Serving, get: Get, tmp_path: Path) -> None:
    """With user and password the metrics are served, without them the response is a challenge."""
    password_file = tmp_path / "password"
    password_file.write_text("pass: wörd", encoding="utf-8")
    with serving(basic_auth=BasicAuthOptions("me", password_file)) as listener:
        get(listener.url, headers=basic("me", "pass: wörd"))
        for wrong in (basic("me", "pass"), basic("you", "pass: wörd"), {}):
            code, headers = status(get, listener.url, headers=wrong)
            assert (code, headers["WWW-Authenticate"]) == (401, 'Basic realm="damon"')


def test_secret_is_not_shown(token_file: Path) -> None:
    """Neither options nor errors show a secret."""
    from damon_prometheus.authorization import read_authorization

    options = ListenerOptions(bearer_token_file=token_file)
    assert "s3cret" not in repr(options) + repr(read_authorization(options))


def test_warning_without_authentication(
    make_listener: MakeListener, caplog: pytest.LogCaptureFixture
) -> None:
    """An address that other machines can reach, without authentication, gives a warning."""
    with caplog.at_level(logging.WARNING):
        make_listener(address="0.0.0.0")
    assert "is readable from other machines" in caplog.text


def test_no_warning(
    make_listener: MakeListener, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Loopback, or authentication, gives no warning."""
    with caplog.at_level(logging.WARNING):
        make_listener()
        make_listener(address="localhost")
        make_listener(address="0.0.0.0", bearer_token_file=token_file)
    assert caplog.text == ""


# -- options that can't be used --------------------------------------------------------


def test_port_in_use() -> None:
    """The error of a port in use names the address and what to do."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError) as caught:
            registered().factory(PrometheusOptions(port=port))
    assert str(caught.value).startswith(f"127.0.0.1:{port}: the port is in use: choose another")


def test_foreign_address() -> None:
    """An address of another machine is refused."""
    with pytest.raises(InputError, match=r"192\.0\.2\.1:0: this machine doesn't have that address"):
        Listener(ListenerOptions(address="192.0.2.1", port=0))


def test_no_address() -> None:
    """An invalid address is refused."""
    with pytest.raises(InputError, match=r"address '127\.0\.0\.256' can't be resolved"):
        Listener(ListenerOptions(address="127.0.0.256", port=0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"one\ntwo\n", "more than one line"),
        (b"\xff", "is not UTF-8"),
        (b"two words", "printable ASCII without spaces"),
    ],
)
def test_bad_token_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The error of an unusable token file names its path."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        Listener(ListenerOptions(port=0, bearer_token_file=path))
    assert str(path) in str(caught.value)


def test_missing_token_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that isn't set is refused, by name."""
    monkeypatch.delenv("DAMON_TEST_TOKEN", raising=False)
    with pytest.raises(InputError, match="environment variable DAMON_TEST_TOKEN: is not set"):
        Listener(ListenerOptions(port=0, bearer_token_variable="DAMON_TEST_TOKEN"))


def test_missing_certificate(tmp_path: Path) -> None:
    """The error of a missing certificate names its path."""
    with pytest.raises(InputError, match=r"tls: .*cert\.pem can't be read: No such file"):
        Listener(ListenerOptions(port=0, tls=TlsOptions(tmp_path / "cert.pem", tmp_path / "key")))


@pytest.mark.needs("openssl")
def test_swapped_certificate(certificate: TlsOptions) -> None:
    """A certificate and a key that don't match are refused."""
    swapped = TlsOptions(certificate.key_file, certificate.certificate_file)
    with pytest.raises(InputError, match="must be a PEM certificate and its unencrypted key"):
        Listener(ListenerOptions(port=0, tls=swapped))


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1},
        {"port": 65_536},
        {"address": ""},
        {"max_targets": 0},
        {"idle_thresholds": (Microseconds(0),)},
        {"idle_thresholds": (Microseconds(2), Microseconds(1))},
        {"idle_thresholds": (Microseconds(10_000_000), Microseconds(10_000_001))},
        {"bearer_token_variable": ""},
        {"bearer_token_variable": "\ud800"},
        {"bearer_token_variable": "X", "bearer_token_file": Path("x")},
        {"bearer_token_file": Path("x"), "basic_auth": BasicAuthOptions("u", Path("x"))},
    ],
)
def test_bad_options(options: dict[str, object]) -> None:
    """Invalid values are refused, with what is allowed."""
    with pytest.raises(ValueError, match="must "):
        PrometheusOptions(**options)  # type: ignore[arg-type]


# -- sharing ---------------------------------------------------------------------------


def test_one_listener() -> None:
    """Callbacks of one registration with the same address and port share a listener."""
    make = registered().factory
    options = PrometheusOptions(port=free_port())
    callbacks = [make(options), make(PrometheusOptions(address="localhost", port=options.port))]
    assert callbacks[0].listener is callbacks[1].listener  # type: ignore[attr-defined]
    close(*callbacks)


def test_two_ports() -> None:
    """Callbacks with different ports have different listeners."""
    make = registered().factory
    callbacks = [make(PrometheusOptions(port=0)) for _ in range(2)]
    assert callbacks[0].listener.port != callbacks[1].listener.port  # type: ignore[attr-defined]
    close(*callbacks)


def test_contradicting_authentication(token_file: Path) -> None:
    """Contexts that share a listener but differ in authentication are refused."""
    make = registered().factory
    port = free_port()
    callback = make(PrometheusOptions(port=port))
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}: .* differ in bearer_token_file: "):
        make(PrometheusOptions(port=port, bearer_token_file=token_file))
    close(callback)


def test_no_state_between_registrations() -> None:
    """Registrations don't share listeners: for another one the port is in use."""
    options = PrometheusOptions(port=free_port())
    callback = registered().factory(options)
    with pytest.raises(InputError, match="the port is in use"):
        registered().factory(options)
    close(callback)


def test_unused_callback_frees_its_port() -> None:
    """A callback that is discarded without having run doesn't keep its port."""
    options = PrometheusOptions(port=free_port())
    make = registered().factory
    make(options)
    gc.collect()
    close(registered().factory(options))


# -- deployments that can't be built, and their ports ------------------------------------


def test_port_is_free_when_another_part_cannot_be_made() -> None:
    """What a deployment had bound before it failed can be bound at once."""
    port = free_port()
    deployment = {
        "context": [
            {
                "primitive": {"use": "sim", "size": "1MiB", "uniform": {"rate": 1.0}},
                "callback": [
                    {"use": "prometheus", "port": port},
                    {"use": "csv", "path": "/no/such/directory/rows.csv"},
                ],
            }
        ]
    }
    plugins = Plugins.discover()
    with pytest.raises(ConfigError, match="there is no directory") as caught:
        build_contexts(check_config(deployment, plugins), plugins)
    assert [problem.path for problem in caught.value.problems] == ["context[0].callback[1]"]
    socket.create_server(("127.0.0.1", port)).close()


def test_port_is_free_when_a_context_that_never_ran_is_closed(make_context: Make) -> None:
    """A context that was built but never started gives its port back."""
    port = free_port()
    context = make_context(PrometheusCallback(PrometheusOptions(port=port)))
    context.close()
    socket.create_server(("127.0.0.1", port)).close()


def test_release_leaves_the_port_to_others() -> None:
    """A callback that is released closes the listener only if no other callback shares it."""
    listener = Listener(ListenerOptions(port=0))
    first, second = PrometheusCallback(listener=listener), PrometheusCallback(listener=listener)
    first.release()
    assert listener.is_open
    second.release()
    assert not listener.is_open


# -- lifecycle -------------------------------------------------------------------------


class Pace:
    """Keeps a context on virtual time from using a whole CPU."""

    @hookimpl
    def after_aggregation(self) -> None:
        time.sleep(0.01)


def test_end_of_one_of_two(make_context: Make, get: Get) -> None:
    """When one of two contexts ends, the other is still served."""
    listener = Listener(ListenerOptions(port=0))
    first, second = (
        make_context(PrometheusCallback(listener=listener), Pace(), name=name, checks=None)
        for name in ("first", "second")
    )
    start(first, second)
    eventually(lambda: second.snapshot)
    stop(first)
    text, _ = get(listener.url)
    stop(second)
    assert 'damon_running{context="first"} 0.0' in text
    assert 'damon_running{context="second"} 1.0' in text
    assert not listener.is_open


def test_closed_after_the_end(make_context: Make) -> None:
    """When the last context has ended, the port is free."""
    callback = PrometheusCallback(PrometheusOptions(port=0))
    context = make_context(callback)
    run(context)
    with closing(socket.create_server(("127.0.0.1", callback.listener.port))):
        pass


def test_open_again_after_restart(make_context: Make, get: Get) -> None:
    """A context that starts again is served on the same port again."""
    callback = PrometheusCallback(PrometheusOptions(port=0))
    urls: list[str] = []

    def scrape(_context: Context) -> bool:
        get(callback.listener.url)
        urls.append(callback.listener.url)
        return True

    context = make_context(callback, at_aggregation=scrape)
    for _ in range(2):
        run(context)
    assert len(urls) == 2
    assert urls[0] == urls[1]


def test_closed_after_a_failure(make_context: Make) -> None:
    """When the primitive fails at once, the listener closes nevertheless."""

    class Failing:
        @hookimpl
        def init(self) -> None:
            raise RuntimeError("no")

    callback = PrometheusCallback(PrometheusOptions(port=0))
    context = Context(Failing(), [callback])
    run(context, check=False)
    assert context.error is not None
    assert not callback.listener.is_open


def test_port_lost_before_restart(make_context: Make) -> None:
    """If the port was taken meanwhile, the context runs without being served, and logs it."""
    callback = PrometheusCallback(PrometheusOptions(port=0))
    context = make_context(callback)
    run(context)
    with closing(socket.create_server(("127.0.0.1", callback.listener.port))):
        run(context)
    assert context.error is None
    assert "the port is in use" in context.stats.callbacks["prometheus"].last_error


def test_no_thread_is_left(make_context: Make) -> None:
    """The listener's thread ends with the last context."""
    context = make_context(PrometheusCallback(PrometheusOptions(port=0)))
    run(context)
    assert not [thread for thread in threading.enumerate() if thread.name == "damon-prometheus"]


def test_probe() -> None:
    """`damon doctor` shows whether the default address is free."""
    assert "127.0.0.1:9464" in registered().probe()[0].detail
