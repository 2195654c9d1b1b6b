"""A real receiver takes the metrics, and answers queries."""

import json
import os
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from damon_otlp.callback import OtlpCallback
from damon_otlp.options import OtlpOptions

from damon_core import Context, Microseconds, SystemClock, start
from damon_core.testing import eventually, free_port
from tests.lab.errors import LabError
from tests.lab.victoria import victoria_metrics

MIB = 1 << 20
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def program() -> Path:
    """Return a VictoriaMetrics that receives OTLP."""
    try:
        return victoria_metrics()
    except LabError as error:
        if os.environ.get("DAMON_TEST_SKIPS") == "fail":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.slow
def test_real_receiver(make_context: Callable[..., Context], program: Path, tmp_path: Path) -> None:
    """Metrics have Prometheus's names there, and what labels say of a target is with them."""
    port = free_port()

    def ask(query: str, label: str = "damon_target") -> dict[str, float]:
        parameters = urllib.parse.urlencode({"query": query, "latency_offset": "1ms"})
        url = f"http://127.0.0.1:{port}/api/v1/query?{parameters}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found = json.loads(answer.read())["data"]["result"]
        except OSError:
            return {}  # It is still starting.
        return {each["metric"].get(label, ""): float(each["value"][1]) for each in found}

    callback = OtlpCallback(
        OtlpOptions(
            endpoint=f"http://127.0.0.1:{port}/opentelemetry/v1/metrics",
            interval=Microseconds(500_000),
            max_targets=2,
        )
    )
    by_pod = OtlpCallback(
        OtlpOptions(
            endpoint=f"http://127.0.0.1:{port}/opentelemetry/v1/metrics",
            interval=Microseconds(500_000),
            by=("pod",),
            windows=(Microseconds(1_000_000),),
            service_name="damon-by-pod",
        )
    )
    labels = {"one": {"pod": "web-1"}, "two": {"pod": "web-2"}, "three": {}}
    pods = {"a": {"pod": "web-1", "pid": "1"}, "b": {"pod": "web-1", "pid": "2"}, "c": {}}
    with (
        make_context(callback, checks=None, labels=labels, clock=SystemClock()) as context,
        make_context(by_pod, checks=None, labels=pods, clock=SystemClock(), name="pods") as grouped,
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [
                program,
                f"-httpListenAddr=127.0.0.1:{port}",
                f"-storageDataPath={tmp_path / 'data'}",
                "-opentelemetry.usePrometheusNaming",
                "-memory.allowedBytes=64MiB",
            ],
            stdout=log,
            stderr=log,
        ) as server,
    ):
        try:
            eventually(lambda: ask("vector(1)"))
            start(context, grouped)
            db = '{damon_context="db"}'
            eventually(lambda: len(ask(f"damon_working_set_bytes{db}")) == 3)
            assert set(ask(f"damon_working_set_bytes{db}").values()) == {3 * MIB}
            found = ask(f"sum by (k8s_pod_name) (damon_working_set_bytes{db})", "k8s_pod_name")
            assert found == {"web-1": 3 * MIB, "web-2": 3 * MIB, "": 3 * MIB}
            assert ask(f"damon_running{db}") == {"": 1}
            assert ask(f"damon_samples_total{db}")[""] > 0
            assert ask(f"damon_cpu_seconds_total{db}")[""] > 0
            assert ask(f"damon_sampling_interval_seconds{db}")[""] >= 0.005
            assert ask(f"damon_slowdown_ratio{db}") == {"": 0}
            left_out = ask(f"damon_targets_left_out{db}", "damon_left_out_reason")
            assert left_out == {"unreadable": 3}
            assert ask(f"damon_memory_scripts_total{db}", "damon_kind") == {"test": 7}
            assert max(ask("process_memory_usage_bytes").values()) > MIB
            # By pod, over what its processes are; the window is known after a second.
            of_pods = 'damon_window_working_set_bytes{damon_context="pods", damon_window="1s"}'
            eventually(lambda: len(ask(of_pods, "k8s_pod_name")) == 2)
            by_name = ask('damon_working_set_bytes{damon_context="pods"}', "k8s_pod_name")
            assert by_name == {"web-1": 6 * MIB, "": 3 * MIB}
        finally:
            server.terminate()


@pytest.mark.needs("promtool")
def test_the_readme_s_query_is_one(tmp_path: Path) -> None:
    """Prometheus's own tool can read it."""
    (query,) = re.findall(r"```promql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    rules = {"groups": [{"name": "queries", "rules": [{"record": "query", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(json.dumps(rules), encoding="utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
