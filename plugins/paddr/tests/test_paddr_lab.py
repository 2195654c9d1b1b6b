"""The physical memory of a real machine."""

import contextlib
import csv
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_paddr import MachineMemory, PaddrOptions, make_paddr
from damon_paddr.ranges import size_bytes

from damon_core import Context, Intervals, Owner, Plugins, TargetSnapshot, start

MIB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
NODES = Path("/sys/devices/system/node")
BLOCKS = Path("/sys/devices/system/memory")
INTERVALS = Intervals(sampling_us=200_000, aggregation_us=2_000_000, update_us=1_000_000)

#: Waits until it is in a cgroup, fills memory, and with the argument "busy" keeps reading it.
_PROGRAM = """
import mmap, sys, time
sys.stdin.readline()
size = int(sys.argv[1]) << 20
area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * (size // 4096)
print("ready", flush=True)
while True:
    if sys.argv[2] == "busy":
        area[::4096]
    time.sleep(0.01 if sys.argv[2] == "busy" else 60)
"""

Run = Callable[..., None]


@pytest.fixture
def run_in_cgroup() -> Iterator[Run]:
    """Return a function that runs a program with some MiB of a node's memory in a new cgroup."""
    with contextlib.ExitStack() as stack:

        def run(name: str, mib: int, mode: str, node: int) -> None:
            directory = CGROUPS / name
            directory.mkdir()
            stack.callback(directory.rmdir)
            (directory / "cpuset.mems").write_text(str(node))
            program = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(mib), mode],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(program.kill)
            (directory / "cgroup.procs").write_text(str(program.pid))
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write("go\n")
            program.stdin.flush()
            assert program.stdout.readline() == "ready\n"

        yield run


@pytest.fixture
def machine() -> Iterator[Context]:
    """Return a running context that monitors the whole machine with the backend `idle`."""
    options = PaddrOptions(backend="idle", kinds=True)
    primitive = make_paddr(options, Plugins.discover().backends("paddr"))
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        yield context
        assert context.error is None


def after(context: Context, aggregations: int) -> dict[str, TargetSnapshot]:
    """Wait for a number of aggregations; return the targets by name."""
    wanted = context.stats.aggregations + aggregations
    deadline = time.monotonic() + 300
    while context.stats.aggregations < wanted:
        assert context.running
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert context.snapshot is not None
    return {target.name: target for target in context.snapshot.targets}


def of_node(name: str) -> dict[str, int]:
    """Return the counters of a node, in bytes, by name."""
    lines = (NODES / name / "meminfo").read_text().splitlines()
    fields = [line.replace(":", "").split() for line in lines]
    return {field[2]: int(field[3]) << 10 for field in fields if field[-1] == "kB"}


def owners(target: TargetSnapshot) -> dict[str, Owner]:
    """Return the owners of a target's memory by name."""
    return {owner.name: owner for owner in target.owners}


@pytest.mark.needs("root", "idle-page-tracking", "memory-cgroup", "numa-nodes")
def test_the_busy_cgroup_is_found(run_in_cgroup: Run, machine: Context) -> None:
    """The node and cgroup of a busy program have the largest working set, an idle one has none."""
    run_in_cgroup("damon-still", 128, "still", 0)
    run_in_cgroup("damon-busy", 96, "busy", 1)
    targets = after(machine, 20)
    node0, node1 = targets["node0"], targets["node1"]
    busy, still = owners(node1)["/damon-busy"], owners(node0)["/damon-still"]
    assert node1.owners[0].name == "/damon-busy"
    assert node1.working_set_bytes() > node0.working_set_bytes()
    assert busy.total_bytes / MIB == pytest.approx(96, rel=0.4)
    assert still.total_bytes / MIB == pytest.approx(128, rel=0.4)
    assert busy.accessed_bytes > 0.5 * busy.total_bytes
    assert still.working_set_bytes < 0.3 * still.total_bytes
    for name, node in (("/damon-busy", node0), ("/damon-still", node1)):
        assert name not in owners(node) or owners(node)[name].total_bytes < 8 * MIB


@pytest.mark.needs("root", "idle-page-tracking", "memory-cgroup", "numa-nodes")
def test_kinds_of_each_node_are_those_of_the_kernel(run_in_cgroup: Run, machine: Context) -> None:
    """Each node has as much anonymous memory, and of files, as its meminfo says."""
    run_in_cgroup("damon-still", 192, "still", 0)
    run_in_cgroup("damon-busy", 64, "busy", 1)
    targets = after(machine, 20)
    for node, ranges in MachineMemory().nodes().items():
        name = f"node{node}"
        kinds = targets[name].kind_bytes()
        known = of_node(name)
        slack = 0.08 * size_bytes(ranges)
        assert abs(kinds["anonymous"] - known["AnonPages"]) < slack
        assert abs(kinds["file"] + kinds["shmem"] - known["FilePages"]) < slack


@pytest.mark.needs("root", "idle-page-tracking")
def test_free_memory_is_not_counted(machine: Context) -> None:
    """The bytes monitored are those on the kernel's LRU lists, not all memory."""
    targets = after(machine, 20)
    counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    kinds = ("anon", "file")
    on_lists = 4096 * sum(
        int(counters[f"nr_{state}active_{kind}"]) for state in ("", "in") for kind in kinds
    )
    found = sum(target.total_bytes for target in targets.values())
    all_bytes = sum(map(size_bytes, MachineMemory().nodes().values()))
    assert abs(found - on_lists) < 0.08 * all_bytes


# "kernel-damon" holds only in the lab, so other machines keep their memory.
@pytest.mark.needs("root", "idle-page-tracking", "kernel-damon")
def test_memory_taken_offline_and_back(machine: Context) -> None:
    """Regions follow a block that is taken offline and back online, without an error."""

    def covered() -> int:
        return sum(int(target.size_bytes.sum()) for target in after(machine, 2).values())

    before = covered()
    block = take_any_offline()
    size = int((BLOCKS / "block_size_bytes").read_text(), 16)
    without = covered()
    (block / "state").write_text("online")
    assert before - without == pytest.approx(size, rel=0.05)
    assert covered() == before


def take_any_offline() -> Path:
    """Take one block of memory offline; return it. Most can't be, as the kernel uses them."""
    blocks = sorted(BLOCKS.glob("memory[0-9]*"), key=lambda path: -int(path.name[6:]))
    for block in blocks:
        with contextlib.suppress(OSError):
            (block / "state").write_text("offline")
            return block
    pytest.fail("no block of memory could be taken offline")


@pytest.mark.needs("root", "idle-page-tracking")
def test_record(tmp_path: Path) -> None:
    """`damon record --paddr` writes rows for all nodes."""
    output = tmp_path / "machine.csv"
    damon = Path(sys.executable).with_name("damon")
    subprocess.run(
        # Each check is an aggregation: in the lab the first ones cost much, so others are rare.
        [
            damon,
            "record",
            "--paddr",
            "--backend",
            "idle",
            "--for",
            "5s",
            "--sampling",
            "100ms",
            "-o",
            output,
        ],
        check=True,
        timeout=300,
        capture_output=True,
    )
    with output.open(newline="") as file:
        written = {row["target"] for row in csv.DictReader(file)}
    assert written == {f"node{node}" for node in MachineMemory().nodes()}
