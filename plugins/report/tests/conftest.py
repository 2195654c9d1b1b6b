"""Shared by the tests of reports: records made by hand, and a way to run reports on them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from damon_cli.main import main

from damon_core import (
    Area,
    DamonError,
    InputError,
    Intervals,
    PageMap,
    Plugins,
    RecordFormat,
    RecordInfo,
    RecordWriter,
    SelfClosing,
    Snapshot,
    hookimpl,
    testing,
)
from damon_core.testing import RegionRow

MIB = 1 << 20
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US

#: A region: start and end in MiB, nr_accesses of 10, and what else, by name.
Region = tuple[Any, ...]


def make_snapshot(
    number: int,
    targets: dict[str, Sequence[Region]],
    *,
    areas: dict[str, tuple[Area, ...]] | None = None,
    context: str = "main",
    elapsed_us: int = SECOND_US,
    time_us: int | None = None,
    intervals: Intervals | None = None,
    resident: float = 1.0,
    touched: float | None = None,
    page_maps: dict[str, PageMap] | None = None,
    labels: dict[str, dict[str, str]] | None = None,
) -> Snapshot:
    """Return an aggregation of a second by hand: regions are (start, end, accesses, idle_s, age).

    Start and end are in MiB; accesses are of 10 checks. Shares of each region are resident and
    touched. Every page of targets may be known.
    """

    def row(
        start: float, end: float, accesses: float, idle_s: float = 0, age: int = 0
    ) -> RegionRow:
        first, last = int(start * MIB), int(end * MIB)
        return RegionRow(
            first,
            last,
            accesses,
            age,
            idle_us=int(idle_s * SECOND_US),
            resident_bytes=int((last - first) * resident),
            touched_bytes=None if touched is None else int((last - first) * touched),
        )

    return testing.make_snapshot(
        {name: [row(*region) for region in regions] for name, regions in targets.items()},
        context=context,
        number=number,
        time_us=BEGIN_US + number * SECOND_US if time_us is None else time_us,
        elapsed_us=elapsed_us,
        intervals=intervals or Intervals(100_000, SECOND_US, SECOND_US),
        max_nr_accesses=10,
        areas=areas,
        page_maps=page_maps,
        labels=labels,
    )


class MemoryReader(SelfClosing):
    """A record in a list, which may be damaged at its end."""

    def __init__(self, snapshots: Sequence[Snapshot], info: RecordInfo, damaged: bool) -> None:
        self.info = info
        self._snapshots = snapshots
        self._damaged = damaged

    def span_us(self) -> tuple[int, int] | None:
        if not self._snapshots:
            return None
        return (
            min(each.time_us - each.elapsed_us for each in self._snapshots),
            max(each.time_us for each in self._snapshots),
        )

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        for each in self._snapshots:
            if (begin_us is None or each.time_us > begin_us) and (
                end_us is None or each.time_us <= end_us
            ):
                yield each
        if self._damaged:
            raise DamonError("the record is damaged after 2s")

    def close(self) -> None:
        pass


class Reports:
    """Records in memory, and reports of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[Path, MemoryReader] = {}
        self.plugins = Plugins({"memory": self})

    @hookimpl
    def register_formats(self, register: Callable[[RecordFormat], None]) -> None:
        """Register the format of these records."""
        register(RecordFormat("memory", (".memory",), self._read, self._write))

    def add(
        self,
        name: str,
        snapshots: Sequence[Snapshot],
        info: RecordInfo | None = None,
        *,
        damaged: bool = False,
    ) -> str:
        """Add a record, and return its name."""
        path = self.folder / f"{name}.memory"
        self._records[path] = MemoryReader(snapshots, info or RecordInfo(), damaged)
        return str(path)

    def run(self, *arguments: str) -> Result:
        """Run ``damon report``."""
        return CliRunner().invoke(main, ["report", *arguments], obj=self.plugins)

    def _read(self, path: Path) -> MemoryReader:
        if path not in self._records:
            raise InputError(f"'{path}' can't be read: there is no such record")
        return self._records[path]

    def _write(self, path: Path, info: RecordInfo) -> RecordWriter:
        raise NotImplementedError


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    """Records in memory, and reports of them."""
    return Reports(tmp_path)


@pytest.fixture
def snapshot() -> Callable[..., Snapshot]:
    """How snapshots are made by hand: see `make_snapshot`."""
    return make_snapshot
