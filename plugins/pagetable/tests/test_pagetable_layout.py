"""The regions of an aggregation, from looks at memory that is made up."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from damon_pagetable.choosing import Cells
from damon_pagetable.layout import BestCut, Known
from damon_pagetable.look import HugePages, Look
from damon_pagetable.tables import Bits
from damon_pagetable.walking import Bit
from damon_vaddr import LayoutInput, Process, ProcessTarget

from damon_core import IdleAges, RegionLimits

BASE = 1 << 40
PAGE = 4096
BLOCK = 512 * PAGE
MIB = 1 << 20
SECOND = 1_000_000
NO_BLOCKS = np.zeros(0, dtype=np.int64)
NONE = HugePages(NO_BLOCKS, np.zeros(0, dtype=np.bool_))


def bits(pages: int, used: range = range(0)) -> Bits:
    """Return the bits of memory of which a part is used."""
    row = np.zeros(-(-pages // 512) * 512, dtype=np.uint8)
    row[:pages] = Bit.PRESENT.value
    row[list(used)] |= Bit.ACCESSED.value
    return row.reshape(-1, 512)


class Memory:
    """One or more processes, and the regions that are made of them."""

    def __init__(self, processes: int = 1, max_regions: int = 1_000) -> None:
        process = Process(1, 0)
        self.targets = [ProcessTarget(str(n), process=process) for n in range(processes)]
        self.known = {target: Known() for target in self.targets}
        self.layout = BestCut(self.known)
        self.now_us = 1_000 * SECOND
        for target in self.targets:
            self.layout.lay_out(target, LayoutInput(), RegionLimits(1, max_regions))

    def aggregate(
        self,
        looks: Sequence[Bits],
        checks: int = 20,
        process: int = 0,
        cells: Cells | None = None,
    ) -> None:
        """Let an aggregation of a second pass with some looks, the last of them at its end."""
        known = self.known[self.targets[process]]
        known.pages.clear()
        known.inference.begin_epoch(self.now_us)
        for number, each in enumerate(looks):
            last = number == len(looks) - 1
            known.last_us = SECOND if last else 5_000 << number
            known.first_us = SECOND if len(looks) == 1 else 5_000
            known.checks = checks
            known.since_us = known.since_us or self.now_us
            blocks = BASE + np.arange(len(each)) * BLOCK
            found = Look(blocks, each, NONE, NONE, NO_BLOCKS, cells)
            new = known.pages.add(found, known.last_us, self.now_us + known.last_us)
            known.inference.look(new, known.last_us)
        self.now_us += SECOND
        self.layout.describe(self.targets, self.now_us)

    def go_on(self) -> None:
        """Do what the worker does between two aggregations."""
        for target in self.targets:
            target.regions.reset_aggregated()


def test_counters_of_regions() -> None:
    """A hot area between cold ones."""
    memory = Memory()
    memory.aggregate([bits(1024, range(100, 200)), bits(1024, range(100, 200))])
    regions = memory.targets[0].regions
    assert ((regions.start - BASE) // PAGE).tolist() == [0, 100, 200]
    assert ((regions.end - BASE) // PAGE).tolist() == [100, 200, 1024]
    assert regions.nr_accesses.tolist() == [0.0, 20.0, 0.0]
    assert regions.touched_bytes is not None
    assert regions.touched_bytes.tolist() == [0, 100 * PAGE, 0]
    assert regions.resident_bytes.tolist() == [100 * PAGE, 100 * PAGE, 824 * PAGE]


def test_pages_that_the_first_look_missed_were_touched() -> None:
    """They are accessed in every second interval, which is what nr_accesses says."""
    memory = Memory()
    memory.aggregate([bits(512), bits(512, range(100)), bits(512, range(100))])
    regions = memory.targets[0].regions
    assert regions.nr_accesses.tolist() == [10.0, 0.0]
    assert regions.touched_bytes is not None
    assert regions.touched_bytes.tolist() == [100 * PAGE, 0]


def test_idle_time_is_that_of_the_page_accessed_last() -> None:
    """Within a unit of an eighth of a second."""
    memory = Memory()
    memory.aggregate([bits(512, range(512))])
    for _ in range(9):
        memory.go_on()
        memory.aggregate([bits(512)])
    regions = memory.targets[0].regions
    assert regions.idle_us.tolist() == [pytest.approx(9 * SECOND, abs=140_000)]


def test_what_was_touched_is_not_idle() -> None:
    """Even if most of a region is."""
    memory = Memory(max_regions=1)
    memory.aggregate([bits(512, range(3))])
    assert memory.targets[0].regions.idle_us.tolist() == [0]


def test_bytes_idle_for_spans_are_exact() -> None:
    """As soon as the process has been watched for so long."""
    memory = Memory()
    memory.aggregate([bits(512, range(512))])
    for second in range(1, 62):
        memory.go_on()
        memory.aggregate([bits(512, range(100) if second == 30 else range(10))])
    target = memory.targets[0]
    regions = target.regions
    assert regions.idle_10s_bytes is not None
    assert regions.idle_1m_bytes is not None
    assert int(regions.idle_10s_bytes.sum()) == 502 * PAGE
    assert int(regions.idle_1m_bytes.sum()) == 412 * PAGE
    assert regions.idle_10m_bytes is None
    assert target.idle_ages == IdleAges(0, 0, None)


def test_idle_bytes_aren_t_known_at_first() -> None:
    """For ten seconds."""
    memory = Memory()
    for _ in range(9):
        memory.aggregate([bits(512)])
        memory.go_on()
    assert memory.targets[0].regions.idle_10s_bytes is None
    assert memory.targets[0].idle_ages == IdleAges()


def test_age_grows_while_regions_are_alike() -> None:
    """And begins anew where memory has become hot."""
    memory = Memory()
    for _ in range(4):
        memory.aggregate([bits(1024, range(512)), bits(1024, range(512))])
        memory.go_on()
    ages = memory.targets[0].regions.age.tolist()
    memory.aggregate([bits(1024, range(1024)), bits(1024, range(1024))])
    later = memory.targets[0].regions
    assert ages == [3, 4]
    assert later.age[later.holding(np.array([BASE + 600 * PAGE]))].tolist() == [0]


def test_age_of_checks_that_became_more_numerous() -> None:
    """Twice the accesses in twice as many checks are the same."""
    memory = Memory()
    for checks in (20, 20, 40, 40):
        memory.aggregate([bits(512, range(512)), bits(512, range(512))], checks)
        memory.go_on()
    assert memory.targets[0].regions.age.tolist() == [3]


def test_regions_of_several_processes_together_are_no_more_than_allowed() -> None:
    """The larger one has more of them."""
    memory = Memory(processes=2, max_regions=40)
    rng = np.random.default_rng(1)
    for process, pages in ((0, 5_120), (1, 51_200)):
        found = bits(pages)
        found.ravel()[rng.random(pages) < 0.3] |= Bit.ACCESSED.value
        memory.aggregate([found, found], process=process)
    counts = [len(target.regions) for target in memory.targets]
    assert sum(counts) <= 40
    assert counts[0] < counts[1]


def test_process_without_memory() -> None:
    """It has no regions, and none is touched."""
    memory = Memory()
    memory.aggregate([bits(0)])
    regions = memory.targets[0].regions
    assert not len(regions)
    assert regions.touched_bytes is not None


def test_process_that_gives_all_of_its_memory_back() -> None:
    """Its regions end with it."""
    memory = Memory()
    memory.aggregate([bits(1024, range(512))])
    memory.go_on()
    memory.aggregate([bits(0)])
    assert not len(memory.targets[0].regions)


def test_what_is_kept_takes_a_byte_a_page() -> None:
    """And regions are made with little more: 1 GiB with three hot areas."""
    pages, memory = 1 << 18, Memory()
    found = bits(pages)
    for begin in (10_000, 100_000, 200_000):
        found.ravel()[begin : begin + 20_000] |= Bit.ACCESSED.value
    memory.aggregate([found])  # What is made once isn't counted.
    memory = Memory()
    tracemalloc.start()
    try:
        for _ in range(3):
            memory.aggregate([found])
            memory.targets[0].page_map = None
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.3 * pages
    assert peak < 8 * pages


def test_memory_that_is_not_counted_once_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Once, where not all of a process is looked at."""
    memory = Memory(processes=2)
    blocks = np.array([BASE])
    cells = Cells(blocks, np.array([2.0]), blocks, blocks + 2 * BLOCK)
    for _ in range(2):
        memory.aggregate([bits(512)], cells=cells)
    assert [each for each in caplog.messages if "in common" in each] == [
        "page tables: not all memory is looked at, as that would take too long: what several "
        "processes have in common counts in each of them"
    ]
