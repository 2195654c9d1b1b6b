"""Flushing TLBs: the range of the advice, when it is given, and when it ends."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from attrs import frozen
from damon_idle import FlushStats
from damon_idle.flushing import FlushedProcess, Flusher
from damon_idle.frames import Frames
from damon_idle.hot import HotPages
from damon_idle.pagemap import Pagemap
from damon_vaddr import LayoutInput, Process, ProcessTarget

from damon_core import Range
from tests.workers import Worker

PAGE = 4096
HUGE = 2 << 20
NOTHING = np.zeros(0, dtype=np.int64)


@frozen
class Opened:
    """A process with its open files."""

    target: ProcessTarget
    pages: Pagemap
    flags: Frames

    def choose(self, hot: HotPages, marked: "list[int] | None" = None) -> Range | None:
        """Return the range that is chosen for the advice."""
        addresses = np.array(marked or [], dtype=np.int64)
        return hot.choose(self.target, self.pages, self.flags, addresses)


@pytest.fixture
def opened() -> Iterator[Callable[[Worker], Opened]]:
    """Return a function that opens the files of a process; all are closed after the test."""
    all_opened: list[Opened] = []

    def open_process(worker: Worker) -> Opened:
        process = Process.open(worker.pid)
        maps = process.maps()
        target = ProcessTarget("target", process=process, layout_input=LayoutInput(maps))
        all_opened.append(Opened(target, Pagemap(process), Frames()))
        return all_opened[-1]

    yield open_process
    for memory in all_opened:
        memory.target.process.close()
        memory.pages.close()
        memory.flags.close()


def found(*addresses: int, compound: bool = False) -> HotPages:
    """Return hot pages, all found in one check."""
    hot = HotPages()
    hot.add(np.array(addresses), np.full(len(addresses), compound))
    return hot


needs_root = pytest.mark.needs("root")


@needs_root
def test_the_smallest_range_between_two_hot_pages_is_chosen(
    process: Worker, opened: Callable[[Worker], Opened]
) -> None:
    """There are more than 33 pages between them, and neighbours on both sides are included."""
    at = process.area(1024)
    hot = found(*(at + number * PAGE for number in (100, 110, 400, 450, 485, 900)))
    assert opened(process).choose(hot) == Range(at + 434 * PAGE, at + 502 * PAGE)


@needs_root
def test_pages_that_have_just_been_marked_are_not_used(
    process: Worker, opened: Callable[[Worker], Opened]
) -> None:
    """Their accessed bits are clear, so the advice would flush nothing."""
    at = process.area(1024)
    hot = found(*(at + number * PAGE for number in (100, 140, 400, 500)))
    chosen = opened(process).choose(hot, [at + 100 * PAGE])
    assert chosen == Range(at + 384 * PAGE, at + 517 * PAGE)


@needs_root
def test_without_hot_pages_the_neighbourhood_of_a_page_is_chosen(
    process: Worker, opened: Callable[[Worker], Opened]
) -> None:
    """All accesses may have been missed because of the TLB."""
    at = process.area(1024)
    page = at + 500 * PAGE
    chosen = opened(process).choose(HotPages(), [page])
    assert chosen is not None
    assert chosen.start < page < chosen.end
    assert 34 < (chosen.end - chosen.start) // PAGE < 100


@needs_root
def test_no_advice_for_memory_that_may_be_shared(
    process: Worker, opened: Callable[[Worker], Opened], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Files and shared memory are never chosen."""
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(bytes(1024 * PAGE))
    at = process.ask(f"area = mapped({str(path)!r}, 1024); area[::4096]; answer = address(area)")
    pages = [at, at + 100 * PAGE]
    assert opened(process).choose(found(*pages), pages) is None


@needs_root
def test_no_advice_for_a_part_of_a_huge_page(
    process: Worker, opened: Callable[[Worker], Opened]
) -> None:
    """It would be split. Whole huge pages are chosen only if they are enough to flush the TLB."""
    at = process.ask("area, answer = huge(4)")
    memory = opened(process)
    assert memory.choose(found(at, at + 100 * PAGE)) is None
    assert memory.choose(found(at, at + 3 * HUGE, compound=True), [at]) is None


@needs_root
def test_many_whole_huge_pages_are_advised_together(
    process: Worker, opened: Callable[[Worker], Opened]
) -> None:
    """The range is from the first hot one to the last."""
    at = process.ask("area, answer = huge(40)")
    hot = found(at, at + 9 * HUGE + 7 * PAGE, at + 39 * HUGE, compound=True)
    assert opened(process).choose(hot) == Range(at, at + 40 * HUGE)


@needs_root
def test_another_range_is_chosen_when_frames_have_changed(
    process: Worker, opened: Callable[[Worker], Opened]
) -> None:
    """The new frames may be parts of huge pages."""
    at = process.area(1024)
    hot = found(at, at + 100 * PAGE)
    memory = opened(process)
    first = memory.choose(hot)
    hot.add(np.array([at + 500 * PAGE, at + 540 * PAGE]), np.zeros(2, dtype=bool))
    assert memory.choose(hot) == first
    process.do("area.madvise(4); filler = anonymous(1024); area[::4096] = bytes(1024)")
    assert memory.choose(hot) == Range(at + 484 * PAGE, at + 557 * PAGE)


@needs_root
def test_memory_that_the_kernel_refuses_is_not_chosen_again(
    process: Worker, opened: Callable[[Worker], Opened], caplog: pytest.LogCaptureFixture
) -> None:
    """Here because it is locked; there is no warning, as other memory will do."""
    at = process.ask(
        "area = anonymous(64, fill=False); ctypes.CDLL(None).mlock(ctypes.c_void_p(address(area)),"
        " ctypes.c_size_t(64 * 4096)); area[::4096] = bytes(64); answer = address(area)"
    )
    memory = opened(process)
    flusher, flushed = Flusher(), FlushedProcess()
    flushed.hot.add(np.array([at, at + 50 * PAGE]), np.zeros(2, dtype=bool))
    flusher.flush(memory.target, flushed, memory.pages, memory.flags, NOTHING)
    assert flushed.flushed is None
    assert flusher.stats.flushes == 0
    assert memory.choose(flushed.hot) is None
    assert not caplog.records


@needs_root
def test_a_flush_is_counted(process: Worker, opened: Callable[[Worker], Opened]) -> None:
    """With its CPU time, and the results of the check."""
    at = process.area(1024)
    memory = opened(process)
    flusher, flushed = Flusher(), FlushedProcess()
    flushed.hot.add(np.array([at, at + 50 * PAGE]), np.zeros(2, dtype=bool))
    flusher.flush(memory.target, flushed, memory.pages, memory.flags, NOTHING)
    flusher.add(flushed, 10, 4)
    stats = flusher.stats
    assert (stats.flushes, stats.checked_with, stats.accessed_with) == (1, 10, 4)
    assert stats.cpu_us > 0
    assert "40.0% of 10 pages with a flush" in str(stats)


def flushes_of(process: FlushedProcess, with_flush: int, without: int, checks: int) -> int:
    """Return the number of flushes in checks of 10 pages.

    Args:
        process: The process.
        with_flush: Pages found accessed after a flush.
        without: Pages found accessed without one.
        checks: The number of checks.
    """
    flushes = 0
    for _ in range(checks):
        process.flushed = process.due()
        flushes += process.flushed
        process.add(10, with_flush if process.flushed else without)
    return flushes


def test_nearly_all_checks_flush_if_that_helps() -> None:
    """One in sixteen doesn't, for comparison."""
    assert flushes_of(FlushedProcess(), 9, 1, 1600) == 1500


def test_few_checks_flush_if_that_does_not_help() -> None:
    """After the comparison only one in sixteen does, as a trial."""
    process = FlushedProcess()
    flushes_of(process, 4, 4, 160)
    assert flushes_of(process, 4, 4, 1600) == 100


def test_flushes_resume_when_they_begin_to_help() -> None:
    """As when a process is no longer interrupted."""
    process = FlushedProcess()
    flushes_of(process, 4, 4, 1600)
    flushes_of(process, 9, 1, 3200)
    assert flushes_of(process, 9, 1, 160) == 150


_WITHOUT_NICE = """
import ctypes, logging, struct, sys
import numpy as np
from damon_idle.flushing import FlushedProcess, Flusher
from damon_idle.frames import Frames
from damon_idle.pagemap import Pagemap
from damon_vaddr import LayoutInput, Process, ProcessTarget

logging.basicConfig(stream=sys.stdout, format="%(message)s")
pid, at = map(int, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
header, data = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0)), bytearray(24)
sets = (ctypes.c_char * 24).from_buffer(data)
assert libc.capget(header, sets) == 0
words = list(struct.unpack("6I", data))
words[0] &= ~(1 << 23)  # CAP_SYS_NICE
assert libc.capset(header, struct.pack("6I", *words)) == 0
process = Process.open(pid)
target = ProcessTarget("target", process=process, layout_input=LayoutInput(process.maps()))
flusher, flushed, pages, flags = Flusher(), FlushedProcess(), Pagemap(process), Frames()
flushed.hot.add(np.array([at, at + 50 * 4096]), np.zeros(2, dtype=bool))
for _ in range(3):
    flusher.flush(target, flushed, pages, flags, np.zeros(0, dtype=np.int64))
print(flusher.stats.flushes)
"""


@needs_root
def test_without_the_privilege_there_is_one_warning(process: Worker) -> None:
    """Then flushing is switched off."""
    at = process.area(1024)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NICE, str(process.pid), str(at)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    warning, flushes = done.stdout.splitlines()
    assert "CAP_SYS_NICE" in warning
    assert flushes == "0"


def test_stats_without_a_check_have_no_percentage() -> None:
    """They say that no page was checked."""
    assert "no page checked with a flush" in str(FlushStats())
