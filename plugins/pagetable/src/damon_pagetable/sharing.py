"""Memory that several processes of a context map: it counts once, in the first of them.

Files and shared memory are recognized by what is mapped: a device, an inode and an offset. A page
that several processes have mapped gets the accesses of all of them in the first one, and isn't
there in the others. Pages that only others than the first have in their page tables stay theirs.
Private memory is another matter: see `damon_pagetable.copies`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field
from damon_vaddr import SharedMapping

from damon_core import ABSENT, BLOCK_BYTES, CODES, PAGE_SIZE_BYTES
from damon_pagetable.machine import ENTRIES
from damon_pagetable.pages import FRESH, PageCodes
from damon_pagetable.tables import IntColumn


@define
class _Part:
    """A part of a file or of shared memory that a process has mapped.

    Attributes:
        begin: Offset of its first byte.
        end: Offset of the first byte after it.
        shift: What is to be added to an offset to get the address.
        owner: The number of the process.
    """

    begin: int
    end: int
    shift: int
    owner: int


@define
class _Overlaps:
    """What a process has in common with others: addresses there, here, and numbers of pages."""

    there: list[int] = field(factory=list)
    here: list[int] = field(factory=list)
    pages: list[int] = field(factory=list)


def count_once(maps: Sequence[PageCodes], shared: Sequence[Sequence[SharedMapping]]) -> None:
    """Let memory that several processes map count in the first of them.

    Args:
        maps: All pages of each process; they are changed.
        shared: What each process has mapped of files and shared memory.
    """
    known: dict[tuple[bytes, bytes], list[_Part]] = {}
    for number, mappings in enumerate(shared):
        overlaps: dict[int, _Overlaps] = {}
        own: list[tuple[tuple[bytes, bytes], _Part]] = []
        for mapping in mappings:
            start, end = mapping.addresses
            shift = start - mapping.offset
            part = _Part(mapping.offset, end - shift, shift, number)
            covered = False
            for other in known.get(mapping.source, ()):
                begin, stop = max(part.begin, other.begin), min(part.end, other.end)
                if begin < stop:
                    overlap = overlaps.setdefault(other.owner, _Overlaps())
                    overlap.there.append(begin + other.shift)
                    overlap.here.append(begin + shift)
                    overlap.pages.append((stop - begin) // PAGE_SIZE_BYTES)
                    covered |= other.begin <= part.begin and part.end <= other.end
            if not covered:
                own.append((mapping.source, part))
        for source, part in own:
            known.setdefault(source, []).append(part)
        for owner, overlap in overlaps.items():
            _merge(maps[owner], maps[number], overlap)


def _merge(there: PageCodes, here: PageCodes, overlap: _Overlaps) -> None:
    """Add the accesses of one process to the pages of another, and leave them out of its own."""
    pages = np.array(overlap.pages)
    before = pages.cumsum() - pages
    number = np.arange(int(pages.sum())) - before.repeat(pages)
    of_owner = _places(there, np.array(overlap.there).repeat(pages) + number * PAGE_SIZE_BYTES)
    of_other = _places(here, np.array(overlap.here).repeat(pages) + number * PAGE_SIZE_BYTES)
    both = (of_owner >= 0) & (of_other >= 0)
    of_owner, of_other = of_owner[both], of_other[both]
    codes, others = there.codes.reshape(-1), here.codes.reshape(-1)
    # Only where both have the page: it is one only if it is in both tables.
    both = (codes[of_owner] != ABSENT) & (others[of_other] != ABSENT)
    of_owner, of_other = of_owner[both], of_other[both]
    found = translation(here, there)[others[of_other]]
    codes[of_owner] = np.minimum(codes[of_owner], found)
    others[of_other] = ABSENT


def translation(here: PageCodes, there: PageCodes) -> npt.NDArray[np.uint8]:
    """Return, for each code of one process, the one in another that is nearest to it.

    The two weren't cleared and looked at at the same moments: touched stays touched.
    """
    codes = np.arange(CODES)
    codes[:FRESH] = np.minimum(codes[:FRESH], there.longest)
    codes[FRESH:] = FRESH + np.searchsorted(there.code_idle_us[FRESH:], here.code_idle_us[FRESH:])
    return np.minimum(codes, CODES - 1).astype(np.uint8)


def _places(known: PageCodes, addresses: IntColumn) -> IntColumn:
    """Return where the pages at addresses are in the rows, one after the other; or -1."""
    if not len(known.blocks):
        return np.full(len(addresses), -1, dtype=np.int64)
    block = np.searchsorted(known.blocks, addresses, side="right") - 1
    inside = addresses - known.blocks[block]
    found = (block >= 0) & (inside < BLOCK_BYTES)
    return np.where(found, block * ENTRIES + inside // PAGE_SIZE_BYTES, -1)
