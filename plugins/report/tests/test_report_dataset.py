"""Reports of a dataset: hosts and times choose partitions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from damon_parquet.publishing import publish
from damon_parquet.store import Store
from damon_parquet.writer import ParquetWriter
from damon_report.command import report

from damon_core import Plugins, RecordInfo
from damon_core.testing import RegionRow, make_snapshot

DAY_US = 86_400_000_000
#: 2026-11-26 00:00 UTC.
BEGIN_US = 1_795_651_200_000_000
Run = Callable[..., Any]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a dataset of two hosts and two days."""
    root = tmp_path / "fleet"
    for host in ("web-1", "web-2"):
        for day in (0, 1):
            path = tmp_path / f"{host}-{day}.parquet"
            with ParquetWriter(path, RecordInfo(host=host)) as writer:
                for number in range(1, 4):
                    time_us = BEGIN_US + day * DAY_US + number * 3_600_000_000
                    regions = {"a": [RegionRow(0, 1 << 20, 5), RegionRow(1 << 20, 3 << 20)]}
                    writer.write(make_snapshot(regions, number=number, time_us=time_us))
            publish(path, Store(str(root)))
    return root


@pytest.fixture
def wss() -> Run:
    """Return a function that runs the report of working sets and returns its result."""

    def run(*arguments: object) -> Any:
        found = CliRunner().invoke(
            report, ["wss", *map(str, arguments), "--json"], obj=Plugins.discover()
        )
        return json.loads(found.stdout) if found.exit_code == 0 else found.exception or found.output

    return run


def test_contexts_are_named_by_their_hosts(dataset: Path, wss: Run) -> None:
    """Each host has its own."""
    text = json.dumps(wss(dataset))
    assert '"web-1/context"' in text
    assert '"web-2/context"' in text


def test_only_partitions_of_hosts_and_days_are_read(dataset: Path, wss: Run) -> None:
    """Others may be broken."""
    for path in dataset.rglob("*.parquet"):
        if "host=web-2" not in str(path) or "date=2026-11-27" not in str(path):
            path.write_bytes(b"broken")
    text = json.dumps(wss(dataset, "--host", "*-2", "--from", "2026-11-27T00:00Z"))
    assert "web-2/context" in text
    assert "web-1" not in text


def test_a_record_of_another_host_is_refused(dataset: Path, wss: Run) -> None:
    """It has nothing of what is asked for."""
    found = wss(next(dataset.rglob("*.parquet")), "--host", "db-*")
    assert "is of host" in str(found)
