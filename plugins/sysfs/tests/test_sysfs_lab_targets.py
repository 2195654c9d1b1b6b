"""The kernel's DAMON and processes that come, go and change, on the lab's kernels only."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from damon_cgroup import CgroupSource
from damon_sysfs import KernelProcesses
from damon_vaddr import PidSource, ProcessMemory

from damon_core import Context, TargetSnapshot, start
from damon_core.testing import eventually
from tests.kernel_lab import INTERVALS, PATIENCE_S, Left, Start, after, found, monitor, overlap
from tests.prefork import prefork_server

pytestmark = pytest.mark.needs("root", "kernel-damon")


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
