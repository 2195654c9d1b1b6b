"""Several records, reported as one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from damon_core import ContextInfo, RecordInfo, Snapshot


@pytest.fixture
def days(snapshot: Callable[..., Snapshot], reports: Any) -> dict[str, str]:
    """A record of 6 s whole, and as two."""
    snapshots = [snapshot(number, {"db[1]": [(0, number, 5)]}) for number in range(1, 7)]
    parts = {"whole": snapshots, "first": snapshots[:3], "second": snapshots[3:]}
    info = RecordInfo(host="box", contexts=(ContextInfo("main"),))
    return {name: reports.add(name, each, info) for name, each in parts.items()}


def told(result: Result) -> Any:
    """Return the JSON that a report printed, without the name of the record."""
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    del document["record"]
    return document


@pytest.mark.parametrize(
    "report",
    [["summary"], ["wss", "--over", "time"], ["regions"], ["idle"], ["regions", "--at", "2s"]],
)
def test_two_records_tell_what_one_would(
    reports: Any, days: dict[str, str], report: list[str]
) -> None:
    """In whatever order they are named."""
    whole = told(reports.run(*report, days["whole"], "--json"))
    assert told(reports.run(*report, days["second"], days["first"], "--json")) == whole


def test_a_heat_map_of_two_records(reports: Any, days: dict[str, str]) -> None:
    """It goes through both of them."""
    maps = []
    for names in ([days["whole"]], [days["first"], days["second"]]):
        result = reports.run("heatmap", "--json", *names)
        assert result.exit_code == 0, result.output
        maps.append(json.loads(result.stdout))
    assert maps[0] == maps[1]


def test_records_of_the_same_time_are_refused(reports: Any, days: dict[str, str]) -> None:
    """They aren't one after the other: what would their working set be?"""
    result = reports.run("wss", days["whole"], days["second"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "second.memory' begins at" in line
    assert "whole.memory' ends: report them one by one" in line


def test_the_last_aggregation_may_end_after_the_next_record_begins(
    reports: Any, snapshot: Callable[..., Snapshot]
) -> None:
    """Contexts that share a file don't begin theirs at the same time."""
    regions = {"db[1]": [(0, 1, 5)]}
    names = [
        reports.add(name, [snapshot(number, regions, elapsed_us=1_400_000) for number in numbers])
        for name, numbers in (("first", (1, 2, 3)), ("second", (4, 5, 6)))
    ]
    assert told(reports.run("summary", *names, "--json"))["contexts"][0]["aggregations"] == 6


def test_after_a_damaged_record_comes_the_next(
    reports: Any,
    days: dict[str, str],
    snapshot: Callable[..., Snapshot],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The damage is told once, however often the records are gone through."""
    first = [snapshot(number, {"db[1]": [(0, number, 5)]}) for number in range(1, 4)]
    damaged = reports.add("damaged", first, damaged=True)
    result = reports.run("heatmap", "--json", damaged, days["second"])
    assert json.loads(result.stdout)["columns"] > 0
    assert caplog.messages == [
        "the record is damaged after 2s; what comes before and after is reported"
    ]
    assert (
        told(reports.run("wss", damaged, days["second"], "--json"))["working_sets"]
        == told(reports.run("wss", days["whole"], "--json"))["working_sets"]
    )


def test_a_record_that_holds_nothing_is_passed_over(reports: Any, days: dict[str, str]) -> None:
    """As one of a monitor that had just begun."""
    empty = reports.add("empty", [])
    assert told(reports.run("wss", days["whole"], empty, "--json")) == told(
        reports.run("wss", days["whole"], "--json")
    )


def test_records_that_hold_nothing_are_refused(reports: Any) -> None:
    """In the words of one."""
    result = reports.run("wss", reports.add("a", []), reports.add("b", []))
    assert result.exit_code == 2
    assert "a.memory and 1 more' holds nothing" in result.stderr


def test_all_are_closed_if_one_is_missing(
    reports: Any, days: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing stays open behind an error."""
    closed = []
    reader = reports.plugins.formats()[0].read(Path(days["whole"]))
    monkeypatch.setattr(reader, "close", lambda: closed.append(True))
    result = reports.run("wss", days["whole"], str(tmp_path / "none.memory"))
    assert result.exit_code == 2
    assert closed == [True]
