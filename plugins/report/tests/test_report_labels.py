"""Reports by labels of targets, such as their units."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from damon_core import Snapshot

MIB = 1 << 20

REDIS = {"unit": "redis.service", "user": "redis"}
LABELS = {
    "redis[1]": {**REDIS, "pid": "1"},
    "redis[2]": {**REDIS, "pid": "2"},
    "web[3]": {"pod": "web-1", "namespace": "shop", "pid": "3"},
    "sh[4]": {},
}
SIZES = {"redis[1]": 1, "redis[2]": 2, "web[3]": 4, "sh[4]": 8}


@pytest.fixture
def labelled(snapshot: Callable[..., Snapshot], reports: Any) -> str:
    """Return a record of 2 s of four processes, all of whose memory is used."""
    targets = {name: [(0, size, 10)] for name, size in SIZES.items()}
    name: str = reports.add(
        "labelled", [snapshot(number, targets, labels=LABELS) for number in (1, 2)]
    )
    return name


def parsed(result: Result) -> Any:
    """Return the JSON of a report."""
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_working_sets_by_unit(reports: Any, labelled: str) -> None:
    """Processes of a unit are added up; what has none, too."""
    found = parsed(reports.run("wss", labelled, "--by", "unit", "--json"))
    sizes = {each["name"]: each["mean_bytes"] / MIB for each in found["working_sets"]}
    assert sizes == {"": 15, "redis.service": 3, "(no label)": 12}


def test_by_several_labels(reports: Any, labelled: str) -> None:
    """Each combination has a row."""
    found = parsed(reports.run("idle", labelled, "--by", "namespace,pod", "--json"))
    sizes = {each["name"]: each["total_bytes"] / MIB for each in found["idle"]}
    assert sizes == {"": 15, "shop web-1": 4, "(no label)": 11}


def test_hottest_units_of_a_summary(reports: Any, labelled: str) -> None:
    """Instead of mappings."""
    found = parsed(reports.run("summary", labelled, "--by", "unit", "--json"))["contexts"][0]
    assert found["hottest_of"] == "unit"
    assert [each["name"] for each in found["hottest"]] == ["(no label)", "redis.service"]


def test_the_table_of_a_summary_says_what_it_is_by(reports: Any, labelled: str) -> None:
    """A label has no plural."""
    assert "hottest by unit" in reports.run("summary", labelled, "--by", "unit").output


def test_difference_by_unit(snapshot: Callable[..., Snapshot], reports: Any, labelled: str) -> None:
    """A restarted process is compared with the one before."""
    labels = {"redis[9]": REDIS}
    later = reports.add("later", [snapshot(1, {"redis[9]": [(0, 5, 10)]}, labels=labels)])
    found = parsed(reports.run("diff", labelled, later, "--by", "unit", "--json"))
    (change,) = [each for each in found["changes"] if each["name"] == "redis.service"]
    assert change["working_set_difference_bytes"] == 2 * MIB


def test_labels_that_all_targets_of_a_group_have(reports: Any, labelled: str) -> None:
    """JSON has them for each group."""
    found = parsed(reports.run("wss", labelled, "--by", "unit", "--json"))
    (redis,) = [each for each in found["working_sets"] if each["name"] == "redis.service"]
    assert redis["labels"] == REDIS


@pytest.mark.parametrize(("report", "key"), [("wss", "working_sets"), ("idle", "idle")])
def test_labels_of_targets(reports: Any, labelled: str, report: str, key: str) -> None:
    """JSON has them for each target."""
    found = parsed(reports.run(report, labelled, "--by", "target", "--json"))[key]
    assert {each["name"]: each["labels"] for each in found if each["name"]} == LABELS


def test_labels_in_a_summary(reports: Any, labelled: str) -> None:
    """By target, of those that have some."""
    (context,) = parsed(reports.run("summary", labelled, "--json"))["contexts"]
    assert context["labels"] == {name: labels for name, labels in LABELS.items() if labels}


def test_labels_of_regions(reports: Any, labelled: str) -> None:
    """They stand once for each target, with its context."""
    (context,) = parsed(reports.run("regions", labelled, "--json"))["contexts"]
    assert context["labels"] == {name: labels for name, labels in LABELS.items() if labels}


@pytest.mark.parametrize("report", ["wss", "idle", "summary"])
def test_a_label_that_no_target_has(reports: Any, labelled: str, report: str) -> None:
    """The message names those that there are."""
    result = reports.run(report, labelled, "--by", "unti")
    assert result.exit_code == 2
    assert "no target has the label 'unti'; their labels are: namespace, pid, pod, unit, user" in (
        result.output
    )


@pytest.mark.parametrize(
    ("report", "by"), [("wss", "a-b"), ("wss", ""), ("spectrum", "mapping"), ("idle", "unit,")]
)
def test_what_is_no_way_to_group(reports: Any, labelled: str, report: str, by: str) -> None:
    """Mistakes are refused before the record is read."""
    result = reports.run(report, labelled, "--by", by)
    assert result.exit_code == 2
    assert "is not a way to group" in result.output
