"""Resident memory that is estimated from sampled pages."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from damon_vaddr import LayoutInput, Mapped, Process, ProcessTarget, Ranges
from damon_vaddr.mappings import parse_accessible
from damon_vaddr.resident import Cells, cells_around, shares

from damon_core import Range, RegionLimits, Regions
from tests.prefork import prefork_server

StartProgram = Callable[..., "subprocess.Popen[str]"]

PAGE = 4096
MIB = 1 << 20

#: Reserves 32 GiB, touches a part in the middle, and prints where.
_SPARSE = """
import ctypes, mmap, sys
SIZE, TOUCHED = 32 << 30, 64 << 20
area = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
area.madvise(mmap.MADV_NOHUGEPAGE)
middle = SIZE // 2
area[middle : middle + TOUCHED : 4096] = bytes(TOUCHED // 4096)
start = ctypes.addressof(ctypes.c_char.from_buffer(area)) + middle
print(start, start + TOUCHED, flush=True)
sys.stdin.read()
"""


def _cells(*sizes: int, resident: list[float], doubt: list[float]) -> Cells:
    """Return adjacent cells."""
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = ends - np.array(sizes, dtype=np.int64)
    return Cells(starts, ends, np.array(resident), np.array(doubt))


def _pages(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64) * PAGE


class TestCells:
    """What pages represent, and how that is adjusted."""

    def test_a_page_stands_for_what_is_around_it(self) -> None:
        """Half way to the next page of the same mapping, and up to the ends of the mapping."""
        mapped = Mapped.of([Range(0, 10 * PAGE), Range(20 * PAGE, 30 * PAGE)])
        cells = cells_around(mapped, _pages(1, 6, 25), np.array([True, False, True]), 0)
        assert (cells.start // PAGE).tolist() == [0, 4, 20]
        assert (cells.end // PAGE).tolist() == [4, 10, 30]
        assert (cells.resident // PAGE).tolist() == [4, 0, 10]

    def test_if_all_pages_are_read_all_is_known(self) -> None:
        """Each page stands for itself."""
        present = np.array([True, False, False, True])
        cells = cells_around(Mapped.of([Range(0, 4 * PAGE)]), _pages(0, 1, 2, 3), present, 0)
        assert (cells.resident // PAGE).tolist() == [1, 0, 0, 1]

    def test_a_mapping_without_a_page_is_like_all_others(self) -> None:
        """A quarter of the others is in memory, so a quarter of it is expected to be."""
        mapped = Mapped.of([Range(0, 4 * PAGE), Range(8 * PAGE, 16 * PAGE)])
        present = np.array([True, False, False, False])
        cells = cells_around(mapped, _pages(0, 1, 2, 3), present, 0)
        assert cells.resident[-1] == 2 * PAGE

    def test_without_pages_the_total_is_spread(self) -> None:
        """As where pagemap may not be read."""
        mapped = Mapped.of([Range(0, 4 * PAGE), Range(8 * PAGE, 16 * PAGE)])
        none = np.zeros(0, dtype=np.int64)
        cells = cells_around(mapped, none, none.astype(np.bool_), 6 * PAGE)
        assert (cells.resident // PAGE).tolist() == [2, 4]

    def test_a_border_is_in_doubt(self) -> None:
        """Pages beside others with the same result are surer than those at a border."""
        mapped = Mapped.of([Range(0, 40 * PAGE)])
        cells = cells_around(mapped, _pages(*range(40)), np.arange(40) < 20, 0)
        assert cells.doubt[[19, 20]].tolist() == pytest.approx([cells.doubt.max()] * 2)
        assert cells.doubt[19] > 3 * cells.doubt[0]

    @pytest.mark.parametrize("total", [0, 5, 50, 149, 150])
    def test_the_sum_is_the_total(self, total: int) -> None:
        """No cell has more than its size, or less than nothing."""
        cells = _cells(100, 40, 10, resident=[100.0, 0.0, 5.0], doubt=[1.0, 2.0, 3.0])
        scaled = cells.scaled_to(total)
        assert scaled.sum() == pytest.approx(total, abs=1)
        assert (scaled >= 0).all()
        assert (scaled <= [100, 40, 10]).all()

    def test_doubtful_cells_change_most(self) -> None:
        """In proportion to the doubt."""
        cells = _cells(100, 100, resident=[50.0, 50.0], doubt=[1.0, 3.0])
        assert cells.scaled_to(120).tolist() == [55, 65]

    def test_more_than_all_mappings_is_all(self) -> None:
        """The process may have mapped more since its mappings were read."""
        cells = _cells(100, 100, resident=[50.0, 0.0], doubt=[1.0, 3.0])
        assert cells.scaled_to(1000).tolist() == [100, 100]


@pytest.fixture
def sparse(start_program: StartProgram) -> Iterator[tuple[ProcessTarget, Range]]:
    """Return a process that has 64 MiB of 32 GiB in memory, and where that is."""
    program = start_program(_SPARSE)
    assert program.stdout is not None
    touched = Range(*map(int, program.stdout.readline().split()))
    process = Process.open(program.pid)
    target = ProcessTarget("sparse", process=process)
    Ranges().lay_out(target, LayoutInput(process.maps(), 1000), RegionLimits(100, 1000))
    yield target, touched
    process.close()


def _describe(target: ProcessTarget, aggregations: int, sharing: int = 1) -> None:
    for number in range(aggregations):
        Ranges().describe([target] * sharing, number * 1_000_000)


class TestProcess:
    """A real process with more mapped than in memory."""

    def test_the_sum_is_what_is_in_memory(self, sparse: tuple[ProcessTarget, Range]) -> None:
        """From the first aggregation on."""
        target, _ = sparse
        _describe(target, 1)
        rss = psutil.Process(target.process.pid).memory_info().rss
        assert target.regions.resident_bytes.sum() == pytest.approx(rss, rel=0.01)

    def test_regions_in_use_are_found(self, sparse: tuple[ProcessTarget, Range]) -> None:
        """Most of the memory is in its own region, as half of the pages are spread over regions."""
        target, touched = sparse
        target.regions = target.regions.cut_at(np.array(touched))
        _describe(target, 10)
        regions = target.regions
        inside = (regions.start >= touched.start) & (regions.end <= touched.end)
        assert regions.resident_bytes[inside].sum() > 0.8 * (touched.end - touched.start)

    def test_memory_of_other_targets_does_not_count(
        self, sparse: tuple[ProcessTarget, Range]
    ) -> None:
        """What they count is in the memory of the process, but not among its resident bytes."""
        target, _ = sparse
        maps = target.process.maps()
        largest = max(parse_accessible(maps), key=lambda each: each.end - each.start)
        limits = RegionLimits(100, 1000)
        Ranges().lay_out(target, LayoutInput(maps, 1000, (largest,)), limits)
        _describe(target, 5)
        assert 0 < target.regions.resident_bytes.sum() < 32 * MIB

    def test_pages_are_read_only_when_they_are_due(
        self, sparse: tuple[ProcessTarget, Range], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many aggregations there are, and however many processes share the time."""
        target, _ = sparse
        read: list[int] = []
        opened = Process.open_file

        def counting(process: Process, name: str, flags: int = 0) -> int:
            read.append(1)
            return opened(process, name, flags)

        monkeypatch.setattr(Process, "open_file", counting)
        for number in range(1000):
            target.resident.refresh(target.process, target.regions, number * 1_000, 1)
        assert 2 <= len(read) <= 8

    def test_an_ended_process_keeps_its_estimate(self, sparse: tuple[ProcessTarget, Range]) -> None:
        """Until the end is noticed."""
        target, _ = sparse
        _describe(target, 1)
        before = target.regions.resident_bytes.tolist()
        psutil.Process(target.process.pid).kill()
        psutil.Process(target.process.pid).wait()
        target.resident.refresh(target.process, target.regions, 10_000_000, 1)
        Ranges().describe([target], 20_000_000)
        assert target.regions.resident_bytes.tolist() == before

    def test_without_pagemap_the_sum_is_right(
        self, sparse: tuple[ProcessTarget, Range], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only the places are unknown then."""
        target, _ = sparse
        readable = Process.open_file

        def refusing(process: Process, name: str, flags: int = 0) -> int:
            if name == "pagemap":
                raise PermissionError(name)
            return readable(process, name, flags)

        monkeypatch.setattr(Process, "open_file", refusing)
        _describe(target, 2)
        rss = psutil.Process(target.process.pid).memory_info().rss
        assert target.regions.resident_bytes.sum() == pytest.approx(rss, rel=0.01)

    def test_nothing_mapped_is_nothing(self) -> None:
        """Without mappings there is no memory."""
        target = ProcessTarget("none", Regions([PAGE], [2 * PAGE]), process=Process.open(1))
        assert target.resident.bytes_in(target.regions.start, target.regions.end).tolist() == [0]
        target.process.close()


PRESENT, OF_FILE, EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56


class TestShares:
    """Which part of a page is a process's."""

    @pytest.mark.parametrize(
        ("entry", "share"),
        [
            (PRESENT | 1, 1 / 4),
            (PRESENT | 2, 1),
            (PRESENT | EXCLUSIVE | 1, 1),
            (PRESENT | OF_FILE | 1, 1 / 4),
            (PRESENT, 1),
            (1, 1),
        ],
    )
    def test_one_in_as_many_as_map_it(self, entry: int, share: float, tmp_path: Path) -> None:
        """Of pages in memory whose frame isn't hidden and that aren't one process's alone."""
        (tmp_path / "counts").write_bytes(np.array([9, 4, 0], dtype=np.uint64).tobytes())
        found = shares(np.array([entry], dtype=np.uint64), str(tmp_path / "counts"))
        assert found.tolist() == [share]

    def test_files_that_count_elsewhere(self, tmp_path: Path) -> None:
        """Where they count whole in one process they aren't divided."""
        (tmp_path / "counts").write_bytes(np.array([9, 4], dtype=np.uint64).tobytes())
        entries = np.array([PRESENT | OF_FILE | 1, PRESENT | 1], dtype=np.uint64)
        found = shares(entries, str(tmp_path / "counts"), counts_files_whole=True)
        assert found.tolist() == [1, 1 / 4]

    def test_counts_that_may_not_be_read(self, tmp_path: Path) -> None:
        """Nothing is divided."""
        entries = np.array([PRESENT | 1], dtype=np.uint64)
        assert shares(entries, str(tmp_path / "nosuch")).tolist() == [1]

    @pytest.mark.needs("root")
    def test_a_server_of_several_processes(self) -> None:
        """What they have in common counts once in the sum; in each it would be five times."""
        with prefork_server(32 * MIB) as pids:
            targets = [ProcessTarget(str(pid), process=Process.open(pid)) for pid in pids]
            for target in targets:
                given = LayoutInput(target.process.maps(), 1000)
                Ranges().lay_out(target, given, RegionLimits(10, 1000))
            Ranges().describe(targets, 0)
            total = sum(int(target.regions.resident_bytes.sum()) for target in targets)
            for target in targets:
                target.process.close()
        assert 0.7 * 32 * MIB < total < 2 * 32 * MIB
