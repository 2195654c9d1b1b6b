"""The picture of ``damon report kinds``: kinds in use and idle, over time."""

import re
from pathlib import Path
from typing import Any

import pytest

from damon_core import Area, Snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
AREAS = [Area(index * MIB, (index + 1) * MIB, f"part{index}") for index in range(6)]


def snapshots(nodes: int = 1, swapped: bool = False, parts: int = 2) -> list[Snapshot]:
    """Return two of a part in use and others that are idle, on one NUMA node or more."""
    rows = [
        RegionRow(
            index * MIB,
            (index + 1) * MIB,
            0 if index else 20,
            kinds={
                "anonymous": 0 if index else MIB,
                "file": MIB if index else 0,
                "dirty": MIB // 2,
                **{f"node{node}": MIB // nodes for node in range(nodes)},
                **({"swapped": MIB} if swapped else {}),
            },
        )
        for index in range(parts)
    ]
    return [
        make_snapshot({"t[1]": rows}, areas={"t[1]": AREAS}, number=number) for number in (1, 2)
    ]


def texts(reports: Any, path: Path, found: list[Snapshot], *arguments: str) -> set[str]:
    """Return the texts of a picture, which is drawn as curves with the text as a comment."""
    done = reports.run("kinds", reports.add("r", found), "-o", str(path), *arguments)
    assert done.exit_code == 0, done.output
    return {each.strip() for each in re.findall(r"<!--(.*?)-->", path.read_text())}


def test_what_is_in_use_and_idle_is_drawn(reports: Any, tmp_path: Path) -> None:
    """In layers of what it is; a kind that there is none of has no layer that is seen."""
    drawn = texts(reports, tmp_path / "a.svg", snapshots())
    assert {"anonymous, in use", "anonymous, idle", "file, in use", "file, idle"} <= drawn
    assert not {"shmem, idle", "not known, idle", "swapped"} & drawn


def test_what_overlaps_is_drawn_as_lines(reports: Any, tmp_path: Path) -> None:
    """With its share of what is idle; half of it is dirty."""
    drawn = texts(reports, tmp_path / "a.svg", snapshots())
    assert {"dirty", "dirty, 50% at the end"} <= drawn
    assert "huge" not in drawn


@pytest.mark.parametrize("nodes", [1, 2])
def test_nodes_are_drawn_if_there_are_several(reports: Any, tmp_path: Path, nodes: int) -> None:
    """On a machine with one, all is on it."""
    drawn = texts(reports, tmp_path / "a.svg", snapshots(nodes))
    assert ("node1, 50% at the end" in drawn) == (nodes == 2)


def test_what_is_swapped_is_drawn(reports: Any, tmp_path: Path) -> None:
    """Above what is in memory."""
    assert "swapped" in texts(reports, tmp_path / "a.svg", snapshots(swapped=True))


def test_idle_is_what_was_asked_for(reports: Any, tmp_path: Path) -> None:
    """It says for how long."""
    drawn = texts(reports, tmp_path / "a.svg", snapshots(), "--idle", "10s")
    assert "file, idle 10s" in drawn


@pytest.mark.slow
def test_parts_have_panels(reports: Any, tmp_path: Path) -> None:
    """The whole, and the largest; the title says of how many."""
    drawn = texts(reports, tmp_path / "a.svg", snapshots(parts=6), "--by", "mapping")
    assert {"context: (all)", "context: part0"} <= drawn
    assert any(each.endswith("the largest 4 of 7") for each in drawn)


def test_a_record_without_kinds_is_not_drawn(reports: Any, tmp_path: Path) -> None:
    """And no file is left."""
    record = reports.add("r", [make_snapshot({"t": [RegionRow(0, 4096)]})])
    assert reports.run("kinds", record, "-o", str(tmp_path / "a.svg")).exit_code == 2
    assert not (tmp_path / "a.svg").exists()


@pytest.mark.parametrize("arguments", [["--at", "1s"], ["--json"]])
def test_what_a_picture_does_not_show_is_refused(
    reports: Any, tmp_path: Path, arguments: list[str]
) -> None:
    """It is over time, and no JSON."""
    record = reports.add("r", snapshots())
    output = str(tmp_path / "a.svg")
    assert reports.run("kinds", record, "-o", output, *arguments).exit_code == 2
