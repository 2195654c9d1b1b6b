"""A look at all page tables of a process: which pages are in memory, and which were accessed."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from damon_core import PAGE_SIZE_BYTES, Range
from damon_pagetable.choosing import Cells
from damon_pagetable.machine import ENTRIES
from damon_pagetable.tables import Bits, IntColumn, PageTables, Tables, entry_bytes, table_bytes
from damon_pagetable.walking import WINDOW, Bit, State

#: Tables of these levels and below may have huge pages instead of tables.
_HIGHEST_LEAF = 3
#: How often a table that changes is read once more.
_ATTEMPTS = 2
_PRESENT, _READ = Bit.PRESENT.value, State.READ.value
_NOTHING: IntColumn = np.zeros(0, dtype=np.int64)
#: A page is the process's own memory if it has the first of these bits and not the second.
_RESIDENT = (Bit.PRESENT | Bit.SPECIAL).value
_SHAPE = np.uint8((Bit.PRESENT | Bit.SPECIAL | Bit.LEAF).value)
#: There is one part of 1 GiB, of which all blocks are known, for at least so many blocks.
_BLOCKS_A_UNIT = 4
_UNIT_SHIFT = table_bytes(2).bit_length() - 1
#: The address of the memory of the top table.
_TOP: IntColumn = np.zeros(1, dtype=np.int64)


class HugePages(NamedTuple):
    """Huge pages of one size.

    Attributes:
        addresses: Their addresses, ascending.
        accessed: Whether each was accessed.
    """

    addresses: IntColumn
    accessed: npt.NDArray[np.bool_]


_NO_HUGE = HugePages(_NOTHING, np.zeros(0, dtype=np.bool_))


class Look(NamedTuple):
    """What the page tables of a process show.

    Attributes:
        blocks: Addresses of the blocks of 2 MiB that have small pages, ascending.
        bits: For each block the `Bit` values of its 512 pages of 4 KiB.
        huge: The pages of 2 MiB.
        giant: The pages of 1 GiB.
        missed: Addresses of blocks of 2 MiB whose tables are unknown, because the process changed
            them again and again meanwhile.
        cells: What the blocks stand for, those of huge pages included, if these are only some of
            the process's; giant pages are then among the huge ones, by blocks.
    """

    blocks: IntColumn
    bits: Bits
    huge: HugePages
    giant: HugePages
    missed: IntColumn
    cells: Cells | None = None


class Looks:
    """Looks at one process again and again.

    What the higher levels look like seldom changes. So what follows from it is kept, and used as
    long as the same is read.

    Args:
        tables: What reads the tables.
        descriptor: The process's `/proc/PID/pagemap`, opened by this program.
        ranges: The only addresses to look at, ascending; empty for all. A huge page that lies in
            one in part counts whole.
    """

    def __init__(self, tables: PageTables, descriptor: int, ranges: Sequence[Range] = ()) -> None:
        self._ranges = ranges
        self._tables = tables
        self._descriptor = descriptor
        self._most = math.inf
        self._blocks = 0
        self._units: Cells | None = None  # if only some were read
        self._chosen = _Chosen(_NOTHING)
        self._higher = 0  # how many tables of higher levels there are
        self._levels: Sequence[_Level] = ()
        self._rows: Sequence[slice] = ()
        self._states = self._shape = self._bits = b""
        self._huge: Sequence[HugePages] = ()
        self._read_again: Callable[[], Tables] | None = None

    def look(self) -> Look:
        """Look at the process.

        Raises:
            BpfError: The kernel refuses.
        """
        huge, read = self._again() or self._level_by_level()
        chosen = self._chosen
        if read is not None:
            blocks, bits, missed = chosen.tables, read, _NOTHING
        else:
            blocks, bits, missed = _read(self._tables, self._descriptor, 1, chosen.tables)
        if self._ranges:
            bits = _within(blocks, bits, self._ranges)
        if chosen.cells is None:
            return Look(blocks, bits, huge[-1], huge[-2], missed)
        used = np.append(huge[-1].accessed, huge[-2].accessed)[chosen.places]
        return Look(blocks, bits, HugePages(chosen.huge, used), _NO_HUGE, missed, chosen.cells)

    def limit(self, most_blocks: float) -> None:
        """Look at no more than some blocks from now on, chosen from all parts of the memory."""
        if most_blocks != self._most:
            self._most, self._read_again = most_blocks, None

    @property
    def blocks(self) -> int:
        """How many blocks the process has, as far as is known: huge pages count, too."""
        return self._blocks

    def _choose(self, levels: Sequence["_Level"]) -> "_Chosen":
        """Choose what the next looks look at."""
        tables, huge, giant = levels[-1].below, levels[-1].huge, levels[-2].huge
        self._blocks = len(tables) + len(huge) + len(giant) * ENTRIES
        if self._units is None and self._blocks <= self._most:
            return _Chosen(tables)
        parts = (giant[:, np.newaxis] + np.arange(ENTRIES) * table_bytes(1)).reshape(-1)
        blocks = np.concatenate((tables, huge, parts))
        order = np.argsort(blocks, kind="stable")
        candidates = Cells.alone(blocks[order], table_bytes(1))
        if self._units is not None:
            candidates = self._units.spread(candidates)
            self._blocks = round(float(candidates.weights.sum()))
        cells = candidates.chosen(max(self._most, 1))
        number = order[np.searchsorted(candidates.blocks, cells.blocks)]
        large = number[number >= len(tables)] - len(tables)
        # Of which huge or giant page each of these blocks is, among all of both.
        part = np.maximum(large - len(huge), 0)
        places = np.where(large < len(huge), large, len(huge) + part // ENTRIES)
        found = blocks[number]
        is_table = number < len(tables)
        return _Chosen(found[is_table], found[~is_table], places, cells)

    def addresses(self) -> dict[int, IntColumn]:
        """Return the addresses of the tables that the last look has read, by level."""
        numbers = range(self._tables.machine.levels, 1, -1)
        found = {n: each.addresses for n, each in zip(numbers, self._levels, strict=True)}
        return {**found, 1: self._chosen.tables}

    def _again(self) -> "_Found | None":
        """Read the tables of the last look; None unless those of higher levels are the same."""
        if self._read_again is None:
            return None
        (states, bits), count = self._read_again(), self._higher
        all_read = states.tobytes() == self._states
        higher = bits[:count].tobytes()
        if higher != self._bits:  # Else the same huge pages were accessed, too.
            if (bits[:count] & _SHAPE).tobytes() != self._shape:
                self._read_again = None
                return None
            self._bits = higher
            self._huge = [
                level.huge_pages(bits[rows])
                for level, rows in zip(self._levels, self._rows, strict=True)
            ]
        if not all_read and (states[:count] != _READ).any():
            self._read_again = None
            return None
        return self._huge, bits[count:].copy() if all_read and len(states) > count else None

    def _level_by_level(self) -> "_Found":
        """Read the tables of higher levels from the top down, and choose what is looked at."""
        addresses = _TOP
        levels, huge = [], []
        for number in range(self._tables.machine.levels, 1, -1):
            addresses, bits, _ = _read(self._tables, self._descriptor, number, addresses)
            level = _Level.of(number, addresses, bits)
            if self._ranges:
                level = level.overlapping(self._ranges, entry_bytes(number))
            if number == _HIGHEST_LEAF:
                level = self._some_units(level)
            levels.append(level)
            huge.append(level.huge_pages(bits))
            addresses = level.below
        self._chosen = self._choose(levels)
        self._keep(levels)
        return huge, None

    def _keep(self, levels: Sequence["_Level"]) -> None:
        """Make ready to read the same again."""
        ends = np.cumsum([len(each.addresses) for each in levels]).tolist()
        self._levels, self._higher = levels, ends[-1]
        self._rows = [slice(*each) for each in itertools.pairwise((0, *ends))]
        self._shape = b"".join(each.shape for each in levels)
        numbers = range(self._tables.machine.levels, 1, -1)
        parts = [(number, each.addresses) for number, each in zip(numbers, levels, strict=True)]
        total = self._higher + len(self._chosen.tables)
        if total <= WINDOW:  # All are read at once.
            parts.append((1, self._chosen.tables))
        else:
            total = self._higher
        self._bits = b""
        self._states = np.full(total, _READ, dtype=np.uint64).tobytes()
        self._read_again = self._tables.read_again(self._descriptor, parts)

    def _some_units(self, level: "_Level") -> "_Level":
        """Choose from what there is of 1 GiB, tables or pages, if it is too much."""
        units = np.sort(np.append(level.below, level.huge))
        most = max(self._most / _BLOCKS_A_UNIT, 1)
        if len(units) <= most:
            self._units = None
            return level
        self._units = Cells.alone(units, table_bytes(2)).chosen(most, _UNIT_SHIFT)
        below, huge = (np.isin(each, self._units.blocks) for each in (level.below, level.huge))
        return evolve(
            level, below=level.below[below], huge=level.huge[huge], places=level.places[huge]
        )


@frozen(eq=False)
class _Level:
    """What follows from the tables of a higher level.

    Attributes:
        addresses: The addresses of these tables.
        shape: The bits of their entries that say whether there is a table, a page or nothing.
        below: The addresses of the tables of the level below.
        huge: The addresses of huge pages.
        places: The number of the entry of each, among all entries.
    """

    addresses: IntColumn
    shape: bytes
    below: IntColumn
    huge: IntColumn
    places: IntColumn

    @classmethod
    def of(cls, level: int, addresses: IntColumn, bits: Bits) -> "_Level":
        flat = bits.reshape(-1)
        place = np.flatnonzero(flat & _PRESENT)
        found = flat[place]
        entries = addresses[place // ENTRIES] + place % ENTRIES * entry_bytes(level)
        shape = (bits & _SHAPE).tobytes()
        if level > _HIGHEST_LEAF:
            return cls(addresses, shape, entries, _NOTHING, _NOTHING)
        leaf = (found & Bit.LEAF.value) != 0
        own = leaf & ((found & Bit.SPECIAL.value) == 0)
        return cls(addresses, shape, entries[~leaf], entries[own], place[own])

    def overlapping(self, ranges: Sequence[Range], size_bytes: int) -> "_Level":
        """Return the level without what no part of is in a range; entries have a size."""
        below, huge = (_overlap(each, ranges, size_bytes) for each in (self.below, self.huge))
        return evolve(self, below=self.below[below], huge=self.huge[huge], places=self.places[huge])

    def huge_pages(self, bits: Bits) -> HugePages:
        """Return the huge pages and whether each was accessed."""
        if not len(self.places):
            return _NO_HUGE
        used = bits.reshape(-1)[self.places] & Bit.ACCESSED.value
        return HugePages(self.huge, used != 0)


@frozen(eq=False)
class _Chosen:
    """What is looked at.

    Attributes:
        tables: Addresses of the blocks whose tables are read.
        huge: Addresses of blocks that are huge pages, or parts of giant ones.
        places: The number of the page of each of these, among all huge and then giant ones.
        cells: What they all stand for; None if that is themselves.
    """

    tables: IntColumn
    huge: IntColumn = _NOTHING
    places: IntColumn = _NOTHING
    cells: Cells | None = None


#: The huge pages of each level above the last, from the top down, and the bits of the tables of the
#: last, if they were read together.
_Found = tuple[Sequence[HugePages], Bits | None]


def _overlap(
    addresses: IntColumn, ranges: Sequence[Range], size_bytes: int
) -> npt.NDArray[np.bool_]:
    """Return whether any part of each piece of memory of a size is in a range."""
    found = np.zeros(len(addresses), dtype=np.bool_)
    for low, high in ranges:
        found |= (addresses < high) & (addresses + size_bytes > low)
    return found


def _within(blocks: IntColumn, bits: Bits, ranges: Sequence[Range]) -> Bits:
    """Return the bits of blocks, nothing for pages outside ranges."""
    pages = blocks[:, np.newaxis] + np.arange(ENTRIES) * PAGE_SIZE_BYTES
    inside = np.zeros(pages.shape, dtype=np.bool_)
    for low, high in ranges:
        inside |= (pages >= low) & (pages < high)
    return np.where(inside, bits, np.uint8(0))


def look(tables: PageTables, descriptor: int) -> Look:
    """Look at a process once.

    Args:
        tables: What reads the tables.
        descriptor: The process's `/proc/PID/pagemap`, opened by this program.

    Raises:
        BpfError: The kernel refuses.
    """
    return Looks(tables, descriptor).look()


def _read(
    tables: PageTables, descriptor: int, level: int, addresses: IntColumn
) -> tuple[IntColumn, Bits, IntColumn]:
    """Return the tables that were read, and the addresses of those that aren't known.

    Those that are gone are in neither. Where the process changes its tables meanwhile they are read
    again.
    """
    states, bits = tables.read(descriptor, level, addresses)
    if np.count_nonzero(states == _READ) == len(states):
        return addresses, bits, _NOTHING
    for _ in range(_ATTEMPTS):
        again = np.flatnonzero(states >= State.CHANGED.value)
        if not len(again):
            break
        states[again], bits[again] = tables.read(descriptor, level, addresses[again])
    read = states == _READ
    return addresses[read], bits[read], addresses[states >= State.HUGE.value]


def resident(bits: Bits) -> npt.NDArray[np.bool_]:
    """Return which pages are in memory and the process's own."""
    own: npt.NDArray[np.bool_] = (bits & _RESIDENT) == Bit.PRESENT.value
    return own


def accessed(bits: Bits) -> npt.NDArray[np.bool_]:
    """Return which pages are in memory, the process's own, and were accessed."""
    wanted = (Bit.PRESENT | Bit.ACCESSED).value
    used: npt.NDArray[np.bool_] = (bits & (_RESIDENT | wanted)) == wanted
    return used
