"""What is foretold of processes, from made-up numbers and of real ones, which aren't touched."""

import re
import subprocess
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest
from damon_vaddr import (
    PidSource,
    Process,
    ProcessForecast,
    ProcessTable,
    VaddrOptions,
    forecast,
    forecast_processes,
)
from damon_vaddr.calibration import WalkCosts
from damon_vaddr.page_sample import PageSample, sample_pages
from damon_vaddr.plugin import forecast_vaddr

from damon_core import PAGE_SIZE_BYTES, Costs, Range, TargetError

Start = Callable[..., "subprocess.Popen[str]"]

#: Touches 16 MiB in small pages, then sleeps.
_TOUCHED = """
import mmap, time
area = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * (len(area) // 4096)
print("ready")
time.sleep(600)
"""


def process(pages: int, mappings: int = 1, largest_pages: int | None = None) -> ProcessForecast:
    """Return a process with memory."""
    largest = pages if largest_pages is None else largest_pages
    return ProcessForecast(
        "p[1]", 1, pages * PAGE_SIZE_BYTES, mappings, largest * PAGE_SIZE_BYTES, 50
    )


class Crowd:
    """A source of real processes that adds one at a time."""

    def __init__(self, *pids: int) -> None:
        self._left, self._table = list(pids), ProcessTable()

    @property
    def has_more(self) -> bool:
        return bool(self._left)

    def start(self) -> None: ...

    def processes(self) -> Collection[Process]:
        self._table.add(self._left.pop(0))
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        return ()

    def finished(self) -> bool:
        return False

    def close(self) -> None:
        self._table.close()


def test_all_of_many_processes_count(start_program: Start) -> None:
    """Though a source adds some at a time, while it is monitored."""
    pids = [start_program(_TOUCHED).pid for _ in range(3)]
    assert [each.pid for each in forecast_processes(Crowd(*pids))] == pids


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[ProcessForecast]], Costs]:
    """Return the forecast where a page takes 0.1 us, a mapping 5, and a cleared bit 0.5."""
    monkeypatch.setattr(forecast, "walk_costs", lambda: WalkCosts(0.1, 5.0))
    monkeypatch.setattr(forecast, "reset_us", lambda: 0.5)
    monkeypatch.setattr(forecast, "sample_pages", lambda _pid: PageSample())
    return forecast.forecast_referenced


def test_walks_take_time_in_proportion_to_memory(
    costs: Callable[[Sequence[ProcessForecast]], Costs],
) -> None:
    """100 000 pages are 10 ms; an aggregation has a clear and two looks, in two checks."""
    found = costs([process(100_000)])
    assert found.facts == {"clear_us": 10_000, "look_us": 10_005}
    assert found.check_us == 15_005
    assert (found.toll.cpu_us, found.toll.held_us, found.toll.longest_us) == (
        50_000,
        30_000,
        10_000,
    )


def test_mappings_take_time_to_read(costs: Callable[[Sequence[ProcessForecast]], Costs]) -> None:
    """60 000 mappings are 300 ms of text, which doesn't lock the map at once."""
    found = costs([process(1_000, 60_000, largest_pages=10)])
    assert found.facts == {"clear_us": 100, "look_us": 300_100}
    assert found.toll.longest_us == 100


def test_a_look_locks_the_map_for_a_mapping_at_once(
    costs: Callable[[Sequence[ProcessForecast]], Costs],
) -> None:
    """Half of the memory in one mapping: a look holds it for half of its time."""
    found = costs([process(100_000, 2, largest_pages=50_000)])
    assert (found.toll.held_us, found.toll.longest_us) == (20_000, 10_000)


def test_the_largest_process_loses_most(
    costs: Callable[[Sequence[ProcessForecast]], Costs],
) -> None:
    """The monitor's time is that for all processes; what is lost, that of the largest."""
    found = costs([process(100_000), process(20_000), process(10_000)])
    assert found.facts["clear_us"] == 13_000
    assert found.toll.cpu_us == 50_000
    assert (found.begin_us, found.update_us) == (150, 150)


def test_the_pages_of_the_process_itself_count(
    costs: Callable[[Sequence[ProcessForecast]], Costs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a sample of them can be read, that is what a page takes."""
    monkeypatch.setattr(forecast, "sample_pages", lambda _pid: PageSample(0.02))
    assert costs([process(100_000)]).facts["clear_us"] == 2_000


def test_a_huge_page_counts_as_one(
    costs: Callable[[Sequence[ProcessForecast]], Costs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 102 400 pages, three quarters in huge pages: 25 600 are left, and 150."""
    monkeypatch.setattr(forecast, "sample_pages", lambda _pid: PageSample(None, 0.75))
    assert costs([process(102_400)]).toll.cpu_us == round((25_600 + 150) * 0.5)


@pytest.mark.parametrize(("advice", "share"), [("MADV_HUGEPAGE", 1.0), ("MADV_NOHUGEPAGE", 0.0)])
def test_huge_pages_are_found(advice: str, share: float, start_program: Start) -> None:
    """Nearly all of a program's memory is in them, or nothing is."""
    program = start_program(_TOUCHED.replace("MADV_NOHUGEPAGE", advice).replace("16 <<", "128 <<"))
    assert program.stdout is not None
    program.stdout.readline()
    smaps = Path(f"/proc/{program.pid}/smaps").read_text()
    if share and not re.search(r"HugePages: +[1-9]", smaps):
        pytest.skip("there are no huge pages here")
    assert sample_pages(program.pid).huge_share == pytest.approx(share, abs=0.15)


def test_a_real_process(start_program: Start) -> None:
    """Its memory, mappings and threads are those that /proc shows."""
    program = start_program(_TOUCHED)
    assert program.stdout is not None
    program.stdout.readline()
    (found,) = forecast_vaddr(VaddrOptions(pid=program.pid))
    maps = Path(f"/proc/{program.pid}/maps").read_text()
    assert found.name.endswith(f"[{program.pid}]")
    assert found.facts["mappings"] == len(maps.splitlines())
    assert found.facts["threads"] == 1
    assert 16 << 20 <= found.facts["resident_bytes"] <= 64 << 20
    costs = forecast.forecast_referenced([found])
    assert costs.check_us is not None
    assert costs.check_us > 0
    assert costs.toll.longest_us > 0


def test_nothing_is_touched(start_program: Start) -> None:
    """A process that sleeps still has all of its accessed bits after the forecast."""
    program = start_program(_TOUCHED)
    assert program.stdout is not None
    program.stdout.readline()
    assert _referenced_bytes(program.pid) >= 16 << 20
    forecast.forecast_referenced(forecast_processes(PidSource([program.pid])))
    assert _referenced_bytes(program.pid) >= 16 << 20


def _referenced_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Referenced:"))


def test_pages_of_a_real_process_are_timed(start_program: Start) -> None:
    """16 MiB are enough for a sample; a process that is gone has none."""
    program = start_program(_TOUCHED)
    assert program.stdout is not None
    program.stdout.readline()
    page_us = sample_pages(program.pid).page_us
    assert page_us is not None
    assert page_us > 0
    program.kill()
    program.wait()
    assert sample_pages(program.pid) == PageSample()


def test_nothing_is_foretold_of_a_program_that_is_to_be_started() -> None:
    """It has no memory yet."""
    with pytest.raises(TargetError, match="nothing is foretold of a program before it runs"):
        forecast_vaddr(VaddrOptions(command=("sleep", "1")))


@pytest.mark.parametrize(
    ("pid", "reason"),
    [
        (2, "it has no user memory: it is a kernel thread"),
        ((1 << 22) + 1, "there is no such process"),
    ],
)
def test_processes_that_cannot_be_foretold(pid: int, reason: str) -> None:
    """They are reported as for monitoring."""
    with pytest.raises(TargetError, match=reason):
        forecast_vaddr(VaddrOptions(pid=pid))


@pytest.mark.parametrize(
    ("count", "text"), [(1, " is left out: "), (3, " and 2 more processes are left out: ")]
)
def test_what_may_not_be_read_is_a_line_a_reason(
    sleeper: "subprocess.Popen[str]",
    count: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A rule may find thousands."""

    class Refusing(Process):
        def maps(self) -> bytes:
            raise PermissionError

    class Source:
        def start(self) -> None: ...

        def close(self) -> None: ...

        def processes(self) -> list[Process]:
            return [Refusing(sleeper.pid, 0)] * count

    monkeypatch.setattr("damon_vaddr.forecast.why_unreadable", lambda _: "run as root")
    assert forecast_processes(Source()) == []  # type: ignore[arg-type]
    name = Process(sleeper.pid, 0).label()
    assert caplog.messages == [f"{name}{text}run as root"]


#: Touches the first half of 256 MiB, and prints where they are.
_HALF = """
import ctypes, mmap, time
area = mmap.mmap(-1, 256 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[: 128 << 20 : 4096] = b"x" * (32 << 10)
print(ctypes.addressof(ctypes.c_char.from_buffer(area)))
time.sleep(600)
"""


@pytest.mark.parametrize(("first", "size", "found_there"), [(0, 4, 4), (126, 4, 2), (0, 256, 128)])
def test_only_ranges_count_of_the_memory(
    start_program: Start, first: int, size: int, found_there: int
) -> None:
    """What is in memory in them, to the page; of much a sample is looked at."""
    program = start_program(_HALF)
    assert program.stdout is not None
    start = int(program.stdout.readline())
    ranges = [Range(start + (first << 20), start + (first + size << 20))]
    (found,) = forecast_processes(Crowd(program.pid), ranges)
    assert found.resident_bytes > 128 << 20
    assert found.monitored_bytes == found.facts["in_ranges_bytes"]
    margin = 0.3 if size > 128 else 0
    assert found.monitored_bytes == pytest.approx(found_there << 20, rel=margin)


def test_a_process_without_memory_in_the_ranges_is_left_out(start_program: Start) -> None:
    """There is nothing to monitor of it."""
    program = start_program(_TOUCHED)
    assert forecast_processes(Crowd(program.pid), [Range(4096, 8192)]) == []
