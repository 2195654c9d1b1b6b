"""Where in a process memory is hot, and the smallest range of it whose advice flushes the TLB."""

import re
from collections import deque

import numpy as np
from attrs import define, field
from damon_vaddr import Mapped, ProcessTarget

from damon_core import PAGE_SIZE_BYTES, Range
from damon_idle import pagemap
from damon_idle.frames import HEAD, TAIL, Frames
from damon_idle.pagemap import Pagemap
from damon_idle.words import BoolColumn, IntColumn, Places, WordColumn, every

#: x86 flushes everything at once when what was cleared spans more pages than this.
_FLUSH_PAGES = 33
#: Neighbours on both sides that are taken in. The two pages themselves were looked at, so their
#: bits may be clear while the TLB still holds them; their neighbours' rarely are.
_MARGIN_PAGES = 16
#: A range with more pages than this isn't small any more.
_MOST_PAGES = 512
#: In how many of the last checks a page was found accessed that counts as hot; a range is chosen
#: anew after as many flushes.
_HOT_CHECKS = 32
#: After how many checks a range is looked for again where there was none.
_PATIENCE = 8

_HUGE_BYTES = 512 * PAGE_SIZE_BYTES

# Private, writable, without a file: "7f…-7f… rw-p 00000000 00:00 0", named or not.
_ANONYMOUS = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) .w.p [0-9a-f]+ [0-9a-f:]+ 0\b")


@define(eq=False)
class _Choice:
    """A range for the advice.

    Attributes:
        places: Its addresses.
        steps: Where the entry is of one page in each of its pages, small or huge.
        entries: These entries when it was found safe.
        uses: How many more times it may be used.
    """

    places: Range
    steps: Places
    entries: WordColumn
    uses: int = _HOT_CHECKS


@define(eq=False)
class HotPages:
    """The pages of a process that were found accessed lately."""

    _small: "deque[IntColumn]" = field(factory=lambda: deque(maxlen=_HOT_CHECKS), init=False)
    _huge: "deque[IntColumn]" = field(factory=lambda: deque(maxlen=_HOT_CHECKS), init=False)
    _maps: bytes = field(default=b"", init=False)
    _anonymous: Mapped = field(factory=Mapped, init=False)
    _refused: set[int] = field(factory=set, init=False)
    _choice: _Choice | None = field(default=None, init=False)
    _wait: int = field(default=0, init=False)
    _guesses: int = field(default=0, init=False)

    def found(self, addresses: IntColumn, compound: BoolColumn | None = None) -> None:
        """Note pages that a check found accessed, and which of them are parts of larger ones."""
        if compound is not None:
            self._huge.append(addresses[compound] // _HUGE_BYTES * _HUGE_BYTES)
            addresses = addresses[~compound]
        self._small.append(addresses)

    def refuse(self, places: Range) -> None:
        """Note that the kernel takes no advice for a mapping: it may be locked."""
        self._refused.update(self._usable(np.array([places.start])).tolist())
        self._choice = None

    def choose(
        self, target: ProcessTarget, pages: Pagemap, flags: Frames, marked: IntColumn
    ) -> Range | None:
        """Return the smallest range for the advice that flushes and does no harm, if any.

        As long as nothing is known to be hot, which may be because all that is hides, this is
        the surroundings of a page that is in memory: most pages were accessed at some time since
        anybody cleared their bits.

        Args:
            target: The process.
            pages: Its pages.
            flags: The flags of page frames.
            marked: Addresses of the pages that were marked just now: their bits are clear.
        """
        self._follow(target.layout_input.maps)
        choice = self._choice
        if choice is not None and choice.uses > 0 and _unchanged(pages, choice):
            choice.uses -= 1
            return choice.places
        self._choice = None
        if self._wait > 0:
            self._wait -= 1
            return None
        for recent, unit in ((self._small, PAGE_SIZE_BYTES), (self._huge, _HUGE_BYTES)):
            if not recent:
                continue
            hot = np.unique(np.concatenate(recent))
            places = self._smallest(np.setdiff1d(hot, marked // unit * unit), unit)
            entries = None if places is None else _entries(pages, flags, places, unit)
            if places is not None and entries is not None:
                steps = pages.places(np.arange(places.start, places.end, unit))
                self._choice = _Choice(places, steps, entries)
                return places
            recent.clear()  # not again before other pages are found hot
        return self._guess(pages, flags, marked)

    def _guess(self, pages: Pagemap, flags: Frames, marked: IntColumn) -> Range | None:
        """Return the surroundings of one of the pages that were marked, each time another's."""
        mapping = self._usable(marked)
        marked, mapping = marked[mapping >= 0], mapping[mapping >= 0]
        if not len(marked):
            self._wait = _PATIENCE
            return None
        self._guesses += 1
        one = self._guesses % len(marked)
        for unit in (PAGE_SIZE_BYTES, _HUGE_BYTES):
            start = int(marked[one]) // unit * unit
            places = self._around(Range(start, start + unit), int(mapping[one]), unit)
            if places is not None and _entries(pages, flags, places, unit) is not None:
                return places
        return None

    def _follow(self, maps: bytes) -> None:
        """Learn where private anonymous memory is, when the mappings have changed."""
        if maps is self._maps:
            return
        self._maps = maps
        self._anonymous = Mapped.of(
            [Range(int(start, 16), int(end, 16)) for start, end in _ANONYMOUS.findall(maps)]
        )
        self._refused.clear()
        self._choice = None

    def _usable(self, addresses: IntColumn) -> IntColumn:
        """Return the number of the mapping that each address is in, -1 where advice is no use."""
        mapping = self._anonymous.holding(addresses)
        if not self._refused:
            return mapping
        return np.where(np.isin(mapping, list(self._refused)), -1, mapping)

    def _smallest(self, hot: IntColumn, unit: int) -> Range | None:
        """Return the smallest range between two hot pages far enough apart."""
        mapping = self._usable(hot)
        hot, mapping = hot[mapping >= 0], mapping[mapping >= 0]
        other = np.searchsorted(hot, hot + (_FLUSH_PAGES + 1) * unit)
        first = np.flatnonzero(other < len(hot))
        other = other[first]
        together = mapping[first] == mapping[other]
        first, other = first[together], other[together]
        if not len(first):
            return None
        best = int(np.argmin(hot[other] - hot[first]))
        number = int(mapping[first[best]])
        start, end = int(hot[first[best]]), int(hot[other[best]]) + unit
        if end - start > _MOST_PAGES * unit:
            return None
        return self._around(Range(start, end), number, unit)

    def _around(self, places: Range, mapping: int, unit: int) -> Range | None:
        """Return a range with its neighbours in the mapping; None if huge pages don't fit."""
        low, high = int(self._anonymous.start[mapping]), int(self._anonymous.end[mapping])
        # Rounded inwards, so that no huge page at an end is taken in in part.
        low, high = -(-low // unit) * unit, high // unit * unit
        margin = _MARGIN_PAGES if unit == PAGE_SIZE_BYTES else 0
        if (places.end - places.start) // unit <= _FLUSH_PAGES:
            margin += _FLUSH_PAGES // 2 + 1
        wider = Range(max(places.start - margin * unit, low), min(places.end + margin * unit, high))
        return wider if (wider.end - wider.start) // unit > _FLUSH_PAGES + 1 else None


def _unchanged(pages: Pagemap, choice: _Choice) -> bool:
    """Tell whether the same frames are there as before: then the same kinds of pages are."""
    entries = pages.read_at(choice.steps)
    return entries is not None and every(entries == choice.entries)


def _entries(pages: Pagemap, flags: Frames, places: Range, unit: int) -> WordColumn | None:
    """Return the entry of each page of a range; None if it has a part of a larger one."""
    if unit == PAGE_SIZE_BYTES:
        return _small_entries(pages, flags, places)
    return _huge_entries(pages, places)


def _small_entries(pages: Pagemap, flags: Frames, places: Range) -> WordColumn | None:
    """Return the entries of a range; None if a part of a larger page is in it."""
    entries = pages.read_range(places)
    frames = pagemap.frames(entries)[pagemap.present(entries)]
    compound = flags.flags(np.sort(frames)) & (HEAD | TAIL)
    return None if compound.any() else entries


def _huge_entries(pages: Pagemap, places: Range) -> WordColumn | None:
    """Return the first entries of a range of huge pages; None if one isn't there as a whole.

    Where all 512 frames follow one another from a multiple of 512 on, no page is cut at the ends.
    """
    entries = pages.read_range(places)
    if len(entries) % 512 or not pagemap.present(entries).all():
        return None
    frames = pagemap.frames(entries).reshape(-1, 512)
    whole = (frames[:, 0] % 512 == 0) & np.all(np.diff(frames, axis=1) == 1, axis=1)
    return entries[::512] if whole.all() else None
