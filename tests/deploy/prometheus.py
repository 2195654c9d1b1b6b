"""A real Prometheus on a free port, and pages that it scrapes."""

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from attrs import frozen

from damon_core.testing import eventually, free_port

RULES = Path(__file__).parents[2] / "deploy/prometheus/damon.rules.yaml"


@frozen
class Prometheus:
    """A Prometheus that runs.

    Attributes:
        url: Its address.
    """

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        assert found["status"] == "success"
        return list(found["data"]["result"])

    def value(self, expression: str) -> float | None:
        """Return the only value of an instant query; None if there is none yet."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


@contextmanager
def run_prometheus(folder: Path, target: str, interval: str = "1s") -> Iterator[Prometheus]:
    """Run a Prometheus with our rules, which scrapes a target at an interval."""
    (folder / "damon.rules.yaml").write_text(RULES.read_text())
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}
rule_files: [damon.rules.yaml]
scrape_configs:
  - job_name: damon
    honor_labels: true
    static_configs: [{{targets: ["{target}"]}}]
"""
    )
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with open(folder / "prometheus.log", "w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    prometheus = Prometheus(f"http://127.0.0.1:{port}")

    def is_ready() -> bool:
        try:
            return bool(prometheus.query("vector(1)"))
        except OSError:
            return False

    try:
        eventually(is_ready)
        yield prometheus
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def serve_page(page: bytes) -> Iterator[str]:
    """Serve a page of metrics; yields its address and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
