"""The primitive `kdamond` in a context, on virtual time: what it takes of a kdamond, and when."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attrs import field, frozen
from damon_sysfs.events import EventFormat, Events
from damon_sysfs.observing import RunningKdamonds
from damon_sysfs.running import Kernel, RunningKdamond
from damon_sysfs.trace import Instance
from damon_sysfs.tree import Tree

from damon_core import Context, HookContext, Reported, Snapshot, hookimpl
from damon_core.testing import KernelFiles, run
from tests.cpu_clock import CpuClock

FORM = EventFormat.parse(Path(__file__).with_name("data").joinpath("format").read_text())
SECOND = 1_000_000
#: How often DAMON_STAT has results here, and what it costs to read them.
EVERY_US, REGIONS, REGION_US, LOOK_US = SECOND // 10, 100, 100, 50
PID = 81


class VirtualTrace(Instance):
    """What a kdamond writes to a trace instance in virtual time.

    Attributes:
        written: How many aggregations were written, as results were taken when they ended.
        pauses: How often it was asked to take none.
    """

    lost = 0

    def __init__(self, clock: CpuClock) -> None:
        self.lose = 0  # aggregations that are to lack a region
        self.written = self.pauses = 0
        self._clock = clock
        self._left: list[Events] = []
        self._until_us = clock.now_us()
        self._takes = False

    def hold(self, regions: int) -> None: ...

    def listen(self, kdamonds: object, *, tuning: bool = False) -> None:
        self.resume()

    def pause(self) -> None:
        self._go_on()
        self._takes = False
        self.pauses += 1

    def resume(self) -> None:
        self._go_on()
        self._takes = True

    def read(self, timeout: float, tuned_since_ns: int = 0) -> tuple[Events, dict[int, int]]:
        self._go_on()
        found, self._left = self._left, []
        self._clock.work(LOOK_US + REGION_US * REGIONS * len(found))
        return Events.joined(found or [Events.none(FORM)]), {}

    def close(self) -> None: ...

    def _go_on(self) -> None:
        """Write the aggregations that have ended."""
        now_us = self._clock.now_us()
        for end in range(self._until_us // EVERY_US + 1, now_us // EVERY_US + 1):
            if self._takes:
                self.written += 1
                rows = np.zeros(REGIONS, FORM.row)
                rows["common_pid"], rows["nr_regions"] = PID, REGIONS
                rows["start"] = np.arange(REGIONS) << 20
                rows["end"] = rows["start"] + (1 << 20)
                rows["age"] = end
                self.lose, lost = max(self.lose - 1, 0), min(self.lose, 1)
                time_ns = np.full(REGIONS - lost, end * EVERY_US * 1_000)
                self._left.append(Events(time_ns, rows[lost:]))
        self._until_us = now_us


class Keep:
    """A callback that keeps snapshots, and stops at a time."""

    def __init__(self, until_us: int) -> None:
        self.snapshots: list[Snapshot] = []
        self.then: Callable[[Snapshot], object] = lambda _: None
        self._until_us = until_us

    @hookimpl
    def after_aggregation(self, context: HookContext) -> bool:
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)
        self.then(context.snapshot)
        return context.clock.now_us() >= self._until_us


@frozen
class BusyKernel(Kernel):
    """A kernel of which a machine notes when somebody looks for kdamonds."""

    machine: "Machine" = field(kw_only=True)

    def running(self) -> list[RunningKdamond]:
        self.machine.search()
        return super().running()


class Machine:
    """A machine with DAMON_STAT, and a context that watches it.

    Args:
        root: A folder for its files.
        seconds: How long to watch.
    """

    def __init__(self, root: Path, seconds: int) -> None:
        self.files = KernelFiles(root)
        self.files.write("sys/admin/kdamonds/nr_kdamonds", "0\n")
        self.files.write("tracing/events/damon/damon_aggregated/format", "")
        self.files.write("tracing/instances/others", "")
        self.start(PID)
        self.clock = CpuClock()
        self.trace = VirtualTrace(self.clock)
        self.keep = Keep(seconds * SECOND)
        self.searched_us: list[int] = []  # when somebody looked for kdamonds
        self.search_us = 0  # what that costs
        self.start_at_search = 0  # when to switch it on

    def search(self) -> None:
        """Let somebody look for kdamonds."""
        self.searched_us.append(self.clock.now_us())
        self.clock.work(self.search_us)
        if len(self.searched_us) == self.start_at_search:
            self.start(PID)

    def start(self, pid: int, **numbers: str) -> None:
        """Switch DAMON_STAT on."""
        self.files.process(pid, "kdamond.0", of_kernel=True, start_ticks=pid)
        parameters = {"enabled": "Y", "kdamond_pid": str(pid), "aggr_interval_us": str(EVERY_US)}
        self.files.write_all("sys/module/damon_stat/parameters", {**parameters, **numbers})

    def stop(self) -> None:
        """Switch it off."""
        shutil.rmtree(self.files.proc / str(PID))
        self.files.write("sys/module/damon_stat/parameters/enabled", "N")

    def watch(self, cpu_budget: float | None, *, waits: bool = False) -> Context:
        """Watch it until the time is over."""
        folders = Tree(self.files.sys / "admin"), self.files.proc, self.files.sys / "module"
        kdamonds = RunningKdamonds(
            waits=waits,
            kernel=BusyKernel(*folders, machine=self),
            tracing=(self.files.root / "tracing",),
            instance=lambda _mount, _name: self.trace,
            now_ns=lambda: self.clock.now_us() * 1_000,
        )
        context = Context(kdamonds, [self.keep], clock=self.clock, cpu_budget=cpu_budget)
        run(context)
        return context


def test_all_results_are_taken_where_the_budget_allows_it(tmp_path: Path) -> None:
    """Each aggregation of the kdamond is one of the context."""
    machine = Machine(tmp_path, seconds=20)
    machine.watch(None)
    assert machine.trace.pauses == 0
    assert len(machine.keep.snapshots) == machine.trace.written == 200


def test_nothing_is_taken_between_aggregations_that_are_far_apart(tmp_path: Path) -> None:
    """The budget lengthens them; the kernel writes nothing but what is shown, and one before."""
    machine = Machine(tmp_path, seconds=240)
    machine.watch(0.005)
    shown = len(machine.keep.snapshots)
    assert machine.keep.snapshots[-1].intervals.aggregation_us > 10 * EVERY_US
    assert machine.trace.pauses >= shown - 3  # the first have the kdamond's own intervals
    assert machine.trace.written <= 2 * shown + 3


@pytest.mark.parametrize("cpu_budget", [0.005, 0.02])
def test_the_cpu_budget_holds(tmp_path: Path, cpu_budget: float) -> None:
    """Over minutes, though reading all results would take a tenth of a processor."""
    machine = Machine(tmp_path, seconds=240)
    context = machine.watch(cpu_budget)
    assert 0.5 * cpu_budget < context.stats.cpu_us / machine.clock.now_us() <= cpu_budget


@pytest.mark.parametrize("cpu_budget", [None, 0.005, 0.05])
def test_no_check_is_missed_where_the_budget_leaves_aggregations_out(
    tmp_path: Path, cpu_budget: float | None
) -> None:
    """The kdamond has made them, and nobody has asked for them."""
    machine = Machine(tmp_path, seconds=60)
    assert machine.watch(cpu_budget).stats.missed_samples == 0


def test_intervals_are_stretched_to_whole_aggregations(tmp_path: Path) -> None:
    """So a record doesn't look as if checks had been missed: what passed is what was in force."""
    machine = Machine(tmp_path, seconds=60)
    machine.watch(0.05)
    last = machine.keep.snapshots[-1]
    assert last.elapsed_us == last.intervals.aggregation_us > EVERY_US


def test_checks_of_lost_aggregations_are_missed(tmp_path: Path) -> None:
    """As some of their regions are."""
    machine = Machine(tmp_path, seconds=5)
    machine.trace.lose = 3
    context = machine.watch(None)
    assert context.stats.missed_samples == 3 * context.intervals.checks


def test_searches_are_rarer_where_they_cost_much(tmp_path: Path) -> None:
    """As on a machine with thousands of threads of the kernel: 0.2 % of a processor."""
    machine = Machine(tmp_path, seconds=90)
    machine.search_us = 40_000
    machine.watch(0.05)
    # The first two are those of the beginning.
    assert np.diff(machine.searched_us[1:]).min() >= 20 * SECOND


def test_one_that_is_waited_for_is_found_within_half_a_minute(tmp_path: Path) -> None:
    """However much searches cost."""
    machine = Machine(tmp_path, seconds=1)
    machine.search_us = SECOND
    machine.stop()
    machine.start_at_search = 8
    machine.watch(None, waits=True)
    assert np.diff(machine.searched_us).max() < 32 * SECOND


def test_ages_and_idle_times_are_right_after_a_pause(tmp_path: Path) -> None:
    """Nothing is accessed here: memory has been idle for as long as the kdamond has run."""
    machine = Machine(tmp_path, seconds=240)
    machine.watch(0.005)
    last = machine.keep.snapshots[-1]
    assert last.idle_us.min() == pytest.approx(machine.clock.now_us(), abs=2 * EVERY_US)
    age_us = last.age * last.intervals.aggregation_us
    assert age_us.min() == pytest.approx(machine.clock.now_us(), abs=last.intervals.aggregation_us)


def test_what_damon_stat_says_is_in_snapshots(tmp_path: Path) -> None:
    """From when it says something on, which is some seconds after it was switched on."""
    machine = Machine(tmp_path, seconds=2)
    numbers = {
        "estimated_memory_bandwidth": "4096\n",
        "memory_idle_ms_percentiles": ",".join(["-7", *["20"] * 100]) + "\n",
    }

    def say(snapshot: Snapshot) -> None:
        if snapshot.number == 5:
            machine.start(PID, **numbers)

    machine.keep.then = say
    machine.watch(None)
    reported = [each.targets[0].reported for each in machine.keep.snapshots]
    assert reported[4] == Reported()
    assert reported[5] == Reported((-7_000, *[20_000] * 100), 4_096)


def test_one_that_is_started_again_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it found last isn't shown any more meanwhile; a warning says what is waited for."""
    machine = Machine(tmp_path, seconds=20)

    def switch(snapshot: Snapshot) -> None:
        if snapshot.number == 100:
            machine.stop()
        elif not snapshot.targets:
            assert caplog.messages[-1].endswith("waits for any kdamond, which isn't running")
            machine.start(PID)

    machine.keep.then = switch
    machine.watch(None, waits=True)
    targets = [len(each.targets) for each in machine.keep.snapshots]
    assert targets.count(0) == 1
    assert targets[-1] == 1
    assert len(targets) > 150
