"""The main job on real input: a redis under load, by pid and by cgroup, with real receivers."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from damon_core.testing import eventually, free_port

DAMON = Path(sys.executable).parent / "damon"
PATIENCE_S = 60

CONFIG = """
[[context]]
name = "by-pid"
aggregation_interval = "500ms"
[context.primitive]
use = "vaddr"
pid = {pid}
backend = "referenced"
[[context.callback]]
use = "csv"
path = "{csv}"
[[context.callback]]
use = "prometheus"
port = {metrics_port}
[[context.callback]]
use = "alert"
[[context.callback.rule]]
name = "redis-is-used"
when = "working_set"
above = "64KiB"
[[context.callback.notify]]
to = "alertmanager"
url = "http://127.0.0.1:{alertmanager_port}"

[[context]]
name = "by-cgroup"
aggregation_interval = "500ms"
[context.primitive]
use = "cgroup"
path = "{cgroup}"
backend = "referenced"
[[context.callback]]
use = "csv"
path = "{csv}"
[[context.callback]]
use = "prometheus"
port = {metrics_port}
"""


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def _until(condition: Callable[[], Any]) -> Any:
    """Return the first true answer of what may not be up yet."""

    def look() -> Any:
        try:
            return condition()
        except OSError:
            return None

    return eventually(look, PATIENCE_S)


@contextmanager
def _running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _cgroup_of(pid: int) -> Iterator[Path]:
    """A cgroup with one process, in the v2 hierarchy; the process goes back at the end."""
    root = next(
        Path(line.split()[1])
        for line in Path("/proc/mounts").read_text().splitlines()
        if line.split()[2] == "cgroup2"
    )
    group = root / f"damon-test-{pid}"
    group.mkdir()
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield group
    finally:
        (root / "cgroup.procs").write_text(str(pid))
        group.rmdir()


@pytest.mark.slow
@pytest.mark.needs("root", "redis-server", "prometheus", "alertmanager")
def test_redis_under_load_reaches_every_receiver(tmp_path: Path) -> None:
    """One `damon run`: rows in pandas, an answer of Prometheus, an alert in Alertmanager."""
    redis_port, metrics_port = free_port(), free_port()
    prometheus_port, alertmanager_port = free_port(), free_port()
    csv = tmp_path / "redis.csv"
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"- {{job_name: damon, static_configs: [{{targets: ['127.0.0.1:{metrics_port}']}}]}}\n"
    )
    (tmp_path / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]")
    with ExitStack() as stack:
        enter = stack.enter_context
        redis = enter(
            _running("redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "")
        )
        group = enter(_cgroup_of(redis.pid))
        enter(
            _running(
                *("prometheus", f"--config.file={tmp_path}/prometheus.yml"),
                *(f"--storage.tsdb.path={tmp_path}/tsdb",),
                f"--web.listen-address=127.0.0.1:{prometheus_port}",
            )
        )
        enter(
            _running(
                *("prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml"),
                *(f"--storage.path={tmp_path}/alerts", "--cluster.listen-address="),
                f"--web.listen-address=127.0.0.1:{alertmanager_port}",
            )
        )
        # The benchmark ends at once if it can't connect.
        enter(_until(lambda: socket.create_connection(("127.0.0.1", redis_port))))
        enter(
            _running(
                *("redis-benchmark", "-h", "127.0.0.1", "-p", str(redis_port), "-t", "set,get"),
                *("-r", "20000", "-n", "100000000", "-q"),
            )
        )
        config = tmp_path / "redis.toml"
        config.write_text(
            CONFIG.format(
                pid=redis.pid,
                csv=csv,
                cgroup=group,
                metrics_port=metrics_port,
                alertmanager_port=alertmanager_port,
            )
        )
        damon = enter(_running(DAMON, "run", config))

        query = urllib.parse.quote("sum by (context) (damon_accessed_bytes) > 0")
        url = f"http://127.0.0.1:{prometheus_port}/api/v1/query?query={query}"
        series = _until(lambda: len(_get(url)["data"]["result"]) == 2 and _get(url))
        alerts = _until(lambda: _get(f"http://127.0.0.1:{alertmanager_port}/api/v2/alerts"))
        damon.send_signal(signal.SIGTERM)
        exit_code = damon.wait(30)

    assert {each["metric"]["context"] for each in series["data"]["result"]} == {
        "by-pid",
        "by-cgroup",
    }
    assert alerts[0]["labels"]["alertname"] == "redis-is-used"
    assert exit_code == 0
    rows = pd.read_csv(csv)
    assert set(rows["context"]) == {"by-pid", "by-cgroup"}
    assert set(rows["target"]) == {f"redis-server[{redis.pid}]"}
    assert (rows["nr_accesses"] <= rows["max_nr_accesses"]).all()
    assert rows["nr_accesses"].max() > 0


def test_doctor_foretells_a_real_process() -> None:
    """A small program isn't slowed by more than is allowed, and isn't touched."""
    with _running("sleep", "600") as process:
        found = subprocess.run(
            [DAMON, "doctor", "--pid", str(process.pid), "--json"],
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
    forecast = json.loads(found.stdout)
    (target,) = forecast["targets"]
    assert target["name"].endswith(f"[{process.pid}]")
    assert target["resident_bytes"] > 0
    (referenced,) = (each for each in forecast["backends"] if each["name"] == "referenced")
    assert referenced["costs"]["look_us"] > 0
    assert referenced["expected"]["slowdown"] <= 0.01
    assert not referenced["stalls"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["--pid", "2"], "pid 2: it has no user memory: it is a kernel thread or about to end"),
        (["--pid", "2147483647"], "pid 2147483647: there is no such process"),
        (["--cgroup", "no/such"], "cgroup 'no/such': there is no such cgroup; "),
    ],
)
def test_doctor_says_what_is_not_there(asked: list[str], reason: str) -> None:
    """One line, and the exit code of a mistake."""
    done = subprocess.run(
        [DAMON, "doctor", *asked], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"damon: {reason}")
    assert done.stderr.count("\n") == 1
