"""Both monitors at the same work: the kernel's own DAMON, and ours."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from attrs import frozen
from damon_demo import Pattern, WorkloadProcess
from damon_idle import IdleOptions, ProcessIdle
from damon_vaddr import PidSource, ProcessMemory

from benchmarks.beside_kernel.answers import Answer, Watched
from damon_core import Context, Intervals, RegionLimits, TargetSnapshot, hookimpl, start
from tests.lab.kernel_damon import KernelDamon

LIMITS = RegionLimits(min_regions=10, max_regions=1000)


@frozen
class Plan:
    """What is the same for both.

    Attributes:
        pattern: What the workload does.
        intervals: How often is looked.
        seconds: How long is watched.
        apart: Put the workload on processor 1 and the monitor on processor 0.
        stirs: Let another process run every now and then: see `stirred`.
    """

    pattern: Pattern
    intervals: Intervals
    seconds: float
    apart: bool = False
    stirs: bool = True

    def watch(self, monitor: "Monitor") -> Watched:
        """Run the workload and a monitor beside it."""
        # Eight times in a sampling interval, so that no check goes without.
        stir_s = self.intervals.sampling_us / 8e6 if self.stirs else 0
        with stirred(stir_s), WorkloadProcess(self.pattern) as workload:
            if self.apart:
                os.sched_setaffinity(0, {0})
                os.sched_setaffinity(workload.pid, {1})
            begin_us = time.time_ns() // 1_000
            cpu_us, answers = monitor(workload.pid, self)
            end_us = time.time_ns() // 1_000
            truth = workload.truth()
        return Watched(begin_us, end_us, self.intervals.sampling_us, cpu_us, answers, truth)


@contextlib.contextmanager
def stirred(every_s: float) -> Iterator[None]:
    """Let another process run every now and then, which empties the emulated TLB; 0 is never.

    Real TLBs are smaller than the hot areas, so their entries go by themselves. The emulator's
    go when another process runs on the processor, which ours is and a kernel thread isn't: the
    kernel's DAMON alone would see nearly nothing.
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


#: Watches a process as planned; returns its processor time, microseconds, and its answers.
Monitor = Callable[[int, Plan], tuple[int, list[Answer]]]


def nobody(_pid: int, plan: Plan) -> tuple[int, list[Answer]]:
    """Let the workload run alone."""
    time.sleep(plan.seconds)
    return 0, []


def kernel(pid: int, plan: Plan) -> tuple[int, list[Answer]]:
    """Watch a process by the kernel's DAMON."""
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
    """A callback that keeps what each aggregation told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        told = context.snapshot
        if told is None or not told.targets:
            return
        target: TargetSnapshot = told.targets[0]
        self.answers.append(
            Answer(
                told.time_us - told.elapsed_us,
                told.time_us,
                told.max_nr_accesses,
                target.start,
                target.end,
                target.frequency,
            )
        )


def ours(flush_tlb: bool) -> Monitor:
    """Return our monitor: the policy evidence on the backend idle, without a CPU budget."""

    def watch(pid: int, plan: Plan) -> tuple[int, list[Answer]]:
        keep = Keep()
        backend = ProcessIdle(IdleOptions(flush_tlb=flush_tlb))
        with Context(
            ProcessMemory(PidSource([pid]), backend),
            [keep],
            intervals=plan.intervals,
            limits=LIMITS,
            cpu_budget=None,
        ) as context:
            start(context)
            context.wait(plan.seconds)
            if context.error is not None:
                raise context.error
            cpu_us = context.stats.cpu_us
        return cpu_us, keep.answers

    return watch
