"""``damon report`` on the command line, on records whose numbers are known."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import Result
from damon_report.command import regions
from damon_report.regions import ORDERS

from damon_core import (
    Area,
    ContextInfo,
    IdleAges,
    Intervals,
    RecordInfo,
    Snapshot,
    testing,
)
from damon_core.testing import RegionRow

MIB = 1 << 20
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US

AREAS = {
    "db[1]": (Area(0, 4 * MIB, "[heap]"), Area(100 * MIB, 104 * MIB, "/usr/lib/libc.so.6")),
    "web[2]": (Area(0, 8 * MIB, "[heap]"),),
}


@pytest.fixture
def two(snapshot: Callable[..., Snapshot], reports: Any) -> str:
    """Return a record of 4 s: a database that first uses its heap and then rests, and a server."""
    busy = {"db[1]": [(0, 4, 10), (4, 104, 5)], "web[2]": [(0, 8, 0, 1, 0)]}
    quiet = {"db[1]": [(0, 4, 0, 3, 2), (4, 104, 5, 0, 3)], "web[2]": [(0, 8, 0, 61, 3)]}
    snapshots = [
        snapshot(number, busy if number < 4 else quiet, areas=AREAS, resident=0.04)
        for number in (1, 2, 3, 4)
    ]
    name: str = reports.add("two", snapshots, RecordInfo(host="box", command="damon record"))
    return name


def parsed(result: Result) -> Any:
    """Return the JSON of a report."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result) -> str:
    """Return the one line that reports a user's mistake."""
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


class TestRegions:
    def test_json_has_every_number(self, reports: Any, two: str) -> None:
        """Regions of the last aggregation, trimmed to mapped addresses, with their mappings."""
        document = parsed(reports.run("regions", two, "--json", "--sort", "address"))
        assert document["contexts"] == [
            {
                "context": "main",
                "time_us": BEGIN_US + 4 * SECOND_US,
                "elapsed_us": SECOND_US,
                "sampling_us": 100_000,
                "aggregation_us": SECOND_US,
                "max_nr_accesses": 10,
                "labels": {},
            }
        ]
        assert document["regions"][1] == {
            "context": "main",
            "target": "db[1]",
            "start": 100 * MIB,
            "end": 104 * MIB,
            "size_bytes": 4 * MIB,
            "frequency": 0.5,
            "nr_accesses": 5.0,
            "age_us": 3 * SECOND_US,
            "idle_us": 0,
            "resident_bytes": 4 * MIB,
            "touched_bytes": None,
            "temperature": 100 * 50 + 100 * 3 * SECOND_US,
            "mappings": ["/usr/lib/libc.so.6"],
        }
        assert [(row["target"], row["start"]) for row in document["regions"]] == [
            ("db[1]", 0),
            ("db[1]", 100 * MIB),
            ("web[2]", 0),
        ]
        assert document["total"]["regions"] == 3

    @pytest.mark.parametrize(
        ("options", "starts"),
        [
            (["--at", "2s"], [100, 0, 0]),
            (["--min-frequency", "50%"], [100]),
            (["--max-frequency", "0.1", "--min-idle", "1m"], [0]),
            (["--min-size", "8MiB"], [0]),
            (["--max-size", "4MiB", "--min-age", "3s"], [100]),
            (["--max-age", "2s"], [0]),
            (["--mapping", "libc*"], [100]),
            (["--target", "web*"], [0]),
            (["--target", "db[1]", "--mapping", "[heap]"], [0]),
            (["--address", "200000-", "--target", "db*"], [100, 2]),
            (["--limit", "1"], [100]),
            (["--sort", "size", "--reverse", "--limit", "2"], [100, 0]),
            (["--sort", "idle"], [0, 0, 100]),
        ],
    )
    def test_filters_and_orders(
        self, reports: Any, two: str, options: list[str], starts: list[int]
    ) -> None:
        """Each option selects and sorts as documented; by default the hottest come first."""
        rows = parsed(reports.run("regions", two, "--json", *options))["regions"]
        assert [row["start"] // MIB for row in rows] == starts

    def test_lines_are_whole_in_a_pipe(self, reports: Any, two: str) -> None:
        """Every row has all names in full, and the last line has the totals."""
        result = reports.run("regions", two)
        lines = result.stdout.splitlines()
        assert lines[0].startswith("# main, 2 targets: 4s after the start")
        assert lines[1].split() == [
            *("addresses", "size", "freq", "age", "idle", "resident"),
            *("context", "target", "mapping"),
        ]
        assert lines[2].split() == [
            *("6400000-6800000", "4.0", "MiB", "50%", "3s", "0", "4.0", "MiB"),
            *("main", "db[1]", "/usr/lib/libc.so.6"),
        ]
        assert lines[-1].split() == ["3", "regions", "16.0", "MiB", "45%", "4.5", "MiB"]


class TestWorkingSets:
    def test_percentiles_are_of_time(self, reports: Any, two: str) -> None:
        """The heap was used in three of four seconds."""
        document = parsed(reports.run("wss", two, "--json", "--by", "mapping"))
        by_name = {each["name"]: each for each in document["working_sets"]}
        libc, heap = round(4 * MIB), int(4 * MIB * 0.04)
        assert by_name[""]["percentiles_bytes"] == {
            "0": libc,
            **{str(each): libc + heap for each in (50, 75, 90, 95, 99, 100)},
            "25": libc,
        }
        assert by_name["[heap]"]["percentiles_bytes"]["25"] == 0
        assert by_name["[heap]"]["percentiles_bytes"]["50"] == heap
        assert by_name["/usr/lib/libc.so.6"]["mean_bytes"] == libc
        assert by_name[""]["time_us"] == 4 * SECOND_US

    def test_memory_that_was_accessed_often(self, reports: Any, two: str) -> None:
        """In at least six of ten checks only the heap was accessed, while it was used."""
        document = parsed(reports.run("wss", two, "--json", "--at-least", "6", "--by", "context"))
        (whole,) = document["working_sets"]
        assert whole["percentiles_bytes"]["100"] == int(4 * MIB * 0.04)
        assert whole["percentiles_bytes"]["0"] == 0

    def test_over_time(self, reports: Any, two: str) -> None:
        """Each piece of the time has its mean, least and greatest size."""
        document = parsed(
            reports.run("wss", two, "--json", "--over", "time", "--pieces", "2", "--by", "context")
        )
        (whole,) = document["working_sets"]
        libc, heap = 4 * MIB, int(4 * MIB * 0.04)
        assert whole["over_time"][1] == {
            "from_us": BEGIN_US + 2 * SECOND_US,
            "to_us": BEGIN_US + 4 * SECOND_US,
            "working_set_bytes": libc + round(heap / 2),
            "min_bytes": libc,
            "max_bytes": libc + heap,
            "idle_bytes": int(8 * MIB * 0.04) + round(heap / 2),
            "total_bytes": libc + heap + int(8 * MIB * 0.04),
        }

    def test_by_target(self, reports: Any, two: str) -> None:
        """The whole context comes first, then the target that uses most."""
        names = [each["name"] for each in parsed(reports.run("wss", two, "--json"))["working_sets"]]
        assert names == ["", "db[1]", "web[2]"]

    def test_programs_are_targets_without_their_pids(
        self, reports: Any, snapshot: Callable[..., Snapshot]
    ) -> None:
        """Processes of one program are added up, and the whole has no separate row."""
        path = reports.add("cc", [snapshot(1, {"cc[1]": [(0, 2, 5)], "cc[2]": [(0, 3, 5)]})])
        (each,) = parsed(reports.run("wss", path, "--json", "--by", "program"))["working_sets"]
        assert (each["name"], each["mean_bytes"]) == ("cc", 5 * MIB)

    def test_time_counts_not_aggregations(
        self, reports: Any, snapshot: Callable[..., Snapshot]
    ) -> None:
        """One long aggregation outweighs three short ones."""
        short = [snapshot(number, {"a": [(0, 1, 5)]}) for number in (1, 2, 3)]
        long = snapshot(13, {"a": [(0, 2, 5)]}, elapsed_us=10 * SECOND_US)
        path = reports.add("long", [*short, long])
        (each,) = parsed(reports.run("wss", path, "--json"))["working_sets"]
        assert each["percentiles_bytes"]["25"] == 2 * MIB
        assert each["percentiles_bytes"]["0"] == MIB

    @pytest.mark.parametrize("ending", [".png", ".svg"])
    @pytest.mark.parametrize("options", [[], ["--dark", "--by", "mapping"]])
    def test_pictures(
        self, reports: Any, two: str, tmp_path: Path, ending: str, options: list[str]
    ) -> None:
        """A picture is written in the format of its ending."""
        path = tmp_path / f"wss{ending}"
        result = reports.run("wss", two, "-o", str(path), *options)
        assert result.exit_code == 0, result.output
        begin = b"\x89PNG" if ending == ".png" else b"<?xml"
        assert path.read_bytes().startswith(begin)


class TestIdle:
    def test_buckets(self, reports: Any, two: str) -> None:
        """Buckets have the memory idle for a range of time, and for at least a time."""
        (whole,) = parsed(reports.run("idle", two, "--json"))["idle"]
        heap, web = int(4 * MIB * 0.04), int(8 * MIB * 0.04)
        assert whole["idle_bytes"] == heap + web
        assert whole["buckets"][1] == {
            "at_least_us": SECOND_US,
            "below_us": 10 * SECOND_US,
            "bytes": heap,
            "at_least_bytes": heap + web,
            "low_bytes": heap + web,
            "high_bytes": heap + web,
            "age_us": 0,
        }
        assert [bucket["bytes"] for bucket in whole["buckets"]] == [0, heap, 0, web, 0, 0, 0]
        assert whole["buckets"][-1]["below_us"] is None

    def test_at_a_time_by_target(self, reports: Any, two: str) -> None:
        """In the second second only the server is idle."""
        rows = parsed(reports.run("idle", two, "--json", "--at", "2s", "--by", "target"))["idle"]
        idle = {row["name"]: row["idle_bytes"] for row in rows}
        assert idle == {"": int(8 * MIB * 0.04), "web[2]": int(8 * MIB * 0.04), "db[1]": 0}


class TestSummary:
    def test_a_late_aggregation_is_no_gap(
        self, reports: Any, snapshot: Callable[..., Snapshot]
    ) -> None:
        """One that came 200 ms late on a busy machine, beside such of a second."""
        snapshots = [snapshot(n, {"a": [(0, 10, 10)]}) for n in (1, 2, 3)]
        snapshots[1] = attrs.evolve(snapshots[1], time_us=snapshots[1].time_us + 200_000)
        (main,) = parsed(reports.run("summary", reports.add("late", snapshots), "--json"))[
            "contexts"
        ]
        assert (main["gaps"], main["gaps_us"]) == (0, 0)

    def test_a_late_aggregation_misses_nothing(
        self, reports: Any, snapshot: Callable[..., Snapshot]
    ) -> None:
        """It has all checks of its interval, and took half as long again."""
        late = attrs.evolve(snapshot(1, {"a": [(0, 10, 10)]}), elapsed_us=SECOND_US * 3 // 2)
        (main,) = parsed(reports.run("summary", reports.add("late", [late]), "--json"))["contexts"]
        assert main["missed_checks"] == 0

    def test_at_a_glance(self, reports: Any, snapshot: Callable[..., Snapshot]) -> None:
        """The summary shows gaps, missed checks, changes of intervals and of the working set."""
        fast = Intervals(50_000, SECOND_US, SECOND_US)
        snapshots = [snapshot(n, {"a": [(0, 10, 10), (10, 20, 0)]}) for n in (1, 2, 3, 4)]
        snapshots += [
            snapshot(n, {"a": [(0, 1, 10), (1, 20, 0, n, 0)]}, intervals=fast) for n in (7, 8, 9)
        ]
        info = RecordInfo(
            "box", "Linux 6.12", "damon record", "damon-core 1", (ContextInfo("main", "vaddr"),)
        )
        path = reports.add("long", snapshots, info)
        document = parsed(reports.run("summary", path, "--json"))
        (main,) = document["contexts"]
        assert (document["host"], document["command"]) == ("box", "damon record")
        assert main["primitive"] == "vaddr"
        assert (main["aggregations"], main["checks"]) == (7, 70)
        assert main["missed_checks"] == 30
        assert (main["gaps"], main["gaps_us"]) == (1, 2 * SECOND_US)
        assert [each["sampling_us"] for each in main["intervals"]] == [100_000, 50_000]
        assert main["interval_changes"] == 1
        change = main["biggest_change"]
        assert (change["before_bytes"], change["after_bytes"]) == (10 * MIB, MIB)
        assert 4 * SECOND_US <= change["time_us"] - BEGIN_US <= 6.1 * SECOND_US
        assert main["hottest_of"] == "target"
        text = reports.run("summary", path).stdout
        assert "1 gap of 2s" in text
        assert "30 missed (30%)" in text
        assert "shrank most" in text

    def test_nothing_changes(self, reports: Any, snapshot: Callable[..., Snapshot]) -> None:
        """A steady working set has no notable change."""
        path = reports.add("same", [snapshot(n, {"a": [(0, 10, 10)]}) for n in range(1, 9)])
        assert (
            parsed(reports.run("summary", path, "--json"))["contexts"][0]["biggest_change"] is None
        )
        assert "about the same all the time" in reports.run("summary", path).stdout


class TestTargetsThatEnded:
    """Two seconds of 10 MiB, of which one half is accessed, and a third without any targets."""

    @pytest.fixture
    def ended(self, reports: Any, snapshot: Callable[..., Snapshot]) -> str:
        there = [snapshot(n, {"a": [(0, 5, 10), (5, 10, 0, n, n)]}) for n in (1, 2)]
        name: str = reports.add("ended", [*there, snapshot(3, {})])
        return name

    def test_regions_are_the_last_that_existed(self, reports: Any, ended: str) -> None:
        """Later aggregations without regions are skipped."""
        document = parsed(reports.run("regions", ended, "--json"))
        assert document["contexts"][0]["time_us"] == BEGIN_US + 2 * SECOND_US
        assert document["total"]["size_bytes"] == 10 * MIB

    def test_idle_memory_is_that_of_the_last_regions(self, reports: Any, ended: str) -> None:
        """Later aggregations without regions are skipped."""
        (whole,) = parsed(reports.run("idle", ended, "--json"))["idle"]
        assert whole["idle_bytes"] == 5 * MIB

    def test_an_explicit_time_is_exact(self, reports: Any, ended: str) -> None:
        """With `--at`, an aggregation without regions is shown as such."""
        (whole,) = parsed(reports.run("idle", ended, "--json", "--at", "3s"))["idle"]
        assert whole["total_bytes"] == 0

    def test_the_summary_shows_the_last_idle_memory(self, reports: Any, ended: str) -> None:
        """The summary has the last regions' idle memory, and the record's real end."""
        document = parsed(reports.run("summary", ended, "--json"))
        (main,) = document["contexts"]
        assert main["idle_at_end"]["idle_bytes"] == 5 * MIB
        assert (main["aggregations"], main["gaps"]) == (3, 0)

    def test_no_regions_at_all(self, reports: Any, snapshot: Callable[..., Snapshot]) -> None:
        """A cgroup that stayed empty has no idle memory."""
        path = reports.add("empty", [snapshot(n, {}) for n in (1, 2)])
        (whole,) = parsed(reports.run("idle", path, "--json"))["idle"]
        assert (whole["total_bytes"], whole["idle_bytes"]) == (0, 0)


class TestDiff:
    def test_before_and_after(
        self, reports: Any, two: str, snapshot: Callable[..., Snapshot]
    ) -> None:
        """Programs match without their pids; names of contexts and record lengths may differ."""
        areas = {"db[77]": (Area(0, 64 * MIB, "[heap]"),)}
        after = reports.add(
            "after",
            [snapshot(1, {"db[77]": [(0, 64, 10)]}, areas=areas, context="other", resident=0.5)],
        )
        document = parsed(reports.run("diff", two, after, "--json", "--by", "program"))
        changes = {each["name"]: each for each in document["changes"]}
        assert list(changes) == ["", "db", "web"]
        libc, heap = 4 * MIB, int(4 * MIB * 0.04)
        old = libc + 0.75 * heap
        assert changes["db"]["old"]["working_set_bytes"] == pytest.approx(old, abs=1)
        assert changes["db"]["new"]["working_set_bytes"] == 32 * MIB
        assert changes["db"]["working_set_ratio"] == pytest.approx(32 * MIB / old)
        assert changes["db"]["new"]["frequency"] == 1.0
        assert changes["web"]["new"] == {
            "working_set_bytes": 0,
            "accessed_bytes": 0,
            "idle_bytes": 0,
            "total_bytes": 0,
            "frequency": 0.0,
        }

    def test_by_mapping_the_greatest_change_first(self, reports: Any, two: str) -> None:
        """The same record has no changes; its later half has lost the heap."""
        same = parsed(reports.run("diff", two, two, "--json"))["changes"]
        assert {each["working_set_difference_bytes"] for each in same} == {0}
        text = reports.run("diff", two, two).stdout
        assert "/usr/lib/libc.so.6" in text


class TestMistakes:
    """Each mistake is reported in one line, with exit code 2."""

    def test_no_record(self, reports: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a name and without the default file, the message says what to do."""
        monkeypatch.chdir(tmp_path)
        assert "make one with 'damon record'" in refused(reports.run("regions"))

    @pytest.mark.parametrize("report", ["regions", "wss", "idle", "summary"])
    def test_a_missing_file(self, reports: Any, report: str) -> None:
        """The message is that of the format."""
        assert "can't be read" in refused(reports.run(report, "none.memory"))

    def test_another_format(self, reports: Any) -> None:
        """The message lists the possible endings."""
        assert "possible: .memory" in refused(reports.run("wss", "x.txt"))

    def test_an_empty_record(self, reports: Any) -> None:
        """A record without aggregations can't be reported."""
        assert "is empty" in refused(reports.run("summary", reports.add("none", [])))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--target", "x*"], "has no target 'x*'; its targets are: db[1], web[2]"),
            (["--context", "x"], "has no context 'x'; its contexts are: main"),
            (["--mapping", "x"], "has no mapping 'x'; its mappings are: [heap], libc.so.6"),
            (["--address", "ffff000000-"], "has no regions in the selected addresses"),
            (["--from", "1h"], "has no aggregations in this time: it covers 4s"),
            (["--from", "3.2s", "--to", "3.5s"], "no complete aggregation in this time"),
        ],
    )
    @pytest.mark.parametrize("report", ["regions", "wss", "idle", "summary"])
    def test_nothing_is_selected(
        self, reports: Any, two: str, report: str, options: list[str], message: str
    ) -> None:
        """The message lists the existing names."""
        assert message in refused(reports.run(report, two, *options))

    def test_no_region_within_bounds(self, reports: Any, two: str) -> None:
        """The message has the number of regions."""
        assert "none of the 3 regions" in refused(reports.run("regions", two, "--min-size", "1GiB"))

    def test_more_checks_than_there_are(self, reports: Any, two: str) -> None:
        """A working set of 11 checks of 10 would always be empty."""
        assert "at most 10" in refused(reports.run("wss", two, "--at-least", "11"))

    def test_a_picture_of_another_kind(self, reports: Any, two: str) -> None:
        """The message lists the possible endings."""
        assert "must end in .png or .svg" in refused(reports.run("wss", two, "-o", "x.gif"))

    @pytest.mark.parametrize("options", [["--json"], ["--over", "time"], ["--pieces", "5"]])
    def test_what_a_picture_has_no_use_for(
        self, reports: Any, two: str, options: list[str]
    ) -> None:
        """It would be left out."""
        assert reports.run("wss", two, "-o", "x.png", *options).exit_code == 2

    def test_dark_without_a_picture(self, reports: Any, two: str) -> None:
        """It would have no effect."""
        result = reports.run("wss", two, "--dark")
        assert result.exit_code == 2
        assert "--dark has no effect without a picture: add -o FILE" in result.stderr

    def test_a_record_without_a_name(self, reports: Any) -> None:
        """As of a variable that isn't set; it doesn't mean all of this directory."""
        result = reports.run("wss", "")
        assert result.exit_code == 2
        assert "the name is empty: name a record" in result.stderr

    @pytest.mark.parametrize("value", ["10x", "2026-99-99", ""])
    def test_no_time(self, reports: Any, two: str, value: str) -> None:
        """The option refuses an invalid time."""
        result = reports.run("wss", two, "--from", value)
        assert result.exit_code == 2
        assert "is not a valid time" in result.stderr

    @pytest.mark.parametrize("value", ["10", "20-10", "x-y"])
    def test_no_addresses(self, reports: Any, two: str, value: str) -> None:
        """The option refuses invalid addresses."""
        result = reports.run("wss", two, "--address", value)
        assert result.exit_code == 2
        assert "is not a valid range of addresses" in result.stderr


class TestDamage:
    @pytest.mark.parametrize("report", ["regions", "wss", "idle", "summary"])
    def test_the_readable_part_is_reported(
        self, reports: Any, snapshot: Callable[..., Snapshot], report: str
    ) -> None:
        """A damaged end gives one warning, and the part before is reported."""
        snapshots = [snapshot(number, {"a": [(0, 1, 5)]}) for number in (1, 2)]
        result = reports.run(report, reports.add("torn", snapshots, damaged=True))
        assert result.exit_code == 0
        assert result.stdout
        (line,) = result.stderr.splitlines()
        assert "damaged after 2s; the report covers the part before" in line


class TestTouchedBytes:
    @pytest.fixture
    def touched(self, snapshot: Callable[..., Snapshot], reports: Any) -> str:
        """Return a record of a target of which a quarter is in memory, and a half of that used."""
        areas = {"a": (Area(0, 8 * MIB, "[heap]"), Area(8 * MIB, 16 * MIB, "[anon]"))}
        one = snapshot(1, {"a": [(0, 16, 10)]}, areas=areas, resident=0.25, touched=0.125)
        name: str = reports.add("touched", [one])
        return name

    def test_the_working_set_is_what_was_touched(self, reports: Any, touched: str) -> None:
        """However often the region was accessed; divided among its mappings."""
        document = parsed(reports.run("wss", touched, "--json", "--by", "mapping"))
        sizes = {each["name"]: each["mean_bytes"] for each in document["working_sets"]}
        assert sizes == {"": 2 * MIB, "[heap]": MIB, "[anon]": MIB}

    @pytest.mark.parametrize("options", [(), ("--mapping", "[[]heap]"), ("--address", "0-400000")])
    def test_what_was_not_touched_is_idle(
        self, reports: Any, touched: str, options: tuple[str, ...]
    ) -> None:
        """Half of what is in memory, of the whole and of a selected part."""
        (whole,) = parsed(reports.run("idle", touched, "--json", *options))["idle"]
        assert whole["idle_bytes"] == whole["total_bytes"] / 2
        assert whole["total_bytes"] in (4 * MIB, 2 * MIB, MIB)

    def test_the_time_of_what_is_idle_beside_others_is_unknown(
        self, reports: Any, touched: str
    ) -> None:
        """It is in no bucket, and there are bounds instead of a number."""
        (whole,) = parsed(reports.run("idle", touched, "--json"))["idle"]
        longer = whole["buckets"][2]
        assert (longer["bytes"], longer["at_least_bytes"]) == (None, None)
        assert (longer["low_bytes"], longer["high_bytes"]) == (0, whole["idle_bytes"])
        text = reports.run("idle", touched).stdout
        assert re.search(r"^10s to 1m +- +- +0 B to 2\.0 MiB +0% to 50%", text, re.MULTILINE)
        assert "where only bounds are known" in text

    def test_regions_say_what_was_touched(self, reports: Any, touched: str) -> None:
        """The rest is idle in their sum."""
        document = parsed(reports.run("regions", touched, "--json"))
        assert [row["touched_bytes"] for row in document["regions"]] == [2 * MIB]
        assert document["total"]["idle_bytes"] == 2 * MIB


class TestWhatWasMeasuredIdle:
    @pytest.fixture
    def measured(self, reports: Any) -> str:
        """Return a record of two mappings of 4 MiB, of which 3 were idle for 10 s, 42 s ago."""
        rows = [
            RegionRow(0, 4 * MIB, touched_bytes=MIB // 2, idle_us=0, idle_10s_bytes=3 * MIB),
            RegionRow(4 * MIB, 8 * MIB, touched_bytes=0, idle_us=0, idle_10s_bytes=3 * MIB),
        ]
        areas = {"a": (Area(0, 4 * MIB, "[heap]"), Area(4 * MIB, 8 * MIB, "[anon]"))}
        one = testing.make_snapshot(
            {"a": rows}, areas=areas, idle_ages={"a": IdleAges(42 * SECOND_US)}
        )
        name: str = reports.add("measured", [one])
        return name

    def test_it_is_a_number(self, reports: Any, measured: str) -> None:
        """With its age."""
        (whole,) = parsed(reports.run("idle", measured, "--json"))["idle"]
        ten_seconds = whole["buckets"][2]
        assert ten_seconds["at_least_bytes"] == 6 * MIB
        assert ten_seconds["age_us"] == 42 * SECOND_US
        assert "measured 10s 42s before" in reports.run("idle", measured).stdout

    def test_each_mapping_has_its_part(self, reports: Any, measured: str) -> None:
        """And so has a selected one."""
        rows = parsed(reports.run("idle", measured, "--json", "--by", "mapping"))["idle"]
        assert [row["buckets"][2]["at_least_bytes"] for row in rows] == [6 * MIB, 3 * MIB, 3 * MIB]
        rows = parsed(reports.run("idle", measured, "--json", "--mapping", "[[]heap]"))["idle"]
        assert [row["buckets"][2]["at_least_bytes"] for row in rows] == [3 * MIB]

    def test_what_is_only_bounded_is_marked(self, reports: Any, measured: str) -> None:
        """By the lower bound, or a question mark if that is nothing."""
        text = reports.run("idle", measured, "--by", "target").stdout
        assert re.search(r"^a +8\.0 MiB +7\.5 MiB +≥6\.0 MiB +6\.0 MiB +\?", text, re.MULTILINE)

    def test_the_summary_says_so(self, reports: Any, measured: str) -> None:
        """Of other times there is nothing to say."""
        text = reports.run("summary", measured).stdout
        assert "7.5 MiB of 8.0 MiB at the end: 6.0 MiB for 10s or longer" in text


class TestRecordsWithoutAllColumns:
    @pytest.fixture
    def old(self, snapshot: Callable[..., Snapshot], reports: Any) -> Callable[..., str]:
        """Return what makes a record without some columns."""
        snapshots = [snapshot(number, {"a": [(0, 1, 5)]}) for number in (1, 2)]
        return lambda *columns: reports.add("old", snapshots, RecordInfo(filled_in=columns))

    @pytest.mark.parametrize("report", ["regions", "wss", "idle", "summary", "heatmap"])
    def test_what_stands_in_is_said_once(
        self, reports: Any, old: Callable[..., str], report: str
    ) -> None:
        """Whatever the report, as each shows bytes."""
        result = reports.run(report, old("idle_us", "resident_bytes"))
        assert result.exit_code == 0
        (line,) = result.stderr.splitlines()
        assert line.endswith(
            "old.memory' has no resident bytes or idle times: sizes and ages of regions stand in"
        )

    def test_one_column_alone_is_said(self, reports: Any, old: Callable[..., str]) -> None:
        """The other is in the record."""
        (line,) = reports.run("wss", old("resident_bytes")).stderr.splitlines()
        assert line.endswith("has no resident bytes: sizes of regions stand in")

    def test_touched_bytes_alone_are_said(self, reports: Any, old: Callable[..., str]) -> None:
        """Working sets of such a record are estimates, whatever its backend could know."""
        (line,) = reports.run("wss", old("touched_bytes")).stderr.splitlines()
        assert line.endswith("has no touched bytes: accesses of regions stand in")

    def test_three_columns_are_enumerated(self, reports: Any, old: Callable[..., str]) -> None:
        """As records of other tools lack them."""
        (line,) = reports.run(
            "wss", old("idle_us", "resident_bytes", "touched_bytes")
        ).stderr.splitlines()
        assert line.endswith(
            "has no resident bytes, idle times or touched bytes: sizes, ages and accesses of "
            "regions stand in"
        )

    def test_what_no_report_is_made_of_is_not_said(
        self, reports: Any, old: Callable[..., str]
    ) -> None:
        """Without names of mappings a report is shorter, not wrong."""
        assert reports.run("wss", old("areas", "number")).stderr == ""

    def test_json_says_what_is_filled_in(self, reports: Any, old: Callable[..., str]) -> None:
        """All of it, for programs."""
        document = parsed(reports.run("wss", old("resident_bytes", "areas"), "--json"))
        assert document["filled_in"] == ["resident_bytes", "areas"]


class TestSeveralContexts:
    @pytest.fixture
    def both(self, snapshot: Callable[..., Snapshot], reports: Any) -> str:
        """Return a record of two contexts, one of which ended early."""
        rows = {f"p[{pid}]": [(pid, pid + 1, 5)] for pid in range(3)}
        early = [snapshot(1, rows, context="early")]
        late = [snapshot(number, rows, context="late") for number in (1, 2, 400)]
        name: str = reports.add("both", [*early, *late])
        return name

    @pytest.mark.parametrize("report", ["regions", "idle"])
    def test_the_last_of_each_is_found(self, reports: Any, both: str, report: str) -> None:
        """The last aggregation is found even if the context ended long before the record."""
        document = parsed(reports.run(report, both, "--json"))
        times = document.get("times_us") or {
            each["context"]: each["time_us"] for each in document["contexts"]
        }
        assert times["late"] == BEGIN_US + 400 * SECOND_US
        assert times.get("early", BEGIN_US + SECOND_US) == BEGIN_US + SECOND_US

    def test_limits_are_of_each(self, reports: Any, both: str) -> None:
        """A limit applies to each context, so that none hides another."""
        document = parsed(reports.run("wss", both, "--json", "--limit", "2"))
        names = [(each["context"], each["name"]) for each in document["working_sets"]]
        assert [context for context, _ in names] == ["early", "early", "late", "late"]
        assert names[0] == ("early", "")

    def test_one_may_be_chosen(self, reports: Any, both: str) -> None:
        """A context is chosen by its name or a pattern."""
        document = parsed(reports.run("summary", both, "--json", "--context", "ear*"))
        assert [each["context"] for each in document["contexts"]] == ["early"]


def test_regions_can_be_sorted_in_every_order() -> None:
    """The choices of ``--sort`` are the orders that exist."""
    (sort,) = (each for each in regions.params if each.name == "sort")
    assert isinstance(sort.type, click.Choice)
    assert set(sort.type.choices) == set(ORDERS)
