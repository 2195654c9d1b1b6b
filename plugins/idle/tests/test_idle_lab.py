"""Idle page tracking in real kernels: the results for all kinds of memory, and errors."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import pytest
from damon_cgroup import CgroupSource
from damon_idle import IdleOptions, PhysicalIdle, ProcessIdle
from damon_idle.helper import Helper, find_helper
from damon_vaddr import (
    LayoutInput,
    Mapped,
    PidSource,
    Process,
    ProcessMemory,
    ProcessTarget,
    VaddrOptions,
    make_vaddr,
)

from damon_core import (
    Context,
    Intervals,
    KernelPolicy,
    KernelPolicyOptions,
    Plugins,
    Samples,
    Target,
    hookimpl,
    start,
)
from damon_core.testing import eventually
from tests.prefork import prefork_server
from tests.workers import Worker

pytestmark = pytest.mark.needs("idle-page-tracking")

PAGE = 4096
HUGE = 2 << 20
CGROUPS = Path("/sys/fs/cgroup")
NEEDS_HELPER = pytest.mark.needs("idle-helper")


StartWorker = Callable[[], Worker]
TargetOf = Callable[[ProcessIdle, int], ProcessTarget]


class Check(Protocol):
    """The function that the fixture `check` returns."""

    def __call__(self, addresses: Sequence[int], meanwhile: str = "") -> str: ...


# Both ways take twice as long in emulation: one test does that in CI, too.
@pytest.fixture(
    params=["python", pytest.param("helper", marks=[NEEDS_HELPER, pytest.mark.slow_in_lab])]
)
def backend(request: pytest.FixtureRequest) -> Iterator[ProcessIdle]:
    """Return a backend that doesn't flush TLBs: with checks in Python, and by the helper."""
    helper = Helper() if request.param == "python" else find_helper()
    made = ProcessIdle(IdleOptions(flush_tlb=False), helper=helper)
    yield made
    made.close()


@pytest.fixture
def flushing() -> Iterator[ProcessIdle]:
    """Return a backend that flushes TLBs."""
    made = ProcessIdle()
    yield made
    made.close()


@pytest.fixture
def target_of() -> Iterator[TargetOf]:
    """Return a function that adds all memory of a process to a backend as a target."""
    processes: list[Process] = []

    def add(backend: ProcessIdle, pid: int) -> ProcessTarget:
        process = Process.open(pid)
        processes.append(process)
        target = ProcessTarget(
            f"pid {pid}",
            process=process,
            mapped=Mapped.of(process.mappings()),
            layout_input=LayoutInput(process.maps()),
        )
        backend.add(target)
        return target

    yield add
    for process in processes:
        process.close()


def seen(samples: Samples | None) -> str:
    """Return the result of each page: `a` accessed, `.` idle, `?` unknown."""
    assert samples is not None
    marks = np.where(samples.accessed, "a", ".")
    return "".join(np.where(samples.known, marks, "?").tolist())


@pytest.fixture
def check(backend: ProcessIdle, process: Worker, target_of: TargetOf) -> Check:
    """Return a function that returns the results of one check of pages of `process`.

    Its second argument is what the process does between `prepare` and `check`.
    """

    def check_once(addresses: Sequence[int], meanwhile: str = "") -> str:
        target = target_of(backend, process.pid)
        target.samples = Samples(np.array(addresses, dtype=np.int64))
        assert not backend.prepare([target])
        process.do(meanwhile)
        assert not backend.check([target])
        backend.forget(target)
        return seen(target.samples)

    return check_once


def test_anonymous_pages_are_checked_one_by_one(check: Check, process: Worker) -> None:
    """One is read, one is written, the others are idle."""
    at = process.area(64)
    pages = [at + number * PAGE for number in range(0, 64, 4)]
    found = check(pages, f"area[{4 * PAGE}]; area[{12 * PAGE}] = 1")
    assert found == ".a.a" + "." * 12


def test_a_second_check_finds_only_later_accesses(
    backend: ProcessIdle, process: Worker, target_of: TargetOf
) -> None:
    """Of pages that are still marked, and of those that were accessed before."""
    at = process.area(64)
    target = target_of(backend, process.pid)
    found = []
    for touch in ("area[1 * 4096]", "area[2 * 4096]", "", "area[0]"):
        target.samples = Samples(np.array([at, at + PAGE, at + 40 * PAGE]))
        backend.prepare([target])
        process.do(touch)
        backend.check([target])
        found.append(seen(target.samples))
    assert found == [".a.", "...", "...", "a.."]


def test_absent_pages_were_not_accessed(check: Check, process: Worker) -> None:
    """Unmapped or untouched pages; the first touch is an access."""
    at = process.ask("area = anonymous(8, fill=False); answer = address(area)")
    pages = [PAGE, at, at + 4 * PAGE]
    assert check(pages, f"area[{4 * PAGE}] = 1") == "..a"


def test_an_access_to_a_huge_page_is_one_to_all_its_parts(check: Check, process: Worker) -> None:
    """Another huge page stays idle."""
    at = process.ask("area, answer = huge(2)")
    assert "AnonHugePages:      4096 kB" in Path(f"/proc/{process.pid}/smaps").read_text()
    process.do("filler = anonymous(64)")
    pages = [at + PAGE, at + 511 * PAGE, at + HUGE, at + HUGE + 77 * PAGE]
    assert check(pages, f"area[{at} - address(area) + 100 * 4096]") == "aa.."


@pytest.mark.needs("hugetlb")
def test_hugetlb_pages_are_unknown(check: Check, process: Worker) -> None:
    """They are on no LRU list, so idle page tracking doesn't cover them."""
    Path("/proc/sys/vm/nr_hugepages").write_text("2")
    try:
        at = process.ask(
            f"area = mmap.mmap(-1, {HUGE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000);"
            " area[0] = 1; answer = address(area)"
        )
        assert check([at, at + 9 * PAGE], "area[0]") == "??"
    finally:
        process.program.kill()
        process.program.wait()
        Path("/proc/sys/vm/nr_hugepages").write_text("0")


@pytest.mark.parametrize("directory", ["/tmp", "/dev/shm"])
def test_pages_of_files_and_shared_memory(
    backend: ProcessIdle, start_worker: StartWorker, directory: str, target_of: TargetOf
) -> None:
    """Accesses through the mapping of another process and by read() are detected as well."""
    path = Path(directory) / "lab-file"
    path.write_bytes(b"x" * 64 * PAGE)
    first, second = start_worker(), start_worker()
    at = first.ask(f"area = mapped({str(path)!r}, 64); area[::4096]; answer = address(area)")
    first.do("filler = anonymous(64)")
    second.do(f"area = mapped({str(path)!r}, 64); area[::4096]")
    target = target_of(backend, first.pid)
    target.samples = Samples(at + np.array([0, 9, 20, 40]) * PAGE)
    backend.prepare([target])
    first.do("area[0]")
    second.do(f"area[{20 * PAGE}]")
    with path.open("rb") as file:
        os.pread(file.fileno(), 10, 40 * PAGE)
    backend.check([target])
    path.unlink()
    # With the multi-generational LRU the kernel doesn't clear the mark for read() and write().
    generations = Path("/sys/kernel/mm/lru_gen/enabled")
    with_read = "." if generations.exists() and int(generations.read_text(), 16) & 1 else "a"
    assert seen(target.samples) == f"a.a{with_read}"


def test_a_page_mapped_around_another_is_unknown(check: Check, process: Worker) -> None:
    """Touching one page of a file also maps its neighbours, which weren't accessed."""
    path = Path("/tmp/lab-file")
    path.write_bytes(b"x" * 64 * PAGE)
    at = process.ask(f"area = mapped({str(path)!r}, 64); answer = address(area)")
    pages = (at // (16 * PAGE) + 1) * 16 * PAGE + np.array([0, 1]) * PAGE
    found = check(pages.tolist(), f"area[{pages[0] - at}]")
    path.unlink()
    assert found == "??"


@pytest.mark.needs("zram-swap")
@pytest.mark.usefixtures("zram_swap")
def test_swapped_pages_were_not_accessed(check: Check, process: Worker) -> None:
    """Until they are swapped in."""
    at = process.area(512)
    process.do("area.madvise(21)")  # MADV_PAGEOUT
    assert "Swap:               2048 kB" in Path(f"/proc/{process.pid}/smaps").read_text()
    pages = [at, at + 300 * PAGE]
    assert check(pages) == ".."
    assert check(pages, f"area[{300 * PAGE}]") == ".a"


def test_pages_that_are_freed_during_the_check_are_unknown(check: Check, process: Worker) -> None:
    """Even if another page is at the same address by then."""
    at = process.area(64)
    found = check(
        [at, at + 32 * PAGE],
        "area.madvise(4); filler = anonymous(64); area[0] = 1",  # MADV_DONTNEED
    )
    assert found[1] == "?"


def test_a_fork_shares_its_pages(check: Check, process: Worker) -> None:
    """An access by the child is one to the parent's page."""
    at = process.area(64)
    found = check(
        [at, at + 32 * PAGE],
        "r, w = os.pipe()\nchild = os.fork()\n"
        f"if not child:\n area[{32 * PAGE}]\n os.write(w, b'x')\n import time\n time.sleep(600)\n"
        "os.read(r, 1)",
    )
    process.do("os.kill(child, 9); os.waitpid(child, 0)")
    assert found == ".a"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.execvp('sleep', ['sleep', '60'])"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_targets_whose_memory_is_gone_are_returned(
    backend: ProcessIdle, process: Worker, end: str, when: str, target_of: TargetOf
) -> None:
    """After the end of the process or an exec, before `prepare` or after it."""
    at = process.area(64)
    target = target_of(backend, process.pid)
    target.samples = Samples(at + np.arange(4) * PAGE)
    assert process.program.stdin is not None
    gone: list[Collection[ProcessTarget]] = []
    if when == "between":
        assert not backend.prepare([target])
    process.program.stdin.write(json.dumps(end) + "\n")
    process.program.stdin.flush()
    # Pages are freed a moment after the end, and lose their marks. Then pagemap is read.
    deadline = time.monotonic() + 300
    while not gone:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        found = backend.prepare([target]) if when == "before" else backend.check([target])
        gone += [found] if found else []
    assert gone == [[target]]


class Note:
    """A callback that keeps figures of each aggregation and stops after a number of them.

    Args:
        aggregations: The number.
        meanwhile: Called after the first aggregation.
    """

    def __init__(self, aggregations: int, meanwhile: Callable[[], None]) -> None:
        self.left = aggregations
        self._meanwhile = meanwhile
        self.totals: list[int] = []
        self.sets: list[int] = []
        self.targets: list[int] = []

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        assert context.snapshot is not None
        if not self.totals:
            self._meanwhile()
        self.totals.append(context.snapshot.total_bytes)
        self.sets.append(context.snapshot.working_set_bytes())
        self.targets.append(len(context.snapshot.targets))
        self.left -= 1
        return self.left <= 0


INTERVALS = Intervals(sampling_us=100_000, aggregation_us=1_000_000, update_us=500_000)


def monitor(
    primitive: object, aggregations: int, meanwhile: Callable[[], None] = lambda: None
) -> Note:
    """Run a context for a number of aggregations; call `meanwhile` after the first."""
    note = Note(aggregations, meanwhile)
    policy = KernelPolicy(KernelPolicyOptions(seed=1))
    with Context(primitive, [note], intervals=INTERVALS, cpu_budget=None, policy=policy) as context:
        start(context)
        context.wait(300)
        if context.error is not None:
            raise context.error
    return note


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Return a new cgroup; it is removed after the test."""
    directory = CGROUPS / "lab-idle"
    directory.mkdir()
    yield directory
    with contextlib.suppress(FileNotFoundError):
        (directory / "cgroup.kill").write_text("1")
        eventually(lambda: not (directory / "cgroup.procs").read_text())
        directory.rmdir()


@pytest.mark.needs("memory-cgroup")
def test_a_page_that_a_cgroup_shares_counts_once(cgroup: Path, start_worker: StartWorker) -> None:
    """Here 16 MiB of a file that three processes map."""
    path = Path("/dev/shm/lab-file")
    path.write_bytes(b"x" * (16 << 20))
    processes = [start_worker() for _ in range(3)]
    for process in processes:
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        process.do(f"area = mapped({str(path)!r}, 4096); area[::4096]")
    own = sum(
        int(line.split()[1]) << 10
        for process in processes
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    note = monitor(ProcessMemory(CgroupSource(cgroup), ProcessIdle(), name="cgroup"), 2)
    path.unlink()
    assert note.targets == [3, 3]
    # What two of the three count is left out; the places of what is in memory are estimates.
    assert note.totals[-1] <= own - 1.5 * (16 << 20)
    assert note.totals[-1] > 16 << 20


def test_memory_that_processes_share_since_a_fork_counts_once() -> None:
    """Here 32 MiB of five processes; in each it would be 160."""
    with prefork_server(32 << 20) as pids:
        note = monitor(ProcessMemory(PidSource(pids), ProcessIdle()), 2)
    assert 0.7 * (32 << 20) < note.totals[-1] < 2 * (32 << 20)


@pytest.mark.needs("memory-cgroup")
def test_processes_of_a_cgroup_come_and_go(cgroup: Path) -> None:
    """Ten at a time, which end at any step of the loop."""
    code = f"""
import os, signal
open("{cgroup}/cgroup.procs", "w").write(str(os.getpid()))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
import time
children = []
while True:
    child = os.fork()
    if not child:
        time.sleep(600)
    children.append(child)
    if len(children) > 10:
        os.kill(children.pop(0), signal.SIGKILL)
    time.sleep(0.3)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as spawner:
        try:
            eventually(lambda: len((cgroup / "cgroup.procs").read_text().split()) >= 10)
            primitive = ProcessMemory(CgroupSource(cgroup), ProcessIdle(), name="cgroup")
            note = monitor(primitive, 5)
        finally:
            spawner.kill()
    # Of ten, a busy machine finds those that are still there.
    assert max(note.targets) > 1


@pytest.mark.needs("memory-cgroup")
def test_a_cgroup_that_is_removed_ends_the_monitoring(cgroup: Path, process: Worker) -> None:
    """There is no error, and all files are closed."""
    (cgroup / "cgroup.procs").write_text(str(process.pid))

    def remove() -> None:
        (CGROUPS / "cgroup.procs").write_text(str(process.pid))
        cgroup.rmdir()

    before = len(os.listdir("/proc/self/fd"))
    source = CgroupSource(cgroup, wait=False)
    primitive = ProcessMemory(source, ProcessIdle(), name="cgroup")
    note = monitor(primitive, 1_000, remove)
    assert note.left > 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_memory_that_is_only_reserved_is_neither_used_nor_idle(process: Worker) -> None:
    """Of 8 GiB, 64 MiB are touched: the bytes of all regions are what is in memory."""
    process.do(
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000\n"
        "area = mmap.mmap(-1, 8 << 30, flags=flags)\n"
        "area.madvise(mmap.MADV_NOHUGEPAGE)\n"
        "area[1 << 30 : (1 << 30) + (64 << 20) : 4096] = bytes(16_384)"
    )
    note = monitor(ProcessMemory(PidSource([process.pid]), ProcessIdle()), 2)
    rss = psutil.Process(process.pid).memory_info().rss
    assert note.totals == pytest.approx([rss] * 2, rel=0.1)


def test_a_process_with_ten_thousand_mappings(process: Worker) -> None:
    """A hot area of 16 MiB among them is found."""
    process.do(
        "parts = [mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,"
        " prot=1 + 2 * (n % 2)) for n in range(10_000)]; big = anonymous(4096)"
    )
    # The protection of every second one differs, else the kernel would join neighbours.
    assert Path(f"/proc/{process.pid}/maps").read_bytes().count(b"\n") > 10_000
    process.do(
        "import threading, time\n"
        "def use():\n"
        " while True:\n"
        "  big[::4096]\n"
        "  time.sleep(0.01)\n"
        "threading.Thread(target=use, daemon=True).start()"
    )
    note = monitor(ProcessMemory(PidSource([process.pid]), ProcessIdle()), 8)
    assert max(note.sets) > 8 << 20


_SPINNER = """
import ctypes, mmap
# Memory is bound to a node, because balancing between nodes would flush the TLB at times.
ctypes.CDLL(None).syscall(238, 2, ctypes.byref(ctypes.c_ulong(1)), 64)  # set_mempolicy, MPOL_BIND
size = 16 << 20
area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * (size // 4096)
print(ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)
while True:
    area[::4096]
"""


@pytest.mark.needs("two-processors")
def test_accesses_through_the_tlb_are_found_by_flushing(
    flushing: ProcessIdle, target_of: TargetOf
) -> None:
    """A process reads 16 MiB all the time, on a processor where nothing else runs.

    How many accesses are missed without a flush depends on what else empties the emulated TLB: all
    or none. With flushes nearly all are found.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _SPINNER], stdout=subprocess.PIPE, text=True
    ) as spinner:
        try:
            assert spinner.stdout is not None
            at = int(spinner.stdout.readline())
            os.sched_setaffinity(spinner.pid, {1})
            os.sched_setaffinity(0, {0})
            rng = np.random.default_rng(1)
            target = target_of(flushing, spinner.pid)
            found = checked = 0
            for _ in range(40):
                pages = np.unique(rng.integers(0, 4096, 10))
                target.samples = Samples(at + pages * PAGE)
                flushing.prepare([target])
                time.sleep(0.1)
                flushing.check([target])
                checked += int(target.samples.known.sum())
                found += int((target.samples.accessed & target.samples.known).sum())
        finally:
            os.sched_setaffinity(0, {0, 1})
            spinner.kill()
    assert flushing.flush_stats.flushes > 0
    assert found / checked > 0.5


def test_flushing_does_not_make_cold_memory_accessed(
    flushing: ProcessIdle, process: Worker, target_of: TargetOf
) -> None:
    """Pages that the process doesn't touch stay idle."""
    at = process.area(2048)
    target = target_of(flushing, process.pid)
    for _ in range(20):
        target.samples = Samples(at + np.arange(0, 2048, 64) * PAGE)
        flushing.prepare([target])
        process.do("area[: 1024 * 4096 : 4096]")
        flushing.check([target])
        assert seen(target.samples) == "a" * 16 + "." * 16
    assert flushing.flush_stats.flushes > 0


def test_flushing_splits_no_huge_page(
    flushing: ProcessIdle, process: Worker, target_of: TargetOf
) -> None:
    """With small and huge hot pages in one process."""
    at = process.ask("area, answer = huge(4); small = anonymous(600)")
    target = target_of(flushing, process.pid)
    smaps = Path(f"/proc/{process.pid}/smaps")
    before = smaps.read_text().count("AnonHugePages:      8192 kB")
    for _ in range(20):
        target.samples = Samples(at + np.arange(0, 2048, 64) * PAGE)
        flushing.prepare([target])
        process.do("area[::4096]; small[::4096]")
        flushing.check([target])
    assert before == smaps.read_text().count("AnonHugePages:      8192 kB") == 1


_UNPRIVILEGED = """
import ctypes, os, struct, sys
import numpy as np
import damon_idle.processes, damon_vaddr, damon_core
sys.path.insert(0, sys.argv[2])
from damon_core import PluginError, Samples
from damon_idle import ProcessIdle
from damon_vaddr import Mapped, Process, ProcessTarget

def drop_all_capabilities():
    header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6)
    assert ctypes.CDLL(None).capset(header, data) == 0

def target_of(pid):
    process = Process.open(pid)
    mapped = Mapped.of(process.mappings())
    target = ProcessTarget("target", process=process, mapped=mapped)
    backend.add(target)
    target.samples = Samples(mapped.start[:3].copy())
    return target

backend = ProcessIdle()
first = target_of(os.getpid())
backend.prepare([first])
drop_all_capabilities()
backend.check([first])
backend.prepare([first])
print("files that were opened before still work")
try:
    backend.prepare([target_of(os.getpid())])
except PluginError as error:
    print(error)
try:
    ProcessIdle().add(first)
except PluginError as error:
    print(error)
"""


def test_lost_privileges_are_an_error(tmp_path: Path) -> None:
    """The kernel then shows frames as 0, which must not be reported as idle memory."""
    done = subprocess.run(
        [sys.executable, "-c", _UNPRIVILEGED, "0", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first, second, *_ = done.stdout.splitlines()
    assert first == "files that were opened before still work"
    assert "CAP_SYS_ADMIN is missing" in second


@pytest.mark.parametrize(
    "backend", ["python", pytest.param("helper", marks=NEEDS_HELPER)], indirect=True
)
def test_one_check_of_all_kinds_of_pages_of_several_processes(
    backend: ProcessIdle, start_worker: StartWorker, target_of: TargetOf
) -> None:
    """Small and huge, accessed and idle, present and absent, and unmapped."""
    processes, targets, orders = [start_worker(), start_worker()], [], []
    for process in processes:
        huge = process.ask("area, answer = huge(2)")
        new = process.ask("new = anonymous(8, fill=False); answer = address(new)")
        small = process.ask("small = anonymous(64); answer = address(small)")
        process.do(f"filler = anonymous(64); huge = {huge} - address(area)")
        pages = [PAGE, small, small + 9 * PAGE, huge + PAGE, huge + HUGE + PAGE, new, new + PAGE]
        orders.append(np.argsort(pages, kind="stable"))
        targets.append(target_of(backend, process.pid))
        targets[-1].samples = Samples(np.array(pages)[orders[-1]])
    assert not backend.prepare(targets)
    processes[0].do("small[9 * 4096]; new[0] = 1")
    processes[1].do("area[huge + 100 * 4096]; new[4096] = 1")
    assert not backend.check(targets)
    found = [
        "".join(seen(target.samples)[place] for place in np.argsort(order))
        for target, order in zip(targets, orders, strict=True)
    ]
    assert found == ["..a..a.", "...a..a"]


def test_physical_memory(process: Worker) -> None:
    """The frames of a process's pages are accessed as its pages are; page 0 is unknown."""
    at = process.area(64)
    with open(f"/proc/{process.pid}/pagemap", "rb") as file:
        file.seek(at // PAGE * 8)
        frames = np.fromfile(file, dtype=np.uint64, count=64) & np.uint64((1 << 55) - 1)
    order = np.argsort(frames, kind="stable")
    addresses = np.concatenate(([0], frames[order].astype(np.int64) * PAGE, [1 << 44]))
    backend = PhysicalIdle()
    target = Target("node0")
    target.samples = Samples(addresses)
    backend.prepare([target])
    process.do(f"area[: {32 * PAGE} : 4096]")
    backend.check([target])
    backend.close()
    expected = "".join("a" if page < 32 else "." for page in order)
    assert seen(target.samples) == f"?{expected}?"


def test_it_is_chosen_automatically(process: Worker) -> None:
    """If it works and no preferred backend is installed."""
    backends = Plugins.discover().backends("vaddr")
    backends = {name: backends[name] for name in ("idle", "referenced")}
    primitive = make_vaddr(VaddrOptions(pid=process.pid), backends)
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        deadline = time.monotonic() + 120
        while context.snapshot is None:
            assert time.monotonic() < deadline
            assert context.error is None
            time.sleep(0.05)
        assert context.backend_name == "idle"
