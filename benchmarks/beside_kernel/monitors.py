"""The monitors compared: the kernel's DAMON, and ours with two backends."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from attrs import frozen
from damon_demo.process import WorkloadProcess
from damon_demo.workload import Pattern
from damon_idle import IdleOptions, ProcessIdle
from damon_pagetable import PageTable
from damon_vaddr import PidSource, ProcessBackend, ProcessMemory

from benchmarks.beside_kernel.answers import Answer, MonitorRun
from benchmarks.contexts import run_for, unlimited
from damon_core import Context, Intervals, RegionLimits, TargetSnapshot, hookimpl
from tests.lab.kernel_damon import KernelDamon

LIMITS = RegionLimits(min_regions=10, max_regions=1000)


@frozen
class Plan:
    """The conditions that are the same for both.

    Attributes:
        pattern: What the workload does.
        intervals: The intervals of the monitor.
        seconds: How long it monitors.
        apart: Whether the workload runs on processor 1 and the monitor on processor 0.
        stirs: Whether another process runs regularly: see `stirred`.
    """

    pattern: Pattern
    intervals: Intervals
    seconds: float
    apart: bool = False
    stirs: bool = True

    def watch(self, monitor: "Monitor") -> MonitorRun:
        """Run the workload and a monitor beside it."""
        # Eight times in a sampling interval, so that it happens before every check.
        stir_s = self.intervals.sampling_us / 8e6 if self.stirs else 0
        with stirred(stir_s), WorkloadProcess(self.pattern) as workload:
            if self.apart:
                os.sched_setaffinity(0, {0})
                os.sched_setaffinity(workload.pid, {1})
            begin_us = time.time_ns() // 1_000
            cpu_us, answers = monitor(workload.pid, self)
            end_us = time.time_ns() // 1_000
            truth = workload.truth()
        return MonitorRun(begin_us, end_us, self.intervals.sampling_us, cpu_us, answers, truth)


@contextlib.contextmanager
def stirred(every_s: float) -> Iterator[None]:
    """Let another process run regularly, which empties the emulated TLB; 0 means never.

    Real TLBs are smaller than the hot areas, so entries are replaced all the time. The emulator
    drops entries only when another process runs on the processor. Our monitor is a process, but
    the kernel's DAMON is a kernel thread, and would see almost nothing without this.
    """
    if not every_s:
        yield
        return
    code = f"import time\nwhile True: time.sleep({every_s})"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code]) as process:
        try:
            yield
        finally:
            process.kill()


#: Monitors a process as planned; returns its CPU time in microseconds, and its answers.
Monitor = Callable[[int, Plan], tuple[int, list[Answer]]]


def no_monitor(_pid: int, plan: Plan) -> tuple[int, list[Answer]]:
    """Let the workload run alone."""
    time.sleep(plan.seconds)
    return 0, []


def kernel(pid: int, plan: Plan) -> tuple[int, list[Answer]]:
    """Monitor a process with the kernel's DAMON."""
    to_unix_us = (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000
    begin_us = time.time_ns() // 1_000
    with KernelDamon(pid, plan.intervals, LIMITS) as damon:
        if plan.apart:
            os.sched_setaffinity(damon.pid, {0})
        time.sleep(plan.seconds)
        cpu_us = damon.cpu_us()
        aggregations = damon.stop()
    answers = []
    for each in aggregations:
        end_us = each.boottime_us + to_unix_us
        checks = plan.intervals.checks
        answers.append(
            Answer(begin_us, end_us, checks, each.start, each.end, each.nr_accesses / checks)
        )
        begin_us = end_us
    return cpu_us, answers


class Keep:
    """A callback that keeps the result of each aggregation."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        snapshot = context.snapshot
        if snapshot is None or not snapshot.targets:
            return
        target: TargetSnapshot = snapshot.targets[0]
        self.answers.append(
            Answer(
                snapshot.time_us - snapshot.elapsed_us,
                snapshot.time_us,
                snapshot.max_nr_accesses,
                target.start,
                target.end,
                target.frequency,
            )
        )


def idle(flush_tlb: bool) -> Monitor:
    """Return our monitor with policy `evidence` and backend `idle`, without a CPU budget."""
    return _ours(lambda: ProcessIdle(IdleOptions(flush_tlb=flush_tlb)))


def pagetable(pid: int, plan: Plan) -> tuple[int, list[Answer]]:
    """Monitor a process with ours and backend `pagetable`, without limits of the cost."""
    return _ours(PageTable)(pid, plan)


def _ours(make_backend: Callable[[], ProcessBackend]) -> Monitor:
    def watch(pid: int, plan: Plan) -> tuple[int, list[Answer]]:
        keep = Keep()
        memory = ProcessMemory(PidSource([pid]), make_backend())
        with unlimited(memory, [keep], intervals=plan.intervals, limits=LIMITS) as context:
            run_for(context, plan.seconds)
            cpu_us = context.stats.cpu_us
        return cpu_us, keep.answers

    return watch
