"""``damon report kinds``: of which kinds the memory is that is in use, and that is idle."""

import json
from typing import Any

import pytest

from damon_core import Area, Snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
AREAS = [Area(0, MIB, "[heap]"), Area(MIB, 2 * MIB, "lib.so")]


def a_snapshot() -> Snapshot:
    """Return one of a heap in use and a file that is idle, and 1 MiB that is swapped."""
    rows = [
        RegionRow(0, MIB, 20, kinds={"anonymous": MIB, "file": 0, "node0": MIB // 2}),
        RegionRow(MIB, 2 * MIB, kinds={"anonymous": 0, "file": MIB, "node0": MIB}),
        RegionRow(4 * MIB, 5 * MIB, resident_bytes=0, kinds={"swapped": MIB}),
    ]
    return make_snapshot({"t[1]": rows}, areas={"t[1]": AREAS})


def kinds(reports: Any, *arguments: str) -> Any:
    """Return the JSON of a report."""
    record = reports.add("r", [a_snapshot()])
    result = reports.run("kinds", record, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)["kinds"]


def test_kinds_of_all_memory(reports: Any) -> None:
    """All that is in memory, then each kind, with what is in use and idle of it."""
    (whole,) = kinds(reports)
    sizes = {
        each["kind"]: (
            each["total_bytes"],
            each["working_set_bytes"],
            each["idle_low_bytes"],
        )
        for each in whole["kinds"]
    }
    assert sizes == {
        None: (2 * MIB, MIB, MIB),
        "anonymous": (MIB, MIB, 0),
        "file": (MIB, 0, MIB),
        "swapped": (MIB, None, None),
        "node0": (MIB * 3 // 2, MIB // 2, MIB),
    }


def test_kinds_of_a_mapping(reports: Any) -> None:
    """Of part of the memory, with all of its kinds."""
    (whole,) = kinds(reports, "--mapping", "lib.so")
    sizes = {each["kind"]: each["total_bytes"] for each in whole["kinds"]}
    assert sizes == {None: MIB, "anonymous": 0, "file": MIB, "node0": MIB}


def test_kinds_as_a_table(reports: Any) -> None:
    """With the share that a kind has of what is idle."""
    record = reports.add("r", [a_snapshot()])
    lines = reports.run("kinds", record).output.splitlines()
    row = next(line for line in lines if line.startswith("node0"))
    assert row.split()[1:] == ["1.5", "MiB", "75%", "512", "KiB", "1.0", "MiB", "100%"]


@pytest.mark.parametrize("by", ["target", "mapping"])
def test_kinds_by_part(reports: Any, by: str) -> None:
    """The whole comes first."""
    names = [each["name"] for each in kinds(reports, "--by", by)]
    assert names[0] == ""
    assert len(names) > 1


def test_a_record_without_kinds_is_an_error(reports: Any) -> None:
    """That says how to record them."""
    record = reports.add("r", [make_snapshot({"t": [RegionRow(0, 4096)]})])
    result = reports.run("kinds", record)
    assert result.exit_code == 2
    assert "--kinds" in str(result.exception) + result.output
