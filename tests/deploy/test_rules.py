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

HOSTS, UNITS = 1_000, 10


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
    """Return series of all hosts: unit 1 has 1 byte of each kind, unit 2 has 2, …"""
    lines = []
    for host in range(HOSTS):
        for unit in range(1, UNITS + 1):
            labels = f'job="damon",instance="h{host}",context="s",unit="u{unit}"'
            lines.append(f"damon_monitored_bytes{{{labels}}} {unit}")
            lines.append(f'damon_window_working_set_bytes{{{labels},window="1h"}} {unit}')
            lines.append(f'damon_idle_bytes{{{labels},at_least="1m"}} {unit}')
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.slow
@pytest.mark.needs("prometheus")
def test_a_fleet_of_a_thousand_hosts_is_added_up(tmp_path: Path) -> None:
    """A real Prometheus makes ten series by unit of what ten thousand units of hosts say."""
    page = page_of_the_fleet()
    with serve_page(page) as target, run_prometheus(tmp_path, target, "5s") as fleet:
        hour = '{window="1h"}'
        by_unit = f"unit:damon_window_working_set_bytes:sum{hour}"
        total = HOSTS * UNITS * (UNITS + 1) // 2
        by_host = f"instance_unit:damon_window_working_set_bytes:sum{hour}"
        idle = 'unit:damon_idle_bytes:sum{unit="u7",at_least="1m"}'
        # Rules are evaluated one after the other.
        for expression, value in (
            (f"count({by_host})", HOSTS * UNITS),
            (f"sum({by_unit})", total),
            (f"count({by_unit})", UNITS),
            (idle, 7 * HOSTS),
        ):
            eventually(lambda e=expression, v=value: fleet.value(e) == v, 240)  # type: ignore[misc]
