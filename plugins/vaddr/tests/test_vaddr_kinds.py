"""Kinds of memory of real processes whose memory is known, compared with what the kernel says."""

import contextlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damon_vaddr import LayoutInput, PidSource, Process, ProcessMemory, ProcessTarget, Referenced
from damon_vaddr.kinds import Kinds, nodes_online, of_smaps, shmem_ranges
from damon_vaddr.mappings import mapping_regions, parse_maps

from damon_core import Context, RegionLimits, Snapshot, kind_names
from damon_core.testing import StopAfter, run

StartProgram = Callable[..., "subprocess.Popen[str]"]

MIB = 1 << 20
#: 16 MiB anonymous of which 4 are locked, 8 shared, 12 of a file of which 4 are dirty.
_PROGRAM = """
import ctypes, mmap, os, sys, tempfile
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
def fill(area):
    area[::4096] = b"x" * (len(area) // 4096)
    return area
def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))
areas = []
for size in (12, 4):
    areas.append(mmap.mmap(-1, size << 20, flags=PRIVATE))
    areas[-1].madvise(mmap.MADV_NOHUGEPAGE)
    fill(areas[-1])
ctypes.CDLL(None).mlock(ctypes.c_void_p(address(areas[1])), ctypes.c_size_t(4 << 20))
areas.append(fill(mmap.mmap(-1, 8 << 20)))
file = tempfile.TemporaryFile(dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None)
file.write(bytes(12 << 20))
file.flush()
os.fsync(file.fileno())
areas.append(mmap.mmap(file.fileno(), 12 << 20))
for place in range(0, 12 << 20, 4096):
    areas[-1][place]
areas[-1][: 4 << 20 : 4096] = b"y" * 1024
print("ready", flush=True)
sys.stdin.readline()
areas[0].madvise(21)  # MADV_PAGEOUT
print("swapped", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def program(start_program: StartProgram) -> "subprocess.Popen[str]":
    """Return a process with memory of all kinds."""
    started = start_program(_PROGRAM)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def of_kernel(pid: int, file: str, name: str) -> int:
    """Return what the kernel says of a process, in bytes."""
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/{file}").read_text())
    assert found is not None
    return int(found[1]) * 1024


def snapshot_of(pid: int, limits: RegionLimits = RegionLimits()) -> Snapshot:  # noqa: B008
    """Return what the backend `referenced` finds."""
    memory = ProcessMemory(PidSource([pid]), Referenced(), kinds=True)
    context = Context(
        memory,
        [StopAfter(2)],
        limits=limits,
        cpu_budget=None,
        max_slowdown=None,
        max_stall_us=None,
    )
    run(context)
    assert context.snapshot is not None
    return context.snapshot


def estimated(pid: int) -> dict[str, int]:
    """Return what random pages say of a process whose regions are its mappings."""
    with contextlib.closing(Process.open(pid)) as process:
        maps = process.maps()
        target = ProcessTarget("t", process=process, layout_input=LayoutInput(maps))
        regions = target.regions = mapping_regions(target.regions, parse_maps(maps), 1_000)
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
            for row, (low, high) in enumerate(zip(regions.start, regions.end, strict=True)):
                text = os.pread(pagemap.fileno(), int(high - low) // 512, int(low) // 512)
                present = np.frombuffer(text, dtype=np.uint64) >> np.uint64(63)
                regions.resident_bytes[row] = np.count_nonzero(present) * 4096
        kinds = Kinds(exact=False)
        for number in range(6):
            kinds.describe([target], number * 10_000_000)
    assert regions.kinds is not None
    return {name: int(regions.kinds[name].sum()) for name in kind_names(regions.kinds)}


def test_smaps_has_what_the_kernel_says(program: "subprocess.Popen[str]") -> None:
    """Exactly: each kind is a sum of the kernel's own."""
    pid = program.pid
    found = snapshot_of(pid).kind_bytes()
    assert found["anonymous"] == of_kernel(pid, "status", "RssAnon")
    assert found["shmem"] == of_kernel(pid, "status", "RssShmem")
    others = found["anonymous"] + found["shmem"]
    assert found["file"] == of_kernel(pid, "smaps_rollup", "Rss") - others
    dirty = ("Private_Dirty", "Shared_Dirty")
    assert found["dirty"] == sum(of_kernel(pid, "smaps_rollup", name) for name in dirty)
    assert found["locked"] == 4 * MIB
    assert found["swapped"] == of_kernel(pid, "status", "VmSwap")


def test_mappings_of_other_kinds_that_are_joined_are_of_all_of_them(
    program: "subprocess.Popen[str]",
) -> None:
    """With fewer regions than mappings a region has the bytes of each kind that are in it."""
    pid = program.pid
    snapshot = snapshot_of(pid, RegionLimits(3, 3))
    (target,) = snapshot.targets
    assert len(target) <= 3
    assert target.kinds is not None
    found = snapshot.kind_bytes()
    assert found["anonymous"] == of_kernel(pid, "status", "RssAnon")
    assert found["shmem"] == of_kernel(pid, "status", "RssShmem")
    others = found["anonymous"] + found["shmem"]
    assert found["file"] == of_kernel(pid, "smaps_rollup", "Rss") - others
    mixed = (target.kinds["anonymous"] > 0) & (target.kinds["file"] > 0)
    assert mixed.any()
    whole = sum(target.kinds[kind] for kind in ("anonymous", "shmem", "file"))
    np.testing.assert_array_equal(whole, target.resident_bytes)


def test_memory_is_on_some_node(program: "subprocess.Popen[str]") -> None:
    """All of it, and on one that there is."""
    snapshot = snapshot_of(program.pid)
    nodes = [size for name, size in snapshot.kind_bytes().items() if name.startswith("node")]
    assert len(nodes) == len(nodes_online())
    assert sum(nodes) == pytest.approx(snapshot.total_bytes, rel=0.02)


def test_pages_say_what_the_kernel_says(program: "subprocess.Popen[str]") -> None:
    """Up to the error of a sample: half of the pages are spread evenly over all mappings."""
    pid = program.pid
    found = estimated(pid)
    for name, counter in (("anonymous", "RssAnon"), ("shmem", "RssShmem"), ("file", "RssFile")):
        assert found[name] == pytest.approx(of_kernel(pid, "status", counter), abs=3 * MIB)
    assert found["swapped"] == of_kernel(pid, "status", "VmSwap")


@pytest.mark.usefixtures("zram_swap")
@pytest.mark.needs("zram-swap", "numa-nodes")
def test_swapped_memory_and_nodes(program: "subprocess.Popen[str]") -> None:
    """Both ways know what is swapped, and on which of two nodes the rest is."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "swapped\n"
    swapped = of_kernel(program.pid, "status", "VmSwap")
    resident = of_kernel(program.pid, "smaps_rollup", "Rss")
    assert swapped >= 11 * MIB
    for kinds in (snapshot_of(program.pid).kind_bytes(), estimated(program.pid)):
        assert kinds["swapped"] == pytest.approx(swapped, abs=MIB)
        assert kinds["node0"] + kinds["node1"] == pytest.approx(resident, abs=2 * MIB)


def test_without_swap_pss_kinds_that_are_there_stay() -> None:
    """An older kernel's smaps lacks lines: what they would say is left out."""
    text = b"header\nRss: 8 kB\nAnonymous: 4 kB\nSwap: 12 kB\n"
    column = np.array([8])
    found = of_smaps(text, column, column, np.array([0]), np.array([False]), divided=True)
    assert {name: int(each[0]) for name, each in found.items()} == {
        "anonymous": 4,
        "shmem": 0,
        "file": 4,
        "huge": 0,
        "swapped": 12,
    }


def test_shared_memory_is_known_by_its_device() -> None:
    """A file of another device isn't shared memory, nor is memory without a file."""
    maps = (
        b"1000-2000 rw-s 00000000 00:01 7    /dev/zero (deleted)\n"
        b"2000-3000 r--p 00000000 fe:00 7    /usr/bin/x\n"
        b"3000-4000 rw-p 00000000 00:00 0\n"
    )
    assert shmem_ranges(maps, frozenset({b"00:01", b"00:00"})) == [(0x1000, 0x2000)]
