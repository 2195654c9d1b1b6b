"""The primitive `vaddr`: real processes, monitored by `referenced` and by backends for tests."""

import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from damon_vaddr import (
    CommandSource,
    Layout,
    Mappings,
    PidSource,
    Process,
    ProcessMemory,
    ProcessTarget,
    Ranges,
    Referenced,
    VaddrOptions,
    make_vaddr,
    plugin,
)
from damon_vaddr.mappings import parse_maps, three_ranges

from damon_core import (
    Backend,
    ConfigError,
    Context,
    Finding,
    HookContext,
    Intervals,
    KernelPolicy,
    KernelPolicyOptions,
    PageSampling,
    Plugins,
    RegionLimits,
    RegionSampling,
    SamplingFactory,
    Snapshot,
    TargetError,
    VirtualClock,
    hookimpl,
    start,
    stop,
)
from damon_core.testing import StopAfter, eventually, run

StartProgram = Callable[..., "subprocess.Popen[str]"]
SharedTotals = list[list[int]]
_SHORT = Intervals(sampling_us=20_000, aggregation_us=200_000, update_us=50_000)


def test_memory_is_followed_after_the_first_thread_has_exited(
    without_first_thread: "subprocess.Popen[str]",
) -> None:
    """What other threads map and touch later is seen."""
    program = without_first_thread
    context = Context(
        ProcessMemory(PidSource([program.pid]), Referenced()), intervals=_SHORT, cpu_budget=None
    )
    start(context)
    try:
        eventually(lambda: context.snapshot is not None)
        assert context.snapshot is not None
        before = context.snapshot.total_bytes
        assert program.stdin is not None
        program.stdin.write("more\n")
        program.stdin.flush()
        eventually(
            lambda: (
                context.snapshot is not None and context.snapshot.total_bytes >= before + (8 << 20)
            )
        )
        assert len(context.snapshot.targets) == 1
    finally:
        stop(context)


def test_a_target_has_the_name_that_its_process_gives_itself(start_program: StartProgram) -> None:
    """Servers name their workers after they have started them."""
    program = start_program(
        "import sys; print('ready', flush=True); sys.stdin.readline();"
        "open('/proc/self/comm', 'w').write('worker'); sys.stdin.readline()"
    )
    assert program.stdout is not None
    assert program.stdin is not None
    program.stdout.readline()
    context = Context(
        ProcessMemory(PidSource([program.pid]), Referenced()), intervals=_SHORT, cpu_budget=None
    )

    def name() -> str:
        return context.snapshot.targets[0].name if context.snapshot is not None else ""

    start(context)
    try:
        eventually(name)
        assert name() != f"worker[{program.pid}]"
        program.stdin.write("\n")
        program.stdin.flush()
        eventually(lambda: name() == f"worker[{program.pid}]")
    finally:
        stop(context)


class Short(PidSource):
    """A source that can't open /proc at updates, as too many files are open."""

    looked = 0

    def processes(self) -> Collection[Process]:
        self.looked += 1
        if self.looked > 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().processes()


def test_too_many_open_files_do_not_end_a_context(
    sleeper: "subprocess.Popen[str]", caplog: pytest.LogCaptureFixture
) -> None:
    """The processes that are known are monitored on; a warning says what is missing, once."""
    source = Short([sleeper.pid])
    context = Context(
        ProcessMemory(source, Referenced()), intervals=_SHORT, cpu_budget=None, max_slowdown=None
    )
    start(context)
    eventually(lambda: source.looked > 2 and context.snapshot is not None)
    stop(context)
    assert context.error is None
    assert context.snapshot is not None
    assert len(context.snapshot.targets) == 1
    assert len([each for each in caplog.messages if "processes that are new" in each]) == 1


#: Has 60,000 mappings of a page each, a third of which it accesses all the time.
_MANY_MAPPINGS = """
import ctypes, mmap, time
PAGE, COUNT = 4096, 60_000
area = mmap.mmap(-1, COUNT * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area[::PAGE] = bytes(COUNT)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
protect = ctypes.CDLL(None).mprotect
protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
for page in range(1, COUNT, 2):
    protect(address + page * PAGE, PAGE, mmap.PROT_READ)
print(flush=True)
while True:
    area[: COUNT // 3 * PAGE : PAGE]
    time.sleep(0.01)
"""


@pytest.mark.slow
def test_many_mappings_have_a_first_result_soon(start_program: StartProgram) -> None:
    """Its aggregation isn't stretched, though looks take a hundred times what the budget allows."""
    program = start_program(_MANY_MAPPINGS)
    assert program.stdout is not None
    program.stdout.readline()
    context = Context(ProcessMemory(PidSource([program.pid]), Referenced()), [StopAfter(1)])
    run(context)
    snapshot = context.snapshot
    assert snapshot is not None
    assert snapshot.intervals == Intervals()
    assert len(snapshot) == RegionLimits().max_regions
    assert 20_000 * 4096 <= snapshot.working_set_bytes() < 30_000 * 4096


class Counting:
    """A backend that reports all memory as accessed, by pages or by regions; it can lose targets.

    Attributes:
        added: Names of the targets that were added.
        forgotten: Names of the targets that were forgotten.
        lose: Names of the targets that the next `prepare` returns as gone.
    """

    sees_all_users: bool = False

    def __init__(self, by_pages: bool = True) -> None:
        self.sampling: SamplingFactory = PageSampling if by_pages else RegionSampling
        self.layout: Layout = Ranges() if by_pages else Mappings()
        self.added: list[str] = []
        self.forgotten: list[str] = []
        self.lose: set[str] = set()

    def add(self, target: ProcessTarget) -> None:
        self.added.append(target.name)

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        lost = [target for target in targets if target.name in self.lose]
        self.lose.clear()
        return lost

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        for target in targets:
            if self.sampling is RegionSampling:
                target.regions.nr_accesses += 1
            elif target.samples is not None:
                target.samples.accessed[:] = True
        return ()

    def forget(self, target: ProcessTarget) -> None:
        self.forgotten.append(target.name)

    def close(self) -> None:
        pass


def _monitor(context: Context) -> Snapshot:
    """Run a context to its end and return its last snapshot."""
    run(context)
    assert context.snapshot is not None
    return context.snapshot


def _region(snapshot: Snapshot, address: int) -> int:
    """Return the index of the region that contains an address."""
    row = int(np.searchsorted(snapshot.start, address, side="right")) - 1
    assert snapshot.end[row] > address
    return row


def test_the_hot_area_of_a_real_process_is_hotter(
    hot_and_cold: tuple[int, int, int, int],
) -> None:
    """An area that the process keeps reading is accessed, one that it doesn't touch isn't."""
    pid, hot, cold, size = hot_and_cold
    context = Context(
        ProcessMemory(PidSource([pid]), Referenced()),
        [StopAfter(3)],
        cpu_budget=None,
        intervals=Intervals(sampling_us=50_000, aggregation_us=500_000, update_us=500_000),
    )
    snapshot = _monitor(context)
    assert snapshot.resident_bytes[_region(snapshot, hot)] >= size
    assert snapshot.resident_bytes[_region(snapshot, cold)] >= size
    assert snapshot.frequency[_region(snapshot, hot)] > 0.5
    assert snapshot.frequency[_region(snapshot, cold)] < 0.1
    assert snapshot.working_set_bytes() >= size
    assert snapshot.idle_bytes() < snapshot.total_bytes - size / 2


def test_the_end_of_the_process_ends_the_monitoring(sleeper: "subprocess.Popen[str]") -> None:
    """This is not an error of the context."""
    context = Context(ProcessMemory(PidSource([sleeper.pid]), Referenced()), intervals=_SHORT)
    start(context)
    eventually(lambda: context.stats.samples > 1)
    sleeper.kill()
    assert context.wait(30)
    assert context.error is None


def test_no_file_stays_open_and_a_restart_works(
    sleeper: "subprocess.Popen[str]", open_descriptors: Callable[[], int]
) -> None:
    """A stopped context has no open files and can be started again."""
    before = open_descriptors()
    context = Context(ProcessMemory(PidSource([sleeper.pid]), Referenced()), intervals=_SHORT)
    for _ in range(2):
        start(context)
        eventually(lambda: context.stats.samples > 1)
        stop(context)
        assert context.error is None
        assert open_descriptors() == before


def test_a_command_is_monitored_to_its_end() -> None:
    """The context ends when the command does, and the exit status is kept."""
    source = CommandSource([sys.executable, "-c", "import time; time.sleep(1)"])
    names: list[str] = []

    class Note:
        @hookimpl
        def after_aggregation(self, context: HookContext) -> None:
            names.extend(target.name for target in context.targets)

    primitive = ProcessMemory(source, Referenced())
    context = Context(primitive, [Note()], cpu_budget=None, intervals=_SHORT)
    _monitor(context)
    assert names
    assert all(name.startswith("python") for name in names)
    assert source.exit_status == 0


def test_a_command_is_mapped_when_it_has_started() -> None:
    """Twenty starts, as what is found depends on who is faster."""
    source = CommandSource(["sleep", "600"])
    found = []
    for _ in range(20):
        source.start()
        try:
            (process,) = source.processes()
            found.append(b"/sleep" in process.maps())
        finally:
            source.close()
    assert found == [True] * 20


def test_a_process_that_executes_another_program_is_a_new_target(
    start_program: StartProgram,
) -> None:
    """The target for the old memory is replaced by one with the new name."""
    program = start_program(
        "import os, sys; sys.stdin.read(1); os.execvp('sleep', ['sleep', '600'])"
    )
    context = Context(
        ProcessMemory(PidSource([program.pid]), Referenced()),
        cpu_budget=None,
        intervals=_SHORT,
    )
    start(context)
    eventually(lambda: context.snapshot)
    assert program.stdin is not None
    program.stdin.write("x")
    program.stdin.flush()

    def renamed() -> bool:
        assert context.snapshot is not None
        return [t.name for t in context.snapshot.targets] == [f"sleep[{program.pid}]"]

    eventually(renamed)
    stop(context)
    assert context.error is None


def test_descendants_come_and_go(start_program: StartProgram) -> None:
    """A child becomes a target when it starts, and the target is dropped when it ends."""
    program = start_program(
        "import subprocess, sys\n"
        "for _ in sys.stdin:\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        "    print(child.pid, flush=True)\n"
        "    sys.stdin.readline()\n"
        "    child.kill(); child.wait()\n"
    )
    assert program.stdin is not None
    assert program.stdout is not None
    context = Context(
        ProcessMemory(PidSource([program.pid], descendants=True), Referenced()),
        cpu_budget=None,
        intervals=_SHORT,
    )
    start(context)
    eventually(lambda: context.snapshot is not None)

    def names() -> list[str]:
        assert context.snapshot is not None
        return [target.name for target in context.snapshot.targets]

    assert len(names()) == 1
    program.stdin.write("\n")
    program.stdin.flush()
    child = int(program.stdout.readline())
    eventually(lambda: f"sleep[{child}]" in names())
    program.stdin.write("\n")
    program.stdin.flush()
    eventually(lambda: len(names()) == 1)
    stop(context)
    assert context.error is None


@pytest.mark.slow
def test_checks_stay_within_the_cpu_budget(hot_and_cold: tuple[int, int, int, int]) -> None:
    """A run takes no more CPU time than the budget and that of a few checks."""
    context = Context(
        ProcessMemory(PidSource([hot_and_cold[0]]), Referenced()),
        intervals=Intervals(sampling_us=1_000, aggregation_us=100_000, update_us=1_000_000),
    )
    begun = time.monotonic()
    start(context)
    time.sleep(3)
    stop(context)
    assert context.stats.cpu_us < 0.1 * (time.monotonic() - begun) * 1e6
    assert context.intervals.sampling_us == 1_000  # the configured one again, after the run


def test_the_snapshot_has_the_lengthened_interval(
    hot_and_cold: tuple[int, int, int, int],
) -> None:
    """With a small CPU budget aggregations take longer than configured."""
    context = Context(
        ProcessMemory(PidSource([hot_and_cold[0]]), Referenced()),
        [StopAfter(3)],
        cpu_budget=0.01,
        intervals=Intervals(sampling_us=1_000, aggregation_us=50_000, update_us=1_000_000),
    )
    assert _monitor(context).intervals.aggregation_us > 50_000


def test_a_target_that_is_gone_while_its_process_runs_is_added_again(
    sleeper: "subprocess.Popen[str]",
) -> None:
    """A target that the backend returns as gone is forgotten first."""
    backend = Counting()
    backend.lose = {
        f"python3[{sleeper.pid}]",
        f"python3.11[{sleeper.pid}]",
        f"python[{sleeper.pid}]",
    }
    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), backend), [StopAfter(2)], clock=VirtualClock()
    )
    snapshot = _monitor(context)
    assert len(backend.added) == 2
    assert backend.forgotten[0] == backend.added[0]
    assert len(snapshot.targets) == 1


def test_a_process_that_may_not_be_read_is_skipped_with_one_warning(
    sleeper: "subprocess.Popen[str]", caplog: pytest.LogCaptureFixture
) -> None:
    """The log names it once; the context continues."""

    class Refusing(Counting):
        def add(self, target: ProcessTarget) -> None:
            raise PermissionError(13, os.strerror(13))

    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), Refusing()), [StopAfter(50)], clock=VirtualClock()
    )
    with caplog.at_level(logging.WARNING):
        assert not _monitor(context).targets
    assert len(caplog.records) == 1
    assert f"[{sleeper.pid}] is not monitored: its memory may not be read" in caplog.text


def test_few_of_many_that_may_not_be_read_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """One line says that there are more."""

    class Refusing(Counting):
        def add(self, target: ProcessTarget) -> None:
            raise PermissionError(13, os.strerror(13))

    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(12)]
    source = PidSource([each.pid for each in sleepers])
    context = Context(ProcessMemory(source, Refusing()), [StopAfter(3)], clock=VirtualClock())
    with caplog.at_level(logging.WARNING):
        _monitor(context)
    for each in sleepers:
        each.kill()
        each.wait()
    assert len(caplog.records) == 11
    assert "are counted, and not named" in caplog.text
    assert context.left_out == {"unreadable": 12}


def test_processes_that_may_not_be_read_are_counted(sleeper: "subprocess.Popen[str]") -> None:
    """The context says how many are left out now, and why."""

    class Refusing(Counting):
        def add(self, target: ProcessTarget) -> None:
            raise PermissionError(13, os.strerror(13))

    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), Refusing()), [StopAfter(3)], clock=VirtualClock()
    )
    _monitor(context)
    assert context.left_out == {"unreadable": 1}


@pytest.mark.parametrize(("group_by", "group"), [("comm", "python3"), ("none", None)])
def test_targets_carry_their_group(
    start_program: StartProgram, group_by: str, group: str | None
) -> None:
    """As a label, by which outputs add them up."""
    program = start_program("open('/proc/self/comm', 'w').write('python3'); print(); input()")
    assert program.stdout is not None
    program.stdout.readline()
    memory = ProcessMemory(PidSource([program.pid]), Counting(), group_by=group_by)
    snapshot = _monitor(Context(memory, [StopAfter(1)], clock=VirtualClock()))
    assert snapshot.targets[0].labels.get("group") == group


@pytest.mark.parametrize("by_pages", [True, False])
def test_regions_are_what_the_backend_needs(
    sleeper: "subprocess.Popen[str]", by_pages: bool
) -> None:
    """Either one region for each mapping, or about min_regions regions in three ranges."""
    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), Counting(by_pages)),
        [StopAfter(1)],
        clock=VirtualClock(),
    )
    snapshot = _monitor(context)
    if by_pages:
        assert 3 <= len(snapshot) <= 14
    else:
        assert len(snapshot) > 14


class LargestHalf(Counting):
    """A backend that reports the lower half of the largest of the three ranges as accessed.

    Attributes:
        hot: That half, once the target is added.
        pages: The addresses of the samples at each `prepare` and each `check`, in turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hot = (0, 0)
        self.pages: list[list[int]] = []

    def add(self, target: ProcessTarget) -> None:
        super().add(target)
        mappings = parse_maps(target.process.maps())
        low, high = max(three_ranges(mappings), key=lambda space: space.end - space.start)
        self.hot = low, low + (high - low) // 2

    def prepare(
        self, targets: Sequence[ProcessTarget], _context: HookContext
    ) -> Collection[ProcessTarget]:
        self._note(targets)
        return ()

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext
    ) -> Collection[ProcessTarget]:
        self._note(targets)
        for target in targets:
            assert target.samples is not None
            addresses = target.samples.addresses
            assert (target.regions.holding(addresses) >= 0).all()
            target.samples.accessed[:] = (addresses >= self.hot[0]) & (addresses < self.hot[1])
        return ()

    def _note(self, targets: Sequence[ProcessTarget]) -> None:
        self.pages += [target.samples.addresses.tolist() for target in targets if target.samples]


def test_regions_of_ranges_adapt_to_the_accesses(
    sleeper: "subprocess.Popen[str]",
) -> None:
    """The context's policy chooses the pages and adapts the regions."""
    backend = LargestHalf()
    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), backend),
        [StopAfter(40)],
        clock=VirtualClock(),
        policy=KernelPolicy(KernelPolicyOptions(seed=1)),
        cpu_budget=None,
    )
    snapshot = _monitor(context)
    assert backend.pages[::2] == backend.pages[1::2]
    hot = backend.hot[1] - backend.hot[0]
    seen = snapshot.targets[0]
    assert seen.size_bytes[seen.nr_accesses >= 10].sum() == pytest.approx(hot, rel=0.1)


def test_a_target_that_is_added_after_prepare_is_not_checked_yet(
    sleeper: "subprocess.Popen[str]",
) -> None:
    """The replacement of a lost target has no samples before the next `prepare`."""
    backend = Counting()
    prepare = backend.prepare
    with_samples: list[int] = []
    check = backend.check

    def lose_once(
        targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        prepare(targets, context)
        return targets if len(backend.added) == 1 else ()

    def note(targets: Sequence[ProcessTarget], context: HookContext) -> Collection[ProcessTarget]:
        with_samples.append(sum(target.samples is not None for target in targets))
        return check(targets, context)

    backend.prepare, backend.check = lose_once, note  # type: ignore[method-assign]
    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), backend),
        [StopAfter(1)],
        clock=VirtualClock(),
        policy=KernelPolicy(KernelPolicyOptions(seed=1)),
    )
    snapshot = _monitor(context)
    assert with_samples[:2] == [0, 1]
    # 19 of 20 checks were of the new target, and all of them saw an access.
    assert set(snapshot.frequency.tolist()) == {1.0}


def test_more_mappings_than_regions_are_joined(start_program: StartProgram) -> None:
    """max_regions limits the sum over all processes, and no resident bytes are lost."""
    many = (
        "import mmap, time\n"
        "areas = [mmap.mmap(-1, 8192) for _ in range(600)]\n"
        "for area in areas[::2]: area.madvise(mmap.MADV_NOHUGEPAGE)\n"
        "for area in areas: area[0] = area[4096] = 1\n"
        "print('ready'); time.sleep(600)\n"
    )
    programs = [start_program(many) for _ in range(2)]
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()

    def with_limit(max_regions: int) -> Snapshot:
        return _monitor(
            Context(
                ProcessMemory(PidSource([p.pid for p in programs]), Referenced()),
                [StopAfter(1)],
                cpu_budget=None,
                limits=RegionLimits(10, max_regions),
                intervals=_SHORT,
            )
        )

    fine, coarse = with_limit(5_000), with_limit(50)
    assert len(fine) > 1_000
    assert len(coarse) <= 50
    assert len(coarse.targets) == 2
    assert coarse.total_bytes == pytest.approx(fine.total_bytes, rel=0.02)


def test_the_plugin_is_found_by_its_name(sleeper: "subprocess.Popen[str]") -> None:
    """`use = "vaddr"` with a pid makes a primitive with a working backend."""
    plugins = Plugins({"vaddr": plugin})
    primitive = plugins.make_primitive("vaddr", {"pid": sleeper.pid})
    snapshot = _monitor(Context(primitive, [StopAfter(1)], intervals=_SHORT))
    assert snapshot.total_bytes > 0


def test_a_snapshot_has_the_names_of_mappings(sleeper: "subprocess.Popen[str]") -> None:
    """They are the areas of its targets."""
    primitive = Plugins({"vaddr": plugin}).make_primitive("vaddr", {"pid": sleeper.pid})
    snapshot = _monitor(Context(primitive, [StopAfter(1)], intervals=_SHORT))
    assert {"[heap]", "[stack]"} <= {area.name for area in snapshot.targets[0].areas}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of pid, pids, command and match"),
        ({"pid": 1, "command": ["true"]}, "exactly one of pid, pids, command and match"),
        ({"pid": 0}, "pid: found 0, must be from 1 to 2147483647"),
        ({"pids": [-3]}, r"pids\[0\]: found -3, must be from 1 to 2147483647"),
    ],
)
def test_wrong_options_are_explained(options: Mapping[str, object], message: str) -> None:
    """The error says what is allowed."""
    with pytest.raises(ConfigError, match=message):
        Plugins({"vaddr": plugin}).make_primitive("vaddr", options)


def _backend(name: str, works: bool) -> Backend:
    return Backend(
        name,
        lambda options: Counting(),
        serves=("vaddr",),
        probe=lambda: (Finding("the kernel option", works, "CONFIG_SOMETHING"),),
    )


def test_the_first_backend_that_works_is_chosen(sleeper: "subprocess.Popen[str]") -> None:
    """The automatic choice skips backends that don't work on this machine."""
    backends = {"best": _backend("best", False), "good": _backend("good", True)}
    primitive = make_vaddr(VaddrOptions(pid=sleeper.pid), backends)
    snapshot = _monitor(Context(primitive, [StopAfter(1)], clock=VirtualClock()))
    assert len(snapshot.targets) == 1


def test_a_named_process_that_ended_is_an_error_of_the_context(
    sleeper: "subprocess.Popen[str]",
) -> None:
    """A process that ends before the start makes `init` fail."""
    context = Context(ProcessMemory(PidSource([sleeper.pid]), Referenced()))
    sleeper.kill()
    sleeper.wait()
    start(context)
    assert context.wait(30)
    assert isinstance(context.error, TargetError)


_SHARER = """
import mmap, sys
size = 8 << 20
with open(sys.argv[1], "r+b") as file:
    shared = mmap.mmap(file.fileno(), size)
shared[::4096] = bytes(size // 4096)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared_totals(start_program: StartProgram, tmp_path: Path) -> Callable[[bool], SharedTotals]:
    """Return a function that monitors two processes that share 8 MiB, of which the first ends.

    It returns the bytes of each target, by aggregation; the first process ends after the first.
    """
    file = tmp_path / "shared"
    file.write_bytes(bytes(8 << 20))
    programs = [start_program(_SHARER, str(file)) for _ in range(2)]
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()

    def monitor(sees_all_users: bool) -> SharedTotals:
        backend = Counting()
        backend.sees_all_users = sees_all_users
        totals: SharedTotals = []

        class Note:
            @hookimpl
            def after_aggregation(self, context: Context) -> bool:
                assert context.snapshot is not None
                totals.append([target.total_bytes for target in context.snapshot.targets])
                if len(totals) == 1:
                    programs[0].kill()
                    programs[0].wait()
                return len(totals) == 4

        source = PidSource([program.pid for program in programs])
        _monitor(
            Context(
                ProcessMemory(source, backend),
                [Note()],
                intervals=_SHORT,
                clock=VirtualClock(),
                cpu_budget=None,
            )
        )
        return totals

    return monitor


def test_shared_memory_counts_in_the_first_process_if_the_backend_sees_all_users(
    shared_totals: Callable[[bool], SharedTotals],
) -> None:
    """When that ends, in the next one."""
    totals, shared = shared_totals(True), 8 << 20
    assert totals[0][0] > shared > totals[0][1]
    assert len(totals[-1]) == 1
    assert totals[-1][0] > shared


@pytest.mark.needs("root")
def test_shared_memory_is_divided_if_the_backend_sees_one_user(
    shared_totals: Callable[[bool], SharedTotals],
) -> None:
    """A process that is left alone has all of it."""
    totals, shared = shared_totals(False), 8 << 20
    assert len(totals[-1]) == 1
    assert totals[-1][0] - totals[0][1] > 0.4 * shared


def test_only_memory_counts(sleeper: "subprocess.Popen[str]") -> None:
    """Regions of ranges also cover gaps, and mappings that are not in memory."""
    context = Context(
        ProcessMemory(PidSource([sleeper.pid]), Counting()),
        [StopAfter(1)],
        clock=VirtualClock(),
        cpu_budget=None,
    )
    snapshot = _monitor(context)
    in_memory = psutil.Process(sleeper.pid).memory_info().rss
    assert snapshot.total_bytes == pytest.approx(in_memory, rel=0.02)
    assert snapshot.targets[0].size_bytes.sum() > 2 * in_memory
