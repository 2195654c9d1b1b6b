"""A look at all page tables of a process: which pages are in memory, and which were accessed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable.tables import Bits, IntColumn, PageTables, entry_bytes
from damon_pagetable.walking import Bit, State

#: Tables of these levels and below may have huge pages instead of tables.
_HIGHEST_LEAF = 3
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
        missed: How many tables are unknown, because the process changed them meanwhile.
    """

    blocks: IntColumn
    bits: Bits
    huge: HugePages
    giant: HugePages
    missed: int


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
    missed = 0
    for level in range(tables.machine.levels, 1, -1):
        addresses, bits, unknown = _read(tables, descriptor, level, addresses)
        missed += unknown
        row, entry = np.nonzero(bits & Bit.PRESENT.value)
        found = bits[row, entry]
        addresses = addresses[row] + entry * entry_bytes(level)
        if level <= _HIGHEST_LEAF:
            leaf = (found & Bit.LEAF.value) != 0
            own = leaf & ((found & Bit.SPECIAL.value) == 0)
            accessed = (found[own] & Bit.ACCESSED.value) != 0
            leaves[level] = HugePages(addresses[own], accessed)
            addresses = addresses[~leaf]
    blocks, bits, unknown = _read(tables, descriptor, 1, addresses)
    return Look(blocks, bits, leaves[2], leaves[3], missed + unknown)


def _read(
    tables: PageTables, descriptor: int, level: int, addresses: IntColumn
) -> tuple[IntColumn, Bits, int]:
    """Return the tables that were read, and how many aren't known; not those that are gone."""
    states, bits = tables.read(descriptor, level, addresses)
    read = states == State.READ.value
    if read.all():
        return addresses, bits, 0
    unknown = np.count_nonzero(states != State.ABSENT.value) - np.count_nonzero(read)
    return addresses[read], bits[read], int(unknown)


def resident(bits: Bits) -> npt.NDArray[np.bool_]:
    """Return which pages are in memory and the process's own."""
    own: npt.NDArray[np.bool_] = (bits & _RESIDENT) == Bit.PRESENT.value
    return own


def accessed(bits: Bits) -> npt.NDArray[np.bool_]:
    """Return which pages are in memory, the process's own, and were accessed."""
    wanted = (Bit.PRESENT | Bit.ACCESSED).value
    used: npt.NDArray[np.bool_] = (bits & (_RESIDENT | wanted)) == wanted
    return used
