"""Shared by the tests of damon-otlp: contexts over numbers, and a receiver of OTLP."""

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from damon_core import Clock, Context, Intervals, Measure, VirtualClock
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion

MIB = 1 << 20


class Labelled(ScriptedMemory):
    """Memory whose targets have labels."""

    def __init__(self, labels: Mapping[str, Mapping[str, str]], checks: int | None) -> None:
        regions = [ScriptedRegion(0, 3 * MIB, 1.0), ScriptedRegion(3 * MIB, 8 * MIB, 0.0)]
        super().__init__(
            dict.fromkeys(labels, regions), checks, labels=labels, left_out={"unreadable": 3}
        )

    def measures(self, _context: object) -> list[Measure]:
        """Return two numbers of the part's own."""
        return [
            Measure("memory_scripts", 7, "Scripts.", {"kind": "test"}, counter=True),
            Measure("memory_load_seconds", 0.5, "How long it took.", of_context=False),
        ]


@pytest.fixture
def make_context() -> Callable[..., Context]:
    """Return a function that makes contexts: 3 of 8 MiB of each target are accessed.

    ``at_aggregation(context)`` is called in the worker after each aggregation; its true result
    stops the context, which otherwise runs for `checks` access checks.
    """

    def make(
        *callbacks: object,
        labels: Mapping[str, Mapping[str, str]] | None = None,
        name: str = "db",
        checks: int | None = 20,
        at_aggregation: Callable[[Context], object] = lambda _context: False,
        clock: Clock | None = None,
    ) -> Context:
        return Context(
            Labelled({"one": {}} if labels is None else labels, checks),
            [*callbacks, Recorder(after_aggregation=at_aggregation)],
            intervals=Intervals(sampling_us=5_000, aggregation_us=50_000, update_us=100_000),
            name=name,
            clock=clock or VirtualClock(),
        )

    return make


class Receiver(ThreadingHTTPServer):
    """A receiver of OTLP on a free port.

    Attributes:
        requests: What was received.
        headers: The headers of each request.
        status: What it answers.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[Mapping[str, str]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/metrics"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.headers.append({name.lower(): text for name, text in self.headers.items()})
        if self.server.status == 200:
            self.server.requests.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that responds."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_endpoint() -> str:
    """Return the URL of a port at which nothing listens any more."""
    with Receiver() as server:
        return server.endpoint
