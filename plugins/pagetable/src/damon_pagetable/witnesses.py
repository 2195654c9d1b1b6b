"""Witnesses: pages by which is known whether memory is still used, though its bits are set.

In a later aggregation of an epoch nothing new is seen of a page that was accessed in an earlier
one: its bit is set. So at the beginning of the aggregation the bits of a few such pages are
cleared, and at its end it is known which of them were accessed. What is set is divided into cells,
in the order of addresses, and each cell has some witnesses, other ones each time.

- Hot cells, of pages that were accessed in the first aggregation of the epoch. If none of the
  witnesses comes back, though at their rates that is very improbable, the cell is cold.
- Cells of pages that were first accessed in the aggregation before, and of pages that were first
  accessed in one between. If all witnesses come back, though pages that are as slow as these seemed
  rarely do, the cell is hot.

Both are mistaken now and then, where accesses are rare. Cold cells are cleared, so that the next
look shows it.
"""

import enum
import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field, frozen
from damon_vaddr import Mapped

from damon_core import PAGE_SIZE_BYTES, Range, Regions
from damon_pagetable.advice import Adviser, are_small_and_own
from damon_pagetable.look import Look
from damon_pagetable.machine import ENTRIES
from damon_pagetable.pages import FRESH, NEW, Pages, chunks
from damon_pagetable.tables import IntColumn
from damon_pagetable.walking import Bit

#: How many witnesses a cell has.
_EACH = 4
#: So long takes the checking and clearing of the witnesses of a cell, in microseconds; and the part
#: of an aggregation that may go into it.
_CELL_US = 60
_SHARE = 1 / 1_000
_LEAST_CELLS, _MOST_CELLS = 4, 32
#: A cell is cold if its witnesses stay away where the probability of that is exp(-3), and hot if
#: they come back against exp(-2.3).
_COLD_EVIDENCE = 3.0
_HOT_EVIDENCE = 2.3
#: When a page that was first found between two looks was accessed, by the time of the second.
_MIDDLE = 0.75


class Kind(enum.Enum):
    """What a cell consists of."""

    HOT = enum.auto()
    RECENT = enum.auto()
    SLOW = enum.auto()


@frozen
class Cell:
    """Pages that witnesses stand for.

    Attributes:
        kind: What they are.
        addresses: Where they are.
        witnesses: The places of its witnesses in the columns.
    """

    kind: Kind
    addresses: Range
    witnesses: slice


@define(eq=False)
class Shares:
    """Which share of the witnesses of each cell came back. Cells have equal parts of the pages."""

    of_cells: list[float] = field(factory=list)

    @property
    def mean(self) -> float:
        """The mean; half if there are no cells."""
        return sum(self.of_cells) / len(self.of_cells) if self.of_cells else 0.5

    @property
    def error(self) -> float:
        """The standard error of the mean, at least that of half a witness cell."""
        mean, count = self.mean, max(len(self.of_cells), 1)
        squares = sum((each - mean) ** 2 for each in self.of_cells)
        return math.sqrt(squares + 0.25) / count


@define(eq=False)
class Verdict:
    """What the witnesses of an aggregation say.

    Attributes:
        cold: Where pages that were hot are cold.
        hot: Where pages that seemed slow are hot.
        shares: The witnesses of each kind of pages.
    """

    cold: list[Range] = field(factory=list)
    hot: list[Range] = field(factory=list)
    shares: dict[Kind, Shares] = field(factory=lambda: {kind: Shares() for kind in Kind})


class Witnesses:
    """The witnesses of one process in one aggregation.

    Attributes:
        addresses: Where they are.
        returned: Which of them were accessed again.
        held_us: How long the process's memory map was locked, in microseconds.
    """

    def __init__(self, cells: list[Cell], addresses: IntColumn, periods_us: IntColumn) -> None:
        self.addresses = addresses
        self.returned = np.zeros(len(addresses), dtype=np.bool_)
        self.held_us = 0
        self._cells = cells
        self._periods_us = periods_us

    def __len__(self) -> int:
        return len(self.addresses)

    def of(self, kept: npt.NDArray[np.bool_]) -> "Witnesses":
        """Return those that are kept, with the cells that have any."""
        before = np.append(0, np.cumsum(kept))
        cells = []
        for cell in self._cells:
            first, last = before[cell.witnesses.start], before[cell.witnesses.stop]
            if first < last:
                cells.append(evolve(cell, witnesses=slice(int(first), int(last))))
        return Witnesses(cells, self.addresses[kept], self._periods_us[kept])

    def look(self, look: Look) -> int:
        """Use a look; return how many have come back since the last one."""
        if not len(look.blocks):
            return 0
        before = int(np.count_nonzero(self.returned))
        block = np.searchsorted(look.blocks, self.addresses, side="right") - 1
        page = (self.addresses - look.blocks[block]) // PAGE_SIZE_BYTES
        known = (block >= 0) & (page < ENTRIES)
        bits = look.bits[block[known], page[known]]
        self.returned[known] |= (bits & Bit.ACCESSED.value) != 0
        return int(np.count_nonzero(self.returned)) - before

    def verdict(self, elapsed_us: int) -> Verdict:
        """Return what they say of an aggregation of some length."""
        found = Verdict()
        for cell in self._cells:
            returned = self.returned[cell.witnesses]
            accesses = elapsed_us / (_MIDDLE * self._periods_us[cell.witnesses])
            found.shares[cell.kind].of_cells.append(float(returned.mean()))
            if cell.kind is Kind.HOT:
                if not returned.any() and accesses.sum() >= _COLD_EVIDENCE:
                    found.cold.append(cell.addresses)
            elif returned.all() and -np.log1p(-np.exp(-accesses)).sum() >= _HOT_EVIDENCE:
                found.hot.append(cell.addresses)
        return found


def choose(
    pages: Pages,
    usable: Mapped,
    regions: Regions,
    *,
    longest: int,
    recent_us: int,
    interval_us: int,
    rng: np.random.Generator,
) -> Witnesses:
    """Return witnesses for the aggregation that begins.

    Args:
        pages: The pages, with those still `NEW` that were new in the last aggregation.
        usable: The private anonymous memory.
        regions: The regions of the last aggregation: no cell is in two.
        longest: The longest period of pages that count as hot.
        recent_us: How long after the clearing the new ones were found.
        interval_us: The aggregation interval.
        rng: Chooses.
    """
    most = min(max(int(interval_us * _SHARE / _CELL_US), _LEAST_CELLS), _MOST_CELLS)
    cells: list[Cell] = []
    addresses: list[int] = []
    periods_us: list[int] = []
    kinds = (
        (Kind.HOT, 1, longest, most),
        (Kind.RECENT, NEW, NEW, most // 2),
        (Kind.SLOW, longest + 1, NEW - 1, most // 4),
    )
    for kind, least, greatest, count in kinds:
        ranks = _Ranks(pages, least, greatest)
        for begin, end in _parts(ranks.count, count):
            rank = int(rng.integers(begin, max(end - _EACH, begin) + 1))
            found = ranks.from_rank(rank, min(_EACH, end - rank))
            whole = Range(ranks.address(begin), ranks.address(end - 1) + PAGE_SIZE_BYTES)
            within = _within(whole, found[0][0], usable, regions)
            found = [(each, code) for each, code in found if within.start <= each < within.end]
            if not found:
                continue
            first = len(addresses)
            addresses += [each for each, _ in found]
            periods_us += [recent_us if code == NEW else 1 << code for _, code in found]
            cells.append(Cell(kind, within, slice(first, len(addresses))))
    return Witnesses(cells, np.array(addresses, np.int64), np.array(periods_us, np.int64))


def clear(witnesses: Witnesses, pidfd: int, pagemap: int, adviser: Adviser) -> Witnesses:
    """Clear the bits of witnesses; return those of which they were cleared."""
    suited = are_small_and_own(pagemap, witnesses.addresses)
    ranges = [
        Range(address, address + PAGE_SIZE_BYTES)
        for address, is_suited in zip(witnesses.addresses.tolist(), suited, strict=True)
        if is_suited
    ]
    begun_ns = time.thread_time_ns()
    cleared = adviser.cold(pidfd, ranges) // PAGE_SIZE_BYTES
    held_us = (time.thread_time_ns() - begun_ns) // 1_000
    kept = np.array(suited, dtype=np.bool_)
    kept[np.flatnonzero(kept)[cleared:]] = False
    left = witnesses.of(kept)
    left.held_us = held_us
    return left


def clear_cold(addresses: Range, pages: Pages, pidfd: int, pagemap: int, adviser: Adviser) -> None:
    """Clear the bits of pages that have turned out to be cold.

    Larger pages that a range has as a whole aren't split, so only both its ends have to be small.

    Args:
        addresses: Where they are, beside others.
        pages: The pages; cold ones have the latest time.
        pidfd: The process.
        pagemap: Its open pagemap.
        adviser: Gives the advice.
    """
    found = pages.places(addresses, FRESH + 1)
    if found is not None and all(are_small_and_own(pagemap, np.array(found))):
        adviser.cold(pidfd, [Range(found[0], found[1] + PAGE_SIZE_BYTES)])


class _Ranks:
    """Pages with some codes by their rank, in the order of addresses."""

    def __init__(self, pages: Pages, least: int, most: int) -> None:
        self._pages, self._least, self._most = pages, np.uint8(least), np.uint8(most - least)
        counts = [self._wanted(rows) for rows in chunks(len(pages.codes))]
        by_row = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)
        self._up_to = by_row.cumsum()
        self.count = int(self._up_to[-1]) if len(by_row) else 0

    def _wanted(self, rows: slice) -> IntColumn:
        """Return how many pages of some rows have the codes."""
        wanted = self._pages.codes[rows] - self._least <= self._most
        # Eight pages at once: a row has 64 of these, so that no sum is above 255.
        sums = wanted.view(np.uint64).sum(axis=1)
        found: IntColumn = sums.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
        return found

    def from_rank(self, rank: int, count: int) -> list[tuple[int, int]]:
        """Return the addresses and codes of the page of a rank and of the next ones.

        Where its block hasn't as many, there are some from before it.
        """
        row = int(np.searchsorted(self._up_to, rank, side="right"))
        inside = rank - int(self._up_to[row - 1] if row else 0)
        codes = self._pages.codes[row]
        wanted = codes - self._least <= self._most
        places = np.flatnonzero(wanted)
        inside = max(min(inside, len(places) - count), 0)
        found = places[inside : inside + count]
        block = int(self._pages.blocks[row])
        return [
            (block + page * PAGE_SIZE_BYTES, code)
            for page, code in zip(found.tolist(), codes[found].tolist(), strict=True)
        ]

    def address(self, rank: int) -> int:
        """Return the address of the page of a rank."""
        return self.from_rank(rank, 1)[0][0]


def _parts(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut a number of ranks into parts: the first of each, and the first after it."""
    if not count:
        return
    number = min(count, most)
    for part in range(number):
        yield count * part // number, count * (part + 1) // number


def _within(whole: Range, address: int, usable: Mapped, regions: Regions) -> Range:
    """Return the part of a range that is in the mapping and the region of an address; or nothing.

    Where the address is in no region, as in new memory, only the mapping counts.
    """
    place = np.array([address])
    mapping = int(usable.holding(place)[0])
    if mapping < 0:
        return Range(address, address)
    start = max(whole.start, int(usable.start[mapping]))
    end = min(whole.end, int(usable.end[mapping]))
    region = int(regions.holding(place)[0])
    if region >= 0:
        start = max(start, int(regions.start[region]))
        end = min(end, int(regions.end[region]))
    return Range(start, end)
