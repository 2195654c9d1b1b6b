"""What something else says of memory, such as DAMON_STAT, beside what is computed from regions."""

import json
from typing import Any

import pytest
from damon_report.naming import AreaCache
from damon_report.selection import Selection

from damon_core import Reported, Snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
#: In use for 2 s, …, idle for 98 s: each percentile a second more.
REPORTED = Reported(tuple((percent - 2) * 1_000_000 for percent in range(101)), 5 * MIB)


def snapshot(number: int, *targets: str, stale_us: int = 0) -> Snapshot:
    """Return an aggregation of targets, all of which something else says the same of."""
    regions = [RegionRow(0, MIB, 20), RegionRow(MIB, 4 * MIB, 0, idle_us=7_000_000)]
    return make_snapshot(
        dict.fromkeys(targets, regions),
        number=number,
        reported=dict.fromkeys(targets, REPORTED),
        stale_us=dict.fromkeys(targets, stale_us),
    )


@pytest.fixture
def one(reports: Any) -> str:
    """Return a record of one target."""
    name: str = reports.add("one", [snapshot(number, "damon_stat") for number in (1, 2)])
    return name


@pytest.fixture
def two(reports: Any) -> str:
    """Return a record of two targets."""
    name: str = reports.add("two", [snapshot(1, "a", "b")])
    return name


def parsed(reports: Any, *arguments: str) -> Any:
    """Return the JSON of a report."""
    result = reports.run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_idle_times_stand_below_ours(reports: Any, one: str) -> None:
    """Less than 0 is memory in use."""
    shown = reports.run("idle", one, "--percentiles").output.splitlines()
    ours, theirs = (line.split() for line in shown if line.startswith("(all)"))
    assert ours == ["(all)", "0", "0", "0", *["7s"] * 6]
    assert theirs[:4] == ["(all),", "reported", "-2s", "-1s"]
    assert theirs[5:7] == ["48s", "1m13s"]


def test_idle_times_in_json(reports: Any, one: str) -> None:
    """With the same percentiles as ours."""
    (found,) = parsed(reports, "idle", one, "--percentiles")["percentiles"]
    assert found["reported_us"].keys() == found["percentiles_us"].keys()
    assert found["reported_us"]["50"] == 48_000_000


def test_nothing_is_said_of_several_targets_together(reports: Any, two: str) -> None:
    """Percentiles of each don't make those of both; sums of bandwidths are left to who asks."""
    rows = parsed(reports, "idle", two, "--percentiles", "--by", "target")["percentiles"]
    assert {each["name"]: each["reported_us"] is not None for each in rows} == {
        "": False,
        "a": True,
        "b": True,
    }


def test_bandwidth_stands_below_ours(reports: Any, one: str) -> None:
    """Ours is that of the checks: all of 20 in 100 ms saw one MiB."""
    shown = reports.run("wss", one, "--bandwidth").output.splitlines()
    ours, theirs = (line for line in shown if "damon_stat" in line)
    assert "200 MiB/s" in ours
    assert "damon_stat, reported" in theirs
    assert "5.0 MiB/s" in theirs


def test_bandwidth_in_json(reports: Any, one: str) -> None:
    """As a distribution over time, like ours."""
    found = parsed(reports, "wss", one, "--bandwidth")["bandwidths"][0]
    assert found["reported"]["mean_bytes_per_second"] == 5 * MIB
    assert found["reported"]["time_us"] == found["time_us"]


def test_a_summary_says_it_in_a_line(reports: Any, one: str) -> None:
    """At the end of the record."""
    shown = " ".join(reports.run("summary", one).output.split())
    assert (
        "reported half of the memory idle for 48s or longer, 5.0 MiB accessed a second, for "
        "damon_stat at the end"
    ) in shown


def test_selected_targets_keep_it() -> None:
    """With how old their values are."""
    only = Selection(targets=("a",))
    found = only.of_snapshot(snapshot(1, "a", "b", stale_us=9), AreaCache())
    assert found is not None
    assert [(each.reported, each.stale_us) for each in found.targets] == [(REPORTED, 9)]


def test_parts_of_targets_do_not_have_it() -> None:
    """It is said of all of their memory."""
    part = Selection(addresses=(0, MIB))
    found = part.of_snapshot(snapshot(1, "a", stale_us=9), AreaCache())
    assert found is not None
    assert [(each.reported, each.stale_us) for each in found.targets] == [(Reported(), 9)]
