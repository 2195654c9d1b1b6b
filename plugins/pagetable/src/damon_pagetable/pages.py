"""What is known of each page of a process: how soon after a clearing it was accessed, when last.

Pages are kept by blocks of 2 MiB, a row of 512 for each; a huge page is a row of equal values. For
each page there is one byte, its code: the smaller, the more recently the page was accessed.

- 0: it isn't in memory.
- 1 to 46: it was accessed since the clearing. The code is its period, see `damon_core.PageMap`.
- 47: it was accessed for the first time since the clearing, in an aggregation that isn't the first
  one after it; when that has ended it gets its period's code.
- 48: it has come into memory since the clearing and wasn't accessed yet.
- 49 to 255: it was accessed before. The code is the place of a time in a table, the latest first.
  With each clearing there is a new time; when the table is full two neighbouring times become one,
  those for which it makes the least difference by now. So what was accessed in the last 207
  aggregations is exact, and longer idle times are within an eighth.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import ABSENT, BLOCK_BYTES, CODES, PAGE_SIZE_BYTES, UNTOUCHED, Range, period_of
from damon_pagetable.choosing import Cells
from damon_pagetable.look import Look, accessed, resident
from damon_pagetable.machine import ENTRIES
from damon_pagetable.tables import Bits, IntColumn, table_bytes
from damon_pagetable.walking import Bit

GIANT_BLOCKS = table_bytes(2) // BLOCK_BYTES

#: The code of a page that is new and wasn't accessed.
FRESH = UNTOUCHED
#: The code of a page that was first accessed in the running aggregation, if that is a later one of
#: its epoch. Smaller ones are periods.
NEW = FRESH - 1
#: How many times of last accesses are kept.
_MOST_TIMES = CODES - FRESH - 1
#: How many blocks are worked on at once, so that what is in between stays in the caches.
_CHUNK = 128

ByteRows = npt.NDArray[np.uint8]
_Bools = npt.NDArray[np.bool_]


def touched(codes: ByteRows, up_to: int = FRESH - 1) -> _Bools:
    """Return which pages were accessed since the clearing, with a period up to a given one."""
    found: _Bools = codes - np.uint8(1) < np.uint8(min(up_to, FRESH - 1))
    return found


def code_of(us: float) -> int:
    """Return the code of pages that were accessed in some time after the clearing."""
    return min(max(period_of(round(us)), 1), NEW - 1)


def chunks(count: int, size: int = _CHUNK) -> Iterator[slice]:
    """Cut a number of rows into parts that fit into the caches."""
    return (slice(first, first + size) for first in range(0, count, size))


class PageCodes(NamedTuple):
    """Every page of a process at the end of an aggregation, while that is being made.

    Attributes:
        blocks: As in `damon_core.PageMap`; likewise the others.
        codes: The code of each page.
        code_idle_us: The idle time of each code.
        longest: The longest period of a page that was accessed in the aggregation.
        cells: What each block stands for; None if all blocks are known.
    """

    blocks: IntColumn
    codes: ByteRows
    code_idle_us: IntColumn
    longest: int
    cells: Cells | None = None


class Times:
    """Times of last accesses, the latest first: the table that codes point to.

    Each entry stands for one time, or for the times between two.
    """

    def __init__(self) -> None:
        self._latest: IntColumn = np.zeros(0, dtype=np.int64)
        self._earliest: IntColumn = np.zeros(0, dtype=np.int64)

    def values_us(self) -> IntColumn:
        """Return the time that each entry stands for."""
        middle: IntColumn = self._earliest + (self._latest - self._earliest) // 2
        return middle

    def add(self, now_us: int) -> int:
        """Begin the table with another time.

        Returns:
            How many entries have moved one place on because of it: all, or if there is no more
            room, those up to the first of the two that became one.
        """
        count = len(self._latest)
        if count == _MOST_TIMES:
            # How much longer the longest idle time of an entry is than its shortest.
            longest = (now_us - self._earliest[1:]).astype(np.float64)
            shortest = (now_us - self._latest[:-1]).astype(np.float64)
            count = int(np.argmin(longest / np.maximum(shortest, 1.0))) + 1
            self._latest = np.delete(self._latest, count)
            self._earliest = np.delete(self._earliest, count - 1)
        self._latest = np.insert(self._latest, 0, now_us)
        self._earliest = np.insert(self._earliest, 0, now_us)
        return count


class Pages:
    """Follows the pages of one process from look to look."""

    def __init__(self) -> None:
        self._blocks: IntColumn = np.zeros(0, dtype=np.int64)
        self._codes: ByteRows = np.zeros((0, ENTRIES), dtype=np.uint8)
        self._times = Times()
        self._rows: _Rows | None = None  # of the last look
        self._cells: Cells | None = None
        self._looked_us: int | None = None  # when there was a look since the clearing

    @property
    def blocks(self) -> IntColumn:
        """Addresses of the blocks, ascending."""
        return self._blocks

    @property
    def codes(self) -> ByteRows:
        """The codes of their pages."""
        return self._codes

    def count(self, least: int, most: int) -> int:
        """Return how many pages have codes from `least` to `most`."""
        return sum(
            int(np.count_nonzero(self._codes[rows] - np.uint8(least) <= np.uint8(most - least)))
            for rows in chunks(len(self._codes))
        )

    def settle(self, code: int) -> None:
        """End an aggregation: give pages that were new in it the code of a period."""
        for rows in chunks(len(self._codes)):
            codes = self._codes[rows]
            codes ^= (codes == NEW).view(np.uint8) * np.uint8(NEW ^ code)

    def recode(self, addresses: Range, least: int, most: int, code: int) -> int:
        """Give pages another code.

        Args:
            addresses: Where they are.
            least: They have at least this code.
            most: They have at most this code.
            code: The other code.

        Returns:
            Their number.
        """
        count = 0
        for rows, pages in self._parts(addresses):
            part = self._codes[rows, pages]
            wanted = part - np.uint8(least) <= np.uint8(most - least)
            count += int(np.count_nonzero(wanted))
            np.copyto(part, np.uint8(code), where=wanted)
        return count

    def places(self, addresses: Range, code: int) -> tuple[int, int] | None:
        """Return the addresses of the first and the last page with a code in a range."""
        found: list[int] = []
        for rows, pages in self._parts(addresses):
            at = np.flatnonzero(self._codes[rows, pages] == code)
            if len(at):
                begin = int(self._blocks[rows.start]) + pages.start * PAGE_SIZE_BYTES
                found += (begin + int(each) * PAGE_SIZE_BYTES for each in (at[0], at[-1]))
        return (found[0], found[-1]) if found else None

    def _parts(self, addresses: Range) -> Iterator[tuple[slice, slice]]:
        """Cut the pages in a range into rectangles of rows and pages."""
        first = int(np.searchsorted(self._blocks, addresses.start, side="right")) - 1
        last = int(np.searchsorted(self._blocks, addresses.end))
        for row in range(max(first, 0), last):
            begin, end = (
                min(max((each - int(self._blocks[row])) // PAGE_SIZE_BYTES, 0), ENTRIES)
                for each in addresses
            )
            if begin < end:
                yield slice(row, row + 1), slice(begin, end)

    def cool(self, ranges: Sequence[Range], most: int, since_us: int) -> int:
        """Note that pages have been idle, though they were accessed in this epoch.

        Args:
            ranges: Where they are.
            most: They have at most this code.
            since_us: Since when; not before the clearing.

        Returns:
            Their number.
        """
        last = np.uint8(FRESH + self._times.add(since_us))
        for rows in chunks(len(self._codes)):
            codes = self._codes[rows]
            codes += (codes > FRESH) & (codes <= last)
        return sum(self.recode(each, 1, most, FRESH + 1) for each in ranges)

    def clear(self) -> None:
        """Begin anew: the accessed bits of the process have been cleared."""
        if self._looked_us is None:
            return
        # All that is new and that was accessed gets the new time's code.
        last = np.uint8(FRESH + self._times.add(self._looked_us))
        for rows in chunks(len(self._codes)):
            codes = self._codes[rows]
            moves = (codes <= last) & (codes != ABSENT)
            _put(codes, FRESH, touched(codes))
            codes += moves.view(np.uint8)
        self._looked_us = None

    def add(self, look: Look, elapsed_us: int, now_us: int, *, later: bool = False) -> int:
        """Add what a look found.

        Args:
            look: The look.
            elapsed_us: The time since the clearing.
            now_us: The time of the clock.
            later: Whether the aggregation isn't the first one after the clearing.

        Returns:
            The number of pages found accessed for the first time since the clearing; a huge page
            counts as one.
        """
        self._looked_us, self._cells = now_us, look.cells
        period = NEW if later else code_of(elapsed_us)
        rows, same = self._rows, True
        if rows is None or not rows.is_of(look):
            rows, same = self._follow(look), False
        count = 0
        for part in chunks(len(look.bits)):
            _, found = self._note(rows.small[part], look.bits[part], period)
            count += found
        if not len(rows.large):
            return count
        used = np.concatenate((look.huge.accessed, look.giant.accessed.repeat(GIANT_BLOCKS)))
        if same:  # The pages of each have one code.
            new = used & ~touched(self._codes[rows.large, 0])
            self._codes[rows.large[new]] = period
            return count + int(np.count_nonzero(new))
        bits = (used * np.uint8(Bit.ACCESSED) | np.uint8(Bit.PRESENT))[:, np.newaxis]
        for part in chunks(len(bits)):
            found, _ = self._note(rows.large[part], bits[part], period)
            count += found
        return count

    def _note(self, at: IntColumn, bits: Bits, period: int) -> tuple[int, int]:
        """Note what was found in some blocks.

        Returns:
            In how many of them the first page was accessed for the first time since the clearing,
            and how many pages.
        """
        together = int(at[-1]) - int(at[0]) + 1 == len(at)
        codes = self._codes[at[0] : at[-1] + 1] if together else self._codes[at]
        there = resident(bits)
        new = accessed(bits) & ~touched(codes)
        _put(codes, period, new)
        _put(codes, FRESH, codes == ABSENT)
        codes *= there.view(np.uint8)
        if not together:
            self._codes[at] = codes
        return int(np.count_nonzero(new[:, 0])), int(np.count_nonzero(new))

    def touched_share(self) -> float:
        """Return the share of what is in memory that was accessed since the clearing."""
        used = there = 0
        for rows in chunks(len(self._codes)):
            codes = self._codes[rows]
            used += int(np.count_nonzero(touched(codes)))
            there += int(np.count_nonzero(codes))
        return used / max(there, 1)

    def found(
        self, elapsed_us: int, now_us: int, *, longest: int | None = None, new: int = NEW
    ) -> PageCodes:
        """Return what is known at the end of an aggregation.

        Args:
            elapsed_us: The time from the clearing to the last look.
            now_us: The time of the clock.
            longest: The longest period of a page that was touched in the aggregation; that of the
                elapsed time if it is None.
            new: The period that pages get that are new in the aggregation.
        """
        untouched = code_of(elapsed_us) + 1
        longest = untouched - 1 if longest is None else longest
        idle_us = np.zeros(CODES, dtype=np.int64)
        latest_us = now_us if self._looked_us is None else self._looked_us
        times = np.append(latest_us, self._times.values_us())
        known = np.maximum(now_us - times, 0)
        idle_us[FRESH : FRESH + len(known)] = known
        idle_us[FRESH + len(known) :] = known[-1]
        codes = self._codes.copy()
        if new != NEW:
            for rows in chunks(len(codes)):
                part = codes[rows]
                part ^= (part == NEW).view(np.uint8) * np.uint8(NEW ^ new)
        cells = None if self._cells is None else self._cells.at(self._blocks)
        return PageCodes(self._blocks, codes, idle_us, longest, cells)

    def _follow(self, look: Look) -> "_Rows":
        """Let the rows be those of a look's blocks, and of missed ones that are known."""
        parts = look.giant.addresses[:, np.newaxis] + np.arange(GIANT_BLOCKS) * BLOCK_BYTES
        huge, blocks = np.concatenate((look.huge.addresses, parts.ravel())), look.blocks
        if len(huge):
            blocks = np.sort(np.concatenate((blocks, huge)), kind="stable")
        if len(look.missed):
            blocks = np.union1d(blocks, look.missed[np.isin(look.missed, self._blocks)])
        if not np.array_equal(blocks, self._blocks):
            at = np.searchsorted(self._blocks, blocks)
            old = np.flatnonzero(np.append(self._blocks, -1)[at] == blocks)
            codes = np.zeros((len(blocks), ENTRIES), dtype=np.uint8)
            for part in chunks(len(old)):
                codes[old[part]] = self._codes[at[old[part]]]
            self._blocks, self._codes = blocks, codes
        small, large = np.searchsorted(blocks, look.blocks), np.searchsorted(blocks, huge)
        self._rows = _Rows(look.blocks, look.huge.addresses, look.giant.addresses, small, large)
        return self._rows


@frozen(eq=False)
class _Rows:
    """Which rows are those of a look.

    Attributes:
        blocks: The addresses of its blocks.
        huge: The addresses of its huge pages.
        giant: The addresses of its giant pages.
        small: The rows of its blocks.
        large: The rows of its huge pages, and of the blocks of giant ones.
    """

    blocks: IntColumn
    huge: IntColumn
    giant: IntColumn
    small: IntColumn
    large: IntColumn

    def is_of(self, look: Look) -> bool:
        """Return whether they are those of another look, too: looks share what hasn't changed."""
        return (
            look.blocks is self.blocks
            and look.huge.addresses is self.huge
            and look.giant.addresses is self.giant
            and not len(look.missed)
        )


def _put(codes: ByteRows, code: int, where: _Bools) -> None:
    """Set some codes; without choices by page, which would take ten times as long."""
    codes ^= (codes ^ np.uint8(code)) & np.negative(where.view(np.uint8))
