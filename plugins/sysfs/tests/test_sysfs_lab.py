"""The kernel's DAMON, on the lab's kernels only."""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from attrs import frozen
from damon_cgroup import CgroupSource
from damon_paddr import MachineMemory, PaddrOptions, PhysicalMemory, make_paddr
from damon_sysfs import KernelMemory, KernelProcesses, RunningKdamonds, Sampler
from damon_sysfs.events import Table
from damon_sysfs.features import probe, probe_running
from damon_sysfs.ownership import Registry
from damon_sysfs.sampler import KernelTarget, Plan
from damon_sysfs.spending import Spending
from damon_sysfs.trace import Trace
from damon_sysfs.tree import Tree
from damon_sysfs.tried import STAT_SCHEME, TriedRegions
from damon_vaddr import PidSource, ProcessMemory, VaddrOptions, make_vaddr, read_stat

from damon_core import (
    Context,
    Intervals,
    IntervalsGoal,
    PluginError,
    Plugins,
    Range,
    RegionLimits,
    TargetError,
    TargetSnapshot,
    start,
    stop,
)
from damon_core.testing import eventually
from tests.lab.needs import why_unmet
from tests.prefork import prefork_server

pytestmark = pytest.mark.needs("root", "kernel-damon")

#: How many monitors are killed. For more than in CI: python -m tests.lab -- env
#: DAMON_TEST_KILLS=100 .venv/bin/pytest plugins/sysfs -k killed
KILLS = int(os.environ.get("DAMON_TEST_KILLS", "3"))
#: Far longer than anything takes: emulated, a program may need most of a minute to begin.
PATIENCE_S = 300
INTERVALS = Intervals(20_000, 400_000, 1_000_000)
LIMITS = RegionLimits()

#: Maps a hot and a cold area with a gap in between, prints their addresses, and reads the hot one.
#: During the short sleep translations leave the TLB; accesses through the TLB wouldn't set accessed
#: bits.
_PROGRAM = """
import ctypes, mmap, sys, threading, time
SIZE = 8 << 20
areas = []
for _ in range(3):
    area = mmap.mmap(-1, SIZE)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    areas.append(area)
def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))
areas.sort(key=address)
hot, gap, cold = areas
gap.close()
for area in (hot, cold):
    area[::4096] = b"x" * (SIZE // 4096)
print(address(hot), address(cold), SIZE, flush=True)
def work():
    while True:
        hot[::4096]
        time.sleep(0.01)
if sys.argv[1:] == ["leave"]:  # the first thread exits at the first line
    threading.Thread(target=work).start()
    sys.stdin.readline()
    ctypes.CDLL(None).pthread_exit(None)
work()
"""

KDAMONDS = Path("/sys/kernel/mm/damon/admin/kdamonds")
INSTANCES = Path("/sys/kernel/tracing/instances")
#: The event with which kernels that tune intervals say so.
CAN_TUNE = Path("/sys/kernel/tracing/events/damon/damon_monitor_intervals_tune")


@frozen
class Program:
    """A process with a hot and a cold area."""

    process: "subprocess.Popen[str]"
    hot: int
    cold: int
    size: int

    @property
    def pid(self) -> int:
        return self.process.pid


Start = Callable[..., Program]
Left = Callable[[], list[str]]


@pytest.fixture
def program() -> Iterator[Start]:
    """Return a function that starts such a process; all are killed after the test.

    With a cgroup as argument, all its memory is charged to that. With `leave`, its first thread
    exits when it reads a line.
    """
    started: list[subprocess.Popen[str]] = []

    def start(cgroup: Path | None = None, leave: bool = False) -> Program:
        enter = f"open({str(cgroup / 'cgroup.procs')!r}, 'w').write('0')\n" if cgroup else ""
        process = subprocess.Popen(
            [sys.executable, "-c", enter + _PROGRAM, *(["leave"] if leave else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return Program(process, *map(int, process.stdout.readline().split()))

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def nothing_left() -> Iterator[Callable[[], list[str]]]:
    """Return a function that lists directories of kdamonds and trace instances.

    After the test there must be none.
    """

    def left() -> list[str]:
        names = [entry.name for entry in KDAMONDS.iterdir() if entry.name != "nr_kdamonds"]
        return sorted(names) + [name for name in os.listdir(INSTANCES) if "damon-" in name]

    yield left
    found = left()
    # Remove them, so that the next test can run.
    for slot in Tree().running():
        Tree().write(f"kdamonds/{slot}/state", "off")
    Tree().write("kdamonds/nr_kdamonds", 0)
    assert found == []


def monitor(pid: int, backend: KernelProcesses | None = None) -> Context:
    """Return a context for a process, not started."""
    primitive = ProcessMemory(PidSource([pid]), backend or KernelProcesses())
    return Context(primitive, intervals=INTERVALS, cpu_budget=None)


def after(context: Context, aggregations: int) -> TargetSnapshot:
    """Wait for a number of aggregations; return the first target."""
    before = context.snapshot
    wanted = aggregations + (before.number if before is not None else 0)
    deadline = time.monotonic() + 300
    while context.snapshot is None or context.snapshot.number < wanted:
        assert context.running, context.error
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return context.snapshot.targets[0]


def found(context: Context, holds: Callable[[TargetSnapshot], object]) -> bool:
    """Return whether a condition becomes true: the kernel samples and cuts at random."""
    return any(holds(after(context, 6)) for _ in range(32))


def plan(pid: int, limits: RegionLimits = LIMITS, intervals: Intervals = INTERVALS) -> Plan:
    """Return the settings of a kdamond for one process."""
    return Plan("vaddr", intervals, limits, (KernelTarget(pid),))


def overlap(target: TargetSnapshot, low: int, high: int) -> float:
    """Return the mean nr_accesses of the bytes of a range."""
    size = (target.end.clip(low, high) - target.start.clip(low, high)).clip(0)
    return float((size * target.nr_accesses).sum() / (high - low))


def test_the_hot_area_is_found(program: Start, nothing_left: Left) -> None:
    """It is accessed in far more checks than the cold one, which is idle for an aggregation."""
    process = program()

    def is_reported(target: TargetSnapshot) -> bool:
        hot = overlap(target, process.hot, process.hot + process.size)
        cold = overlap(target, process.cold, process.cold + process.size)
        inside = (target.start < process.cold + process.size) & (target.end > process.cold)
        idle_us = target.idle_us[inside].max()
        return hot > 2 and cold < 0.2 * hot and idle_us >= INTERVALS.aggregation_us

    with monitor(process.pid) as context:
        start(context)
        assert found(context, is_reported)
        target = after(context, 1)
    assert 2 * process.size < target.total_bytes < 64 << 20
    assert target.max_nr_accesses == INTERVALS.checks
    assert nothing_left() == []


def test_only_fixed_ranges_are_monitored(program: Start, nothing_left: Left) -> None:
    """By the operations fvaddr: half of the hot area and half of the cold one."""
    process = program()
    half = process.size // 2
    low, high = sorted((process.hot, process.cold))
    ranges = [Range(low, low + half), Range(high, high + half)]
    primitive = ProcessMemory(PidSource([process.pid]), KernelProcesses(), ranges=ranges)

    def is_reported(target: TargetSnapshot) -> bool:
        hot = overlap(target, process.hot, process.hot + half)
        return hot > 2 and overlap(target, process.cold, process.cold + half) < 0.2 * hot

    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        assert found(context, is_reported)
        target = after(context, 1)
    assert context.error is None
    assert int(target.size_bytes.sum()) == 2 * half
    assert overlap(target, low + half, high) == 0


def test_a_process_whose_first_thread_exits_is_monitored_on(
    program: Start, nothing_left: Left
) -> None:
    """The kernel is given a thread that has the memory: it finds none by the pid."""
    process = program(leave=True)

    def is_reported(target: TargetSnapshot) -> bool:
        return overlap(target, process.hot, process.hot + process.size) > 2

    with monitor(process.pid) as context:
        start(context)
        assert found(context, is_reported)
        assert process.process.stdin is not None
        process.process.stdin.write("leave\n")
        process.process.stdin.flush()
        eventually(lambda: read_stat(process.pid).has_exited)
        assert found(context, is_reported)
    assert nothing_left() == []


def test_memory_that_is_only_reserved_does_not_count(nothing_left: Left) -> None:
    """Of 8 GiB, 64 MiB are touched: the bytes of all regions are what is in memory."""
    code = (
        "import mmap, sys\n"
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000\n"
        "area = mmap.mmap(-1, 8 << 30, flags=flags)\n"
        "area.madvise(mmap.MADV_NOHUGEPAGE)\n"
        "area[1 << 30 : (1 << 30) + (64 << 20) : 4096] = bytes(16_384)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with monitor(process.pid) as context:
            start(context)
            target = after(context, 3)
        rss = psutil.Process(process.pid).memory_info().rss
    assert target.total_bytes == pytest.approx(rss, rel=0.1)
    assert target.size_bytes.sum() > 8 << 30
    assert nothing_left() == []


def test_traced_regions_are_those_of_tried_regions(program: Start, nothing_left: Left) -> None:
    """All fields are the same; newer kernels report the same memory, as it is at that moment."""
    sampler = Sampler()
    wanted = plan(program().pid)
    sampler.apply(wanted, {})
    claim = sampler._claim  # noqa: SLF001  # private, but needed here
    assert claim is not None
    tree = Tree()
    tree.write_all(STAT_SCHEME, claim.folder)
    tree.write(claim.folder + "state", "commit")
    sampler.collect()
    tried = TriedRegions(tree, claim.folder)
    same = 0
    for _ in range(5):
        (snapshot,) = tried.take(10)
        seen = [one.tables[0] for one in sampler.collect()]
        kept = snapshot.tables[0]
        same += any(facts(one) == facts(kept) for one in seen)
    sampler.close()
    assert same == 5


def facts(table: Table) -> object:
    """Return what the two ways of reading results should agree on."""
    if CAN_TUNE.exists():
        return int((table.end - table.start).sum()), int(table.start[0]), int(table.end[-1])
    columns = (table.start, table.end, table.nr_accesses, table.age)
    return [column.tolist() for column in columns]


def test_one_process_can_be_monitored_without_tracing(program: Start, nothing_left: Left) -> None:
    """The results are those of tried_regions."""
    process = program()
    backend = KernelProcesses(sampler=Sampler(tracing=()))
    with monitor(process.pid, backend) as context:
        start(context)
        assert found(context, lambda target: len(target) > 3 and target.nr_accesses.max() > 0)
    assert context.error is None


def test_without_tracing_two_processes_are_refused(program: Start, nothing_left: Left) -> None:
    """tried_regions doesn't report the target of a region."""
    primitive = ProcessMemory(
        PidSource([program().pid, program().pid]), KernelProcesses(sampler=Sampler(tracing=()))
    )
    with Context(primitive, intervals=INTERVALS) as context:
        start(context)
        context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "mount tracefs" in str(context.error)


def test_changes_are_committed(program: Start, nothing_left: Left) -> None:
    """The same kdamond continues with new intervals and limits, and ages are kept."""
    backend = KernelProcesses()
    with monitor(program().pid, backend) as context:
        start(context)
        before = after(context, 8)
        kdamond = backend.sampler.kdamond
        changed = Intervals(10_000, 300_000, 1_000_000)
        context.commit(intervals=changed, limits=RegionLimits(40, 60))
        target = after(context, 4)
        assert backend.sampler.kdamond == kdamond
        folder = KDAMONDS / "0/contexts/0/monitoring_attrs"
        assert (folder / "intervals/sample_us").read_text() == "10000\n"
        assert (folder / "nr_regions/max").read_text() == "60\n"
        assert target.max_nr_accesses == 30
        assert target.nr_accesses.max() <= 30
        assert target.age.max() > before.age.max()
    assert context.error is None


def test_long_aggregations_delay_no_change(program: Start, nothing_left: Left) -> None:
    """A kernel that would apply a change only after minutes has its kdamond restarted."""
    sampler = Sampler()
    process = program()
    slow = Intervals(1_000_000, 600_000_000, 600_000_000)
    sampler.apply(plan(process.pid, intervals=slow), {})
    kdamond = sampler.kdamond
    sampler.apply(plan(process.pid), {})
    assert sampler.collect()
    assert (sampler.kdamond == kdamond) == (why_unmet("obsolete-target") is None)
    sampler.close()


def test_a_context_is_restarted(program: Start, nothing_left: Left) -> None:
    """It works as before, and leaves nothing behind when it is stopped."""
    context = monitor(program().pid)
    for _ in range(3):
        start(context)
        assert len(after(context, 2)) >= 3
        stop(context)
        assert context.error is None
        assert nothing_left() == []
    context.close()


def test_several_contexts_share(program: Start, nothing_left: Left) -> None:
    """Each has its kdamond, is started and stopped independently, and monitors its process."""
    processes = [program() for _ in range(3)]
    contexts = [monitor(process.pid) for process in processes]
    start(*contexts, exclusive=False)
    for process, context in zip(processes, contexts, strict=True):
        target = after(context, 3)
        assert target.name.endswith(f"[{process.pid}]")
        assert target.start.min() <= process.hot < target.end.max()
    first, *others = contexts
    stop(first)
    for context in others:
        after(context, 2)
    start(first, exclusive=False)
    after(first, 2)
    for context in contexts:
        stop(context)
        context.close()
        assert context.error is None


def test_programs_share(program: Start, nothing_left: Left) -> None:
    """Another program that uses this package gets a kdamond as well."""
    process = program()
    with monitor(process.pid) as context, _monitoring_program(process.pid) as other:
        start(context)
        after(context, 2)
        assert other.stdout is not None
        assert other.stdout.readline() == "an aggregation\n"
        (finding,) = [one for one in probe() if one.name == "DAMON for this program"]
        assert finding.works
        assert f"pid {other.pid}" in finding.detail
        other.communicate("stop\n")
        after(context, 2)
    assert context.error is None


def test_the_end_of_a_target_ends_the_monitoring(program: Start, nothing_left: Left) -> None:
    """There is no error."""
    process = program()
    with monitor(process.pid) as context:
        start(context)
        after(context, 2)
        process.process.kill()
        assert context.wait(PATIENCE_S)
    assert context.error is None


def test_processes_come_and_go(program: Start, nothing_left: Left) -> None:
    """Monitoring of the others continues with their regions."""
    processes = [program() for _ in range(3)]
    backend = KernelProcesses()
    primitive = ProcessMemory(PidSource([process.pid for process in processes]), backend)
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        after(context, 6)
        processes[0].process.kill()
        processes[0].process.wait()
        after(context, 2)

        def others_are_hot(_: TargetSnapshot) -> bool:
            assert context.snapshot is not None
            targets = context.snapshot.targets
            return len(targets) == 2 and all(
                f"[{process.pid}]" in target.name
                and overlap(target, process.hot, process.hot + process.size) > 1
                for process, target in zip(processes[1:], targets, strict=True)
            )

        assert found(context, others_are_hot)
    assert context.error is None


@pytest.mark.needs("memory-cgroup", "obsolete-target")
def test_a_running_kdamond_takes_processes_that_come_and_go(
    program: Start, nothing_left: Left
) -> None:
    """It isn't restarted, so the ages of the others survive, and all are reported as they are."""
    cgroup = Path("/sys/fs/cgroup/lab-sysfs-changes")
    cgroup.mkdir()
    processes = [program(cgroup), program(cgroup), program()]
    backend = KernelProcesses()
    primitive = ProcessMemory(CgroupSource(cgroup), backend, name="cgroup")

    def others_are_hot(_: TargetSnapshot) -> bool:
        assert context.snapshot is not None
        return all(
            f"[{process.pid}]" in target.name
            and overlap(target, process.hot, process.hot + process.size) > 1
            for process, target in zip(processes[1:], context.snapshot.targets, strict=True)
        )

    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        after(context, 8)
        kdamond, before = backend.sampler.kdamond, context.snapshot
        assert before is not None
        (cgroup / "cgroup.procs").write_text(str(processes[2].pid))
        eventually(lambda: len(_names(context)) == 3)
        after(context, 4)
        processes[0].process.kill()
        processes[0].process.wait()
        eventually(lambda: len(_names(context)) == 2)
        assert found(context, others_are_hot)
        assert backend.sampler.kdamond == kdamond
        target = after(context, 1)
        assert target.age.max() > before.targets[1].age.max()
        for process in processes[1:]:
            (cgroup.parent / "cgroup.procs").write_text(str(process.pid))
    assert context.error is None
    cgroup.rmdir()


def _names(context: Context) -> list[str]:
    assert context.snapshot is not None
    return [target.name for target in context.snapshot.targets]


def test_a_process_that_executes_another_program_is_a_new_target(nothing_left: Left) -> None:
    """Monitoring continues with the new name."""
    code = "import os, sys, time; sys.stdin.readline(); os.execlp('sleep', 'sleep', '600')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        with monitor(process.pid) as context:
            start(context)
            assert after(context, 2).name.startswith("python")
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            deadline = time.monotonic() + 120
            while not after(context, 1).name.startswith("sleep"):
                assert time.monotonic() < deadline
        process.kill()
    assert context.error is None


def test_memory_that_processes_share_since_a_fork_counts_once(nothing_left: Left) -> None:
    """Here 32 MiB of five processes; in each it would be 160."""
    with prefork_server(32 << 20) as pids:
        primitive = ProcessMemory(PidSource(pids), KernelProcesses())
        with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
            start(context)
            eventually(lambda: context.stats.aggregations >= 3)
            assert context.snapshot is not None
            assert 0.7 * (32 << 20) < context.snapshot.total_bytes < 2 * (32 << 20)
    assert context.error is None


@pytest.mark.needs("memory-cgroup")
def test_an_empty_cgroup_has_no_kdamond(program: Start, nothing_left: Left) -> None:
    """It is started with the first process."""
    cgroup = Path("/sys/fs/cgroup/lab-sysfs")
    cgroup.mkdir()
    process = program()
    primitive = ProcessMemory(CgroupSource(cgroup), KernelProcesses(), name="cgroup")
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        eventually(lambda: context.stats.aggregations >= 2)
        assert nothing_left() == []
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        eventually(lambda: context.snapshot is not None and len(context.snapshot.targets) == 1)
        after(context, 2)
        (cgroup.parent / "cgroup.procs").write_text(str(process.pid))
        eventually(lambda: context.snapshot is not None and not context.snapshot.targets)
    cgroup.rmdir()
    assert context.error is None


def test_lost_events_are_counted(program: Start, nothing_left: Left) -> None:
    """If results are read too late, the later ones are still returned."""
    sampler = Sampler()
    sampler.apply(plan(program().pid, RegionLimits(800, 1000), Intervals(10_000, 50_000)), {})
    results = sampler._results  # noqa: SLF001  # private, but needed here
    assert isinstance(results, Trace)
    folder = results._instance._folder  # noqa: SLF001  # private, but needed here
    size = folder / "buffer_size_kb"
    size.write_text("64")
    time.sleep(8)
    assert sampler.collect()
    assert sampler.lost_events > 0
    assert sampler.collect()
    sampler.close()


def _switch_on(slot: int, pid: int) -> int:
    """Start a kdamond as another program would; return its thread id."""
    tree = Tree()
    files = plan(pid).files()
    tree.write_all(files, f"kdamonds/{slot}/")
    tree.write(f"kdamonds/{slot}/state", "on")
    return int(tree.read(f"kdamonds/{slot}/pid"))


@contextlib.contextmanager
def _foreign_kdamond(pid: int) -> Iterator[int]:
    """Run a kdamond as another program would; check that it and its settings haven't changed."""
    tree = Tree()
    tree.write("kdamonds/nr_kdamonds", 2)
    kdamond = _switch_on(1, pid)
    saved = tree.save()
    yield kdamond
    assert tree.save() == saved
    assert tree.running() == {1: kdamond}
    tree.write("kdamonds/1/state", "off")
    tree.write("kdamonds/nr_kdamonds", 0)


def test_a_kdamond_of_another_program_is_not_touched(program: Start, nothing_left: Left) -> None:
    """The error names it, and the probe reports it."""
    process = program()
    with _foreign_kdamond(process.pid) as kdamond:
        with monitor(process.pid) as context:
            start(context)
            context.wait(PATIENCE_S)
        (finding,) = [one for one in probe() if one.name == "DAMON for this program"]
    assert isinstance(context.error, PluginError)
    assert f"kdamonds/1 is on (pid {kdamond})" in str(context.error)
    assert not finding.works


def test_earlier_settings_are_restored(program: Start, nothing_left: Left) -> None:
    """The directories of kdamonds that are off, with all their files."""
    tree = Tree()
    process = program()
    tree.write("kdamonds/nr_kdamonds", 2)
    tree.write_all(plan(process.pid).files(), "kdamonds/1/")
    tree.write_all(STAT_SCHEME, "kdamonds/1/")
    saved = tree.save()
    with monitor(process.pid) as context:
        start(context)
        after(context, 1)
        assert tree.number() > 2
    assert context.error is None
    assert tree.save() == saved
    tree.write("kdamonds/nr_kdamonds", 0)


def test_a_kdamond_that_another_program_switches_off(program: Start, nothing_left: Left) -> None:
    """The context ends with an error that says so."""
    with monitor(program().pid) as context:
        start(context)
        after(context, 1)
        Tree().write("kdamonds/0/state", "off")
        assert context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "another program has switched the kdamond off" in str(context.error)


_MONITOR = """
import sys
from damon_core import Context, Intervals, hookimpl, start
from damon_sysfs import KernelProcesses
from damon_vaddr import PidSource, ProcessMemory

class Report:
    @hookimpl
    def after_aggregation(self):
        print("an aggregation", flush=True)

print("begins", flush=True)
primitive = ProcessMemory(PidSource([int(sys.argv[1])]), KernelProcesses())
with Context(primitive, [Report()], intervals=Intervals(5_000, 50_000)) as context:
    start(context)
    sys.stdin.readline()
"""


def _monitoring_program(pid: int) -> "subprocess.Popen[str]":
    """Start a program that monitors a process; return it once it has begun."""
    program = subprocess.Popen(
        [sys.executable, "-c", _MONITOR, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begins\n"
    return program


def _monitor_until_killed(pid: int) -> None:
    with monitor(pid) as context:
        start(context)
        context.wait()


def test_monitors_that_are_killed_leave_nothing_behind(program: Start, nothing_left: Left) -> None:
    """Whether they are killed while they start or later, the next one cleans up and works."""
    process = program()
    rng = random.Random(1)
    survivors = 0
    for number in range(KILLS):
        # Forked, so that it is killed in the monitor's work and not in its imports.
        victim = multiprocessing.get_context("fork").Process(
            target=_monitor_until_killed, args=(process.pid,)
        )
        victim.start()
        if number % 2:
            eventually(Tree().running)
            time.sleep(rng.uniform(0, 0.5))
        else:
            time.sleep(rng.uniform(0, 2))
        victim.kill()
        victim.join()
        survivors += bool(Tree().running())
        with contextlib.closing(Sampler()) as sampler:
            sampler.apply(plan(process.pid), {})
            assert list(Tree().running().values()) == [sampler.kdamond]
        assert nothing_left() == []
        assert Registry().read().claims == []
    assert survivors >= KILLS // 2


def test_physical_memory(program: Start, nothing_left: Left) -> None:
    """All nodes are monitored; free memory and the kernel's own isn't counted."""
    program()
    primitive = PhysicalMemory(MachineMemory(), KernelMemory())
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        assert found(context, lambda target: target.working_set_bytes() > 0)
        snapshot = context.snapshot
        assert snapshot is not None
    assert context.error is None
    covered = {
        f"node{node}": sum(part.end - part.start for part in ranges)
        for node, ranges in MachineMemory().nodes().items()
    }
    assert {one.name: int(one.size_bytes.sum()) for one in snapshot.targets} == covered
    assert 0 < snapshot.total_bytes < 0.9 * sum(covered.values())


@pytest.mark.needs("memory-cgroup", "damon-filter")
def test_the_memory_of_one_cgroup(program: Start, nothing_left: Left) -> None:
    """The bytes charged to the cgroup are monitored, and later those of a new one of that name."""
    cgroup = Path("/sys/fs/cgroup/lab-sysfs-filter")
    cgroup.mkdir()
    process = program(cgroup)
    program()
    options = PaddrOptions(cgroup=cgroup.name, backend="kernel")
    primitive = make_paddr(options, Plugins.discover().backends("paddr"))

    def total_mib(context: Context) -> float:
        after(context, 2)
        assert context.snapshot is not None
        return context.snapshot.total_bytes / 2**20

    def partly_accessed(_: TargetSnapshot) -> bool:
        assert context.snapshot is not None
        return 0 < context.snapshot.accessed_bytes() < context.snapshot.total_bytes

    limits = RegionLimits(10, 40)
    with Context(primitive, intervals=INTERVALS, limits=limits, cpu_budget=None) as context:
        start(context)
        assert total_mib(context) == pytest.approx(_charged_mib(cgroup), rel=0.1)
        assert found(context, partly_accessed)
        process.process.kill()
        process.process.wait()
        # Pages that it had read or shared may remain, but don't belong to the new cgroup.
        cgroup.rmdir()
        cgroup.mkdir()
        assert total_mib(context) < 2
        program(cgroup)
        assert total_mib(context) == pytest.approx(_charged_mib(cgroup), rel=0.1)
    assert context.error is None


@pytest.mark.skipif(why_unmet("damon-filter") is None, reason="this kernel has such filters")
def test_a_filter_needs_linux_6_14(nothing_left: Left) -> None:
    """An earlier kernel would also count memory of others: the error says what is needed."""
    options = PaddrOptions(cgroup="/", backend="kernel")
    primitive = make_paddr(options, Plugins.discover().backends("paddr"))
    with Context(primitive, intervals=INTERVALS) as context:
        start(context)
        context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "Linux 6.14 is needed" in str(context.error)


def _charged_mib(cgroup: Path) -> float:
    """Return the user memory charged to a cgroup."""
    lines = (cgroup / "memory.stat").read_text().splitlines()
    stat = {name: int(value) for name, value in map(str.split, lines)}
    return (stat["anon"] + stat["file"]) / 2**20


def test_the_cpu_time_of_the_kdamond_counts(program: Start, nothing_left: Left) -> None:
    """It is part of the context's."""
    backend = KernelProcesses()
    primitive = ProcessMemory(PidSource([program().pid]), backend)
    limits = RegionLimits(300, 1_000)
    with Context(primitive, intervals=INTERVALS, limits=limits, cpu_budget=None) as context:
        start(context)
        after(context, 2)
        assert backend.sampler.kdamond is not None
        spent = Spending().total_us(backend.sampler.kdamond)
        after(context, 1)
        assert 0 < spent <= context.stats.cpu_us
    assert context.error is None


def test_intervals_are_tuned_to_a_goal(program: Start, nothing_left: Left) -> None:
    """By the kernel where it can and says so, otherwise by the context; the kdamond runs on."""
    backend = KernelProcesses()
    primitive = ProcessMemory(PidSource([program().pid]), backend)
    goal = IntervalsGoal(access_share=0.9, max_sampling_us=40_000)
    intervals = Intervals(10_000, 200_000, 1_000_000)
    with Context(primitive, intervals=intervals, goal=goal, cpu_budget=None) as context:
        start(context)
        after(context, 2)
        kdamond = backend.sampler.kdamond
        folder = KDAMONDS / "0/contexts/0/monitoring_attrs/intervals"
        kernel_tunes = CAN_TUNE.exists()
        assert (backend.tuned_intervals is not None) == kernel_tunes
        tuned = Intervals(40_000, 800_000, 1_000_000)
        eventually(lambda: context.intervals == tuned, timeout_s=PATIENCE_S)
        target = after(context, 2)
        if kernel_tunes:
            assert (folder / "sample_us").read_text() == "10000\n"  # as it was written
            Tree().write("kdamonds/0/state", "update_tuned_intervals")
        assert (folder / "sample_us").read_text() == "40000\n"
        assert (folder / "aggr_us").read_text() == "800000\n"
        assert context.snapshot is not None
        assert context.snapshot.intervals == tuned
        assert target.max_nr_accesses == 20
        assert backend.sampler.kdamond == kdamond
    assert context.error is None


def test_processes_and_physical_memory_at_once(program: Start, nothing_left: Left) -> None:
    """Two contexts of one program share the kdamonds, with different operations."""
    machine = PhysicalMemory(MachineMemory(), KernelMemory())
    physical = Context(machine, intervals=INTERVALS, cpu_budget=None, name="machine")
    with monitor(program().pid) as context, physical:
        start(context, physical)
        after(context, 2)
        after(physical, 2)
        operations = {
            (KDAMONDS / f"{slot}/contexts/0/operations").read_text().strip()
            for slot in Tree().running()
        }
        assert operations == {"vaddr", "paddr"}
    assert (context.error, physical.error) == (None, None)
    assert nothing_left() == []


def test_a_signal_to_damon_run_leaves_nothing(
    program: Start, nothing_left: Left, tmp_path: Path
) -> None:
    """Ctrl-C removes the kdamond, the trace instance and the claim."""
    config = tmp_path / "kernel.toml"
    config.write_text(
        "[[context]]\nname = 'one'\nsampling_interval = '20ms'\naggregation_interval = '400ms'\n"
        f"[context.primitive]\nuse = 'vaddr'\nbackend = 'kernel'\npid = {program().pid}\n"
    )
    damon = Path(sys.executable).with_name("damon")
    process = subprocess.Popen([damon, "run", config])
    try:
        eventually(Tree().running)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
    assert nothing_left() == []
    assert Registry().read().claims == []


def test_it_is_chosen_automatically(program: Start, nothing_left: Left) -> None:
    """If DAMON is free."""
    primitive = make_vaddr(VaddrOptions(program().pid), Plugins.discover().backends("vaddr"))
    assert primitive.backend_name == "kernel"
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        after(context, 1)
    assert context.error is None


def test_another_backend_is_chosen_if_it_is_not_free(program: Start, nothing_left: Left) -> None:
    """`idle` if the kernel has idle page tracking, otherwise one that needs neither."""
    with _foreign_kdamond(program().pid):
        primitive = make_vaddr(VaddrOptions(program().pid), Plugins.discover().backends("vaddr"))
    tracking = Path("/sys/kernel/mm/page_idle/bitmap").exists()
    others = {"idle"} if tracking else {"pagetable", "referenced"}
    assert primitive.backend_name in others


@pytest.mark.needs("idle-page-tracking")
def test_idle_page_tracking_beside_it(
    program: Start, nothing_left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says that each may miss accesses, and both continue."""
    options = VaddrOptions(program().pid, backend="idle")
    with _foreign_kdamond(program().pid):
        primitive = make_vaddr(options, Plugins.discover().backends("vaddr"))
        with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
            start(context)
            after(context, 2)
    assert context.error is None
    assert caplog.text.count("the kernel's own DAMON is running") == 1


def followed(which: str) -> Context:
    """Return a context for kdamonds that run already, not started."""
    return Context(RunningKdamonds(which), cpu_budget=None)


def test_a_running_kdamond_is_followed(program: Start, nothing_left: Left) -> None:
    """What it finds are the results of the context; nothing of it changes, and nothing is left."""
    process = program()

    def is_reported(target: TargetSnapshot) -> bool:
        hot = overlap(target, process.hot, process.hot + process.size)
        return hot > 2 and overlap(target, process.cold, process.cold + process.size) < 0.2 * hot

    with _foreign_kdamond(process.pid), followed("1") as context:
        assert context.intervals == INTERVALS
        start(context)
        assert found(context, is_reported)
        target = after(context, 1)
        assert target.name.endswith(f"[{process.pid}]")
        assert target.max_nr_accesses == INTERVALS.checks
        assert [name for name in nothing_left() if "damon-" in name]
        stop(context)
        assert [name for name in nothing_left() if "damon-" in name] == []
    assert context.error is None


def test_the_end_of_a_running_kdamond_ends_the_monitoring(
    program: Start, nothing_left: Left
) -> None:
    """There is no error. The same command says then that nothing runs."""
    process = program()
    tree = Tree()
    tree.write("kdamonds/nr_kdamonds", 1)
    _switch_on(0, process.pid)
    with followed("all") as context:
        start(context)
        after(context, 1)
        tree.write("kdamonds/0/state", "off")
        assert context.wait(PATIENCE_S)
    assert context.error is None
    with pytest.raises(TargetError, match="no kdamond is running"):
        RunningKdamonds("all")
    tree.write("kdamonds/nr_kdamonds", 0)


@pytest.mark.needs("damon-stat")
def test_damon_stat_runs_already(nothing_left: Left) -> None:
    """Its regions are followed at the intervals that it tunes, and its numbers are metrics."""
    switch = Path("/sys/module/damon_stat/parameters/enabled")
    switch.write_text("Y")
    try:
        assert next(iter(probe_running())).name == "kdamond damon_stat"
        with followed("damon_stat") as context:
            start(context)
            assert after(context, 1).name == "damon_stat"
            # In a machine that does nothing, its few checks at first may find nothing.
            assert found(
                context, lambda target: 0 < target.working_set_bytes() < target.total_bytes
            )
            eventually(lambda: len(context.measures()) > 5, timeout_s=PATIENCE_S)
            names = {measure.name for measure in context.measures()}
        assert context.error is None
    finally:
        switch.write_text("N")
    assert {"stat_memory_idle_seconds", "stat_memory_bandwidth_bytes"} <= names
