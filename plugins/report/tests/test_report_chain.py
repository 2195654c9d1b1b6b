"""Several records, reported as one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from damon_core import ContextInfo, RecordInfo, Snapshot

MIB = 1 << 20
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US


@pytest.fixture
def days(snapshot: Callable[..., Snapshot], reports: Any) -> dict[str, str]:
    """Return a record of 6 s, as a whole and as two records."""
    snapshots = [snapshot(number, {"db[1]": [(0, number, 5)]}) for number in range(1, 7)]
    parts = {"whole": snapshots, "first": snapshots[:3], "second": snapshots[3:]}
    info = RecordInfo(host="box", contexts=(ContextInfo("main"),))
    return {name: reports.add(name, each, info) for name, each in parts.items()}


def parsed(result: Result) -> Any:
    """Return the JSON of a report, without the name of the record."""
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    del document["record"]
    return document


@pytest.mark.parametrize(
    "report",
    [["summary"], ["wss", "--over", "time"], ["regions"], ["idle"], ["regions", "--at", "2s"]],
)
def test_two_records_give_the_same_report_as_one(
    reports: Any, days: dict[str, str], report: list[str]
) -> None:
    """The order of the names doesn't matter."""
    whole = parsed(reports.run(*report, days["whole"], "--json"))
    assert parsed(reports.run(*report, days["second"], days["first"], "--json")) == whole


def test_what_one_of_them_lacks_the_whole_lacks(
    snapshot: Callable[..., Snapshot], reports: Any, days: dict[str, str]
) -> None:
    """Sums over all would otherwise pass for resident memory."""
    before = snapshot(0, {"db[1]": [(0, 1, 5)]})
    old = reports.add("old", [before], RecordInfo(filled_in=("resident_bytes",)))
    document = parsed(reports.run("wss", old, days["first"], "--json"))
    assert document["filled_in"] == ["resident_bytes"]


def test_a_heat_map_of_two_records(reports: Any, days: dict[str, str]) -> None:
    """A heat map covers both records."""
    maps = []
    for names in ([days["whole"]], [days["first"], days["second"]]):
        result = reports.run("heatmap", "--json", *names)
        assert result.exit_code == 0, result.output
        maps.append(json.loads(result.stdout))
        del maps[-1]["record"]
    assert maps[0] == maps[1]


def test_records_of_the_same_time_are_refused(reports: Any, days: dict[str, str]) -> None:
    """Records that overlap in time have no common working set."""
    result = reports.run("wss", days["whole"], days["second"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "second.memory' begins at" in line
    assert "whole.memory' ends: report them one by one" in line


def test_the_last_aggregation_may_end_after_the_next_record_begins(
    reports: Any, snapshot: Callable[..., Snapshot]
) -> None:
    """Aggregations of contexts that share a file don't begin at the same time."""
    regions = {"db[1]": [(0, 1, 5)]}
    names = [
        reports.add(name, [snapshot(number, regions, elapsed_us=1_400_000) for number in numbers])
        for name, numbers in (("first", (1, 2, 3)), ("second", (4, 5, 6)))
    ]
    assert parsed(reports.run("summary", *names, "--json"))["contexts"][0]["aggregations"] == 6


def test_a_damaged_record_is_followed_by_the_next(
    reports: Any,
    days: dict[str, str],
    snapshot: Callable[..., Snapshot],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The damage is reported once, even if the records are read several times."""
    first = [snapshot(number, {"db[1]": [(0, number, 5)]}) for number in range(1, 4)]
    damaged = reports.add("damaged", first, damaged=True)
    result = reports.run("heatmap", "--json", damaged, days["second"])
    assert json.loads(result.stdout)["columns"] > 0
    assert caplog.messages == ["the record is damaged after 2s; what follows is read"]
    assert (
        parsed(reports.run("wss", damaged, days["second"], "--json"))["working_sets"]
        == parsed(reports.run("wss", days["whole"], "--json"))["working_sets"]
    )


def test_an_empty_record_is_ignored(reports: Any, days: dict[str, str]) -> None:
    """A monitor that has just started has an empty record."""
    empty = reports.add("empty", [])
    assert parsed(reports.run("wss", days["whole"], empty, "--json")) == parsed(
        reports.run("wss", days["whole"], "--json")
    )


def test_empty_records_are_refused(reports: Any) -> None:
    """The message is that of a single empty record."""
    result = reports.run("wss", reports.add("a", []), reports.add("b", []))
    assert result.exit_code == 2
    assert "a.memory and 1 more' is empty" in result.stderr


def test_all_are_closed_if_one_is_missing(
    reports: Any, days: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After an error no record stays open."""
    closed = []
    reader = reports.plugins.formats()[0].read(Path(days["whole"]))
    monkeypatch.setattr(reader, "close", lambda: closed.append(True))
    result = reports.run("wss", days["whole"], str(tmp_path / "none.memory"))
    assert result.exit_code == 2
    assert closed == [True]


def test_an_empty_file_among_others_is_left_out(
    reports: Any, days: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill may have left it; the others are reported, and a line says so."""
    empty = tmp_path / f"empty{Path(days['whole']).suffix}"
    empty.touch()
    whole = parsed(reports.run("wss", days["whole"], "--json"))
    assert parsed(reports.run("wss", days["whole"], str(empty), "--json")) == whole
    assert f"'{empty}' is empty and left out" in caplog.messages


def test_records_may_begin_before_others_end(
    snapshot: Callable[..., Snapshot], reports: Any
) -> None:
    """When an aggregation began may be a guess, as in CSV after a break: its end counts."""
    first = [snapshot(number, {"db[1]": [(0, number, 5)]}) for number in (1, 2, 3)]
    end_us = first[-1].time_us + 1_000_000
    second = snapshot(4, {"db[1]": [(0, 1, 5)]}, time_us=end_us, elapsed_us=3_500_000)
    names = reports.add("first", first), reports.add("second", [second])
    assert reports.run("wss", *names).exit_code == 0


class TestDirectory:
    @pytest.fixture
    def folder(self, reports: Any, snapshot: Any) -> Path:
        """Return a folder with the records of two contexts in two hours, with a gap between."""
        for context, size in (("db", 1), ("web", 2)):
            for hour in (0, 2):
                snapshots = [
                    snapshot(
                        number,
                        {f"{context}[1]": [(0, size, 5)]},
                        context=context,
                        time_us=BEGIN_US + (hour * 3_600 + number) * SECOND_US,
                    )
                    for number in range(1, 11)
                ]
                info = RecordInfo(contexts=(ContextInfo(context),))
                path = Path(reports.add(f"{context}.{hour}", snapshots, info))
                path.write_text("in memory")
        (reports.folder / "notes.txt").write_text("no record")
        (reports.folder / ".db.memory").write_text("unfinished")
        return Path(reports.folder)

    def test_it_stands_for_its_records(self, reports: Any, folder: Path) -> None:
        """Those of other contexts may be of the same time; a dot in front hides a name."""
        found = json.loads(reports.run("wss", str(folder), "--json").stdout)
        assert found["record"] == str(folder)
        sizes = {each["context"]: each["mean_bytes"] for each in found["working_sets"]}
        assert sizes == {"db": MIB, "web": 2 * MIB}

    def test_gaps_are_shown(self, reports: Any, folder: Path) -> None:
        """Of each context by itself."""
        found = json.loads(reports.run("summary", str(folder), "--json").stdout)
        assert [(each["context"], each["gaps"]) for each in found["contexts"]] == [
            ("db", 1),
            ("web", 1),
        ]

    def test_one_that_can_not_be_read_is_left_out(
        self, reports: Any, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With a warning; the others are reported."""
        (folder / "broken.memory").write_text("broken")
        found = json.loads(reports.run("wss", str(folder), "--json").stdout)
        assert {each["context"] for each in found["working_sets"]} == {"db", "web"}
        (message,) = caplog.messages
        assert message.endswith("there is no such record; it is left out")

    def test_without_records(self, reports: Any, tmp_path: Path) -> None:
        """It is said what was looked for."""
        (tmp_path / "empty").mkdir()
        done = reports.run("wss", str(tmp_path / "empty"))
        assert done.exit_code == 2
        assert "has neither records (.memory) nor the folders of a dataset" in done.output

    def test_a_record_of_a_context_twice_is_refused(
        self, reports: Any, folder: Path, snapshot: Any
    ) -> None:
        """Which of both it was at a time can't be known."""
        info = RecordInfo(contexts=(ContextInfo("db"), ContextInfo("other")))
        again = reports.add(
            "copy", [snapshot(number, {}, context="db") for number in (1, 2, 3)], info
        )
        Path(again).write_text("in memory")
        done = reports.run("wss", str(folder))
        assert done.exit_code == 2
        assert "report them one by one" in done.output
