"""Requests to the Prometheus listener: any bytes, and requests with any headers."""

import gzip
import http.client
import io
import random
import re
import socket
from pathlib import Path
from typing import Any, ClassVar

from damon_prometheus.authorization import Authorization
from damon_prometheus.collector import ContextsCollector
from damon_prometheus.exposition import Exposition
from damon_prometheus.health import Health
from damon_prometheus.lifecycle import Lifecycle
from damon_prometheus.server import MetricsServer, _Handler
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from tests.fuzz.judging import Fault, Kind
from tests.fuzz.mutating import Mutator

_ACCEPTS = (
    "text/plain",
    "text/plain;version=0.0.4",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text;version=1.0.0",
    "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=values",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    "*/*",
)
_REQUEST = (
    "GET /metrics?name[]=damon_x HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nAccept: {}\r\n"
    "Accept-Encoding: gzip\r\nAuthorization: {}\r\nConnection: close\r\n\r\n"
)
_WORDS = [
    "GET",
    "HEAD",
    "POST",
    "OPTIONS",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/9999999999999999.1",
    "/metrics",
    "/",
    "//",
    "/metrics?",
    "?name[]=",
    "%00",
    "%zz",
    "Accept",
    "Accept:",
    "Accept-Encoding:",
    "gzip",
    "Transfer-Encoding:",
    "chunked",
    "Content-Length:",
    "-1",
    "Expect:",
    "100-continue",
    "Bearer",
    "Basic",
    "Connection:",
    "keep-alive",
    "q=0",
    "q=abc",
    "version=",
    "version=abc",
    "version=1.0.0",
    "version=9999999999.1",
    "escaping=",
    "escaping=x",
    ";",
    ",",
    "\r\n",
    "\r",
    "\n",
]
_STATUSES = {200, 400, 401, 404, 405, 414, 431, 501, 505}


class HttpRequest(Kind):
    """What a client sends; the first byte says whether the listener wants a token."""

    name: ClassVar[str] = "http"
    limit_s: ClassVar[float] = 2.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        registry, contexts = CollectorRegistry(), ContextsCollector()
        for name in ("damon_x", "damon_y"):
            gauge = Gauge(name, 'a "b" \\ c', ["target"], registry=registry)
            for target in ('a"b\\c', "ümläut", "\n"):
                gauge.labels(target).set(1)
        token = Authorization("Bearer", b"secret")
        self._servers = {
            first: MetricsServer(
                socket.AF_INET,
                ("127.0.0.1", 0),
                Exposition(contexts, registry),
                Health(contexts),
                Lifecycle(enabled=True),
                tls=None,
                authorization=authorization,
                charge=contexts.charge,
            )
            for first, authorization in ((b"o", None), (b"t", token))
        }
        for server in self._servers.values():
            server.server_close()  # requests come without a network

    def make(self, chance: random.Random) -> bytes:
        """Return a request with something changed."""
        mutator = Mutator(chance, _WORDS)
        accept = chance.choice(_ACCEPTS)
        if chance.random() < 0.6:
            accept = mutator.text(accept)
        authorization = chance.choice(("Bearer secret", "Bearer", "Basic \udcff", mutator.name()))
        text = _REQUEST.format(accept, authorization).encode("utf-8", "surrogatepass")
        if chance.random() < 0.6:
            text = mutator.raw(text)
        if chance.random() < 0.02:
            text = text.replace(b"Accept:", b"Accept: " + b"a/b," * 20_000 + b"\r\nX:")
        if chance.random() < 0.02:
            text = text.replace(b"Host", b"H: 1\r\n" * 150 + b"Host")
        return chance.choice((b"o", b"t")) + text

    def judge(self, data: bytes) -> bool:
        """Send it, and read the response as clients do."""
        server = self._servers.get(data[:1])
        if server is None:
            return False
        client = _Socket(data[1:])
        try:
            _Handler({}, client, ("127.0.0.1", 1), server)
        except OSError:  # logged at level DEBUG: the client's own mistake
            return False
        return _judge_response(client.out.getvalue(), data[1:])


def _judge_response(answer: bytes, request: bytes) -> bool:
    if not answer:  # nothing was asked
        return False
    if not answer.startswith(b"HTTP/"):
        if re.match(rb"[A-Z]+ \S+ HTTP/1\.[01]\r?\n", request):
            raise Fault(f"no status line: {answer[:60]!r}")
        return False  # HTTP 0.9 has none
    method = "HEAD" if request.lstrip(b"\r\n").startswith(b"HEAD") else "GET"
    response = http.client.HTTPResponse(_Socket(answer), method=method)  # type: ignore[arg-type]
    response.begin()
    if response.status not in _STATUSES:
        raise Fault(f"status {response.status}")
    body = response.read()
    length = response.getheader("Content-Length")
    if method == "GET" and (length is None or int(length) != len(body)):
        raise Fault(f"Content-Length {length} of {len(body)}")
    kind = response.getheader("Content-Type") or ""
    if response.status == 200 and method == "GET" and "html" not in kind:
        text = gzip.decompress(body) if response.getheader("Content-Encoding") else body
        if "protobuf" not in kind and "openmetrics" not in kind:
            list(text_string_to_metric_families(text.decode()))
    return response.status == 200


class _Socket:
    """A connection whose client has sent all and waits."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.out = io.BytesIO()

    def makefile(self, mode: str, *_args: Any) -> io.BytesIO:
        return io.BytesIO(self._data)

    def sendall(self, data: bytes) -> None:
        self.out.write(data)

    def settimeout(self, _seconds: float) -> None:
        """Nothing takes time."""

    def close(self) -> None:
        """There is nothing to close."""

    shutdown = setsockopt = settimeout
