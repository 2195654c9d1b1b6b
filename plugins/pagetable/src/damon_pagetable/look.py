"""A look at all page tables of a process: which pages are in memory, and which were accessed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable.machine import ENTRIES
from damon_pagetable.tables import Bits, IntColumn, PageTables, entry_bytes
from damon_pagetable.walking import Bit, State

#: Tables of these levels and below may have huge pages instead of tables.
_HIGHEST_LEAF = 3
#: How often a table that changes is read once more.
_ATTEMPTS = 2
_PRESENT, _READ = Bit.PRESENT.value, State.READ.value
_NOTHING: IntColumn = np.zeros(0, dtype=np.int64)
#: A page is the process's own memory if it has the first of these bits and not the second.
_RESIDENT = (Bit.PRESENT | Bit.SPECIAL).value


class HugePages(NamedTuple):
    """Huge pages of one size.

    Attributes:
        addresses: Their addresses, ascending.
        accessed: Whether each was accessed.
    """

    addresses: IntColumn
    accessed: npt.NDArray[np.bool_]


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


def look(tables: PageTables, descriptor: int) -> Look:
    """Look at a process.

    Args:
        tables: What reads the tables.
        descriptor: The process's `/proc/PID/pagemap`, opened by this program.

    Raises:
        BpfError: The kernel refuses.
    """
    addresses: IntColumn = np.zeros(1, dtype=np.int64)
    leaves: dict[int, HugePages] = {}
    for level in range(tables.machine.levels, 1, -1):
        addresses, bits, _ = _read(tables, descriptor, level, addresses)
        place = (bits & _PRESENT).ravel().nonzero()[0]
        found = bits.ravel()[place]
        addresses = addresses[place // ENTRIES] + place % ENTRIES * entry_bytes(level)
        if level <= _HIGHEST_LEAF:
            leaf = (found & Bit.LEAF.value) != 0
            own = leaf & ((found & Bit.SPECIAL.value) == 0)
            accessed = (found[own] & Bit.ACCESSED.value) != 0
            leaves[level] = HugePages(addresses[own], accessed)
            addresses = addresses[~leaf]
    blocks, bits, missed = _read(tables, descriptor, 1, addresses)
    return Look(blocks, bits, leaves[2], leaves[3], missed)


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
