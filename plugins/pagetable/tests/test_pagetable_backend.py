"""The backend with real processes: what contexts learn of memory whose use is known."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from attrs import frozen
from damon_pagetable import PageTable, PageTables
from damon_pagetable.errors import VerifierError
from damon_vaddr import LayoutInput, PidSource, Process, ProcessMemory, ProcessTarget, reset_us

from damon_core import (
    Context,
    HookContext,
    Intervals,
    PageMap,
    PluginError,
    Range,
    RegionLimits,
    Regions,
    Snapshot,
    Toll,
    hookimpl,
    period_of,
    start,
    stop,
)
from damon_core.testing import Recorder, eventually
from tests.workers import Worker

pytestmark = pytest.mark.needs("root", "page-tables")

PAGE = 4096
MIB = 1 << 20
#: Long enough that a busy machine runs the program meanwhile.
INTERVALS = Intervals(100_000, 800_000, 800_000)
#: An emulated machine on a busy one takes a minute for what takes two seconds here.
PATIENCE_S = 300

#: Memory of 64 MiB, of which it uses all the time the pages that its arguments say: from, to, step.
#: It prints where the memory is.
_PROGRAM = """
import ctypes, mmap, sys
import numpy as np
first, last, step = map(int, sys.argv[1:])
area = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
memory = np.frombuffer(area, np.uint8)
memory[::4096] = 1
used = memory[first * 4096 : last * 4096 : step * 4096]
print(memory.ctypes.data, flush=True)
while True:
    used += 1
"""


@frozen
class Busy:
    """What the fixture `busy` starts."""

    pid: int
    address: int


@pytest.fixture
def busy() -> Iterator[Callable[[int, int, int], Busy]]:
    """Return what starts a program that uses pages of 64 MiB."""
    with contextlib.ExitStack() as ends:

        def begin(first: int, last: int, step: int = 1) -> Busy:
            arguments = [sys.executable, "-c", _PROGRAM, *map(str, (first, last, step))]
            program = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            ends.callback(program.communicate)
            ends.callback(program.kill)
            assert program.stdout is not None
            address = int(program.stdout.readline())

            return Busy(program.pid, address)

        yield begin


def watching(pid: int, backend: PageTable, callback: object) -> Context:
    """Return a context that takes what it needs."""
    memory = ProcessMemory(PidSource([pid]), backend)
    return Context(
        memory,
        [callback],
        intervals=INTERVALS,
        cpu_budget=None,
        max_slowdown=None,
        max_stall_us=None,
    )


def watched(pid: int, aggregations: int = 2, backend: PageTable | None = None) -> list[Snapshot]:
    """Monitor a process for some aggregations."""
    recorder = Recorder()
    context = watching(pid, backend or PageTable(), recorder)
    start(context)
    eventually(lambda: len(recorder.snapshots) >= aggregations, PATIENCE_S)
    stop(context)
    context.close()
    return recorder.snapshots


def touched_in(snapshot: Snapshot, addresses: Range) -> int:
    """Return the touched bytes of the regions that are in a range as a whole."""
    inside = (snapshot.start >= addresses.start) & (snapshot.end <= addresses.end)
    assert snapshot.touched_bytes is not None
    return int(snapshot.touched_bytes[inside].sum())


def test_regions_are_those_of_the_program(busy: Callable[[int, int, int], Busy]) -> None:
    """A hot area of 10 MiB begins and ends to the page where it does, in a mapping of 64 MiB."""
    program = busy(1111, 1111 + 2560, 1)
    snapshot = watched(program.pid)[-1]
    row = int(np.flatnonzero(snapshot.start == program.address + 1111 * PAGE)[0])
    assert snapshot.end[row] == program.address + (1111 + 2560) * PAGE
    # On a busy machine the program doesn't get through all of it between two checks.
    assert snapshot.nr_accesses[row] > snapshot.max_nr_accesses / 2
    assert snapshot.touched_bytes is not None
    assert snapshot.touched_bytes[row] == pytest.approx(10 * MIB, rel=0.01)


def test_cold_memory_beside_it_is_idle(busy: Callable[[int, int, int], Busy]) -> None:
    """It was last accessed before the first clearing."""
    program = busy(1111, 1111 + 2560, 1)
    first, second = watched(program.pid)[:2]
    for snapshot, least_us in ((first, 0), (second, 800_000)):
        row = int(np.flatnonzero(snapshot.end > program.address + 8000 * PAGE)[0])
        # Now and then the kernel itself touches a page.
        assert snapshot.nr_accesses[row] < 0.01
        if snapshot.nr_accesses[row] == 0:
            assert snapshot.idle_us[row] >= least_us


@pytest.mark.slow_in_lab
def test_scattered_pages_count_to_the_page(busy: Callable[[int, int, int], Busy]) -> None:
    """Every tenth page of 40 MiB: no regions can show them all, the working set is right."""
    program = busy(0, 10_240, 10)
    snapshot = watched(program.pid)[-1]
    memory = Range(program.address, program.address + 64 * MIB)
    assert touched_in(snapshot, memory) == pytest.approx(1024 * PAGE, rel=0.01)


class Asker:
    """A callback that asks for every page of the first target."""

    def __init__(self) -> None:
        self.maps: list[PageMap | None] = []

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        assert context.snapshot is not None
        self.maps.append(context.snapshot.targets[0].page_map())


@pytest.mark.slow_in_lab
def test_the_map_has_every_page(busy: Callable[[int, int, int], Busy]) -> None:
    """For callbacks that ask: how soon after a clearing each was accessed."""
    program = busy(0, 10_240, 10)
    asker = Asker()
    context = watching(program.pid, PageTable(), asker)
    start(context)
    eventually(lambda: bool(asker.maps), PATIENCE_S)
    stop(context)
    context.close()
    known = asker.maps[0]
    assert known is not None
    periods = known.periods_at(program.address + np.arange(16_384) * PAGE)
    soon = np.flatnonzero(periods <= period_of(400_000))
    assert not np.count_nonzero(soon % 10)
    # A kernel that watches the machine's memory for itself clears a few.
    assert len(soon) > 0.9 * 1024


def test_resident_bytes_are_those_in_memory(busy: Callable[[int, int, int], Busy]) -> None:
    """Beside what the kernel says."""
    program = busy(0, 100, 1)
    snapshot = watched(program.pid)[-1]
    with open(f"/proc/{program.pid}/smaps_rollup") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
    assert snapshot.total_bytes == pytest.approx(rss * 1024, rel=0.02)


def test_what_the_process_pays_is_known(busy: Callable[[int, int, int], Busy]) -> None:
    """Pages whose bits were set again, and the lock during the clearing."""
    program = busy(0, 16_384, 1)
    with Opened(program.pid) as (backend, target):
        context = Context(ProcessMemory(PidSource([program.pid]), backend), intervals=INTERVALS)
        backend.prepare([target], context)
        before = target.toll
        time.sleep(0.5)
        backend.check([target], context)
    assert before.held_us > 0
    assert target.toll.cpu_us > before.cpu_us


def test_what_is_outside_of_ranges_pays_too(busy: Callable[[int, int, int], Busy]) -> None:
    """Its bits are cleared, and nobody looks how many are set again: all may be."""
    program = busy(0, 16_384, 1)
    range_ = Range(program.address, program.address + PAGE)
    with Opened(program.pid, [range_]) as (backend, target):
        context = Context(ProcessMemory(PidSource([program.pid]), backend), intervals=INTERVALS)
        backend.prepare([target], context)
        assert target.toll.cpu_us >= 16_000 * reset_us()


class Opened:
    """A backend with one process, or ranges of it."""

    def __init__(self, pid: int, ranges: Sequence[Range] = ()) -> None:
        self._process = Process.open(pid)
        self._backend = PageTable()
        self._ranges = tuple(ranges)

    def __enter__(self) -> tuple[PageTable, ProcessTarget]:
        target = ProcessTarget("process", Regions(), process=self._process, ranges=self._ranges)
        self._backend.add(target)
        return self._backend, target

    def __exit__(self, *error: object) -> None:
        self._backend.close()
        self._process.close()


def test_bits_are_cleared_once_an_aggregation(process: Worker) -> None:
    """However often there is a look."""
    with Opened(process.pid) as (backend, target):
        context = Context(ProcessMemory(PidSource([process.pid]), backend), intervals=INTERVALS)
        backend.prepare([target], context)
        held_us = target.toll.held_us
        backend.check([target], context)
        backend.prepare([target], context)
        assert target.toll.held_us == held_us


@pytest.mark.parametrize(
    "statement", ["os._exit(0)", "os.close(1); os.execvp('sleep', ['sleep', '100'])"]
)
def test_memory_that_is_gone_is_noticed(process: Worker, statement: str) -> None:
    """At the end of the process, and when it executes another program."""
    with Opened(process.pid) as (backend, target):
        context = Context(ProcessMemory(PidSource([process.pid]), backend), intervals=INTERVALS)
        backend.prepare([target], context)
        assert not list(backend.check([target], context))
        with contextlib.suppress(ValueError):
            process.ask(statement)
        eventually(lambda: list(backend.check([target], context)) == [target])


def test_closed_backend_may_be_used_again(process: Worker) -> None:
    """A context may run more than once."""
    backend = PageTable()
    assert watched(process.pid, 1, backend)
    assert watched(process.pid, 1, backend)


def test_no_files_stay_open(process: Worker) -> None:
    """After the end of a context."""
    watched(process.pid, 1)
    before = sorted(os.listdir("/proc/self/fd"))
    watched(process.pid, 1)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_reason_why_page_tables_can_t_be_read_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The verifier's log is for those who ask for it."""

    def fail() -> PageTables:
        raise VerifierError("the kernel's verifier rejects a program", 13, "R0 !read_ok")

    with caplog.at_level("DEBUG"), pytest.raises(PluginError, match="rejects a program"):
        PageTable(open_tables=fail)
    assert "R0 !read_ok" in caplog.text


def test_nothing_is_charged_before_the_first_clearing(process: Worker) -> None:
    """To open a process costs it nothing."""
    with Opened(process.pid) as (_, target):
        assert target.toll == Toll()


@pytest.fixture
def shared_file() -> Iterator[str]:
    """A file of 1 000 small pages: those of a disk's file may be huge."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(bytes(1_000 * PAGE))
        file.flush()
        yield file.name


def test_shared_memory_of_two_processes_counts_once(
    start_worker: Callable[[], Worker], shared_file: str
) -> None:
    """With the accesses of both, in the first."""
    workers = [start_worker(), start_worker()]
    starts = [
        worker.ask(
            f"area = mapped({shared_file!r}, 1000)\n"
            "for page in range(1000): area[page * 4096]\n"
            "answer = address(area)"
        )
        for worker in workers
    ]
    with contextlib.ExitStack() as opened:
        processes = [Process.open(worker.pid) for worker in workers]
        targets = [ProcessTarget(str(each.pid), process=each) for each in processes]
        backend = PageTable()
        opened.callback(backend.close)
        for target in targets:
            opened.callback(target.process.close)
            backend.add(target)
            backend.layout.lay_out(
                target, LayoutInput(target.process.maps()), RegionLimits(10, 1_000)
            )
            target.layout_input = LayoutInput(target.process.maps())
        context = Context(ProcessMemory(PidSource([os.getpid()]), backend), intervals=INTERVALS)
        backend.prepare(targets, context)
        workers[0].ask("for page in range(0, 300): area[page * 4096]")
        workers[1].ask("for page in range(200, 500): area[page * 4096]")
        backend.check(targets, context)
        backend.layout.describe(targets, context.clock.now_us())
        maps = [target.page_map for target in targets]
    (there, touched), other = [
        pages_in(each, start) for each, start in zip(maps, starts, strict=True)
    ]
    assert [there, other] == [1_000, (0, [])]
    assert set(touched) <= set(range(500))
    # A kernel that watches the machine's memory for itself clears a few.
    assert len(touched) > 450


def pages_in(known: PageMap | None, address: int) -> tuple[int, list[int]]:
    """Return how many of 1 000 pages from an address on are there, and which were touched."""
    assert known is not None
    addresses = known.blocks[:, np.newaxis] + np.arange(512) * PAGE
    number = (addresses - address) // PAGE
    ours = (number >= 0) & (number < 1_000) & (known.periods > 0)
    touched = ours & (known.periods <= known.longest)
    return int(np.count_nonzero(ours)), sorted(number[touched].tolist())
