"""The backend `referenced`: reading smaps, and the counters it sets."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from damon_vaddr import LayoutInput, Process, ProcessTarget, Referenced
from damon_vaddr.calibration import reset_us
from damon_vaddr.mappings import mapping_regions, parse_maps
from damon_vaddr.referenced import probe
from damon_vaddr.smaps import RolledUp, SmapsParser, accessed_bits, rolled_up

from damon_core import Context, RegionLimits, Regions
from damon_core.testing import eventually

StartProgram = Callable[..., "subprocess.Popen[str]"]

_RECORD = """\
{header} rw-p 00000000 00:00 0 {name}
Size:           {size:8} kB
KernelPageSize:        4 kB
Rss:            {rss:8} kB
Pss:            {pss:8} kB
Pss_Dirty:             3 kB
Referenced:     {referenced:8} kB
Anonymous:             0 kB
VmFlags: rd wr mr mw me ac{flags}
"""


def _ranges(headers: list[bytes]) -> list[bytes]:
    """Return the addresses in headers, which follow the flags of the previous mapping."""
    return [header.rpartition(b"\n")[2].split()[0] for header in headers]


def _record(
    rss: int, referenced: int, header: str = "1000-2000", pss: int = 0, **more: str
) -> bytes:
    names = {"name": "", "flags": " "} | more
    numbers = {"size": rss, "rss": rss, "pss": pss, "referenced": referenced}
    text = _RECORD.format(header=header, **numbers, **names)
    return text.encode()


def _touched_in(regions: Regions, row: int) -> int:
    """Return the touched bytes of one region."""
    assert regions.touched_bytes is not None
    return int(regions.touched_bytes[row])


def _target(process: Process) -> ProcessTarget:
    regions = mapping_regions(Regions(), parse_maps(process.maps()), 1000)
    return ProcessTarget(process.label(), regions, process=process)


def test_records_differ_in_their_first_and_last_line() -> None:
    """Names and flags of any length are read."""
    parser = SmapsParser(_record(1, 1))
    text = (
        _record(12, 4, name="[heap]", pss=9)
        + _record(0, 0, header="7f0000000000-7f0000001000", flags=" sd ")
        + _record(345678, 90, name="/usr/lib/Rss: 5 kB (deleted)")
    )
    headers, rss, pss, referenced, _ = parser.parse(text)
    assert _ranges(headers) == [b"1000-2000", b"7f0000000000-7f0000001000", b"1000-2000"]
    assert rss.tolist() == [12, 0, 345678]
    assert pss.tolist() == [9, 0, 0]
    assert referenced.tolist() == [4, 0, 90]


def test_a_mapping_of_terabytes_is_read_correctly() -> None:
    """From 95 GiB on numbers don't fit into their column, and the slow parser is used."""
    parser = SmapsParser(_record(1, 1))
    headers, rss, pss, referenced, _ = parser.parse(
        _record(8, 4) + _record(5 << 30, 123456789, pss=4 << 30)
    )
    assert len(headers) == 2
    assert rss.tolist() == [8, 5 << 30]
    assert pss.tolist() == [0, 4 << 30]
    assert referenced.tolist() == [4, 123456789]


def test_an_empty_smaps_has_no_mappings() -> None:
    """The smaps of a process without memory is empty."""
    headers, *columns = SmapsParser(_record(1, 1)).parse(b"")
    assert (headers, [column.tolist() for column in columns]) == ([], [[], [], [], []])


def test_an_unknown_layout_is_read_line_by_line() -> None:
    """Without VmFlags there is no fixed layout to learn."""
    text = b"".join(_record(8, 4, pss=6).splitlines(keepends=True)[:-1])
    _, *columns = SmapsParser(text).parse(text)
    assert [column.tolist() for column in columns] == [[8], [6], [4], [0]]


def test_the_fast_parser_agrees_with_the_slow_one() -> None:
    """On this kernel's real smaps."""
    text = Path("/proc/self/smaps").read_bytes()
    fast, slow = SmapsParser(text), SmapsParser(b"")
    assert fast._layout is not None  # noqa: SLF001  # that it is the fast one
    assert slow._layout is None  # noqa: SLF001  # that it is the slow one
    (headers, *columns), (same_headers, *same_columns) = fast.parse(text), slow.parse(text)
    assert _ranges(headers) == _ranges(same_headers)
    assert np.array_equal(columns, same_columns)
    assert len(fast.parse(text)[0]) == text.count(b"VmFlags:")


def _with_huge(record: bytes, anonymous: int, shared: int) -> bytes:
    """Return a record with the lines about huge pages, as newer kernels have them."""
    lines = f"AnonHugePages:  {anonymous:8} kB\nShmemPmdMapped: {shared:8} kB\n"
    return record.replace(b"VmFlags", lines.encode() + b"VmFlags")


@pytest.mark.parametrize("sample", [_with_huge(_record(1, 1), 0, 0), b""])
def test_what_is_in_huge_pages_is_read(sample: bytes) -> None:
    """Of each mapping, anonymous and shared memory together, by both parsers."""
    text = _with_huge(_record(9_000, 1), 4_096, 2_048) + _with_huge(_record(4, 4), 0, 0)
    *_, huge = SmapsParser(sample).parse(text)
    assert huge.tolist() == [6_144, 0]


@pytest.mark.parametrize(
    ("rss", "referenced", "huge", "bits"),
    [
        (4_096, 1_024, 0, 256),  # in pages of 4 KiB
        (4_096, 4_096, 4_096, 2),
        (6_144, 2_048, 4_096, 512),  # perhaps all of them in small pages
        (6_144, 4_096, 4_096, 513),
        (0, 0, 0, 0),
    ],
)
def test_a_huge_page_has_one_accessed_bit(
    rss: int, referenced: int, huge: int, bits: float
) -> None:
    """So the process sets one again, not 512."""
    columns = (np.array([kib], dtype=np.int64) for kib in (rss, referenced, huge))
    assert accessed_bits(*columns) == bits


_IN_HUGE_PAGES = """
import mmap, time
area = mmap.mmap(-1, 66 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_HUGEPAGE)
area[::4096] = bytes(len(area) // 4096)
print(flush=True)
while True:
    area[::4096] = bytes(len(area) // 4096)
"""


def test_a_process_in_huge_pages_loses_little(start_program: StartProgram) -> None:
    """By our account: some hundred bits for 64 MiB, not 16,384."""
    program = start_program(_IN_HUGE_PAGES)
    assert program.stdout is not None
    program.stdout.readline()
    smaps = Path(f"/proc/{program.pid}/smaps").read_text()
    if sum(map(int, re.findall(r"AnonHugePages: +(\d+) kB", smaps))) < 60 << 10:
        pytest.skip("there are no huge pages here")
    target = _target(Process.open(program.pid))
    backend = Referenced()
    backend.add(target)
    assert not backend.prepare([target])
    time.sleep(0.5)
    assert not backend.check([target])
    assert _touched_in(target.regions, int(target.regions.resident_bytes.argmax())) >= 60 << 20
    assert 0 < target.toll.cpu_us < 4_000 * reset_us()
    backend.close()


def test_an_idle_process_is_not_accessed(sleeper: "subprocess.Popen[str]") -> None:
    """A sleeping process accesses nothing between `prepare` and `check`."""
    target = _target(Process.open(sleeper.pid))
    backend = Referenced()
    backend.add(target)
    assert not backend.prepare([target])
    assert not backend.check([target])
    assert target.regions.nr_accesses.max() <= 1
    assert target.regions.nr_accesses.sum() < len(target.regions) / 2
    assert target.regions.resident_bytes.sum() > 1 << 20
    backend.close()


def test_new_mappings_are_not_counted(sleeper: "subprocess.Popen[str]") -> None:
    """Mappings that are newer than the last update belong to no region."""
    target = _target(Process.open(sleeper.pid))
    target.regions = Regions([target.regions.start[0]], [target.regions.end[0]])
    backend = Referenced()
    backend.add(target)
    backend.check([target])
    assert 0 < target.regions.resident_bytes[0] <= target.regions.size_bytes[0]
    backend.close()


def test_resident_bytes_are_at_most_the_size(sleeper: "subprocess.Popen[str]") -> None:
    """Even if the mapping has grown since the last update."""
    target = _target(Process.open(sleeper.pid))
    backend = Referenced()
    backend.add(target)
    backend.check([target])
    largest = int(target.regions.resident_bytes.argmax())
    end = target.regions.end[largest]
    target.regions = Regions([end - 4096], [end])
    backend.check([target])
    assert target.regions.resident_bytes.tolist() == [4096]
    backend.close()


def test_unmapped_regions_are_not_accessed(sleeper: "subprocess.Popen[str]") -> None:
    """A region without a mapping has no accesses and no resident bytes."""
    target = _target(Process.open(sleeper.pid))
    target.regions = Regions([4096], [8192])
    backend = Referenced()
    backend.add(target)
    backend.check([target])
    assert target.regions.nr_accesses.tolist() == [0.0]
    assert target.regions.resident_bytes.tolist() == [0]
    backend.close()


#: Fills memory, forks workers that share it, and says which; one of them reads a quarter of it.
_PREFORK = """
import mmap, os, sys, time
size, workers = int(sys.argv[1]), int(sys.argv[2])
area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = bytes(size // 4096)
pids = [os.getpid()]
for number in range(workers - 1):
    pid = os.fork()
    if not pid:
        break
    pids.append(pid)
else:
    print(*pids, flush=True)
while True:
    area[: size // 4 : 4096]
    time.sleep(0.02)
"""
_SHARED = 100 << 20


@pytest.fixture
def prefork(start_program: StartProgram) -> Iterator[list[int]]:
    """Return the pids of five processes that share 100 MiB and read a quarter of it."""
    program = start_program(_PREFORK, str(_SHARED), "5")
    assert program.stdout is not None
    pids = [int(pid) for pid in program.stdout.readline().split()]
    yield pids
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)


def _after_a_check(pids: list[int]) -> list[Regions]:
    """Return the regions of processes after 0.3 s, monitored together."""
    targets = [_target(Process.open(pid)) for pid in pids]
    backend = Referenced()
    for target in targets:
        backend.add(target)
    assert not backend.prepare(targets)
    time.sleep(0.3)
    assert not backend.check(targets)
    backend.close()
    for target in targets:
        target.process.close()
    return [target.regions for target in targets]


def test_memory_that_processes_share_counts_once(prefork: list[int]) -> None:
    """The sum over five is what they have together: 100 MiB and what is their own."""
    found = _after_a_check(prefork)
    assert _SHARED < sum(regions.resident_bytes.sum() for regions in found) < 1.5 * _SHARED
    assert all(regions.resident_bytes.sum() < _SHARED / 2 for regions in found)


def test_touched_memory_that_processes_share_counts_once(prefork: list[int]) -> None:
    """A quarter of it that all of them read counts as a quarter in the sum."""
    found = _after_a_check(prefork)
    touched = [_touched_in(each, int(each.resident_bytes.argmax())) for each in found]
    assert sum(touched) == pytest.approx(_SHARED / 4, rel=0.1)


def test_frequencies_are_those_of_pages_however_many_processes_share_them(
    prefork: list[int],
) -> None:
    """A quarter of the pages was accessed in each process."""
    (first, *_) = _after_a_check(prefork)
    assert first.nr_accesses[first.resident_bytes.argmax()] == pytest.approx(0.25, rel=0.1)


def test_a_single_process_counts_wholly(prefork: list[int]) -> None:
    """All that it has in memory counts, whoever else has it."""
    (alone,) = _after_a_check(prefork[:1])
    assert alone.resident_bytes.max() >= _SHARED


def test_a_process_that_ends_is_gone(sleeper: "subprocess.Popen[str]") -> None:
    """Its end between `prepare` and `check` is returned and is not an error."""
    target = _target(Process.open(sleeper.pid))
    backend = Referenced()
    backend.add(target)
    assert not backend.prepare([target])
    sleeper.kill()
    sleeper.wait()
    assert list(backend.check([target])) == [target]
    assert list(backend.prepare([target])) == [target]
    backend.close()


def test_a_zombie_is_gone(sleeper: "subprocess.Popen[str]") -> None:
    """A process that has ended has no memory, even before its parent has waited for it."""
    target = _target(Process.open(sleeper.pid))
    backend = Referenced()
    backend.add(target)
    sleeper.kill()
    eventually(target.process.ended)
    assert list(backend.check([target])) == [target]
    backend.close()


def test_all_files_are_closed(
    sleeper: "subprocess.Popen[str]", open_descriptors: Callable[[], int]
) -> None:
    """No file stays open after a backend and a process are closed."""
    before = open_descriptors()
    process = Process.open(sleeper.pid)
    backend = Referenced()
    backend.add(_target(process))
    assert open_descriptors() > before
    backend.close()
    process.close()
    assert open_descriptors() == before


def test_the_files_of_a_dead_process_are_not_opened(sleeper: "subprocess.Popen[str]") -> None:
    """Adding a process that has ended raises `ProcessLookupError`."""
    target = _target(Process.open(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(ProcessLookupError):
        Referenced().add(target)


def test_the_probe_finds_what_these_tests_use() -> None:
    """All that is required is there on this kernel."""
    assert all(finding.works for finding in probe() if finding.required)
    assert os.path.exists("/proc/self/clear_refs")


def _aggregate(backend: Referenced, target: ProcessTarget, seconds: float = 0.0) -> None:
    """Let an aggregation with two checks pass, with some time in between."""
    target.regions.reset_aggregated()
    assert not backend.prepare([target])
    assert not backend.check([target])
    time.sleep(seconds)
    assert not backend.check([target])


@pytest.fixture
def single(
    hot_and_cold: tuple[int, int, int, int],
) -> Iterator[tuple[Referenced, ProcessTarget]]:
    """Return a backend and its target, with a single region, after an aggregation."""
    pid, *_ = hot_and_cold
    process = Process.open(pid)
    if rolled_up(process.peek("smaps_rollup")) is None:
        pytest.skip("this kernel has no smaps_rollup")
    regions = mapping_regions(Regions(), parse_maps(process.maps()), 1)
    target = ProcessTarget(process.label(), regions, process=process)
    backend = Referenced()
    backend.add(target)
    _aggregate(backend, target)
    yield backend, target
    backend.close()
    process.close()


def test_of_a_single_region_sums_are_read(
    single: tuple[Referenced, ProcessTarget], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are alike, they give the same as a look at the mappings."""
    backend, target = single
    os.kill(target.process.pid, signal.SIGSTOP)
    for _ in range(2):
        _aggregate(backend, target)
    before = target.regions.resident_bytes[0]
    # Pages that are shared count as referenced when others that have them end, at any time.
    monkeypatch.setattr(RolledUp, "is_like", lambda *_: True)
    monkeypatch.setattr(SmapsParser, "parse", lambda *_: pytest.fail("mappings were read"))
    _aggregate(backend, target)
    assert target.regions.resident_bytes[0] == pytest.approx(before, rel=0.02)
    assert _touched_in(target.regions, 0) < 4 << 20
    assert target.regions.nr_accesses[0] < 0.5


def test_a_single_region_that_changes_is_looked_at(
    single: tuple[Referenced, ProcessTarget],
) -> None:
    """What was touched is never inferred from sums that were others."""
    backend, target = single
    os.kill(target.process.pid, signal.SIGSTOP)
    _aggregate(backend, target)
    assert _touched_in(target.regions, 0) < 4 << 20
    os.kill(target.process.pid, signal.SIGCONT)
    _aggregate(backend, target, 0.3)
    assert _touched_in(target.regions, 0) >= 8 << 20


def test_single_regions_are_looked_at_now_and_then(
    single: tuple[Referenced, ProcessTarget], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little changes."""
    backend, target = single
    parsed: list[int] = []
    parse = SmapsParser.parse

    def count(parser: SmapsParser, text: bytes) -> object:
        parsed.append(len(text))
        return parse(parser, text)

    monkeypatch.setattr(SmapsParser, "parse", count)
    monkeypatch.setattr(RolledUp, "is_like", lambda *_: True)
    for _ in range(10):
        _aggregate(backend, target)
    assert len(parsed) == 1


def test_a_check_follows_the_mappings(start_program: StartProgram) -> None:
    """What was mapped since the last update has a region, and counts."""
    program = start_program(
        "import mmap, sys; print('ready', flush=True); sys.stdin.readline()\n"
        "area = mmap.mmap(-1, 64 << 20); area[::4096] = bytes(16384); print('mapped', flush=True)\n"
        "sys.stdin.readline()"
    )
    assert program.stdout is not None
    assert program.stdin is not None
    program.stdout.readline()
    target = _target(Process.open(program.pid))
    target.layout_input = LayoutInput(target.process.maps(), 1_000)
    context = Context(object(), limits=RegionLimits(10, 1_000))
    backend = Referenced()
    backend.add(target)
    assert not backend.check([target], context)
    before = int(target.regions.resident_bytes.sum())
    program.stdin.write("\n")
    program.stdin.flush()
    program.stdout.readline()
    assert not backend.check([target], context)
    assert target.regions.resident_bytes.sum() >= before + (60 << 20)
    assert any(area.end - area.start >= 64 << 20 for area in target.areas)
    backend.close()
    target.process.close()
