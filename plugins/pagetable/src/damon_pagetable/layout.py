"""The regions of processes of which every page is known."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field
from damon_vaddr import LayoutInput, ProcessTarget, parse_shared

from damon_core import (
    ABSENT,
    BLOCK_PAGES,
    IDLE_SPANS,
    PAGE_SIZE_BYTES,
    IdleAges,
    PageMap,
    RegionLimits,
    Regions,
    period_of,
)
from damon_pagetable.choosing import Cells
from damon_pagetable.copies import count_copies_once
from damon_pagetable.inference import Inference
from damon_pagetable.pages import FRESH, NEW, PageCodes, Pages, code_of
from damon_pagetable.regions import Runs, cut, is_as_good
from damon_pagetable.sharing import count_once
from damon_pagetable.tables import IntColumn
from damon_pagetable.tally import Tally

logger = logging.getLogger(__name__)

#: What is inferred is doubtful if this share of what is touched isn't accessed again in the next
#: aggregation; and not any more once it is that one.
_DOUBTFUL, _SURE = 0.01, 0.005
#: So many pages aren't accessed together by chance.
_MANY_PAGES = 64
#: Each process gets at least this many regions of the context's, if there are enough.
_LEAST_REGIONS = 8


@define(eq=False)
class Known:
    """What is known of a process.

    Attributes:
        pagemap: The descriptor of its pagemap; None if there is none.
        pages: Its pages.
        since_us: When it was first looked at.
        cleared_us: When its accessed bits were last cleared.
        first_us: How long after that the first look was; 0 before it.
        last_us: How long after that the last look was.
        checks: The number of checks that an aggregation stands for.
        last_checks: The same for the previous aggregation.
        inference: What is inferred where an epoch has several aggregations.
    """

    pagemap: int | None = None
    pages: Pages = field(factory=Pages, init=False)
    since_us: int = field(default=0, init=False)
    cleared_us: int = field(default=0, init=False)
    first_us: int = field(default=0, init=False)
    last_us: int = field(default=0, init=False)
    checks: int = field(default=1, init=False)
    last_checks: int = field(default=1, init=False)
    inference: Inference = field(factory=Inference, init=False)

    def note_look(self, now_us: int, checks: int) -> None:
        """Note when its pages were looked at, in an aggregation that stands for so many checks."""
        self.last_us = max(now_us - self.cleared_us, 1)
        self.first_us = self.first_us or self.last_us
        self.since_us = self.since_us or now_us
        self.checks = checks

    def end(self, now_us: int) -> PageCodes:
        """End an aggregation; return the codes of all pages."""
        return self.inference.end(self.pages, self.last_us, now_us)


class BestCut:
    """Makes regions as the best cut of all pages; see `damon_pagetable.regions`.

    Args:
        known: What is known of each process; whoever looks at them keeps it up to date.
    """

    def __init__(self, known: dict[ProcessTarget, Known]) -> None:
        self._known = known
        self._max_regions = 0
        self._has_warned = False
        # Whether later aggregations can't be inferred well, and how long those were then.
        self._doubtful, self._doubted_us = False, 0

    def lay_out(self, target: ProcessTarget, given: LayoutInput, limits: RegionLimits) -> None:
        """Do nothing: regions follow from what is seen."""
        self._max_regions = limits.max_regions

    def describe(self, targets: Sequence[ProcessTarget], now_us: int) -> None:
        """Cut the pages of all targets into regions."""
        found = [self._known[each].end(now_us) for each in targets]
        if len(targets) > 1 and any(each.cells is not None for each in found):
            self._warn_of_sums()
        elif len(targets) > 1:
            count_once(found, [parse_shared(each.layout_input.maps) for each in targets])
            pagemaps = [self._known[each].pagemap for each in targets]
            if None not in pagemaps:
                count_copies_once(found, [each for each in pagemaps if each is not None])
        self._doubt([self._known[each] for each in targets])
        sizes = [int(np.count_nonzero(each.codes)) for each in found]
        spare = max(self._max_regions - _LEAST_REGIONS * len(targets), 0)
        for target, pages, size in zip(targets, found, sizes, strict=True):
            target.outdated |= self._known[target].inference.outdated
            target.doubtful = self._doubtful
            share = self._max_regions // len(targets)
            limit = min(_LEAST_REGIONS, share) + spare * size // max(sum(sizes), 1)
            self._cut(target, pages, limit, now_us)

    def _warn_of_sums(self) -> None:
        """Say once that memory isn't counted once."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "page tables: not all memory is looked at, as that would take too long: what "
                "several processes have in common counts in each of them"
            )

    def _doubt(self, of_all: Sequence[Known]) -> None:
        """Find out whether later aggregations can be inferred well, when an epoch has begun.

        Once they couldn't, aggregations may be longer, and how long they were then counts.
        """
        if not of_all or any(each.inference.later for each in of_all):
            return
        interval_us = min(each.last_us for each in of_all)
        if self._doubtful:
            interval_us = min(interval_us, self._doubted_us)
        counts = [each.inference.growth.missed(interval_us) for each in of_all]
        missed, touched = map(sum, zip(*counts, strict=True))
        most = _SURE if self._doubtful else _DOUBTFUL
        self._doubtful, self._doubted_us = missed > most * touched, interval_us

    def _cut(self, target: ProcessTarget, pages: PageCodes, limit: int, now_us: int) -> None:
        known = self._known[target]
        page_map = PageMap(
            *pages[:3],
            shortest=period_of(known.first_us),
            longest=pages.longest,
            watched_us=now_us - known.since_us,
            weights=None if pages.cells is None else pages.cells.weights,
        )
        runs, old = Runs.of(page_map, pages.cells), target.regions
        starts = cut(runs, limit)
        if len(old) <= limit and is_as_good(runs, old.start, starts):
            starts = old.start
        fresh, idle_ages = _regions(page_map, pages.cells, starts, known)
        if len(fresh):
            target.idle_ages = idle_ages
        _inherit(fresh, old, known)
        target.regions, target.page_map = fresh, page_map
        known.last_checks = known.checks


def _regions(
    page_map: PageMap, cells: Cells | None, starts: IntColumn, known: Known
) -> tuple[Regions, IdleAges]:
    """Return regions, each with the memory from one start to the next, and their counters.

    Returns:
        The regions, and how old their bytes idle for some time are: they are exact wherever the
        process has been watched for so long.
    """
    codes = page_map.codes.reshape(-1)
    first = page_map.places(starts)
    first = first[first < len(codes)]
    if cells is not None:  # No region begins inside of a cell.
        row = first // BLOCK_PAGES
        first = np.where(cells.exact[row], first, cells.first[row] * BLOCK_PAGES)
    tally = Tally(codes, np.unique(first), page_map.weights)
    pages = tally.count(ABSENT + 1)
    some = pages > 0
    begins, ends = tally.bounds(some)
    start, end = page_map.addresses(begins), page_map.addresses(ends - 1) + PAGE_SIZE_BYTES
    if cells is not None:
        row, last = begins // BLOCK_PAGES, (ends - 1) // BLOCK_PAGES
        start = np.where(cells.exact[row], start, cells.start[row])
        end = np.where(cells.exact[last], end, cells.end[last])
    regions = Regions(start, end)
    regions.resident_bytes = pages[some] * PAGE_SIZE_BYTES
    accessed = _accessed(tally, known.inference.growth.looks_us or [max(known.first_us, 1)])
    regions.nr_accesses = accessed[some] / pages[some] * known.checks
    touched = tally.count(ABSENT + 1, page_map.longest)
    if known.inference.weights is not None:
        touched = _weighted(touched, tally, known, page_map.longest)
    regions.touched_bytes = touched[some] * PAGE_SIZE_BYTES
    regions.idle_us = page_map.code_idle_us[tally.smallest()[some]]
    ages: dict[str, int] = {}
    for span in IDLE_SPANS:
        if page_map.watched_us < span.us:
            break
        # The codes of longer idle times are greater.
        least = FRESH + int(np.searchsorted(page_map.code_idle_us[FRESH:], span.us))
        setattr(regions, span.column, tally.count(least)[some] * PAGE_SIZE_BYTES)
        ages[span.age] = 0
    return regions, IdleAges(**ages)


def _accessed(tally: Tally, looks_us: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return how many pages of each span are accessed in a sampling interval, on average.

    That is what the first look found. But memory that is used all at once, now and then, is found
    whole or not at all, and a process that had no processor for a moment seems idle. What was
    accessed within a longer time is accessed in the first part of it with at least as much of a
    probability as that part has of the time: if a later look says more by that, it is believed.
    Not in small spans: these were cut where pages at random happened to be alike.

    Args:
        tally: Counts pages.
        looks_us: How long after the clearing each look was.
    """
    first_us, last_us = looks_us[0], looks_us[-1]
    found = tally.count(ABSENT + 1, code_of(first_us)).astype(np.float64)
    is_large = tally.count(ABSENT + 1) >= _MANY_PAGES
    if is_large.any():
        for us in looks_us[1:-1]:
            later = tally.count(ABSENT + 1, code_of(us)) * (first_us / us)
            np.maximum(found, later, out=found, where=is_large)
    # What was touched at all was accessed in one interval at least.
    touched: npt.NDArray[np.float64] = tally.count(ABSENT + 1, code_of(last_us)).astype(np.float64)
    return np.maximum(found, touched * (first_us / last_us))


def _weighted(touched: IntColumn, tally: Tally, known: Known, longest: int) -> IntColumn:
    """Return how many pages were touched, where not just those with short periods were.

    Args:
        touched: How many have periods up to the longest of what counts as touched.
        tally: Counts pages.
        known: What is known of the process.
        longest: That period.
    """
    weights = known.inference.weights
    assert weights is not None
    found = touched.astype(np.float64)
    counted = np.arange(1, NEW) <= longest
    for period in (np.flatnonzero(weights[1:NEW] != counted) + 1).tolist():
        found += (weights[period] - (period <= longest)) * tally.count(period, period)
    # Of what is new all was touched.
    new = tally.of(known.pages.codes.reshape(-1)).count(NEW, NEW)
    found += (1.0 - weights[min(known.inference.typical, longest)]) * new
    whole: IntColumn = np.rint(found).astype(np.int64)
    return np.clip(whole, np.minimum(new, touched), tally.count(ABSENT + 1))


def _inherit(fresh: Regions, old: Regions, known: Known) -> None:
    """Let regions have the age of those that were where they begin, if they are like them."""
    idle_us = fresh.idle_us
    if len(old):
        old.rescale_accesses(known.last_checks, known.checks)
        origin = old.holding(fresh.start)
        fresh.age = np.where(origin >= 0, old.age[origin], 0)
        fresh.last_nr_accesses = np.where(origin >= 0, old.last_nr_accesses[origin], 0.0)
    fresh.grow_older(0)
    fresh.idle_us = idle_us
