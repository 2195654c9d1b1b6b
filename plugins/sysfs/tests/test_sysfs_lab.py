"""The kernel's DAMON as a backend, on the lab's kernels only: results, intervals, changes."""

import subprocess
import sys
import time

import psutil
import pytest
from damon_sysfs import KernelProcesses, Sampler
from damon_sysfs.events import Table
from damon_sysfs.spending import Spending
from damon_sysfs.trace import Trace
from damon_sysfs.tree import Tree
from damon_sysfs.tried import STAT_SCHEME, TriedRegions
from damon_vaddr import PidSource, ProcessMemory, read_stat

from damon_core import (
    Context,
    Intervals,
    IntervalsGoal,
    PluginError,
    Range,
    RegionLimits,
    TargetSnapshot,
    start,
    stop,
)
from damon_core.testing import eventually
from tests.kernel_lab import (
    CAN_TUNE,
    INTERVALS,
    KDAMONDS,
    PATIENCE_S,
    Left,
    Start,
    after,
    found,
    monitor,
    overlap,
    plan,
)
from tests.lab.needs import why_unmet

pytestmark = pytest.mark.needs("root", "kernel-damon")


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
