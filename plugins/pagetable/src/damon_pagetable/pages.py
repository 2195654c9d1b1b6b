"""What is known of each page of a process: how soon after a clearing it was accessed, when last.

Pages are kept by blocks of 2 MiB, a row of 512 for each; a huge page is a row of equal values. For
each page there are five bytes, and those of memory that isn't there are dropped.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable.look import Look, accessed, resident
from damon_pagetable.machine import ENTRIES
from damon_pagetable.tables import IntColumn, table_bytes

PAGE_BYTES = 4096
BLOCK_BYTES = table_bytes(1)
GIANT_BLOCKS = table_bytes(2) // BLOCK_BYTES

#: Times are kept in units of this, for 17 years.
TICK_US = 1 << 17
#: Periods are numbers of microseconds, as their logarithm to base 2, rounded up. This one stands
#: for a page that wasn't accessed yet.
NOT_YET = 0xFF
#: The period of a page that isn't in memory.
ABSENT = 0

ByteRows = npt.NDArray[np.uint8]
BoolRows = npt.NDArray[np.bool_]
TickRows = npt.NDArray[np.uint32]


def period_of(us: int) -> int:
    """Return the logarithm to base 2 of a time above 0, rounded up."""
    return max(us - 1, 0).bit_length()


#: The period of a page by how long it has been idle, in ticks; longer idle times count as the last.
_PERIODS = np.array([period_of(max(ticks, 1) * TICK_US) for ticks in range(1 << 16)], np.uint8)


class PageMap(NamedTuple):
    """Every page of a process at the end of an aggregation.

    Attributes:
        blocks: Addresses of blocks of 2 MiB, ascending.
        periods: For each page of each block how long it takes until it is accessed, as the
            logarithm to base 2 of microseconds, rounded up: the time from the clearing to the first
            look that found it accessed, or if none did, the time since it was last accessed, which
            is always more. 0 if it isn't in memory.
        seen: When each page was last accessed, in units of `TICK_US`; 0 if it isn't in memory.
        longest: The longest period of a page that was touched in the aggregation: all others have
            longer ones.
    """

    blocks: IntColumn
    periods: ByteRows
    seen: TickRows
    longest: int

    def bytes_by_period(self) -> IntColumn:
        """Return how much memory has each period, by the period: a spectrum of rates of use.

        The sum up to a period is what is accessed at least that often.
        """
        pages = np.bincount(self.periods.ravel(), minlength=ABSENT + 1)
        pages[ABSENT] = 0
        return pages * PAGE_BYTES


class Pages:
    """Follows the pages of one process from look to look."""

    def __init__(self) -> None:
        self._blocks: IntColumn = np.zeros(0, dtype=np.int64)
        self._resident: BoolRows = np.zeros((0, ENTRIES), dtype=np.bool_)
        self._first: ByteRows = np.zeros((0, ENTRIES), dtype=np.uint8)
        self._seen: TickRows = np.zeros((0, ENTRIES), dtype=np.uint32)

    def clear(self) -> None:
        """Begin anew: the accessed bits of the process have been cleared."""
        self._first.fill(NOT_YET)

    def add(self, look: Look, elapsed_us: int, now_us: int) -> int:
        """Add what a look found.

        Args:
            look: The look.
            elapsed_us: The time since the clearing.
            now_us: The time of the clock.

        Returns:
            The number of pages found accessed for the first time since the clearing; a huge page
            counts as one.
        """
        now = np.uint32(now_us // TICK_US + 1)
        rows = _Rows.of(look)
        self._follow(rows.blocks, look.missed, now)
        if len(rows.blocks) == len(self._blocks):
            self._resident, used = rows.resident, rows.used
        else:  # Some tables couldn't be read: what is known of their pages stays.
            at = np.searchsorted(self._blocks, rows.blocks)
            self._resident[at] = rows.resident
            used = np.zeros_like(self._resident)
            used[at] = rows.used
        new = used & (self._first == NOT_YET)
        np.copyto(self._first, np.uint8(period_of(elapsed_us)), where=new)
        np.copyto(self._seen, now, where=new)
        huge = rows.huge_blocks
        if not len(huge):
            return int(np.count_nonzero(new))
        of_huge = new[np.searchsorted(self._blocks, huge)]
        return int(np.count_nonzero(new) - np.count_nonzero(of_huge[:, 1:]))

    def touched_share(self) -> float:
        """Return the share of what is in memory that was accessed since the clearing."""
        touched = int(np.count_nonzero((self._first != NOT_YET) & self._resident))
        return touched / max(int(np.count_nonzero(self._resident)), 1)

    def map(self, elapsed_us: int, now_us: int) -> PageMap:
        """Return what is known at the end of an aggregation.

        Args:
            elapsed_us: The time from the clearing to the last look.
            now_us: The time of the clock.
        """
        now = np.uint32(now_us // TICK_US + 1)
        idle = np.minimum(now - self._seen, np.uint32(len(_PERIODS) - 1)).astype(np.uint16)
        untouched = self._first == NOT_YET
        longest = period_of(elapsed_us)
        table = np.maximum(_PERIODS, np.uint8(longest + 1))
        periods = np.where(untouched, table[idle], self._first)
        periods *= self._resident
        return PageMap(self._blocks, periods, self._seen * self._resident, longest)

    def _follow(self, blocks: IntColumn, missed: IntColumn, now: np.uint32) -> None:
        """Let the rows be those of the given blocks, and of missed ones that are known."""
        if len(missed):
            blocks = np.union1d(blocks, missed[np.isin(missed, self._blocks)])
        if np.array_equal(blocks, self._blocks):
            return
        known = self._blocks
        at = np.searchsorted(known, blocks)
        old = np.flatnonzero(np.append(known, -1)[at] == blocks)
        first = np.full((len(blocks), ENTRIES), NOT_YET, dtype=np.uint8)
        seen = np.full((len(blocks), ENTRIES), now, dtype=np.uint32)
        stays = np.zeros((len(blocks), ENTRIES), dtype=np.bool_)
        first[old], seen[old] = self._first[at[old]], self._seen[at[old]]
        stays[old] = self._resident[at[old]]
        self._blocks, self._resident, self._first, self._seen = blocks, stays, first, seen


class _Rows(NamedTuple):
    """The pages of a look by blocks.

    Attributes:
        blocks: Addresses of blocks of 2 MiB, ascending.
        resident: Which pages are in memory.
        used: Which of them were accessed.
        huge_blocks: Addresses of those blocks that are huge pages.
    """

    blocks: IntColumn
    resident: BoolRows
    used: BoolRows
    huge_blocks: IntColumn

    @classmethod
    def of(cls, look: Look) -> "_Rows":
        parts = look.giant.addresses[:, np.newaxis] + np.arange(GIANT_BLOCKS) * BLOCK_BYTES
        huge = np.concatenate((look.huge.addresses, parts.ravel()))
        if not len(huge):
            return cls(look.blocks, resident(look.bits), accessed(look.bits), huge)
        used = np.concatenate((look.huge.accessed, look.giant.accessed.repeat(GIANT_BLOCKS)))
        blocks = np.concatenate((look.blocks, huge))
        order = np.argsort(blocks, kind="stable")
        small, large = resident(look.bits), np.ones((len(huge), ENTRIES), dtype=np.bool_)
        return cls(
            blocks[order],
            np.concatenate((small, large))[order],
            np.concatenate((accessed(look.bits), used[:, np.newaxis] & large))[order],
            huge,
        )
