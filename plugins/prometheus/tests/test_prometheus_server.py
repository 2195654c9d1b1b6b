"""A real Prometheus scrapes and answers queries."""

import json
import subprocess
import urllib.parse
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest
from damon_prometheus import (
    BasicAuthOptions,
    PrometheusCallback,
    PrometheusOptions,
    TlsOptions,
)

from damon_core import Context, SystemClock, start
from damon_core.testing import eventually, free_port

MIB = 1 << 20


@pytest.mark.needs("prometheus", "openssl")
@pytest.mark.slow
def test_real_prometheus(
    make_context: Callable[..., Context],
    get: Callable[..., tuple[str, Message]],
    certificate: TlsOptions,
    tmp_path: Path,
) -> None:
    """Prometheus scrapes a running context, over TLS with a password, and answers a query."""
    password_file = tmp_path / "password"
    password_file.write_text("s3cret", encoding="utf-8")
    options = PrometheusOptions(
        port=0, tls=certificate, basic_auth=BasicAuthOptions("prometheus", password_file)
    )
    callback = PrometheusCallback(options)
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        f"""
scrape_configs:
  - job_name: damon
    scrape_interval: 1s
    scheme: https
    tls_config: {{ca_file: {certificate.certificate_file}}}
    basic_auth: {{username: prometheus, password_file: {password_file}}}
    static_configs: [{{targets: ["127.0.0.1:{callback.listener.port}"]}}]
""",
        encoding="utf-8",
    )

    def ask(query: str) -> float | None:
        parameters = urllib.parse.urlencode({"query": query})
        try:
            text, _ = get(f"http://127.0.0.1:{port}/api/v1/query?{parameters}")
        except OSError:
            return None  # It is still starting.
        result = json.loads(text)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    with (
        make_context(callback, checks=None, clock=SystemClock()) as context,
        (tmp_path / "prometheus.log").open("wb") as log,
        subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
            ],
            stdout=log,
            stderr=log,
        ) as prometheus,
    ):
        try:
            start(context)
            working_set = 'damon_working_set_bytes{context="db",target="one"}'
            assert eventually(lambda: ask(working_set)) == 3 * MIB
            assert ask('sum(damon_frequency_bytes{above="0"})') == 3 * MIB
            assert ask("damon_running") == 1
            joined = "damon_monitored_bytes * on (context, target) damon_target_info"
            assert ask(joined) == 8 * MIB
        finally:
            prometheus.terminate()


@pytest.mark.needs("promtool")
def test_readme_for_prometheus(tmp_path: Path) -> None:
    """Prometheus accepts the README's scrape configuration, queries and alerting rules."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in readme.split("```yaml\n")[1:]]
    (config,) = [block for block in blocks if block.startswith("scrape_configs:")]
    (rules,) = [block for block in blocks if block.startswith("groups:")]
    queries = [
        query
        for block in readme.split("```promql\n")[1:]
        for query in block.partition("```")[0].strip().split("\n\n")
    ]
    config_file, rules_file = tmp_path / "prometheus.yml", tmp_path / "rules.yml"
    config_file.write_text(config + "\nrule_files: [rules.yml]\n", encoding="utf-8")
    queries_as_rules = [
        {"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)
    ]
    assert len(queries_as_rules) >= 9
    rules_file.write_text(rules, encoding="utf-8")
    (tmp_path / "queries.yml").write_text(
        json.dumps({"groups": [{"name": "queries", "rules": queries_as_rules}]}), encoding="utf-8"
    )
    for check in (
        ["config", str(config_file)],
        ["rules", str(rules_file), str(tmp_path / "queries.yml")],
    ):
        checked = subprocess.run(
            ["promtool", "check", *check], capture_output=True, text=True, timeout=60, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


RULE_TEST = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'damon_running{{context="db"}}', values: '1x30'}}
      - {{series: 'damon_aggregation_interval_seconds{{context="db"}}', values: '{interval}x30'}}
      - {{series: 'damon_last_aggregation_timestamp_seconds{{context="db"}}', values: '{last}'}}
    alert_rule_test:
      - {{eval_time: 25m, alertname: DamonNotMonitoring, exp_alerts: [{alerts}]}}
"""


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("interval", "last", "fires"),
    [
        ("300", "0 0 0 0 0 300 300 300 300 300 600 600 600 600 600 900 900 900 900 900 1200x10", 0),
        ("5", "0x30", 1),
        ("5", "0+60x30", 0),
    ],
    ids=["long aggregations", "none any more", "short aggregations"],
)
def test_readme_rule_on_the_end_of_monitoring(
    tmp_path: Path, interval: str, last: str, fires: int
) -> None:
    """It fires when aggregations stop, not when they are long."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (rules,) = [
        block.partition("```")[0]
        for block in readme.split("```yaml\n")[1:]
        if block.startswith("groups:")
    ]
    (tmp_path / "rules.yml").write_text(rules, encoding="utf-8")
    alerts = (
        "{exp_labels: {severity: warning, context: db}, "
        'exp_annotations: {summary: "db isn\'t monitored any more"}}'
    )
    (tmp_path / "test.yml").write_text(
        RULE_TEST.format(interval=interval, last=last, alerts=alerts * fires), encoding="utf-8"
    )
    checked = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
