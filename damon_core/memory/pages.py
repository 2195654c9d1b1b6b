"""Every page of a target: how soon after a clearing it was accessed, or for how long it is idle."""

from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core.errors import AttributeValueError
from damon_core.memory.regions import PAGE_SIZE_BYTES, FloatColumn, IntColumn
from damon_core.memory.spectrum import SPECTRUM_US, Spectrum

#: Pages are kept by blocks: a row of this many for each block.
BLOCK_PAGES: Final = 512
#: The size of a block, and the distance of two neighbours.
BLOCK_BYTES: Final = BLOCK_PAGES * PAGE_SIZE_BYTES
#: The code of a page that isn't in memory, which is also its period.
ABSENT: Final = 0
#: The least code of a page that wasn't accessed since the clearing. Smaller codes are periods.
UNTOUCHED: Final = 48
#: How many codes there are.
CODES: Final = 256

#: How many rows are worked on at once, so that what is in between stays in the caches.
_CHUNK = 128

ByteRows = npt.NDArray[np.uint8]
ByteColumn = npt.NDArray[np.uint8]


def period_of(us: int) -> int:
    """Return the period of a page that is accessed within a time: its logarithm, rounded up.

    Args:
        us: The time in microseconds, above 0.
    """
    return max(us - 1, 0).bit_length()


class PageRuns(NamedTuple):
    """Neighbouring pages that are in memory and have one period, as columns, ascending.

    Attributes:
        start: The address of each run.
        pages: How many pages it has.
        period: Their period.
    """

    start: IntColumn
    pages: IntColumn
    period: ByteColumn


@frozen(eq=False)
class PageMap:
    """Every page of a target at the end of an aggregation, a byte for each.

    The *period* of a page says within which time it is accessed, as the logarithm to base 2 of
    microseconds, rounded up: from the clearing of accessed bits to the first look that found it
    accessed; or if none did, from its last access until now, which is always more. One number for
    how often a page is used and for how long it hasn't been. It is 0 for a page that isn't in
    memory.

    What is kept of each page is its *code*: the smaller, the more recently it was accessed. Period
    and idle time follow from it. All columns are read-only.

    Attributes:
        blocks: Addresses of blocks of `BLOCK_BYTES`, ascending. Memory that is in none of them
            isn't resident; or if there are `weights`, perhaps it wasn't looked at.
        codes: For each block a row with the codes of its `BLOCK_PAGES` pages. `ABSENT`: it isn't in
            memory. Less than `UNTOUCHED`: it was accessed since the clearing, and this is its
            period. Others: it wasn't accessed. A huge page is as many equal ones.
        code_idle_us: For each of the `CODES` codes, how long ago such pages were last accessed, in
            microseconds; 0 for those that were accessed since the clearing. From `UNTOUCHED` on
            greater codes don't have shorter times.
        shortest: The shortest period that a page can have: that of the first look.
        longest: The longest period of a page that was accessed in the aggregation: all others have
            longer ones. Where a clearing serves several aggregations, there may be some that were
            accessed since it and not in this one.
        watched_us: For how long the target has been watched, in microseconds. A page that has been
            idle for all of it may have been idle for longer.
        weights: For how many blocks each block stands, itself included; None if all of the
            target's memory was looked at.

    Raises:
        AttributeValueError: The columns don't match.
    """

    blocks: IntColumn = field(repr=False)
    codes: ByteRows = field(repr=False)
    code_idle_us: IntColumn = field(repr=False)
    shortest: int
    longest: int
    watched_us: int
    weights: FloatColumn | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        count = len(self.blocks)
        shapes = {"codes": (count, BLOCK_PAGES), "code_idle_us": (CODES,), "weights": (count,)}
        for name, shape in shapes.items():
            column = getattr(self, name)
            if column is not None and column.shape != shape:
                wanted = f"{count} blocks need {shape}"
                raise AttributeValueError(name, f"of shape {column.shape}", wanted)
        if (np.diff(self.blocks) < BLOCK_BYTES).any():
            raise AttributeValueError("blocks", "addresses", "must be ascending and not overlap")
        for column in (self.blocks, self.codes, self.code_idle_us, self.weights):
            if column is not None:
                column.flags.writeable = False

    @classmethod
    def of_periods(
        cls,
        blocks: IntColumn,
        periods: ByteRows,
        *,
        shortest: int,
        longest: int,
        watched_us: int,
        weights: FloatColumn | None = None,
    ) -> "PageMap":
        """Return a map of pages of which only the periods are known, up to 63."""
        shift = np.uint8(UNTOUCHED - longest - 1)
        idle_us = np.zeros(CODES, dtype=np.int64)
        exponents = np.minimum(np.arange(CODES - UNTOUCHED) + longest + 1, 62)
        idle_us[UNTOUCHED:] = np.left_shift(1, exponents, dtype=np.int64)
        codes = np.where(periods > longest, periods + shift, periods)
        return cls(blocks, codes, idle_us, shortest, longest, watched_us, weights)

    @cached_property
    def code_periods(self) -> ByteColumn:
        """The period of each code."""
        periods = np.arange(CODES, dtype=np.uint8)
        # The logarithm of each time, rounded up, as by `period_of`.
        idle = np.frexp(np.maximum(self.code_idle_us[UNTOUCHED:] - 1, 0).astype(np.float64))[1]
        periods[UNTOUCHED:] = np.maximum(idle, self.longest + 1)
        periods.flags.writeable = False
        return periods

    @property
    def periods(self) -> ByteRows:
        """The period of each page, in rows like the codes; it is computed."""
        return self._each(self.code_periods)

    @property
    def idle_us(self) -> IntColumn:
        """How long ago each page was last accessed, in rows like the codes; it is computed.

        0 for those that were accessed since the clearing, and for those that aren't in memory.
        """
        return self._each(self.code_idle_us)

    def _each(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the value of each page's code."""
        found = np.empty(self.codes.shape, dtype=values.dtype)
        for first in range(0, len(found), _CHUNK):
            rows = slice(first, first + _CHUNK)
            found[rows] = values[self.codes[rows]]
        return found

    def places(self, addresses: IntColumn) -> IntColumn:
        """Return the number of the page at each address among all pages of all blocks.

        Where there is no block, it is that of the first page after the address.
        """
        block = np.searchsorted(self.blocks, addresses, side="right") - 1
        origin = self.blocks[np.maximum(block, 0)] if len(self.blocks) else addresses
        page = np.clip((addresses - origin) // PAGE_SIZE_BYTES, 0, BLOCK_PAGES)
        found: IntColumn = np.maximum(block, 0) * BLOCK_PAGES + page
        return found

    def addresses(self, places: IntColumn) -> IntColumn:
        """Return the addresses of pages by their numbers among all pages of all blocks."""
        block, page = np.divmod(places, BLOCK_PAGES)
        found: IntColumn = self.blocks[block] + page * PAGE_SIZE_BYTES
        return found

    def codes_at(self, addresses: IntColumn) -> ByteColumn:
        """Return the codes of the pages at addresses; `ABSENT` where none is known."""
        if not len(self.blocks):
            return np.full(len(addresses), ABSENT, dtype=np.uint8)
        block = np.searchsorted(self.blocks, addresses, side="right") - 1
        page = (addresses - self.blocks[block]) // PAGE_SIZE_BYTES
        known = (block >= 0) & (page < BLOCK_PAGES)
        found = self.codes[block, np.where(known, page, 0)]
        return np.where(known, found, np.uint8(ABSENT))

    def periods_at(self, addresses: IntColumn) -> ByteColumn:
        """Return the periods of the pages at addresses; `ABSENT` where none is known."""
        return self.code_periods[self.codes_at(addresses)]

    @cached_property
    def runs(self) -> PageRuns:
        """The pages in memory as runs of one period; they end where weights change."""
        flat = self.codes.reshape(-1)
        begins = np.empty(len(flat), dtype=np.bool_)
        begins[:1] = True
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        apart = np.diff(self.blocks) != BLOCK_BYTES
        if self.weights is not None:
            apart |= np.diff(self.weights) != 0
        borders = (np.flatnonzero(apart) + 1) * BLOCK_PAGES
        begins[borders] = True
        first = np.flatnonzero(begins)
        period = self.code_periods[flat[first]]
        other = np.ones(len(first), dtype=np.bool_)
        np.not_equal(period[1:], period[:-1], out=other[1:])  # Several codes have one period.
        other[np.searchsorted(first, borders)] = True
        first, period = first[other], period[other]
        pages = np.diff(first, append=len(flat))
        there = period != ABSENT
        first, pages, period = first[there], pages[there], period[there]
        start = self.addresses(first)
        for column in (start, pages, period):
            column.flags.writeable = False
        return PageRuns(start, pages, period)

    @cached_property
    def pages_by_code(self) -> FloatColumn:
        """How many pages have each code; of those that aren't in memory 0."""
        pages = np.zeros(CODES)
        for first in range(0, len(self.codes), _CHUNK):
            rows = self.codes[first : first + _CHUNK]
            weights = None if self.weights is None else self.weights[first : first + _CHUNK]
            if weights is not None:
                weights = weights.repeat(BLOCK_PAGES)
            pages += np.bincount(rows.reshape(-1), weights, CODES)
        pages[ABSENT] = 0
        pages.flags.writeable = False
        return pages

    def bytes_by_period(self) -> IntColumn:
        """Return how much memory has each period, by the period: a spectrum of rates of use.

        The sum up to a period is what is accessed at least that often. Where there are weights
        these are estimates.
        """
        sums = np.bincount(self.code_periods, self.pages_by_code) * PAGE_SIZE_BYTES
        return np.rint(sums).astype(np.int64)

    def touched_bytes(self, within_us: int) -> int:
        """Return how much memory was last accessed at most some time ago, in microseconds.

        Memory that was accessed since the clearing is part of it, also where that was longer ago;
        and so is memory that has been watched for a shorter time.
        """
        recent = self.code_idle_us <= within_us
        return round(float(self.pages_by_code[recent].sum())) * PAGE_SIZE_BYTES

    def spectrum(self) -> Spectrum:
        """Return how much memory is accessed at least every 8 ms, every 66 ms …"""
        sums = self.bytes_by_period().cumsum()
        most_us = max(1 << self.longest, self.watched_us)
        known = (1 << self.shortest <= us <= most_us for us in SPECTRUM_US)
        within = (int(sums[min(period_of(us), len(sums) - 1)]) for us in SPECTRUM_US)
        return Spectrum(
            tuple(size if is_known else None for is_known, size in zip(known, within, strict=True)),
            int(sums[-1]),
        )
