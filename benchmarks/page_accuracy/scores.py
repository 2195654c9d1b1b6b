"""Results compared with the truth."""

import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, frozen

from benchmarks.page_accuracy.monitor import Result
from benchmarks.page_accuracy.patterns import EACH, Pages, Pattern
from benchmarks.page_accuracy.truth import Flags, Touched, Truth
from damon_core import ABSENT, PAGE_SIZE_BYTES, PageMap, Snapshot, period_of

#: A change is noticed when so much of the new memory is found in use.
NOTICED = 0.9
#: The period that stands for pages that weren't used.
_UNUSED = 255


@define
class Counts:
    """Pages found in use, and in use, of all aggregations, without those of which it isn't sure.

    Attributes:
        both: Found in use, and in use.
        found: Found in use.
        used: In use.
    """

    both: int = 0
    found: int = 0
    used: int = 0

    def add(self, found: Flags, surely: Flags, maybe: Flags) -> None:
        """Add an aggregation."""
        self.both += int(np.count_nonzero(found & surely))
        self.found += int(np.count_nonzero(found & ~(maybe & ~surely)))
        self.used += int(np.count_nonzero(surely))

    @property
    def precision(self) -> float | None:
        return self.both / self.found if self.found else None

    @property
    def recall(self) -> float:
        return self.both / max(self.used, 1)

    @property
    def f1(self) -> float:
        return 2 * self.both / max(self.found + self.used, 1)


@frozen
class Delay:
    """How long it took until a change was noticed.

    Attributes:
        us: Until the end of the first result that has it.
        aggregations: The same in aggregations.
        noticed: Whether it was, before the next change.
    """

    us: float
    aggregations: float
    noticed: bool


@frozen(eq=False)
class Score:
    """How good the results of a backend are.

    Attributes:
        map: Pages by the map, of the aggregations that began with a clearing; None without one.
        later: Pages by the map, of the others; None if there were none.
        regions: Pages of regions of which at least half was touched.
        unsure: The share of pages in use of which it isn't sure.
        working_set: The error of the touched bytes, of all aggregations.
        map_rates: By the map after clearings: how much of the memory used is in another class of
            rates than it should be, on average.
        regions_rates: By the regions: the error of the sum of rates by bytes, on average.
        interval_us: How long an aggregation took.
        aggregations: Their number.
        clearings: How many of them began with a clearing.
        delays: How long each change took to be noticed, by the map, or by the regions without one.
        cpu: The share of a processor, after the first aggregation.
        slowdown: By our account, after the first aggregation.
    """

    map: Counts | None
    later: Counts | None
    regions: Counts
    unsure: float
    working_set: float
    map_rates: float | None
    regions_rates: float
    interval_us: float
    aggregations: int
    clearings: int
    delays: Sequence[Delay]
    cpu: float
    slowdown: float


class Judge:
    """Compares the results of a pattern with the truth.

    Args:
        pattern: The pattern.
        address: Where its memory was.
        truth: What was used when.
    """

    def __init__(self, pattern: Pattern, address: int, truth: Truth) -> None:
        self._pattern, self._address, self._truth = pattern, address, truth

    def score(self, results: Sequence[Result]) -> Score:
        """Return the score of all results."""
        by_map, later, by_regions = Counts(), Counts(), Counts()
        unsure = used = said = 0
        off = 0.0
        misplaced, rates = [], []
        for result in results:
            touched = self._truth.touched(result.begin_ns, result.end_ns)
            surely, maybe = self._by_page(touched.surely), self._by_page(touched.maybe)
            unsure += int(np.count_nonzero(maybe & ~surely))
            used += int(np.count_nonzero(surely))
            by_regions.add(self._of_regions(result.snapshot), surely, maybe)
            now_said, error = self._working_set(result.snapshot, touched)
            said, off = said + now_said, off + error
            rates.append(self._rates_error(result))
            if result.page_map is not None:
                periods = self.periods(result.page_map)
                # Where not all memory was looked at, only what was is compared.
                known = (result.page_map.weights is None) | (periods != ABSENT)
                counts = by_map if result.cleared else later
                counts.add(_is_used(periods, result.page_map), surely & known, maybe & known)
                if result.cleared:
                    misplaced.append(self._misplaced(result, periods, touched))
        first, last = results[0], results[-1]
        spent_us = last.snapshot.time_us - first.snapshot.time_us
        cpu_us = last.cpu_us - first.cpu_us
        if not spent_us:  # There is only one.
            spent_us, cpu_us = last.snapshot.elapsed_us, last.cpu_us
        return Score(
            by_map if by_map.used else None,
            later if later.used else None,
            by_regions,
            unsure / max(used, 1),
            off / max(used * PAGE_SIZE_BYTES, 1),
            statistics.mean(misplaced) if misplaced else None,
            statistics.mean(rates),
            statistics.median(each.snapshot.elapsed_us for each in results),
            len(results),
            sum(each.cleared for each in results),
            self._delays(results),
            cpu_us / spent_us,
            last.slowdown,
        )

    def periods(self, page_map: PageMap) -> npt.NDArray[np.uint8]:
        """Return the periods of all pages of the memory, 0 for those that aren't there."""
        pages = np.arange(self._pattern.mib * EACH)
        return page_map.periods_at(self._address + pages * PAGE_SIZE_BYTES)

    def _by_page(self, flags: Flags) -> Flags:
        pages = np.zeros(self._pattern.mib * EACH, dtype=np.bool_)
        pages[self._pattern.pages] = flags
        return pages

    def _inside(self, snapshot: Snapshot) -> tuple[Pages, Pages, Flags]:
        """Return the first and the last page of each region, and whether it is in the memory."""
        first = (snapshot.start - self._address) // PAGE_SIZE_BYTES
        last = (snapshot.end - self._address) // PAGE_SIZE_BYTES
        return first, last, (first < self._pattern.mib * EACH) & (last > 0)

    def _of_regions(self, snapshot: Snapshot) -> Flags:
        """Return the pages of regions in use."""
        first, last, inside = self._inside(snapshot)
        hot = inside & (snapshot.working_set() * 2 >= np.maximum(snapshot.resident_bytes, 1))
        pages = np.zeros(self._pattern.mib * EACH, dtype=np.bool_)
        for begin, end in zip(first[hot].tolist(), last[hot].tolist(), strict=True):
            pages[max(begin, 0) : end] = True
        return pages

    def _working_set(self, snapshot: Snapshot, touched: Touched) -> tuple[int, float]:
        """Return the working set as it was said, and how far that is off."""
        _first, _last, inside = self._inside(snapshot)
        said = float(snapshot.working_set()[inside].sum())
        least, most = (
            int(np.count_nonzero(flags)) * PAGE_SIZE_BYTES
            for flags in (touched.surely, touched.maybe)
        )
        return int(said), abs(said - min(max(said, least), most))

    def _rates_error(self, result: Result) -> float:
        """Return the error of the sum of rates by bytes.

        After a clearing, rates are what the first look finds; otherwise those of all checks.
        """
        snapshot = result.snapshot
        _first, _last, inside = self._inside(snapshot)
        said = float((snapshot.frequency * snapshot.resident_bytes)[inside].sum())
        if result.cleared:
            touched = self._truth.touched(result.begin_ns, result.looks_ns[0])
            least, most = (
                float(np.count_nonzero(flags)) for flags in (touched.surely, touched.maybe)
            )
        else:
            interval_us = snapshot.intervals.sampling_us
            least = most = self._truth.used_share(result.begin_ns[1], result.end_ns[0], interval_us)
        true = min(max(said / PAGE_SIZE_BYTES, least), most)
        return abs(said / PAGE_SIZE_BYTES - true) / max(true, 1)

    def _misplaced(self, result: Result, periods: npt.NDArray[np.uint8], touched: Touched) -> float:
        """Return how much of the memory used is in another class of rates than it should be.

        A page's class is the look that should find it used first. Where that may be one of several,
        any of them is right.
        """
        assert result.page_map is not None
        cleared_ns = result.begin_ns[1]
        looks = np.array(result.looks_ns)
        # The class of each look, as far as it is certain, and that of no look.
        classes = [
            np.array([*(period_of(max(int(ns - cleared_ns) // 1_000, 1)) for ns in side), _UNUSED])
            for side in looks.T
        ]
        least = classes[0][np.searchsorted(looks[:, 1], touched.early_ns)]
        most = classes[1][np.searchsorted(looks[:, 0], touched.late_ns)]
        longest = result.page_map.longest
        found = np.where(_is_used(periods, result.page_map), periods, _UNUSED)
        true = np.full(len(periods), _UNUSED)
        mine = found[self._pattern.pages]
        true[self._pattern.pages] = np.clip(mine, least, most)
        said, right = (np.bincount(each, minlength=256)[: longest + 2] for each in (found, true))
        return float(np.abs(said - right).sum() / max(int(right.sum()), 1))

    def _delays(self, results: Sequence[Result]) -> list[Delay]:
        """Return how long each change took to be noticed."""
        changes = self._truth.changes_ns()
        if not changes:
            return []
        begin_ns, end_ns = results[0].begin_ns[0], results[-1].end_ns[1]
        turns = self._pattern.column("turns")
        delays = []
        for (changed_ns, turn), (until_ns, _) in zip(
            changes, [*changes[1:], (end_ns, 0)], strict=True
        ):
            if changed_ns < begin_ns or until_ns > end_ns:
                continue
            wanted = self._pattern.pages[turns == turn]
            for result in results:
                if changed_ns < result.end_ns[0] <= until_ns and self._finds(result, wanted):
                    interval_us = result.snapshot.elapsed_us
                    delay_us = (result.end_ns[1] - changed_ns) / 1e3
                    delays.append(Delay(delay_us, delay_us / interval_us, True))
                    break
            else:
                delay_us = (until_ns - changed_ns) / 1e3
                delays.append(Delay(delay_us, delay_us / results[-1].snapshot.elapsed_us, False))
        return delays

    def _finds(self, result: Result, wanted: Pages) -> bool:
        if result.page_map is None:
            found = self._of_regions(result.snapshot)
        else:
            found = _is_used(self.periods(result.page_map), result.page_map)
        return bool(found[wanted].mean() >= NOTICED)


def _is_used(periods: npt.NDArray[np.uint8], page_map: PageMap) -> Flags:
    used: Flags = (periods != ABSENT) & (periods <= page_map.longest)
    return used


@frozen
class Often:
    """How much memory is used at least so often.

    Attributes:
        us: Every so many microseconds.
        really: Pages that are.
        expected: Pages that are expected to be used in a time of that length.
        found: Those that were found used in such a time, on average over aggregations.
        estimate: Pages used at least that often, from what was found in that time and in twice
            that time: `2 F(T) - F(2 T)`, those that are used in both halves of it.
    """

    us: float
    really: int
    expected: float
    found: float
    estimate: float


def spectrum(results: Sequence[Result], judge: Judge, truth: Truth) -> list[Often]:
    """Return how much memory is used how often, by the map and really."""
    known = [each for each in results[1:] if each.page_map is not None]
    if not known:
        return []
    counts = np.zeros(256)
    for result in known:
        assert result.page_map is not None
        counts += np.bincount(judge.periods(result.page_map).ravel(), minlength=256)
    counts[0] = 0
    within = counts.cumsum() / len(known)
    periods_us = truth.periods_us()
    last = known[-1]
    looks_us = [(ended - last.begin_ns[1]) / 1e3 for _, ended in last.looks_ns]
    rows = []
    for us in looks_us[:-2]:  # Each is twice as long after the clearing; the last is not.
        period = period_of(round(us))
        rows.append(
            Often(
                us,
                int(np.count_nonzero(periods_us <= us)),
                float(np.minimum(us / periods_us, 1).sum()),
                float(within[period]),
                float(2 * within[period] - within[period + 1]),
            )
        )
    return rows
