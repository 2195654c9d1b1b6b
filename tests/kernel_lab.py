"""What tests of the kernel's DAMON share in the lab's machines: what it monitors, and waiting."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen
from damon_sysfs import KernelProcesses
from damon_sysfs.sampler import KernelTarget, Plan
from damon_sysfs.tree import Tree
from damon_vaddr import PidSource, ProcessMemory

from damon_core import Context, Intervals, RegionLimits, TargetSnapshot

#: Far longer than anything takes: emulated, a program may need most of a minute to begin.
PATIENCE_S = 300
INTERVALS = Intervals(20_000, 400_000, 1_000_000)
LIMITS = RegionLimits()

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


def switch_on(slot: int, pid: int) -> int:
    """Start a kdamond as another program would; return its thread id."""
    tree = Tree()
    files = plan(pid).files()
    tree.write_all(files, f"kdamonds/{slot}/")
    tree.write(f"kdamonds/{slot}/state", "on")
    return int(tree.read(f"kdamonds/{slot}/pid"))


@contextlib.contextmanager
def foreign_kdamond(pid: int) -> Iterator[int]:
    """Run a kdamond as another program would; check that it and its settings haven't changed."""
    tree = Tree()
    tree.write("kdamonds/nr_kdamonds", 2)
    kdamond = switch_on(1, pid)
    saved = tree.save()
    yield kdamond
    assert tree.save() == saved
    assert tree.running() == {1: kdamond}
    tree.write("kdamonds/1/state", "off")
    tree.write("kdamonds/nr_kdamonds", 0)
