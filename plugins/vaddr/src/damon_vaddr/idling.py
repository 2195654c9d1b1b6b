"""How long memory has been idle, from accessed bits that add up until they are cleared.

What has no accessed bit when a window of 10 seconds closes has been idle for at least 10 seconds.
So now and then the bits of a process aren't cleared for an aggregation, but for a longer window. In
between the last number stands, within bounds that follow from every aggregation: what was touched
isn't idle, and what none of them touched is.

While a window is open an aggregation has the touched bytes of the one before it. So one opens only
where these were steady for as long as it is going to be, or, rarely, where that doesn't happen.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import IDLE_SPANS, UNKNOWN, IdleAges, IdleSpan, Regions

_Floats: TypeAlias = npt.NDArray[np.float64]

#: The share of the time for which windows are open, longer than an aggregation. Meanwhile it is
#: only known within bounds what an aggregation touched: a tenth of the time is little for that, and
#: enough for a window of 10 s each 5 minutes, of a minute each half hour, of ten each 5 hours.
IDLE_SHARE = 0.1
#: The working set is steady where its sizes differ by at most this part of the greatest, or this
#: part of what is in memory. So within windows it is wrong by a fortieth over all the time, at
#: most, unless a steady program changes right then.
_STEADY = 0.25
_STEADY_OF_ALL = 0.01
#: From the last look of an aggregation to the next clearing passes less than this, unless the
#: process was left out for a while.
_UNSEEN_US = 1_000_000
#: Bounds are kept in this many parts of a span, however many aggregations it has.
_PARTS = 8


def _redistribution(old: Regions, new: Regions) -> Callable[[_Floats], _Floats]:
    """Return what divides bytes of old regions among new ones: by the addresses they share.

    What is new memory has none of them.
    """
    if not len(old):
        return lambda values: np.zeros((*values.shape[:-1], len(new)))

    def place(addresses: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], _Floats]:
        index = np.maximum(old.start.searchsorted(addresses, side="right") - 1, 0)
        share = (addresses - old.start[index]) / old.size_bytes[index]
        return index, np.clip(share, 0.0, 1.0)

    (first, before), (last, within) = place(new.start), place(new.end)

    def redistribute(values: _Floats) -> _Floats:
        below = values.cumsum(axis=-1) - values
        up_to_end = below[..., last] + within * values[..., last]
        found: _Floats = up_to_end - below[..., first] - before * values[..., first]
        return found

    return redistribute


def _within(values: _Floats, low: _Floats, high: _Floats) -> _Floats:
    """Return values that are between bounds; for a few, `np.clip` takes several times as long."""
    found: _Floats = np.minimum(np.maximum(values, low), high)
    return found


@define(eq=False)
class _Part:
    """What was seen from one time to another: bytes of each region."""

    begin_us: int
    end_us: int
    size_bytes: _Floats


@define(eq=False)
class _Recent:
    """What the aggregations of the last `span_us` say, by region.

    Attributes:
        touched: Bytes that were touched at some time, added up.
        untouched: Bytes that weren't, the least.
    """

    span_us: int
    touched: list[_Part] = field(factory=list)
    untouched: list[_Part] = field(factory=list)

    def add_touched(self, begin_us: int, end_us: int, size_bytes: _Floats) -> None:
        self._add(self.touched, np.add, _Part(begin_us, end_us, size_bytes))

    def add_untouched(self, begin_us: int, end_us: int, size_bytes: _Floats) -> None:
        self._add(self.untouched, np.minimum, _Part(begin_us, end_us, size_bytes))

    def _add(self, parts: list[_Part], joined: Callable[..., _Floats], new: _Part) -> None:
        if parts and new.end_us - parts[-1].begin_us <= self.span_us // _PARTS:
            parts[-1].end_us = new.end_us
            parts[-1].size_bytes = joined(parts[-1].size_bytes, new.size_bytes)
        else:
            parts.append(new)
        while parts[0].end_us <= new.end_us - self.span_us:
            del parts[0]

    def most_touched(self, now_us: int) -> _Floats | float:
        """Return at least what was touched in the span before now."""
        since_us = now_us - self.span_us
        return sum((each.size_bytes for each in self.touched if each.end_us > since_us), 0.0)

    def most_untouched(self, now_us: int) -> _Floats | float:
        """Return at least what wasn't touched in any of the aggregations since then."""
        since_us = now_us - self.span_us
        found = [each.size_bytes for each in self.untouched if each.begin_us >= since_us]
        return reduce(np.minimum, found) if found else math.inf

    def redistribute(self, redistribute: Callable[[_Floats], _Floats]) -> None:
        for part in (*self.touched, *self.untouched):
            part.size_bytes = redistribute(part.size_bytes)


@define(eq=False)
class _Level:
    """The size of the working set, as long as it is steady.

    Attributes:
        since_us: Since when it is.
    """

    since_us: int = 0
    _least: float = math.inf
    _most: float = 0.0

    def add(self, begun_us: int, touched_bytes: float, resident_bytes: float) -> None:
        """Add what an aggregation touched that began at `begun_us`."""
        least, most = min(self._least, touched_bytes), max(self._most, touched_bytes)
        if most - least <= max(_STEADY * most, _STEADY_OF_ALL * resident_bytes):
            self._least, self._most = least, most
        else:
            self.since_us, self._least, self._most = begun_us, touched_bytes, touched_bytes

    def is_below(self, touched_bytes: float, resident_bytes: float) -> bool:
        """Return whether so much isn't this size any more, but more."""
        margin = max(_STEADY * touched_bytes, _STEADY_OF_ALL * resident_bytes)
        return touched_bytes > self._least + margin


@define(eq=False)
class _Measured:
    """The last number of bytes idle for a span.

    Attributes:
        span: The span.
        recent: What gives bounds.
        due_us: When it is to be measured again.
        at_us: When it was measured; None before.
        size_bytes: What it was, by region.
    """

    span: IdleSpan
    due_us: float
    recent: _Recent
    at_us: int | None = None
    size_bytes: _Floats = field(factory=lambda: np.zeros(0))


class IdleWatch:
    """Decides when the accessed bits of a process are cleared, and knows its idle memory.

    In each aggregation `begin` comes first, then `cleared` if the bits were, then a `look` or two.

    Args:
        idle_share: The share of the time for which windows may be longer than an aggregation; 0
            for never.
    """

    def __init__(self, idle_share: float = IDLE_SHARE) -> None:
        self._per_span = 1 / idle_share if idle_share else math.inf
        self._spans: list[_Measured] = []
        self._regions = Regions()
        self._since_us = 0  # the first clearing
        self._level = _Level()
        self._is_steady = False  # when the window opened
        self._window_us = self._until_us = 0  # the last one, and until when none is to follow
        self._begun_us = self._looked_us = 0  # of the aggregation
        self._held = self._looked = False  # whether it began without a clearing; with a look
        nothing = np.zeros(0)
        # Bytes by region: in memory and seen at the last look, seen before the aggregation.
        self._resident = self._seen = self._before = nothing
        # Those of the last aggregation that began with a clearing.
        self._accessed = self._touched = nothing

    def begin(self, now_us: int) -> bool:
        """Begin an aggregation; return whether the accessed bits are to be cleared."""
        if self._looked:
            untouched = self._resident - self._new()
            for each in self._spans:
                each.recent.add_untouched(self._begun_us, self._looked_us, untouched)
            self._follow_level(now_us)
            self._before, self._looked = self._seen, False
        self._begun_us, self._held = now_us, True
        return now_us >= self._until_us

    def cleared(self, now_us: int) -> None:
        """Open a window: the accessed bits were cleared."""
        if not self._spans:
            self._since_us = self._level.since_us = now_us
            self._spans = [
                _Measured(span, now_us + span.us * self._per_span, _Recent(span.us))
                for span in IDLE_SPANS
            ]
            # The first number is there soon.
            if self._per_span < math.inf:
                self._spans[0].due_us = now_us + IDLE_SPANS[0].us
        elif len(self._seen):
            for each in self._spans:
                each.recent.add_touched(self._window_us, self._looked_us, self._seen)
                # What happened while nobody looked, before this clearing, isn't known any more.
                if now_us - self._looked_us > _UNSEEN_US:
                    each.recent.add_touched(self._looked_us, now_us, self._resident)
        self._window_us, self._begun_us, self._held = now_us, now_us, False
        wanted_us = max((each.span.us for each in self._spans if self._may_open(each)), default=0)
        self._until_us = now_us + wanted_us
        self._is_steady = now_us - self._level.since_us >= wanted_us
        self._before = np.zeros(len(self._regions))

    def look(self, regions: Regions, resident: _Floats, seen: _Floats, now_us: int) -> _Floats:
        """Use a look at the accessed bits.

        Args:
            regions: The regions.
            resident: The bytes of each in memory.
            seen: Of these the bytes with an accessed bit.
            now_us: The time.

        Returns:
            The bytes that were touched in the aggregation: between clearings those of the last
            clearing, unless there are fewer accessed bits, or more new ones.
        """
        self._follow(regions)
        self._resident, self._seen = resident, seen
        self._looked_us, self._looked = now_us, True
        # A region that was touched in this window, at whatever time, may have been again.
        regions.idle_us[seen > 0] = 0
        if not self._held:
            self._touched = seen
        return _within(self._touched, self._new(), seen)

    def accessed(self, accessed: _Floats) -> _Floats:
        """Return the bytes accessed in a sampling interval, after the first look.

        Args:
            accessed: What they are if the bits were cleared right before.
        """
        if not self._held:
            self._accessed = accessed
        return _within(self._accessed, self._new(), self._seen)

    def describe(self, regions: Regions) -> IdleAges:
        """Set the idle bytes of the regions, after the last look; return how old they are."""
        now_us = self._looked_us
        self._measure(now_us)
        ages: dict[str, int] = {}
        known: list[tuple[int, _Floats]] = []
        # The newest first: an older number is within the bounds that newer ones give.
        for each in sorted(self._spans, key=lambda each: (each.at_us is None, -(each.at_us or 0))):
            low, high = self._bounds(each)
            for span_us, size_bytes in known:
                if span_us > each.span.us:
                    low = np.maximum(low, size_bytes)
                else:
                    high = np.minimum(high, size_bytes)
            certain = low >= high
            if each.at_us is not None:
                found = np.minimum(np.maximum(each.size_bytes, low), high)
                known.append((each.span.us, found))
                ages[each.span.age] = 0 if certain.all() else now_us - each.at_us
            else:
                found = np.where(certain, high, UNKNOWN)
            column = None if (found == UNKNOWN).all() else found.round().astype(np.int64)
            setattr(regions, each.span.column, column)
        return IdleAges(**ages)

    def _follow_level(self, now_us: int) -> None:
        """Follow the size of the working set; close a window if it was steady and has grown."""
        touched, resident = float(self._new().sum()), float(self._resident.sum())
        if not self._held:
            self._level.add(self._begun_us, touched, resident)
        elif self._is_steady and self._level.is_below(touched, resident):
            self._level.add(self._begun_us, touched, resident)
            self._until_us = now_us

    def _may_open(self, measured: _Measured) -> bool:
        """Return whether a window for a span may open at the clearing."""
        now_us, span_us = self._window_us, measured.span.us
        if now_us - self._level.since_us >= span_us:
            return measured.due_us <= now_us
        # A working set that is never steady: only the shortest, after as long again.
        every_us = len(IDLE_SPANS) * self._per_span * span_us
        return measured is self._spans[0] and measured.due_us + every_us <= now_us

    def _new(self) -> _Floats:
        """Return the bytes that were certainly touched in the aggregation."""
        new: _Floats = np.maximum(self._seen - self._before, 0.0)
        return new

    def _measure(self, now_us: int) -> None:
        """Measure the spans that the window is long enough for, and not much longer."""
        window_us = now_us - self._window_us
        for each in self._spans:
            before = each.at_us is not None and each.at_us > self._window_us
            if each.span.us <= window_us < 2 * each.span.us and not before:
                each.size_bytes, each.at_us = self._resident - self._seen, now_us
                each.due_us = now_us + len(IDLE_SPANS) * self._per_span * each.span.us

    def bounds(self, span: IdleSpan) -> tuple[_Floats, _Floats]:
        """Return how many bytes of each region have been idle for a span: at least, at most.

        They follow from the aggregations within it, however long ago it was measured.
        """
        return self._bounds(self._spans[IDLE_SPANS.index(span)])

    def _bounds(self, measured: _Measured) -> tuple[_Floats, _Floats]:
        now_us, span_us, recent = self._looked_us, measured.span.us, measured.recent
        untouched = self._resident - self._seen
        low = np.zeros(len(untouched))
        if now_us - self._window_us >= span_us:
            low = untouched
        elif now_us - self._since_us >= span_us:
            low = np.maximum(untouched - recent.most_touched(now_us), 0.0)
        high = np.minimum(self._resident, recent.most_untouched(now_us))
        if self._begun_us >= now_us - span_us:
            high = np.minimum(high, self._resident - self._new())
        return low, high

    def _follow(self, regions: Regions) -> None:
        """Divide what is known of the regions before among these, if they are others."""
        before, self._regions = self._regions, regions
        if regions is before or (
            np.array_equal(regions.start, before.start) and np.array_equal(regions.end, before.end)
        ):
            return
        redistribute = _redistribution(before, regions)
        self._before = redistribute(self._before)
        self._accessed, self._touched = redistribute(self._accessed), redistribute(self._touched)
        for each in self._spans:
            each.recent.redistribute(redistribute)
            each.size_bytes = redistribute(each.size_bytes)
