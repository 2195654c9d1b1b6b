"""Flushing TLBs: where the advice goes, when it is given, and when it stops."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

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

PAGE = 4096
HUGE = 2 << 20
NOTHING = np.zeros(0, dtype=np.int64)


class Obedient(Protocol):
    """What the fixture `process` starts."""

    pid: int

    def do(self, statements: str) -> None: ...
    def ask(self, statements: str) -> int: ...
    def area(self, pages: int) -> int: ...


@frozen
class Place:
    """A process, opened."""

    target: ProcessTarget
    pages: Pagemap
    flags: Frames

    def choose(self, hot: HotPages, marked: "list[int] | None" = None) -> Range | None:
        """Return the range for the advice."""
        addresses = np.array(marked or [], dtype=np.int64)
        return hot.choose(self.target, self.pages, self.flags, addresses)


@pytest.fixture
def opened() -> Iterator[Callable[[Obedient], Place]]:
    """Return a function that opens what a process has now."""
    places: list[Place] = []

    def open_process(obedient: Obedient) -> Place:
        process = Process.open(obedient.pid)
        maps = process.maps()
        target = ProcessTarget("target", process=process, layout_input=LayoutInput(maps))
        places.append(Place(target, Pagemap(process), Frames()))
        return places[-1]

    yield open_process
    for place in places:
        place.target.process.close()
        place.pages.close()
        place.flags.close()


def found(*addresses: int, compound: bool = False) -> HotPages:
    """Return hot pages of one check."""
    hot = HotPages()
    hot.found(np.array(addresses), np.full(len(addresses), compound))
    return hot


needs_root = pytest.mark.needs("root")


@needs_root
def test_the_smallest_range_between_two_hot_pages_is_chosen(
    process: Obedient, opened: Callable[[Obedient], Place]
) -> None:
    """With more than 33 pages between them, and some neighbours on both sides."""
    at = process.area(1024)
    hot = found(*(at + number * PAGE for number in (100, 110, 400, 450, 485, 900)))
    assert opened(process).choose(hot) == Range(at + 434 * PAGE, at + 502 * PAGE)


@needs_root
def test_pages_that_were_just_marked_are_not_relied_on(
    process: Obedient, opened: Callable[[Obedient], Place]
) -> None:
    """Their bits are clear, so the advice would find nothing to flush."""
    at = process.area(1024)
    hot = found(*(at + number * PAGE for number in (100, 140, 400, 500)))
    chosen = opened(process).choose(hot, [at + 100 * PAGE])
    assert chosen == Range(at + 384 * PAGE, at + 517 * PAGE)


@needs_root
def test_without_hot_memory_the_surroundings_of_a_page_are_tried(
    process: Obedient, opened: Callable[[Obedient], Place]
) -> None:
    """All that is hot may hide."""
    at = process.area(1024)
    page = at + 500 * PAGE
    chosen = opened(process).choose(HotPages(), [page])
    assert chosen is not None
    assert chosen.start < page < chosen.end
    assert 34 < (chosen.end - chosen.start) // PAGE < 100


@needs_root
def test_no_advice_for_memory_that_others_may_have(
    process: Obedient, opened: Callable[[Obedient], Place], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Files and shared memory are left alone."""
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(bytes(1024 * PAGE))
    at = process.ask(f"area = mapped({str(path)!r}, 1024); area[::4096]; answer = address(area)")
    pages = [at, at + 100 * PAGE]
    assert opened(process).choose(found(*pages), pages) is None


@needs_root
def test_no_advice_for_a_part_of_a_huge_page(
    process: Obedient, opened: Callable[[Obedient], Place]
) -> None:
    """It would be split; only whole ones, and enough of them to flush everything, will do."""
    at = process.ask("area, answer = huge(4)")
    place = opened(process)
    assert place.choose(found(at, at + 100 * PAGE)) is None
    assert place.choose(found(at, at + 3 * HUGE, compound=True), [at]) is None


@needs_root
def test_many_whole_huge_pages_are_advised_together(
    process: Obedient, opened: Callable[[Obedient], Place]
) -> None:
    """From the first hot one to the last."""
    at = process.ask("area, answer = huge(40)")
    hot = found(at, at + 9 * HUGE + 7 * PAGE, at + 39 * HUGE, compound=True)
    assert opened(process).choose(hot) == Range(at, at + 40 * HUGE)


@needs_root
def test_a_range_that_has_changed_is_chosen_anew(
    process: Obedient, opened: Callable[[Obedient], Place]
) -> None:
    """Other frames may be parts of huge pages."""
    at = process.area(1024)
    hot = found(at, at + 100 * PAGE)
    place = opened(process)
    first = place.choose(hot)
    hot.found(np.array([at + 500 * PAGE, at + 540 * PAGE]), np.zeros(2, dtype=bool))
    assert place.choose(hot) == first
    process.do("area.madvise(4); filler = anonymous(1024); area[::4096] = bytes(1024)")
    assert place.choose(hot) == Range(at + 484 * PAGE, at + 557 * PAGE)


@needs_root
def test_memory_that_the_kernel_refuses_is_left_alone(
    process: Obedient, opened: Callable[[Obedient], Place], caplog: pytest.LogCaptureFixture
) -> None:
    """Locked memory, here; other memory of the process serves as well."""
    at = process.ask(
        "area = anonymous(64, fill=False); ctypes.CDLL(None).mlock(ctypes.c_void_p(address(area)),"
        " ctypes.c_size_t(64 * 4096)); area[::4096] = bytes(64); answer = address(area)"
    )
    place = opened(process)
    flusher, flushed = Flusher(), FlushedProcess()
    flushed.hot.found(np.array([at, at + 50 * PAGE]), np.zeros(2, dtype=bool))
    flusher.flush(place.target, flushed, place.pages, place.flags, NOTHING)
    assert flushed.flushed is None
    assert flusher.stats.flushes == 0
    assert place.choose(flushed.hot) is None
    assert not caplog.records


@needs_root
def test_a_flush_counts_and_costs(process: Obedient, opened: Callable[[Obedient], Place]) -> None:
    """The kernel takes the advice, for memory in small pages."""
    at = process.area(1024)
    place = opened(process)
    flusher, flushed = Flusher(), FlushedProcess()
    flushed.hot.found(np.array([at, at + 50 * PAGE]), np.zeros(2, dtype=bool))
    flusher.flush(place.target, flushed, place.pages, place.flags, NOTHING)
    flusher.saw(flushed, 10, 4)
    stats = flusher.stats
    assert (stats.flushes, stats.looked_with, stats.accessed_with) == (1, 10, 4)
    assert stats.cpu_us > 0
    assert "40.0% of 10 pages with a flush" in str(stats)


def flushes_of(process: FlushedProcess, with_flush: int, without: int, checks: int) -> int:
    """Return in how many checks to flush, of 10 pages each of which so many are accessed."""
    flushes = 0
    for _ in range(checks):
        process.flushed = process.due()
        flushes += process.flushed
        process.saw(10, with_flush if process.flushed else without)
    return flushes


def test_where_it_helps_nearly_every_check_is_flushed() -> None:
    """One in sixteen does without, for comparison."""
    assert flushes_of(FlushedProcess(), 9, 1, 1600) == 1500


def test_where_it_does_not_help_it_is_only_tried() -> None:
    """After the comparison one check in sixteen is flushed."""
    process = FlushedProcess()
    flushes_of(process, 4, 4, 160)
    assert flushes_of(process, 4, 4, 1600) == 100


def test_it_is_taken_up_again_when_it_begins_to_help() -> None:
    """A process may get a processor of its own at any time."""
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
flushed.hot.found(np.array([at, at + 50 * 4096]), np.zeros(2, dtype=bool))
for _ in range(3):
    flusher.flush(target, flushed, pages, flags, np.zeros(0, dtype=np.int64))
print(flusher.stats.flushes)
"""


@needs_root
def test_without_the_privilege_there_is_one_warning(process: Obedient) -> None:
    """And no further attempt."""
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


def test_nothing_flushed_is_said_so() -> None:
    """Figures of nothing are no shares."""
    assert "no page looked at with a flush" in str(FlushStats())
