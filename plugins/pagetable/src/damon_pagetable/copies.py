"""Private memory of which processes have the same copy since a fork: it counts once.

It is at the same addresses, and pagemap says which pages are the same: they have the same frame.
Where it hides frames from this program, pages count as the same that are at the same address,
belong to no file and are mapped by several processes. That is wrong only where processes have
forked again since they have changed the page.

Each page counts in the first of the processes that have it, with the accesses of all.
"""

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from damon_core import ABSENT, PAGE_SIZE_BYTES
from damon_pagetable.machine import ENTRIES
from damon_pagetable.pages import PageCodes
from damon_pagetable.sharing import translation
from damon_pagetable.tables import IntColumn

#: Entries of pagemap: their size, and their parts.
_ENTRY_BYTES = 8
_FRAME = np.uint64((1 << 55) - 1)
_PRESENT, _OF_FILE, _EXCLUSIVE = np.uint64(1 << 63), np.uint64(1 << 61), np.uint64(1 << 56)
#: Stands for the frame of a page that others have, too, where frames are hidden.
_SOME_FRAME = np.uint64(1)
#: How many blocks are worked on at once, of all processes together.
_CHUNK = 512


def count_copies_once(maps: Sequence[PageCodes], pagemaps: Sequence[int]) -> None:
    """Let pages that several processes have the same of count in the first of them.

    Args:
        maps: All pages of each process; they are changed. What counts elsewhere already is absent.
        pagemaps: The descriptors of their pagemaps.
    """
    every = np.concatenate([each.blocks for each in maps])
    addresses, counts = np.unique(every, return_counts=True)
    common = addresses[counts > 1]
    if not len(common):
        return
    rows = np.stack([_rows(each, common) for each in maps])
    # Blocks that the same processes have are worked on together.
    having, which = np.unique(rows >= 0, axis=1, return_inverse=True)
    for number in range(having.shape[1]):
        places = np.flatnonzero(which.reshape(-1) == number)
        member = np.flatnonzero(having[:, number]).tolist()
        if len(member) < 2:
            continue
        count = max(_CHUNK // len(member), 1)
        for first in range(0, len(places), count):
            part = places[first : first + count]
            _merge(
                [maps[each] for each in member],
                [pagemaps[each] for each in member],
                common[part],
                rows[member][:, part],
            )


def _rows(pages: PageCodes, common: IntColumn) -> IntColumn:
    """Return the row of each block; -1 where the process has no pages in it."""
    if not len(pages.blocks):
        return np.full(len(common), -1, dtype=np.int64)
    row = np.minimum(np.searchsorted(pages.blocks, common), len(pages.blocks) - 1)
    used = np.count_nonzero(pages.codes, axis=1) > 0
    there = (pages.blocks[row] == common) & used[row]
    return np.where(there, row, -1)


def _merge(
    maps: Sequence[PageCodes], pagemaps: Sequence[int], blocks: IntColumn, rows: IntColumn
) -> None:
    """Merge the pages of some blocks, all of which some processes have.

    Args:
        maps: The pages of these processes.
        pagemaps: Their pagemaps.
        blocks: The addresses of the blocks.
        rows: The rows of the blocks, by process.
    """
    frames = np.stack([_frames(pagemap, blocks) for pagemap in pagemaps])
    for each, own, at in zip(maps, frames, rows, strict=True):
        own[each.codes[at] == ABSENT] = 0
    leaders = _leaders(frames)
    for number in range(1, len(maps)):
        others = leaders[number]
        for leader in np.unique(others[others < number]).tolist():
            here, there = maps[number], maps[leader]
            block, page = np.nonzero(others == leader)
            of_leader, of_other = rows[leader][block], rows[number][block]
            found = translation(here, there)[here.codes[of_other, page]]
            there.codes[of_leader, page] = np.minimum(there.codes[of_leader, page], found)
            here.codes[of_other, page] = ABSENT


def _frames(pagemap: int, blocks: IntColumn) -> npt.NDArray[np.uint64]:
    """Return what says which page it is, for the pages of blocks; 0 for what isn't shared."""
    size = ENTRIES * _ENTRY_BYTES
    places = (blocks // PAGE_SIZE_BYTES * _ENTRY_BYTES).tolist()
    data = b"".join(os.pread(pagemap, size, place).ljust(size, b"\0") for place in places)
    entries = np.frombuffer(data, dtype=np.uint64).reshape(-1, ENTRIES)
    # Where the frame isn't hidden it decides alone.
    frames = entries & _FRAME
    alone = entries & (_PRESENT | _OF_FILE | _EXCLUSIVE) != _PRESENT
    frames = np.where((frames == 0) & ~alone, _SOME_FRAME, frames)
    absent = entries & (_PRESENT | _EXCLUSIVE) != _PRESENT
    frames[absent] = 0
    return frames


def _leaders(frames: npt.NDArray[np.uint64]) -> IntColumn:
    """Return, for each page of each process, the first process with the same frame.

    Args:
        frames: By process, block and page; 0 for pages that aren't shared.

    Returns:
        Likewise; the process itself where there is no earlier one.
    """
    number = np.arange(len(frames)).reshape(-1, 1, 1)
    order = np.argsort(frames, axis=0, kind="stable")
    by_frame = np.take_along_axis(frames, order, axis=0)
    begins = np.ones(frames.shape, dtype=np.bool_)
    begins[1:] = (by_frame[1:] != by_frame[:-1]) | (by_frame[1:] == 0)
    first = np.maximum.accumulate(np.where(begins, number, 0), axis=0)
    leaders = np.empty(frames.shape, dtype=np.int64)
    np.put_along_axis(leaders, order, np.take_along_axis(order, first, axis=0), axis=0)
    return leaders
