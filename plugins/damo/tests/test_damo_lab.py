"""damo and the kernel's DAMON in the lab: each reads what the other recorded."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from damon_damo import DamoReader, DamoWriter
from damon_sysfs import KernelProcesses
from damon_vaddr import PidSource, ProcessMemory

from damon_core import Context, Intervals, RecordInfo, RegionLimits, Snapshot
from damon_core.testing import Recorder, run

#: damo records by perf, and asks `file` what kind of file it has.
pytestmark = pytest.mark.needs("root", "kernel-damon", "perf", "file")

SIZE = 16 << 20
INTERVALS = Intervals(50_000, 1_000_000, 2_000_000)

#: Uses an area. The short sleep lets translations leave the TLB, behind
#: which accessed bits would stay clear.
_PROGRAM = f"""
import mmap, time
area = mmap.mmap(-1, {SIZE})
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * ({SIZE} // 4096)
print("ready", flush=True)
while True:
    area[::4096]
    time.sleep(0.005)
"""

Damo = Callable[..., str]


@pytest.fixture
def program() -> Iterator[int]:
    """The pid of a process that uses its memory."""
    command = [sys.executable, "-S", "-c", _PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def regions_of(reported: list[dict[str, Any]]) -> list[list[tuple[int, int, float]]]:
    """Return the regions of a record's only target as damo understands them."""
    return [
        [
            (
                int(each["start"].replace(",", "")),
                int(each["end"].replace(",", "")),
                each["nr_accesses"]["samples"],
            )
            for each in snapshot["regions"]
        ]
        for (record,) in [reported]
        for snapshot in record["snapshots"]
    ]


def regions_in(snapshots: list[Snapshot]) -> list[list[tuple[int, int, float]]]:
    """Return the regions of snapshots."""
    return [
        list(zip(each.start.tolist(), each.end.tolist(), each.nr_accesses.tolist(), strict=True))
        for each in snapshots
    ]


def test_what_damo_records_is_read(tmp_path: Path, program: int, damo: Damo) -> None:
    """A record of the real `damo record` is read as damo reads it, hot area included."""
    path = tmp_path / "damon.data"
    damo(
        *("record", "--sample", "50ms", "--aggr", "1s", "--updr", "2s", "--timeout", 12),
        *("--do_record", "access", "-o", path, program),
    )
    reported = json.loads(damo("report", "access", "--input_file", path, "--json", "--raw_number"))
    with DamoReader(path) as reader:
        snapshots = list(reader.snapshots())
    assert {each.intervals for each in snapshots} == {INTERVALS}
    assert regions_in(snapshots) == regions_of(reported)
    assert snapshots


def test_damo_reports_what_the_backend_kernel_records(
    tmp_path: Path, program: int, damo: Damo
) -> None:
    """The kernel's DAMON, collected by us, is a record that the real damo reports."""
    path = tmp_path / "damon.data"
    primitive = ProcessMemory(PidSource([program]), KernelProcesses())
    with DamoWriter(path, RecordInfo()) as writer:

        def write(context: Context) -> bool:
            assert context.snapshot is not None
            writer.write(context.snapshot)
            return context.snapshot.number == 12

        recorder = Recorder(after_aggregation=write)
        context = Context(
            primitive,
            [recorder],
            intervals=INTERVALS,
            limits=RegionLimits(10, 1_000),
            cpu_budget=None,
        )
        run(context, timeout_s=300)
    reported = json.loads(damo("report", "access", "--input_file", path, "--json", "--raw_number"))
    assert regions_of(reported) == regions_in(recorder.snapshots)
    assert len(recorder.snapshots) == 12
