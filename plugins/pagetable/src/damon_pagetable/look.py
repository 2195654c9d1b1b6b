"""A look at all page tables of a process: which pages are in memory, and which were accessed."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_pagetable.machine import ENTRIES
from damon_pagetable.tables import Bits, IntColumn, PageTables, Tables, entry_bytes
from damon_pagetable.walking import Bit, State

#: Tables of these levels and below may have huge pages instead of tables.
_HIGHEST_LEAF = 3
#: How often a table that changes is read once more.
_ATTEMPTS = 2
_PRESENT, _READ = Bit.PRESENT.value, State.READ.value
_NOTHING: IntColumn = np.zeros(0, dtype=np.int64)
#: A page is the process's own memory if it has the first of these bits and not the second.
_RESIDENT = (Bit.PRESENT | Bit.SPECIAL).value
_SHAPE = np.uint8((Bit.PRESENT | Bit.SPECIAL | Bit.LEAF).value)
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
    """

    blocks: IntColumn
    bits: Bits
    huge: HugePages
    giant: HugePages
    missed: IntColumn


class Looks:
    """Looks at one process again and again.

    What the higher levels look like seldom changes. So what follows from it is kept, and used as
    long as the same is read.

    Args:
        tables: What reads the tables.
        descriptor: The process's `/proc/PID/pagemap`, opened by this program.
    """

    def __init__(self, tables: PageTables, descriptor: int) -> None:
        self._tables = tables
        self._descriptor = descriptor
        self._levels: Sequence[_Level] = ()
        self._rows: Sequence[slice] = ()
        self._states = self._shape = b""
        self._read_again: Callable[[], Tables] | None = None

    def look(self) -> Look:
        """Look at the process.

        Raises:
            BpfError: The kernel refuses.
        """
        levels, huge = self._again() or self._level_by_level()
        below = levels[-1].below
        blocks, bits, missed = _read(self._tables, self._descriptor, 1, below)
        return Look(blocks, bits, huge[-1], huge[-2], missed)

    def addresses(self) -> dict[int, IntColumn]:
        """Return the addresses of the tables that the last look has read, by level."""
        numbers = range(self._tables.machine.levels, 1, -1)
        found = {n: each.addresses for n, each in zip(numbers, self._levels, strict=True)}
        return {**found, 1: self._levels[-1].below}

    def _again(self) -> "_Higher | None":
        """Read the tables of higher levels of the last look; None unless they are the same."""
        if self._read_again is None:
            return None
        states, bits = self._read_again()
        if states.tobytes() != self._states or (bits & _SHAPE).tobytes() != self._shape:
            self._read_again = None
            return None
        huge = [
            level.huge_pages(bits[rows])
            for level, rows in zip(self._levels, self._rows, strict=True)
        ]
        return self._levels, huge

    def _level_by_level(self) -> "_Higher":
        """Read the tables of higher levels from the top down."""
        addresses = _TOP
        levels, huge = [], []
        for number in range(self._tables.machine.levels, 1, -1):
            addresses, bits, _ = _read(self._tables, self._descriptor, number, addresses)
            level = _Level.of(number, addresses, bits)
            levels.append(level)
            huge.append(level.huge_pages(bits))
            addresses = level.below
        self._keep(levels)
        return levels, huge

    def _keep(self, levels: Sequence["_Level"]) -> None:
        """Make ready to read the same again."""
        ends = np.cumsum([len(each.addresses) for each in levels]).tolist()
        self._rows = [slice(*each) for each in itertools.pairwise((0, *ends))]
        self._states = np.full(ends[-1], _READ, dtype=np.uint64).tobytes()
        self._shape = b"".join(each.shape for each in levels)
        numbers = range(self._tables.machine.levels, 1, -1)
        parts = [(number, each.addresses) for number, each in zip(numbers, levels, strict=True)]
        self._read_again = self._tables.read_again(self._descriptor, parts)
        self._levels = levels


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

    def huge_pages(self, bits: Bits) -> HugePages:
        """Return the huge pages and whether each was accessed."""
        if not len(self.places):
            return _NO_HUGE
        used = bits.reshape(-1)[self.places] & Bit.ACCESSED.value
        return HugePages(self.huge, used != 0)


#: Levels above the last, from the top down, and the huge pages of each.
_Higher = tuple[Sequence[_Level], Sequence[HugePages]]


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
