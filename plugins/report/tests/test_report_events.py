"""``damon report events``: what came, went and changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from damon_core import Intervals, Snapshot

SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US


@pytest.fixture
def busy(reports: Any, snapshot: Callable[..., Snapshot]) -> str:
    """Return a record in which everything happens."""
    slow = Intervals(200_000, SECOND_US, SECOND_US)
    both = {"db[1]": [(0, 1, 5)], "web[2]": [(0, 1, 5)]}
    one = {"db[1]": [(0, 1, 5)]}
    return str(
        reports.add(
            "busy",
            [
                snapshot(1, one),
                snapshot(2, both),
                snapshot(3, both, intervals=slow),
                snapshot(4, one, intervals=slow),
                snapshot(5, one, intervals=slow, time_us=BEGIN_US + 65 * SECOND_US),
                snapshot(1, one, intervals=slow, time_us=BEGIN_US + 66 * SECOND_US),
            ],
        )
    )


def test_each_kind(reports: Any, busy: str) -> None:
    """With when it was: of a gap when it began, of a target that went when it was last seen."""
    found = json.loads(reports.run("events", busy, "--json").stdout)["events"]
    begin_us = BEGIN_US
    assert [
        (
            each["kind"],
            (each["time_us"] - begin_us) // SECOND_US,
            each["target"],
            each["duration_us"],
        )
        for each in found
    ] == [
        ("begin", 0, "", None),
        ("came", 1, "web[2]", None),
        ("intervals", 2, "", None),
        ("went", 3, "web[2]", 2 * SECOND_US),
        ("gap", 4, "", 60 * SECOND_US),
        ("restart", 65, "", None),
        ("end", 66, "", None),
    ]


def test_as_a_table(reports: Any, busy: str) -> None:
    """A line each, with the time since the start and the context."""
    lines = [line.split(None, 6) for line in reports.run("events", busy).stdout.splitlines()[2:]]
    assert [(line[0], *line[4:]) for line in lines] == [
        ("0", "main", "begin", "the first aggregation begins"),
        ("1s", "main", "came", "web[2] came"),
        ("2s", "main", "intervals", "sampling 100ms to 200ms"),
        ("3s", "main", "went", "web[2] went, after 2s"),
        ("4s", "main", "gap", "nothing was recorded for 1m"),
        ("1m5s", "main", "restart", "aggregations are numbered anew"),
        ("1m6s", "main", "end", "the last aggregation has ended"),
    ]


def test_of_a_kind(reports: Any, busy: str) -> None:
    """And no more than asked for; how many there are besides is said."""
    done = reports.run("events", busy, "--kind", "came", "--kind", "went", "--limit", "1")
    assert "web[2] came" in done.stdout
    assert done.stdout.splitlines()[-1] == "# 1 more: --limit 0 shows all"
