"""A terminal, and a folder as readers have it: with the files that pages speak of."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    Area,
    Intervals,
    PageMap,
    Plugins,
    RecordInfo,
    format_of,
)
from damon_core.testing import RegionRow, make_snapshot
from tests.documentation.collecting import ROOT
from tests.documentation.terminal import Terminal

#: Records that commands and examples read without having made them, besides damon.data.
RECORDS = (
    "damon.parquet", "db.parquet", "build.parquet", "busy.parquet", "old.parquet",
    "new.parquet", "before.parquet", "after.parquet", "killed.parquet",
)  # fmt: skip


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with records of one process, of which everything is known."""
    periods = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
    periods[0, :8] = [13] * 3 + [23] * 5
    every_page = PageMap.of_periods(
        np.array([0]), periods, shortest=13, longest=20, watched_us=60_000_000
    )
    name = "redis-server[7]"
    hot = RegionRow(0, 4 << 12, 180, kinds={"anonymous": 4 << 12})
    snapshots = [
        make_snapshot(
            {
                name: [
                    hot,
                    RegionRow(4 << 12, BLOCK_BYTES, age=number, kinds={"anonymous": 1 << 20}),
                ]
            },
            number=number,
            intervals=Intervals(5_000, 1_000_000, 1_000_000),
            areas={name: [Area(0, BLOCK_BYTES, "[heap]")]},
            labels={name: {"unit": "redis.service", "pod": "redis-0", "namespace": "db"}},
            page_maps={name: every_page},
        )
        for number in range(1, 31)
    ]
    folder = tmp_path_factory.mktemp("records")
    formats = Plugins.discover().formats()
    info = evolve(RecordInfo.here(), pages=True)
    for path in (folder / "record.parquet", folder / "damon.data"):
        with format_of(path, formats).write(path, info) as writer:
            for snapshot in snapshots:
                writer.write(snapshot)
    for name in RECORDS:
        shutil.copy(folder / "record.parquet", folder / name)
    (folder / "week").mkdir()
    shutil.copy(folder / "record.parquet", folder / "week")
    shutil.copytree(ROOT / "docs/records", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def folder(records: Path, tmp_path: Path) -> Path:
    """Return a folder of the test's own with these records."""
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="session")
def terminal() -> Iterator[Terminal]:
    """Return a terminal."""
    opened = Terminal()
    yield opened
    opened.close()
