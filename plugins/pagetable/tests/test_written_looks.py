"""Ranges of pages with categories, as looks."""

import itertools
import mmap

import numpy as np
import pytest
from damon_pagetable import softdirty
from damon_pagetable.softdirty import (
    WrittenLooks,
    has_soft_dirty,
    look_of,
    runs_of_entries,
    windows_of,
)
from damon_pagetable.walking import Bit
from damon_pagetable.written import ClearingSampling

from damon_core import KernelPolicy, KernelPolicyOptions, Range

PAGE, BLOCK = 4096, 2 << 20
PRESENT, HUGE, WRITTEN = 1 << 3, 1 << 6, 1 << 7


def ranges(*rows: tuple[int, int, int]) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
    """Return ranges of pages by their numbers, with categories."""
    return np.array([(a * PAGE, b * PAGE, c) for a, b, c in rows], dtype=np.uint64).reshape(-1, 3)


def test_pages_in_memory_and_written() -> None:
    """Over the borders of blocks; what is in no range isn't in memory."""
    look = look_of(ranges((510, 514, PRESENT), (514, 516, PRESENT | WRITTEN), (2048, 2049, 8)))
    assert look.blocks.tolist() == [0, BLOCK, 4 * BLOCK]
    there = np.flatnonzero(look.bits.reshape(-1) & Bit.PRESENT.value)
    assert there.tolist() == [510, 511, 512, 513, 514, 515, 1024]
    assert np.flatnonzero(look.bits.reshape(-1) & Bit.ACCESSED.value).tolist() == [514, 515]


def test_huge_pages() -> None:
    """One is written as a whole, and counts once."""
    look = look_of(ranges((512, 1024, PRESENT | HUGE), (1024, 1536, PRESENT | HUGE | WRITTEN)))
    assert look.huge.addresses.tolist() == [BLOCK, 2 * BLOCK]
    assert look.huge.accessed.tolist() == [False, True]
    assert not len(look.blocks)


def test_nothing_is_in_memory() -> None:
    """A process that is just beginning."""
    look = look_of(ranges())
    assert not len(look.blocks)
    assert not len(look.huge.addresses)


def test_entries_of_pagemap_become_ranges() -> None:
    """Bit 63 says that a page is in memory, bit 55 that it was written; a swapped one may be."""
    present, written = 1 << 63, 1 << 55
    entries = np.array([0, present, present, present | written, written, present], np.uint64)
    assert runs_of_entries(7, entries).tolist() == [
        [8 * PAGE, 10 * PAGE, PRESENT],
        [10 * PAGE, 11 * PAGE, PRESENT | WRITTEN],
        [12 * PAGE, 13 * PAGE, PRESENT],
    ]


@pytest.mark.parametrize(("gibibytes", "parts"), [(0, 1), (1, 1), (3, 3)])
def test_a_call_walks_a_limited_part(gibibytes: int, parts: int) -> None:
    """So that the memory map isn't locked for long; together they are the address space."""
    mappings = [Range(1 << 40, (1 << 40) + (gibibytes << 30))] if gibibytes else []
    windows = windows_of(mappings)
    assert len(windows) == parts
    assert windows[0].start == 0
    assert windows[-1].end == (1 << 47) - PAGE
    assert all(a.end == b.start for a, b in itertools.pairwise(windows))


@pytest.mark.parametrize("ranges_of_a_call", [1 << 14, 512, 500])
def test_memory_in_many_pieces_is_found_once(
    monkeypatch: pytest.MonkeyPatch, ranges_of_a_call: int
) -> None:
    """More than the kernel collects at once, and more than a call returns."""
    monkeypatch.setattr(softdirty, "_RANGES", ranges_of_a_call)
    with mmap.mmap(-1, 4 * BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_NOHUGEPAGE)
        area[:: 2 * PAGE] = bytes(2 * BLOCK // PAGE)
        view = np.frombuffer(area, dtype=np.uint8)
        start = view.ctypes.data
        del view
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            looks = WrittenLooks(pagemap.fileno())
            look = looks.look([Range(start, start + 4 * BLOCK)])
    addresses = look.blocks[:, np.newaxis] + np.arange(512) * PAGE
    inside = (addresses >= start) & (addresses < start + 4 * BLOCK)
    there = (look.bits & Bit.PRESENT.value) != 0
    assert addresses[inside & there].tolist() == list(range(start, start + 4 * BLOCK, 2 * PAGE))
    assert not (look.bits & ~np.uint8(Bit.PRESENT.value | Bit.ACCESSED.value)).any()


def test_each_aggregation_begins_with_a_clearing() -> None:
    """However much that costs: what was written a second time wouldn't be seen without."""
    sampling = ClearingSampling(KernelPolicy(KernelPolicyOptions()))
    assert sampling.most_aggregations == 1
    sampling.set_epoch(60_000_000.0)
    assert sampling.most_aggregations == 1
    sampling.choose([])
    assert sampling.opening


def test_detection_clears_nothing() -> None:
    """It answers, whatever the kernel is."""
    assert has_soft_dirty() in (True, False)
