"""Records of writes alone: ``damon report summary`` says what there is to copy."""

import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from damon_core import ContextInfo, Intervals, RecordInfo
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
EVERY_HALF_SECOND = Intervals(100_000, 500_000, 1_000_000)


def summary(reports: Any, backend: str) -> str:
    """Return the summary of a record in which 3 MiB are written each half a second."""
    snapshots = [
        make_snapshot(
            {"t": [RegionRow(0, 8 * MIB, 5, touched_bytes=3 * MIB)]},
            number=number,
            intervals=EVERY_HALF_SECOND,
        )
        for number in (1, 2)
    ]
    info = RecordInfo(contexts=(ContextInfo("context", "vaddr", backend),))
    output: str = reports.run("summary", reports.add("r", snapshots, info)).output
    return " ".join(output.split())


def drawn(reports: Any, path: Path, backend: str, report: str = "heatmap") -> str:
    """Return the texts of a picture or page of that record."""
    row = RegionRow(0, 8 * MIB, 5, touched_bytes=3 * MIB, kinds={"anonymous": 8 * MIB})
    snapshots = [make_snapshot({"t": [row]}, number=number) for number in (1, 2)]
    info = RecordInfo(contexts=(ContextInfo("context", "vaddr", backend),))
    record = reports.add("r", snapshots, info)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        done = reports.run(report, record, "-o", str(path))
    assert done.exit_code == 0, done.output
    return path.read_text()


@pytest.mark.parametrize(
    ("report", "name", "texts"),
    [
        ("heatmap", "a.svg", ["share of checks with a write", "Written", "written 3.0 MiB of"]),
        ("heatmap", "a.html", ["share of checks with a write", "Written over time"]),
        ("wss", "a.svg", ["written over", "not written"]),
        ("kinds", "a.svg", ["anonymous, not written"]),
    ],
)
def test_pictures_say_that_it_is_writes(
    reports: Any, tmp_path: Path, report: str, name: str, texts: list[str]
) -> None:
    """No access is in them that isn't a write, so no working set either."""
    found = drawn(reports, tmp_path / name, "written", report)
    for text in texts:
        assert text in found
    assert "orking set" not in re.sub("<script>.*</script>", "", found, flags=re.DOTALL)


def test_others_say_that_it_is_accesses(reports: Any, tmp_path: Path) -> None:
    """As ever."""
    found = drawn(reports, tmp_path / "a.svg", "pagetable")
    assert "share of checks with an access" in found
    assert "Working set" in found


def test_writes_are_what_is_to_be_copied(reports: Any) -> None:
    """Once after each aggregation, or faster than it is written."""
    text = summary(reports, "written")
    assert "written median 3.0 MiB" in text
    assert "to copy 3.0 MiB by a checkpoint after each aggregation" in text
    assert "more than 6.0 MiB a second" in text


@pytest.mark.parametrize("backend", ["pagetable", ""])
def test_accesses_are_not(reports: Any, backend: str) -> None:
    """What was only read needn't be copied again."""
    text = summary(reports, backend)
    assert "working set median 3.0 MiB" in text
    assert "to copy" not in text
