"""The kernel's DAMON as a checker of pages that the policy chooses, on the lab's kernels only."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from attrs import frozen
from damon_sysfs import KernelPages, Sampler
from damon_sysfs.tree import Tree
from damon_vaddr import PidSource, ProcessMemory, VaddrOptions, make_vaddr

from damon_core import Context, Intervals, PluginError, Plugins, RegionLimits, TargetSnapshot, start
from damon_core.testing import eventually
from tests.kernel_lab import PATIENCE_S

pytestmark = [
    pytest.mark.needs("root", "kernel-damon"),
    pytest.mark.usefixtures("nothing_left"),
]

INTERVALS = Intervals(50_000, 1_000_000, 2_000_000)
MIB = 1 << 20

#: Reads 1 MiB of 64 MiB, in a mapping of its own, and prints where they are. During the short sleep
#: translations leave the TLB. Given "leave", the first thread exits when it reads a line; given
#: "exec", it executes another program then.
_PROGRAM = """
import ctypes, mmap, os, sys, threading, time
area = mmap.mmap(-1, 64 << 20)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * (len(area) // 4096)
first = ctypes.addressof(ctypes.c_char.from_buffer(area))
print(first, flush=True)
def work():
    while True:
        area[40 << 20 : 41 << 20 : 4096]
        time.sleep(0.01)
threading.Thread(target=work, daemon=True).start()
sys.stdin.readline()
if sys.argv[1] == "exec":
    os.execlp("sleep", "sleep", "600")
ctypes.CDLL(None).pthread_exit(None)
"""


@frozen
class Program:
    """A process that uses 1 MiB of 64.

    Attributes:
        process: The process.
        first: The address of the 64 MiB.
    """

    process: "subprocess.Popen[str]"
    first: int

    def go_on(self) -> None:
        """Let the first thread exit, or execute another program."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def is_found(self, target: TargetSnapshot) -> bool:
        """Return whether the 1 MiB is hot, nearly to the page, and the rest of the 64 isn't."""
        inside = (target.start >= self.first) & (target.end <= self.first + 64 * MIB)
        hot = inside & (target.frequency >= 0.5)
        hot_bytes = int(target.size_bytes[hot].sum())
        begin, end = self.first + 40 * MIB, self.first + 41 * MIB
        correct = int((target.end[hot].clip(begin, end) - target.start[hot].clip(begin, end)).sum())
        return 0.8 * MIB < correct <= hot_bytes < 1.2 * MIB


@contextlib.contextmanager
def running(then: str = "leave") -> Iterator[Program]:
    """Run the program."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield Program(process, int(process.stdout.readline()))
        process.kill()


def watching(*pids: int, backend: KernelPages | None = None) -> Context:
    """Return a context for processes."""
    return Context(
        ProcessMemory(PidSource(pids), backend or KernelPages()),
        intervals=INTERVALS,
        limits=RegionLimits(20, 1000),
        cpu_budget=None,
    )


def finds(context: Context, *programs: Program) -> None:
    """Wait until the hot memory of programs is found, and nothing else."""

    def are_found() -> bool:
        assert context.error is None
        snapshot = context.snapshot
        return (
            snapshot is not None
            and len(snapshot.targets) == len(programs)
            and all(map(Program.is_found, programs, snapshot.targets))
        )

    eventually(are_found, PATIENCE_S)


def test_a_small_area_is_found_nearly_to_the_page() -> None:
    """1 MiB of 64, which the policy finds; each check is of the policy's pages."""
    backend = KernelPages()
    with running() as program, watching(program.process.pid, backend=backend) as context:
        start(context)
        finds(context, program)
        assert context.policy_name == "evidence"
        assert backend.cpu_us > 0
    assert context.error is None


def test_processes_end() -> None:
    """The others are monitored on; without any the context ends, without an error."""
    with (
        running() as first,
        running() as second,
        watching(first.process.pid, second.process.pid) as context,
    ):
        start(context)
        finds(context, first, second)
        first.process.kill()
        first.process.wait()
        finds(context, second)
        second.process.kill()
        assert context.wait(PATIENCE_S)
    assert context.error is None


def test_a_process_whose_first_thread_exits_is_checked_on() -> None:
    """By another thread, as the kernel finds no memory by the first."""
    with running() as program, watching(program.process.pid) as context:
        start(context)
        finds(context, program)
        program.go_on()
        before = context.stats.aggregations
        eventually(lambda: context.stats.aggregations >= before + 3, PATIENCE_S)
        finds(context, program)
    assert context.error is None


def test_a_process_that_executes_another_program_is_a_new_target() -> None:
    """It is called by its new name."""

    def is_named_sleep(context: Context) -> bool:
        targets = context.snapshot.targets if context.snapshot is not None else ()
        return [each.name.partition("[")[0] for each in targets] == ["sleep"]

    with running("exec") as program, watching(program.process.pid) as context:
        start(context)
        finds(context, program)
        program.go_on()
        eventually(lambda: is_named_sleep(context), PATIENCE_S)
    assert context.error is None


def test_other_intervals_are_committed() -> None:
    """The kdamond goes on with them."""
    backend = KernelPages()
    with running() as program, watching(program.process.pid, backend=backend) as context:
        start(context)
        finds(context, program)
        kdamond = backend.sampler.kdamond
        context.commit(intervals=Intervals(20_000, 400_000, 2_000_000))
        before = context.stats.aggregations
        eventually(lambda: context.stats.aggregations >= before + 4, PATIENCE_S)
        assert backend.sampler.kdamond == kdamond
        file = "kdamonds/0/contexts/0/monitoring_attrs/intervals/sample_us"
        assert Tree().read(file) == "20000"
        finds(context, program)
    assert context.error is None


def test_a_kdamond_that_another_program_switches_off() -> None:
    """The context ends with an error that says so."""
    with running() as program, watching(program.process.pid) as context:
        start(context)
        eventually(lambda: context.stats.aggregations >= 1, PATIENCE_S)
        Tree().write("kdamonds/0/state", "off")
        assert context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "another program has switched the kdamond off" in str(context.error)


def test_pages_need_tracing() -> None:
    """An error says so."""
    backend = KernelPages(sampler=Sampler(tracing=()))
    with running() as program, watching(program.process.pid, backend=backend) as context:
        start(context)
        assert context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "need tracing: mount tracefs" in str(context.error)


def test_pages_are_chosen_for_one_process_and_rare_checks() -> None:
    """Without an option, on all kernels of the lab."""
    backends = Plugins.discover().backends("vaddr")
    with running() as program:
        primitive = make_vaddr(VaddrOptions(program.process.pid, backend="kernel"), backends)
        intervals = Intervals(100_000, 2_000_000, 10_000_000)
        with Context(primitive, intervals=intervals, cpu_budget=None) as context:
            assert context.policy_name == "evidence"
            start(context)
            eventually(lambda: context.stats.aggregations >= 1, PATIENCE_S)
    assert context.error is None
