"""Only ranges of a process: outside of them nothing is monitored."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from attrs import frozen
from damon_vaddr import PidSource, ProcessMemory, Referenced
from damon_vaddr.mappings import clipped
from damon_vaddr.options import parse_ranges
from damon_vaddr.plugin import VaddrOptions

from damon_core import ConfigError, Context, Intervals, Range, start
from damon_core.testing import eventually

MIB = 1 << 20
MAPS = (
    b"00001000-00003000 rw-p 00000000 00:00 0                          [heap]\n"
    b"7f0000000000-7f0000010000 r--p 00002000 08:01 77                 /usr/lib/libc.so.6\n"
)


def test_all_is_kept_without_ranges() -> None:
    """As the kernel has written it."""
    assert clipped(MAPS, ()) == MAPS


def test_a_mapping_is_cut_at_the_borders_of_ranges() -> None:
    """Its offset in the file is that of the part; what lies outside is left out."""
    ranges = (Range(0x2000, 0x9000), Range(0x7F0000004000, 0x7F0000005000))
    assert clipped(MAPS, ranges).splitlines() == [
        b"00002000-00003000 rw-p 00001000 00:00 0                          [heap]",
        b"7f0000004000-7f0000005000 r--p 00006000 08:01 77                 /usr/lib/libc.so.6",
    ]


def test_a_mapping_may_have_a_part_in_each_of_two_ranges() -> None:
    """Both are kept."""
    ranges = (Range(0x1000, 0x2000), Range(0x2000, 0x3000))
    assert len(clipped(MAPS, ranges).splitlines()) == 2


def test_ranges_ascend_however_they_are_written() -> None:
    """With or without 0x, as in /proc/PID/maps."""
    assert parse_ranges(["7f000000-7F002000", "0x1000-0x2000"]) == (
        Range(0x1000, 0x2000),
        Range(0x7F000000, 0x7F002000),
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["1000"], "must be written 'START-END' in hexadecimal"),
        (["1000-1800"], "must be of whole pages of 4096 bytes"),
        (["2000-1000"], "must end after its start"),
        (["1000-3000", "2000-4000"], "2000-4000 overlaps another range"),
    ],
)
def test_what_are_no_ranges_is_refused(written: list[str], message: str) -> None:
    """Before anything is monitored."""
    with pytest.raises((ValueError, ConfigError), match=message):
        VaddrOptions(1, ranges=tuple(written))


@frozen
class Program:
    """A process with an area of 32 MiB, of which it uses the first half all the time."""

    pid: int
    address: int


@pytest.fixture
def program() -> Iterator[Program]:
    """Start such a process; it ends with the test."""
    code = (
        "import ctypes, mmap, time\n"
        "area = mmap.mmap(-1, 32 << 20)\n"
        "area.madvise(mmap.MADV_NOHUGEPAGE)\n"
        "area[::4096] = b'x' * 8192\n"
        "print(ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)\n"
        "while True:\n"
        "    area[: 16 << 20 : 4096]\n"
        "    time.sleep(0.01)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Program(process.pid, int(process.stdout.readline()))
        process.kill()


def test_referenced_counts_the_share_of_a_mapping(program: Program) -> None:
    """Of a mapping half of which was accessed, half of the part in the range."""
    wanted = Range(program.address + 8 * MIB, program.address + 24 * MIB)
    primitive = ProcessMemory(PidSource([program.pid]), Referenced(), ranges=[wanted])
    intervals = Intervals(20_000, 200_000, 400_000)
    with Context(primitive, intervals=intervals, cpu_budget=None, max_slowdown=None) as context:
        start(context)
        eventually(lambda: context.stats.aggregations >= 3 and context.stats.updates >= 1)
        snapshot = context.snapshot
    assert context.error is None
    assert snapshot is not None
    (target,) = snapshot.targets
    assert (target.start[0], target.end[-1]) == wanted
    assert target.total_bytes == 16 * MIB
    assert target.working_set_bytes() == pytest.approx(8 * MIB, rel=0.1)


def test_a_process_with_nothing_in_the_ranges_has_no_target(program: Program) -> None:
    """Until it maps something there."""
    primitive = ProcessMemory(PidSource([program.pid]), Referenced(), ranges=[Range(4096, 8192)])
    with Context(primitive, intervals=Intervals(20_000, 100_000), cpu_budget=None) as context:
        start(context)
        eventually(lambda: context.stats.aggregations >= 2)
        assert context.snapshot is not None
        assert context.snapshot.targets == ()
    assert context.error is None
