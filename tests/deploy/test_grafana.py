"""The dashboard of Grafana: Grafana's schema, and what each query of it returns."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from damon_prometheus.families import FAMILIES
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from damon_core.testing import eventually, free_port
from tests.deploy.prometheus import Prometheus, run_prometheus
from tests.lab.needs import why_unmet

TEXT = (Path(__file__).parents[2] / "deploy/grafana/damon.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
QUERIES = {each["expr"]: panel["title"] for panel in PANELS for each in panel["targets"]}
#: What others export: the daemon, its client library, and Prometheus.
OTHERS = {"damon_config_last_reload_successful"}
#: What only page tables know.
OF_PAGE_TABLES = "damon_touched_bytes"

#: How many processes of which most can't be opened, as the daemon may open few files.
MANY, FILES = 60, 100
#: A program whose memory is partly used.
PROGRAM = """
import time
memory = bytearray(32 << 20)
while True:
    memory[: 8 << 20 : 4096] = bytes(2048)
    time.sleep(0.05)
"""
CONTEXT = """
[[context]]
name = "{name}"
sampling_interval = "50ms"
aggregation_interval = "500ms"
labels = {{ {labels} }}
[context.primitive]
use = "vaddr"
kinds = true
{target}
[[context.callback]]
use = "prometheus"
port = {port}
by = [{by}]
windows = ["1s", "10s"]
idle_thresholds = ["1s", "10s"]
"""


def lost(before: object, after: object, place: str = "") -> Iterator[str]:
    """Return what is in a document, and not or otherwise in another one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{place}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield place


def through_the_schema(dashboard: dict[str, Any]) -> list[str]:
    """Return what of a dashboard Grafana's classes don't know."""
    register_default_plugins()
    read = Dashboard.from_json(dashboard)
    kept = json.loads(JSONEncoder().encode(read))
    # Their class of annotations is that of another data source than Prometheus.
    return [each for each in lost(dashboard, kept) if not each.startswith(".annotations")]


def test_the_schema_knows_all_of_it() -> None:
    """Panels, their options and queries, by the classes that Grafana makes of its schema."""
    assert through_the_schema(DASHBOARD) == []


@pytest.mark.parametrize("where", ["options", "fieldConfig", "gridPos"])
def test_a_mistake_would_be_found(where: str) -> None:
    """An unknown key in a panel is none that the schema knows."""
    wrong = json.loads(TEXT)
    number = next(n for n, each in enumerate(wrong["panels"]) if each["type"] == "timeseries")
    wrong["panels"][number][where]["colour"] = "red"
    assert through_the_schema(wrong) == [f".panels[{number}].{where}.colour"]


def test_panels_do_not_overlap() -> None:
    """Each has an id and a place to itself, within the 24 columns."""
    places = [each["gridPos"] for each in DASHBOARD["panels"]]
    cells = [
        cell
        for at in places
        for cell in product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    assert len({each["id"] for each in DASHBOARD["panels"]}) == len(places)


def test_every_panel_says_what_it_shows() -> None:
    """In a title and a description, of the chosen data source."""
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        sources = [panel["datasource"], *(each["datasource"] for each in panel["targets"])]
        assert {each["uid"] for each in sources} == {"${datasource}"}


def test_variables_are_used_and_there() -> None:
    """All that are defined, and no other but Grafana's own."""
    used = set(re.findall(r"\$\{?(\w+)", TEXT))
    assert {each for each in used if not each.startswith("__")} == set(VARIABLES)


def test_the_metrics_exist() -> None:
    """A panel of a metric that nobody exports would be empty for ever."""
    variables = [each["query"]["query"] for each in VARIABLES.values() if each["type"] == "query"]
    used = set(re.findall(r"\bdamon_\w+", " ".join([*QUERIES, *variables])))
    assert used <= {family.name for family in FAMILIES} | OTHERS


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `damon run`, which monitors a unit, a pod and many processes."""
    folder, port = tmp_path_factory.mktemp("grafana"), free_port()
    damon = Path(sys.executable).parent / "damon"
    busy = [sys.executable, "-c", PROGRAM]
    many = ["bash", "-c", f"for i in $(seq {MANY}); do sleep 600 & done; wait"]
    with (
        subprocess.Popen(busy) as unit,
        subprocess.Popen(busy) as pod,
        subprocess.Popen(many, start_new_session=True) as shell,
    ):
        contexts = [
            ("unit", 'unit = "web.service"', f"pid = {unit.pid}", '"unit"'),
            (
                "pod",
                'namespace = "shop", pod = "web-0", container_name = "web"',
                f"pid = {pod.pid}",
                '"namespace", "pod", "container_name"',
            ),
            ("many", "", f"pid = {shell.pid}\ndescendants = true", '"target"'),
        ]
        (folder / "damon.toml").write_text(
            "".join(
                CONTEXT.format(name=name, labels=labels, target=target, by=by, port=port)
                for name, labels, target, by in contexts
            )
        )
        with open(folder / "damon.log", "w") as log:
            daemon = subprocess.Popen(
                ["prlimit", f"--nofile={FILES}:{FILES}", damon, "run", folder / "damon.toml"],
                stderr=log,
            )
        try:
            with run_prometheus(folder, f"127.0.0.1:{port}") as running:
                yield running
        finally:
            daemon.terminate()
            daemon.wait(60)
            os.killpg(shell.pid, signal.SIGKILL)
            unit.kill()
            pod.kill()


def values(prometheus: Prometheus, name: str) -> list[str]:
    """Return the values among which Grafana lets a variable be chosen, the chosen one first."""
    variable = VARIABLES[name]
    if variable["type"] == "custom":
        return [each["value"] for each in variable["options"]]
    wanted = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
    assert wanted is not None
    series, label = wanted.groups()
    found = prometheus.query(
        f"group by ({label}) ({series.replace('$job', '.+')})".replace("$instance", ".+")
    )
    return [each["metric"][label] for each in found]


def substituted(expression: str, **chosen: str) -> str:
    """Return a query as Grafana sends it, with all hosts and contexts."""
    everywhere = {"job": ".+", "instance": ".+", "context": ".+", "__rate_interval": "10s"}
    for name, value in {**everywhere, **chosen}.items():
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression
    return expression


@pytest.mark.slow
@pytest.mark.needs("prometheus", "prlimit")
class TestWithData:
    @pytest.mark.parametrize("name", [each for each in VARIABLES if each != "datasource"])
    def test_every_variable_has_values(self, prometheus: Prometheus, name: str) -> None:
        """Found by its own query."""
        assert eventually(lambda: values(prometheus, name))

    def test_every_query_returns_data(self, prometheus: Prometheus) -> None:
        """With what is chosen at first, where it is there."""
        chosen = {
            name: eventually(lambda name=name: values(prometheus, name))[0]  # type: ignore[misc]
            for name in ("by", "window", "idle")
        }
        for expression in QUERIES:
            if OF_PAGE_TABLES in expression and why_unmet("page-tables"):
                continue  # Nothing else knows the spectrum.
            query = substituted(expression, **chosen)
            assert eventually(lambda query=query: prometheus.query(query), 120), query  # type: ignore[misc]

    @pytest.mark.parametrize("by", [each["value"] for each in VARIABLES["by"]["options"]])
    def test_series_have_the_labels_that_are_chosen(self, prometheus: Prometheus, by: str) -> None:
        """Some have all of them."""
        expression = next(each for each in QUERIES if "sum by ($by) (damon_working_set" in each)
        query = substituted(expression, by=by)
        wanted = set(by.split(", "))

        def found() -> bool:
            return any(wanted == each["metric"].keys() for each in prometheus.query(query))

        assert eventually(found)
