"""damo and the kernel's DAMON in the laboratory: each reads what the other recorded."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_damo import DamoReader, DamoWriter
from damon_sysfs import KernelProcesses
from damon_vaddr import PidSource, ProcessMemory

from damon_core import Context, Intervals, RecordInfo, RegionLimits, hookimpl, start

#: damo records by perf, and asks `file` what kind of file it has.
pytestmark = pytest.mark.needs("root", "kernel-damon", "perf", "file")

SIZE = 16 << 20
INTERVALS = Intervals(50_000, 1_000_000, 2_000_000)

#: Uses an area and tells where it is. The short sleep lets translations leave the TLB, behind
#: which accessed bits would stay clear.
_PROGRAM = f"""
import ctypes, mmap, time
area = mmap.mmap(-1, {SIZE})
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * ({SIZE} // 4096)
print(ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)
while True:
    area[::4096]
    time.sleep(0.005)
"""

Damo = Callable[..., str]


@pytest.fixture
def program() -> Iterator[tuple[int, int]]:
    """The pid of a process and the address of what it uses."""
    command = [sys.executable, "-S", "-c", _PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def seen_hot(start: int, regions: list[tuple[int, int, float]]) -> bool:
    """Tell whether some of the area was accessed in at least half of the checks."""
    return any(
        start <= (low + high) // 2 < start + SIZE and count >= INTERVALS.checks / 2
        for low, high, count in regions
    )


def test_what_damo_records_is_read(tmp_path: Path, program: tuple[int, int], damo: Damo) -> None:
    """A record of the real `damo record` is read as damo reads it, hot area included."""
    pid, address = program
    path = tmp_path / "damon.data"
    damo(
        *("record", "--sample", "50ms", "--aggr", "1s", "--updr", "2s", "--timeout", 12),
        *("--do_record", "access", "-o", path, pid),
    )
    (told,) = json.loads(damo("report", "access", "--input_file", path, "--json", "--raw_number"))
    with DamoReader(path) as reader:
        snapshots = list(reader.snapshots())
    assert {each.intervals for each in snapshots} == {INTERVALS}
    assert [each.total_bytes for each in snapshots] == [
        int(each["total_bytes"]) for each in told["snapshots"]
    ]
    regions = [
        list(zip(each.start.tolist(), each.end.tolist(), each.nr_accesses.tolist(), strict=True))
        for each in snapshots
    ]
    assert any(seen_hot(address, each) for each in regions)


class _Recorder:
    """A callback that writes a record of so many aggregations."""

    def __init__(self, writer: DamoWriter, count: int) -> None:
        self._writer = writer
        self._left = count

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        assert context.snapshot is not None
        self._writer.write(context.snapshot)
        self._left -= 1
        return self._left == 0


def test_damo_reports_what_the_backend_kernel_records(
    tmp_path: Path, program: tuple[int, int], damo: Damo
) -> None:
    """The kernel's DAMON, collected by us, is a record that the real damo reports."""
    pid, address = program
    path = tmp_path / "damon.data"
    primitive = ProcessMemory(PidSource([pid]), KernelProcesses())
    with (
        DamoWriter(path, RecordInfo()) as writer,
        Context(
            primitive,
            [_Recorder(writer, 12)],
            intervals=INTERVALS,
            limits=RegionLimits(10, 1_000),
            cpu_budget=None,
        ) as context,
    ):
        start(context)
        assert context.wait(300)
        assert context.error is None
    (told,) = json.loads(damo("report", "access", "--input_file", path, "--json", "--raw_number"))
    regions = [
        [
            (
                int(each["start"].replace(",", "")),
                int(each["end"].replace(",", "")),
                each["nr_accesses"]["samples"],
            )
            for each in snapshot["regions"]
        ]
        for snapshot in told["snapshots"]
    ]
    assert len(regions) == 12
    assert any(seen_hot(address, each) for each in regions)
