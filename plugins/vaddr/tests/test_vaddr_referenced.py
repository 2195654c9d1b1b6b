"""The backend `referenced`: what it reads, and what it makes of it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damon_vaddr import Process, ProcessTarget, Referenced
from damon_vaddr.mappings import mapping_regions, parse_maps
from damon_vaddr.referenced import SmapsParser, probe

from damon_core import Regions

_RECORD = """\
{header} rw-p 00000000 00:00 0 {name}
Size:           {size:8} kB
KernelPageSize:        4 kB
Rss:            {rss:8} kB
Pss:            {rss:8} kB
Referenced:     {referenced:8} kB
Anonymous:             0 kB
VmFlags: rd wr mr mw me ac{flags}
"""


def _ranges(headers: list[bytes]) -> list[bytes]:
    """Return the addresses that headers begin with, behind flags of the mapping before."""
    return [header.rpartition(b"\n")[2].split()[0] for header in headers]


def _record(rss: int, referenced: int, header: str = "1000-2000", **more: str) -> bytes:
    names = {"name": "", "flags": " "} | more
    text = _RECORD.format(header=header, size=rss, rss=rss, referenced=referenced, **names)
    return text.encode()


def _target(process: Process) -> ProcessTarget:
    regions = mapping_regions(Regions(), parse_maps(process.maps()), 1000)
    return ProcessTarget(process.label(), regions, process=process)


def test_records_differ_in_their_first_and_last_line() -> None:
    """Names and flags of any length don't disturb reading."""
    parser = SmapsParser(_record(1, 1))
    text = (
        _record(12, 4, name="[heap]")
        + _record(0, 0, header="7f0000000000-7f0000001000", flags=" sd ")
        + _record(345678, 90, name="/usr/lib/Rss: 5 kB (deleted)")
    )
    headers, rss, referenced = parser.parse(text)
    assert _ranges(headers) == [b"1000-2000", b"7f0000000000-7f0000001000", b"1000-2000"]
    assert rss.tolist() == [12, 0, 345678]
    assert referenced.tolist() == [4, 0, 90]


def test_a_mapping_of_terabytes_is_read_right() -> None:
    """From 95 GiB on numbers are longer than their column; the slower way takes over."""
    parser = SmapsParser(_record(1, 1))
    headers, rss, referenced = parser.parse(_record(8, 4) + _record(5 << 30, 123456789))
    assert len(headers) == 2
    assert rss.tolist() == [8, 5 << 30]
    assert referenced.tolist() == [4, 123456789]


def test_nothing_is_read_from_nothing() -> None:
    """A process without memory has an empty smaps."""
    headers, rss, referenced = SmapsParser(_record(1, 1)).parse(b"")
    assert (headers, rss.tolist(), referenced.tolist()) == ([], [], [])


def test_an_unknown_layout_is_read_all_the_same() -> None:
    """Without VmFlags there is no fixed layout to learn, only lines to look at."""
    text = b"".join(_record(8, 4).splitlines(keepends=True)[:-1])
    _, rss, referenced = SmapsParser(text).parse(text)
    assert (rss.tolist(), referenced.tolist()) == ([8], [4])


def test_the_fast_way_reads_what_the_slow_way_reads() -> None:
    """On this kernel's real smaps both agree, and with what is mapped."""
    text = Path("/proc/self/smaps").read_bytes()
    fast, slow = SmapsParser(text), SmapsParser(b"")
    assert fast._fixed is not None
    assert slow._fixed is None
    (headers, *columns), (same_headers, *same_columns) = fast.parse(text), slow.parse(text)
    assert _ranges(headers) == _ranges(same_headers)
    assert np.array_equal(columns, same_columns)
    assert len(fast.parse(text)[0]) == text.count(b"VmFlags:")


def test_an_idle_process_is_not_accessed(sleeper: "subprocess.Popen[str]") -> None:
    """Between clearing and reading a sleeping process touches nothing."""
    target = _target(Process.open(sleeper.pid))
    backend = Referenced()
    backend.add(target)
    assert not backend.prepare([target])
    assert not backend.check([target])
    assert target.regions.nr_accesses.max() <= 1
    assert target.regions.nr_accesses.sum() < len(target.regions) / 2
    assert target.regions.resident_bytes.sum() > 1 << 20
    backend.close()


def test_mappings_that_are_not_known_yet_are_left_out(sleeper: "subprocess.Popen[str]") -> None:
    """What was mapped after the last update belongs to no region."""
    target = _target(Process.open(sleeper.pid))
    target.regions = Regions([target.regions.start[0]], [target.regions.end[0]])
    backend = Referenced()
    backend.add(target)
    backend.check([target])
    assert 0 < target.regions.resident_bytes[0] <= target.regions.size_bytes[0]
    backend.close()


def test_what_a_mapping_has_grown_by_is_left_out(sleeper: "subprocess.Popen[str]") -> None:
    """A region never has more in memory than it is large."""
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


def test_mappings_that_are_gone_count_nothing(sleeper: "subprocess.Popen[str]") -> None:
    """A region without any mapping has no access and no resident bytes."""
    target = _target(Process.open(sleeper.pid))
    target.regions = Regions([4096], [8192])
    backend = Referenced()
    backend.add(target)
    backend.check([target])
    assert target.regions.nr_accesses.tolist() == [0.0]
    assert target.regions.resident_bytes.tolist() == [0]
    backend.close()


def test_a_process_that_ends_is_gone_not_wrong(sleeper: "subprocess.Popen[str]") -> None:
    """Its end between preparing and checking is an answer, not an error."""
    target = _target(Process.open(sleeper.pid))
    backend = Referenced()
    backend.add(target)
    assert not backend.prepare([target])
    sleeper.kill()
    sleeper.wait()
    assert list(backend.check([target])) == [target]
    assert list(backend.prepare([target])) == [target]
    backend.close()


def test_a_zombie_is_gone(
    sleeper: "subprocess.Popen[str]", eventually: Callable[[Callable[[], object]], None]
) -> None:
    """A process that has ended but isn't waited for has no memory either."""
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
    """Nothing stays open behind a backend and a process."""
    before = open_descriptors()
    process = Process.open(sleeper.pid)
    backend = Referenced()
    backend.add(_target(process))
    assert open_descriptors() > before
    backend.close()
    process.close()
    assert open_descriptors() == before


def test_the_files_of_a_dead_process_are_not_opened(sleeper: "subprocess.Popen[str]") -> None:
    """Adding a process that has ended says so and leaves nothing open."""
    target = _target(Process.open(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(ProcessLookupError):
        Referenced().add(target)


def test_it_works_on_this_kernel() -> None:
    """The probe agrees with what these tests have used."""
    assert all(finding.works for finding in probe())
    assert os.path.exists("/proc/self/clear_refs")
