"""Rules of Prometheus: promtool's judgement, its unit tests, and a fleet of 1,000 hosts."""

import re
import subprocess
from pathlib import Path

import pytest
from damon_prometheus.families import FAMILIES

from damon_core.testing import eventually
from tests.deploy.prometheus import run_prometheus, serve_page

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"
RULES = FOLDER / "damon.rules.yaml"
TESTS = FOLDER / "damon.tests.yaml"
#: What others export: Prometheus itself, and the program that runs the contexts.
OTHERS = {"damon_config_last_reload_successful"}

HOSTS, UNITS, PODS = 1_000, 10, 5


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run promtool."""
    command = ["promtool", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.needs("promtool")
def test_promtool_accepts_the_rules() -> None:
    """Without a warning."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("promtool")
def test_the_unit_tests_of_the_rules_pass() -> None:
    """Among them: aggregations of ten minutes are no reason for an alert."""
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_of_the_rules_exist() -> None:
    """A rule about a metric that nobody exports would be silent for ever."""
    expressions = re.sub(r"(?m)^ +(- record|summary|description|#).*$", "", RULES.read_text())
    used = set(re.findall(r"(?<![:\w])damon_\w+(?![:\w])", expressions))
    assert used
    assert used <= {family.name for family in FAMILIES} | OTHERS


def page_of_the_fleet() -> bytes:
    """Return series of all hosts: unit 1 has 1 byte of each kind, unit 2 has 2, …; so have pods.

    Each pod has a name of its own, as a DaemonSet's or a Deployment's have, and two containers.
    """
    parts = [(f'unit="u{unit}"', unit) for unit in range(1, UNITS + 1)]
    parts += [
        (f'namespace="n{pod}",pod="p{pod}-HOST",container="{container}"', pod)
        for pod in range(1, PODS + 1)
        for container in ("web", "log")
    ]
    lines = []
    for host in range(HOSTS):
        for part, size in parts:
            labels = f'job="damon",instance="h{host}",context="s",{part}'.replace("HOST", str(host))
            lines.append(f"damon_monitored_bytes{{{labels}}} {size}")
            lines.append(f'damon_window_working_set_bytes{{{labels},window="1h"}} {size}')
            lines.append(f'damon_idle_bytes{{{labels},at_least="1m"}} {size}')
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.slow
@pytest.mark.needs("prometheus")
def test_a_fleet_of_a_thousand_hosts_is_added_up(tmp_path: Path) -> None:
    """A real Prometheus makes ten series by unit of ten thousand units of hosts.

    And five by namespace of five thousand pods with two containers each.
    """
    page = page_of_the_fleet()
    with serve_page(page) as target, run_prometheus(tmp_path, target, "5s") as fleet:
        hour = '{window="1h"}'
        by_unit = f"unit:damon_window_working_set_bytes:sum{hour}"
        total = HOSTS * UNITS * (UNITS + 1) // 2
        by_host = f"instance_unit:damon_window_working_set_bytes:sum{hour}"
        idle = 'unit:damon_idle_bytes:sum{unit="u7",at_least="1m"}'
        by_pod = f"namespace_pod:damon_window_working_set_bytes:sum{hour}"
        by_container = f"namespace_pod_container:damon_window_working_set_bytes:sum{hour}"
        by_namespace = f"namespace:damon_window_working_set_bytes:sum{hour}"
        of_pods = HOSTS * PODS * (PODS + 1)
        # Rules are evaluated one after the other.
        for expression, value in (
            (f"count({by_host})", HOSTS * UNITS),
            (f"sum({by_unit})", total),
            (f"count({by_unit})", UNITS),
            (idle, 7 * HOSTS),
            (f"count({by_container})", 2 * HOSTS * PODS),
            (f"count({by_pod})", HOSTS * PODS),
            ('namespace_pod:damon_idle_bytes:sum{pod="p3-7"}', 6),
            (f"sum({by_namespace})", of_pods),
            (f"count({by_namespace})", PODS),
        ):
            eventually(lambda e=expression, v=value: fleet.value(e) == v, 240)  # type: ignore[misc]
