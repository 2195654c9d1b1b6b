"""The package keeps the rules of its kind, with a receiver that takes everything."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from damon_core.testing.conformance import callback_rules


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Take what comes."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def receiver(_directory: Path) -> Iterator[Mapping[str, object]]:
    """Give options that name a receiver, which is there meanwhile."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield {"endpoint": f"http://127.0.0.1:{server.server_port}/v1/metrics"}
        finally:
            server.shutdown()
            thread.join()


test_callback = callback_rules("otlp", receiver)
