"""Records of writes alone: ``damon report summary`` says what there is to copy."""

from typing import Any

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
