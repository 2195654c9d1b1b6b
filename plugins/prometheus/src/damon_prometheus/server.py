"""The HTTP server: one thread per client, so that no client can delay another."""

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs

from damon_prometheus.authorization import Authorization
from damon_prometheus.exposition import Exposition
from damon_prometheus.health import Health
from damon_prometheus.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

#: How long a client may take from connecting to the last byte of its response, seconds.
CLIENT_TIME_LIMIT_S = 10.0
#: How many clients may be connected at a time; a further one takes the place of the one that has
#: been sending its request for longest.
MAX_CLIENTS = 64

_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><title>DAMON</title></head>
<body><h1>DAMON</h1><p><a href="/metrics">Metrics</a></p></body></html>
"""


class MetricsServer(ThreadingHTTPServer):
    """Listens from its construction, responds between `start` and `stop`.

    Args:
        family: The socket's address family.
        address: The socket's address.
        exposition: Makes the page of metrics.
        health: Says what is wrong.
        lifecycle: Reads the configuration again.
        charge: Called with the CPU time of each request in seconds, and what of it was for single
            contexts.
        tls: The TLS context for HTTPS; None serves HTTP.
        authorization: The authorization that a request needs; None allows every request.

    Raises:
        OSError: The address can't be listened on.
    """

    daemon_threads = True
    request_queue_size = MAX_CLIENTS

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[Any, ...],
        exposition: Exposition,
        health: Health,
        lifecycle: Lifecycle,
        *,
        charge: Callable[[float, Mapping[str, float]], None],
        tls: ssl.SSLContext | None,
        authorization: Authorization | None,
    ) -> None:
        self.address_family = family
        self.authorization = authorization
        self.exposition, self.health = exposition, health
        self.lifecycle = lifecycle
        self._charge = charge
        self._tls = tls
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}  # in the order of their connections
        self._answered: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def start(self) -> None:
        """Begin to respond, if the server hasn't begun yet."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self.serve_forever, args=(1.0,), name="damon-prometheus", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut all connections and wait for the listening thread."""
        if self._thread is not None:
            # The thread sleeps in poll(); on Linux this wakes it.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.shutdown()
            self._thread.join()
        self.server_close()
        self._cut(float("inf"))

    # -- socketserver's hooks ----------------------------------------------------------

    def server_bind(self) -> None:
        """Bind without http.server's look-up of this machine's name in DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; the TLS handshake is left to its own thread."""
        connection, client = super().get_request()
        connection.settimeout(CLIENT_TIME_LIMIT_S)
        if self._tls is None:
            return connection, client
        try:
            wrapped = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            connection.close()
            raise
        return wrapped, client

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is room for another client, or can be made."""
        with self._lock:
            if len(self._deadlines) < MAX_CLIENTS:
                return True
            slow = next((each for each in self._deadlines if each not in self._answered), None)
            if slow is None:
                return False
            del self._deadlines[slow]
            _disconnect(slow)
            return True

    def answering(self, connection: socket.socket) -> None:
        """Take note that a client's request is complete."""
        with self._lock:
            self._answered.add(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a client in its own thread, for a limited time."""
        with self._lock:
            self._deadlines[request] = time.monotonic() + CLIENT_TIME_LIMIT_S
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake and respond, in the client's thread."""
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        shares: dict[str, float] = {}
        try:
            _Handler(shares, request, client_address, self)
        finally:
            # The thread is this client's: all that it has used.
            self._charge(time.thread_time(), shares)

    def shutdown_request(self, request: Any) -> None:
        """Forget a client and close its connection."""
        with self._lock:
            self._deadlines.pop(request, None)
            self._answered.discard(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Disconnect the clients whose time is over; called once a second.

        A timeout of the socket isn't enough: a client can send one byte now and then.
        """
        self._cut(time.monotonic())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a client's thread; a client's own mistakes only at level DEBUG."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        logger.log(level, "client %s: %r", client_address, error, exc_info=level > logging.DEBUG)

    def _cut(self, now: float) -> None:
        with self._lock:
            for connection, deadline in self._deadlines.items():
                if deadline <= now:
                    _disconnect(connection)


def _disconnect(connection: socket.socket) -> None:
    # Not SSLSocket's own shutdown: it would remove TLS while its thread uses it.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Responds to one request.

    Args:
        shares: Is given the CPU time that was for single contexts, in seconds, by their labels.
        arguments: What socketserver gives a handler.
    """

    server: MetricsServer
    server_version = "damon-prometheus"
    sys_version = ""

    def __init__(self, shares: dict[str, float], *arguments: Any) -> None:
        self._shares = shares
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Serve the metrics, a page with a link to them, and checks of health."""
        self.server.answering(self.connection)
        authorization = self.server.authorization
        allowed = not authorization or authorization.accepts(self.headers.get("Authorization"))
        path, _, query = self.path.partition("?")
        # Checks of health have no password; who has none learns no names.
        if path == "/-/healthy":
            self._say(self.server.health.stale(), "healthy", show=allowed)
            return
        if path == "/-/ready":
            self._say(self.server.health.not_ready(), "ready", show=allowed)
            return
        if authorization and not allowed:
            self._demand(authorization)
            return
        if path == "/metrics":
            self._serve_metrics(query)
        elif path == "/-/reload":
            self._answer(
                HTTPStatus.METHOD_NOT_ALLOWED,
                [("Content-Type", "text/plain"), ("Allow", "POST")],
                b"405 Method Not Allowed: use POST\n",
            )
        elif path == "/":
            self._answer(HTTPStatus.OK, [("Content-Type", "text/html; charset=utf-8")], _PAGE)
        else:
            self._answer(
                HTTPStatus.NOT_FOUND,
                [("Content-Type", "text/plain")],
                b"404 Not Found: the metrics are at /metrics\n",
            )

    def _say(self, problems: Iterable[str], state: str, *, show: bool) -> None:
        """Answer that all is well, or 503 and why not."""
        found = list(problems)
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        lines = [f"not {state}" if found else state, *(found if show else ())]
        body = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
        self._answer(status, [("Content-Type", "text/plain; charset=utf-8")], body)

    do_HEAD = do_GET  # noqa: N815  # checks of health use it

    def do_POST(self) -> None:
        """Have the configuration read again."""
        if self.path.partition("?")[0] != "/-/reload":
            self._refuse()
            return
        self.server.answering(self.connection)
        authorization = self.server.authorization
        if authorization and not authorization.accepts(self.headers.get("Authorization")):
            self._demand(authorization)
            return
        if self.headers.get("Origin") is not None:  # a page of another site, in a browser
            status, text = HTTPStatus.FORBIDDEN, "this isn't for browsers"
        else:
            status, text = self.server.lifecycle.reload()
        body = f"{text}\n".encode(errors="backslashreplace")
        self._answer(status, [("Content-Type", "text/plain; charset=utf-8")], body)

    def _demand(self, authorization: Authorization) -> None:
        self._answer(
            HTTPStatus.UNAUTHORIZED,
            [("Content-Type", "text/plain"), ("WWW-Authenticate", authorization.challenge)],
            b"401 Unauthorized\n",
        )

    def _refuse(self) -> None:
        self._answer(
            HTTPStatus.METHOD_NOT_ALLOWED,
            [("Content-Type", "text/plain"), ("Allow", "GET, HEAD")],
            b"405 Method Not Allowed: use GET\n",
        )

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _serve_metrics(self, query: str) -> None:
        try:
            answer = self.server.exposition.answer(
                self.headers.get("Accept"),
                self.headers.get("Accept-Encoding"),
                parse_qs(query).get("name[]", ()),
            )
        except Exception:
            logger.exception("the metrics can't be collected")
            self._answer(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                [("Content-Type", "text/plain")],
                b"500 Internal Server Error: see the log of damon\n",
            )
            return
        self._shares.update(answer.shares)
        self._answer(HTTPStatus.OK, answer.headers, answer.body)

    def _answer(self, status: HTTPStatus, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log requests at level DEBUG only."""
        logger.debug("client %s: " + format, self.client_address[0], *args)
