"""Idle memory from accessed bits that add up: when they are cleared, and what is known then."""

import itertools
import subprocess
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from attrs import define, field
from damon_vaddr import PidSource, ProcessMemory, Referenced
from damon_vaddr.idling import IDLE_SHARE, IdleWatch
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    IDLE_SPANS,
    PAGE_SIZE_BYTES,
    Context,
    IdleAges,
    IdleSpan,
    Intervals,
    Regions,
    start,
)
from damon_core.testing import Recorder, eventually, run_virtual

SECOND_US = 1_000_000
TEN_SECONDS, MINUTE, TEN_MINUTES = IDLE_SPANS
MIB = 1 << 20
PAGE = PAGE_SIZE_BYTES
#: Regions of 4 pages.
PAGES, REGION = 24, 4


@define(eq=False)
class Memory:
    """Pages with accessed bits, watched in aggregations of any length."""

    watch: IdleWatch = field(factory=IdleWatch)
    now_us: int = 0
    accessed_us: npt.NDArray[np.int64] = field(factory=lambda: np.full(PAGES, -(1 << 40)))
    bits: npt.NDArray[np.bool_] = field(factory=lambda: np.zeros(PAGES, dtype=bool))
    regions: Regions = field(init=False)
    clearings_us: list[int] = field(factory=list)
    touched_bytes: list[int] = field(factory=list)
    ages: IdleAges = field(factory=IdleAges)

    @regions.default
    def _regions_of_pages(self) -> Regions:
        borders = np.arange(0, PAGES + 1, REGION) * PAGE
        return Regions(borders[:-1], borders[1:])

    def access(self, *pages: int) -> None:
        """Access pages now."""
        self.accessed_us[list(pages)] = self.now_us
        self.bits[list(pages)] = True

    def aggregate(self, length_us: int, *pages: int, within: float = 0.5) -> None:
        """Let an aggregation pass in which pages are accessed, after a part of it."""
        if self.watch.begin(self.now_us):
            self.bits[:] = False
            self.watch.cleared(self.now_us)
            self.clearings_us.append(self.now_us)
        self.now_us += int(length_us * within)
        self.access(*pages)
        self.now_us += length_us - int(length_us * within)
        resident, seen = self._by_region(np.ones(PAGES, dtype=bool)), self._by_region(self.bits)
        touched = self.watch.look(self.regions, resident, seen, self.now_us)
        self.touched_bytes.append(int(touched.sum()))
        self.ages = self.watch.describe(self.regions)

    def pass_time(self, seconds: float, *pages: int, length_us: int = SECOND_US) -> None:
        """Let aggregations pass."""
        for _ in range(round(seconds * SECOND_US / length_us)):
            self.aggregate(length_us, *pages)

    def idle(self, span: IdleSpan) -> int | None:
        """Return how much is said to be idle; None if that isn't known of some region."""
        column = getattr(self.regions, span.column)
        return None if column is None or (column < 0).any() else int(column.sum()) // PAGE

    def truth(self, span: IdleSpan) -> npt.NDArray[np.float64]:
        """Return how many bytes of each region have been idle."""
        return self._by_region(self.accessed_us <= self.now_us - span.us)

    def _by_region(self, pages: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        sizes: npt.NDArray[np.float64] = pages.reshape(-1, REGION).sum(axis=1) * float(PAGE)
        return sizes


def test_a_window_of_ten_seconds_is_measured_soon() -> None:
    """Ten seconds after the start it begins, and what wasn't touched in it is known to the page."""
    memory = Memory()
    memory.pass_time(19, 0, 1, 2)
    assert memory.idle(TEN_SECONDS) is None
    memory.pass_time(1, 0, 1, 2)
    assert (memory.idle(TEN_SECONDS), memory.ages.idle_10s_age_us) == (PAGES - 3, 0)


def test_a_window_is_not_cleared() -> None:
    """Between two clearings lie 10 seconds instead of an aggregation."""
    memory = Memory()
    memory.pass_time(22)
    apart_us = np.diff(memory.clearings_us)
    assert apart_us.tolist() == [SECOND_US] * 10 + [10 * SECOND_US, SECOND_US]


def test_what_is_used_rarely_is_idle_between() -> None:
    """A page that is accessed each 15 s isn't known to be idle for 10 s without a window."""
    memory = Memory()
    for second in range(40):
        memory.aggregate(SECOND_US, *([5] if second % 15 == 0 else []), 0)
    assert memory.idle(TEN_SECONDS) in (PAGES - 1, PAGES - 2)


def test_the_number_stands_with_its_age() -> None:
    """Until the next window."""
    memory = Memory()
    memory.pass_time(60, 0, 1, 2)
    assert (memory.idle(TEN_SECONDS), memory.ages.idle_10s_age_us) == (PAGES - 3, 40 * SECOND_US)


def test_a_program_that_begins_to_touch_everything_has_no_idle_memory() -> None:
    """At once, though the last number was another."""
    memory = Memory()
    memory.pass_time(30, 0)
    memory.aggregate(SECOND_US, *range(PAGES))
    assert memory.idle(TEN_SECONDS) == 0


def test_after_touching_everything_once_it_is_idle_again() -> None:
    """The number is that of before, after 10 s."""
    memory = Memory()
    memory.pass_time(30, 0)
    memory.aggregate(SECOND_US, *range(PAGES))
    memory.pass_time(12, 0)
    assert memory.idle(TEN_SECONDS) == PAGES - 1


def test_within_a_window_what_was_touched_is_known_within_bounds() -> None:
    """What was touched again has its bit already: it counts as in the aggregation before."""
    memory = Memory()
    memory.pass_time(15, 0, 1)
    assert memory.touched_bytes[-5:] == [2 * PAGE] * 5


def test_within_a_window_what_is_new_counts() -> None:
    """At once."""
    memory = Memory()
    memory.pass_time(15, 0)
    memory.aggregate(SECOND_US, *range(8))
    assert memory.touched_bytes[-1] == 7 * PAGE


def test_within_a_window_an_interval_has_the_accesses_of_before() -> None:
    """Within the same bounds: the bits say nothing of a single interval any more."""
    memory = Memory()
    memory.pass_time(10)
    watch, regions = memory.watch, memory.regions
    found = []
    for seen_pages in (1.0, 3.0):
        if watch.begin(memory.now_us):
            watch.cleared(memory.now_us)
        seen = np.full(len(regions), seen_pages * PAGE)
        memory.now_us += SECOND_US
        watch.look(regions, np.full(len(regions), 4.0 * PAGE), seen, memory.now_us)
        found.append(watch.accessed(seen)[0] / PAGE)
    assert found == [1.0, 2.0]


def test_a_working_set_that_is_not_steady_is_cleared_each_time() -> None:
    """A program that works for a second of three has exact working sets, in the first minutes."""
    memory = Memory()
    for second in range(300):
        memory.aggregate(SECOND_US, *(range(PAGES) if second % 3 == 0 else ()))
    assert set(np.diff(memory.clearings_us)) == {SECOND_US}


def test_a_working_set_that_is_never_steady_is_measured_rarely() -> None:
    """Ten seconds of ten minutes, as otherwise nothing would be known of its idle memory."""
    memory = Memory()
    for second in range(3_600):
        memory.aggregate(SECOND_US, *(range(8) if second % 3 == 0 else ()))
    apart_us = np.diff(memory.clearings_us)
    assert apart_us[apart_us > SECOND_US].tolist() == [10 * SECOND_US] * 6
    assert memory.idle(TEN_SECONDS) == PAGES - 8


def test_a_window_closes_when_the_working_set_grows() -> None:
    """What is held would be wrong from then on."""
    memory = Memory()
    memory.pass_time(13, 0)
    memory.aggregate(SECOND_US, *range(8))
    memory.pass_time(2, *range(8))
    assert memory.touched_bytes[-2:] == [8 * PAGE] * 2


@pytest.mark.slow
def test_longer_spans_are_measured_more_rarely() -> None:
    """A minute after 10 minutes, 10 minutes after 100, and 10 s every 5 minutes."""
    memory = Memory()
    windows = []
    for second in range(7_000):
        before = len(memory.clearings_us)
        memory.aggregate(SECOND_US, 0)
        if len(memory.clearings_us) > before and before:
            apart_us = memory.clearings_us[-1] - memory.clearings_us[-2]
            if apart_us > SECOND_US:
                windows.append((second - apart_us // SECOND_US, apart_us // SECOND_US))
    assert windows[:4] == [(10, 10), (320, 10), (600, 60), (910, 10)]
    assert (600, 6_000) in [(length, begin // 60 * 60) for begin, length in windows]


@pytest.mark.slow
def test_windows_are_open_for_a_bounded_share_of_the_time() -> None:
    """A tenth, over a long time."""
    watch, held_us, step_us = IdleWatch(), 0, 5 * SECOND_US
    regions, nothing = Regions([0], [PAGE]), np.zeros(1)
    for now_us in range(0, 24 * 3_600 * SECOND_US, step_us):
        if watch.begin(now_us):
            watch.cleared(now_us)
        else:
            held_us += step_us
        watch.look(regions, nothing, nothing, now_us + step_us)
        watch.describe(regions)
    assert 0.05 < held_us / now_us < IDLE_SHARE


def test_without_a_share_every_aggregation_is_cleared() -> None:
    """Then nothing is measured, and bounds remain."""
    memory = Memory(IdleWatch(0.0))
    memory.pass_time(700, 0)
    assert set(np.diff(memory.clearings_us)) == {SECOND_US}
    assert memory.idle(TEN_SECONDS) is None


def test_aggregations_of_a_span_measure_it_themselves() -> None:
    """There are no windows then, and no age."""
    memory = Memory()
    memory.pass_time(90, 0, length_us=15 * SECOND_US)
    assert np.diff(memory.clearings_us).tolist() == [15 * SECOND_US] * 5
    assert (memory.idle(TEN_SECONDS), memory.ages.idle_10s_age_us) == (PAGES - 1, 0)


def test_aggregations_of_twice_a_span_do_not() -> None:
    """What was touched in the first half may be idle by now."""
    memory = Memory()
    memory.pass_time(90, 0, length_us=30 * SECOND_US)
    assert memory.idle(TEN_SECONDS) is None


def test_memory_that_is_new_was_not_idle() -> None:
    """Its region has a number, which is 0, beside those of the others."""
    memory = Memory()
    whole = memory.regions
    memory.regions = Regions(whole.start[1:], whole.end[1:])
    watch, regions = memory.watch, memory.regions
    for begin, end, table, new_pages in (
        (0, 10, regions, 0),
        (10, 11, whole, 4),
        (11, 12, whole, 0),
    ):
        watch.begin(begin * SECOND_US)
        watch.cleared(begin * SECOND_US)
        resident, seen = np.full(len(table), 4.0 * PAGE), np.zeros(len(table))
        seen[0] = new_pages * PAGE
        watch.look(table, resident, seen, end * SECOND_US)
        watch.describe(table)
    assert whole.idle_10s_bytes is not None
    assert (whole.idle_10s_bytes // PAGE).tolist() == [0, 4, 4, 4, 4, 4]


def test_regions_that_are_joined_or_cut_keep_their_idle_memory() -> None:
    """Divided by addresses."""
    memory = Memory()
    memory.pass_time(20, 0)
    watch, now_us = memory.watch, memory.now_us
    borders = [0, 2 * PAGE, 4 * PAGE, 12 * PAGE, PAGES * PAGE]
    other = Regions(borders[:-1], borders[1:])
    watch.begin(now_us)
    watch.cleared(now_us)
    seen = np.array([PAGE, 0.0, 0.0, 0.0])
    watch.look(other, other.size_bytes.astype(float), seen, now_us + SECOND_US)
    watch.describe(other)
    assert other.idle_10s_bytes is not None
    assert (other.idle_10s_bytes / PAGE).tolist() == [1.0, 1.5, 8.0, 12.0]


ACCESSES = st.lists(
    st.tuples(
        st.integers(1, 40),  # length of the aggregation, in half seconds
        st.lists(st.integers(0, PAGES - 1), max_size=6),
        st.floats(0.01, 1),  # when within it pages are accessed
    ),
    min_size=1,
    max_size=60,
)


@given(ACCESSES)
def test_the_truth_is_within_the_bounds(accesses: list[tuple[int, list[int], float]]) -> None:
    """Of every region and span, whatever is accessed, and in aggregations of any length."""
    memory = Memory()
    memory.access(*range(PAGES))
    for length, pages, within in accesses:
        memory.aggregate(length * SECOND_US // 2, *pages, within=within)
        for span in IDLE_SPANS:
            low, high = memory.watch.bounds(span)
            truth = memory.truth(span)
            assert (low <= truth).all()
            assert (truth <= high).all()


@given(ACCESSES)
def test_what_is_known_now_is_the_truth(accesses: list[tuple[int, list[int], float]]) -> None:
    """A number without an age is at least what has been idle for the span and an aggregation."""
    memory = Memory()
    memory.access(*range(PAGES))
    for length, pages, within in accesses:
        memory.aggregate(length * SECOND_US // 2, *pages, within=within)
        for span in IDLE_SPANS:
            found = getattr(memory.regions, span.column)
            if getattr(memory.ages, span.age) == 0:
                assert (found <= memory.truth(span)).all()


@given(ACCESSES)
def test_more_is_idle_for_shorter_spans(accesses: list[tuple[int, list[int], float]]) -> None:
    """However old the numbers are."""
    memory = Memory()
    for length, pages, within in accesses:
        memory.aggregate(length * SECOND_US // 2, *pages, within=within)
        known = [
            column
            for span in IDLE_SPANS
            if (column := getattr(memory.regions, span.column)) is not None
        ]
        for shorter, longer in itertools.pairwise(known):
            assert (longer[shorter >= 0] <= shorter[shorter >= 0]).all()


def test_in_a_context(sleeper: "subprocess.Popen[str]") -> None:
    """Until a window has been open for 10 seconds, bounds say what is known: of a sleeper, much."""
    recorder = Recorder()
    primitive = ProcessMemory(PidSource([sleeper.pid]), Referenced())
    run_virtual(primitive, recorder, aggregations=198)
    assert {snapshot.idle_ages.idle_10s_age_us for snapshot in recorder.snapshots} == {None}
    idle = recorder.snapshots[-1].idle(TEN_SECONDS.us)
    assert 0 < idle.low_bytes <= idle.high_bytes


#: Touches all of its memory, then a tenth of it all the time.
_TENTH = """
import mmap, time
area = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = bytes(len(area) // 4096)
print("ready", flush=True)
while True:
    area[: len(area) // 10 : 4096]
    time.sleep(0.01)
"""


@pytest.mark.slow
def test_of_a_real_process(start_program: "Callable[..., subprocess.Popen[str]]") -> None:
    """Of 100 MiB of which a tenth is in use, 90 have been idle for 10 s: in time."""
    program = start_program(_TENTH)
    assert program.stdout is not None
    program.stdout.readline()
    recorder = Recorder()
    primitive = ProcessMemory(PidSource([program.pid]), Referenced())
    context = Context(
        primitive,
        [recorder],
        intervals=Intervals(5_000, 500_000),
        cpu_budget=None,
        # On a busy machine these would keep it from looking often enough.
        max_slowdown=None,
        max_stall_us=None,
    )
    with context:
        start(context)
        eventually(lambda: _idle_of_largest(recorder) is not None)
    assert _idle_of_largest(recorder) == pytest.approx(90 * MIB, rel=0.03)


def _idle_of_largest(recorder: Recorder) -> int | None:
    """Return how much of the largest region has been idle for 10 s, None if that isn't known."""
    if not recorder.snapshots:
        return None
    (target,) = recorder.snapshots[-1].targets
    row = target.resident_bytes.argmax()
    idle = target.idle(TEN_SECONDS.us)
    return int(idle.low[row]) if idle.low[row] == idle.high[row] else None
