"""The hot pages of a process, and the smallest range of them whose advice flushes the TLB."""

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

#: x86 flushes the whole TLB if the accessed bits that were cleared span more pages than this.
_FLUSH_PAGES = 33
#: Neighbours that are included on both sides. The two pages themselves were checked, so their
#: accessed bits may be clear while the TLB still has their translations; their neighbours' rarely.
_MARGIN_PAGES = 16
#: A range may have at most this many pages.
_MAX_PAGES = 512
#: A page counts as hot if one of this many last checks found it accessed. After this many flushes
#: a new range is chosen.
_HOT_CHECKS = 32
#: If no range was found, the next search is after this many checks.
_PAUSE_CHECKS = 8

_HUGE_BYTES = 512 * PAGE_SIZE_BYTES

# Private, writable, without a file: "7f…-7f… rw-p 00000000 00:00 0", with or without a name.
_ANONYMOUS = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) .w.p [0-9a-f]+ [0-9a-f:]+ 0\b")


@define(eq=False)
class _Choice:
    """A range for the advice.

    Attributes:
        addresses: Its addresses.
        steps: The places in pagemap of the first entry of each of its pages, small or huge.
        entries: These entries when the range was found safe.
        uses: The number of times that it may still be used.
    """

    addresses: Range
    steps: Places
    entries: WordColumn
    uses: int = _HOT_CHECKS


@define(eq=False)
class HotPages:
    """The pages of a process that were recently found accessed."""

    _small: "deque[IntColumn]" = field(factory=lambda: deque(maxlen=_HOT_CHECKS), init=False)
    _huge: "deque[IntColumn]" = field(factory=lambda: deque(maxlen=_HOT_CHECKS), init=False)
    _maps: bytes = field(default=b"", init=False)
    _anonymous: Mapped = field(factory=Mapped, init=False)
    _refused: set[int] = field(factory=set, init=False)
    _choice: _Choice | None = field(default=None, init=False)
    _wait: int = field(default=0, init=False)
    _guesses: int = field(default=0, init=False)

    def add(self, addresses: IntColumn, compound: BoolColumn | None = None) -> None:
        """Add pages that a check found accessed, and whether each is part of a compound page."""
        if compound is not None:
            self._huge.append(addresses[compound] // _HUGE_BYTES * _HUGE_BYTES)
            addresses = addresses[~compound]
        self._small.append(addresses)

    def refuse(self, chosen: Range) -> None:
        """Exclude the mapping of a range: the kernel refuses advice for it; it may be locked."""
        self._refused.update(self._usable(np.array([chosen.start])).tolist())
        self._choice = None

    def choose(
        self, target: ProcessTarget, pages: Pagemap, flags: Frames, marked: IntColumn
    ) -> Range | None:
        """Return the smallest range whose advice flushes the TLB and does no harm; None without.

        If no page is known to be hot, perhaps because all accesses are missed, it is the
        neighbourhood of a page in memory: most pages have been accessed at some time since
        their accessed bits were cleared.

        Args:
            target: The process.
            pages: Its pages.
            flags: The flags of page frames.
            marked: Addresses of the pages that have just been marked: their accessed bits are
                clear.
        """
        self._find_anonymous(target.layout_input.maps)
        choice = self._choice
        if choice is not None and choice.uses > 0 and _unchanged(pages, choice):
            choice.uses -= 1
            return choice.addresses
        self._choice = None
        if self._wait > 0:
            self._wait -= 1
            return None
        for recent, unit in ((self._small, PAGE_SIZE_BYTES), (self._huge, _HUGE_BYTES)):
            if not recent:
                continue
            hot = np.unique(np.concatenate(recent))
            found = self._smallest(np.setdiff1d(hot, marked // unit * unit), unit)
            entries = None if found is None else _entries(pages, flags, found, unit)
            if found is not None and entries is not None:
                steps = pages.places(np.arange(found.start, found.end, unit))
                self._choice = _Choice(found, steps, entries)
                return found
            recent.clear()  # no further search before other pages are found hot
        return self._guess(pages, flags, marked)

    def _guess(self, pages: Pagemap, flags: Frames, marked: IntColumn) -> Range | None:
        """Return the neighbourhood of one of the marked pages, each time of another one."""
        mapping = self._usable(marked)
        marked, mapping = marked[mapping >= 0], mapping[mapping >= 0]
        if not len(marked):
            self._wait = _PAUSE_CHECKS
            return None
        self._guesses += 1
        one = self._guesses % len(marked)
        for unit in (PAGE_SIZE_BYTES, _HUGE_BYTES):
            start = int(marked[one]) // unit * unit
            found = self._around(Range(start, start + unit), int(mapping[one]), unit)
            if found is not None and _entries(pages, flags, found, unit) is not None:
                return found
        return None

    def _find_anonymous(self, maps: bytes) -> None:
        """Find private anonymous memory, if the mappings have changed."""
        if maps is self._maps:
            return
        self._maps = maps
        self._anonymous = Mapped.of(
            [Range(int(start, 16), int(end, 16)) for start, end in _ANONYMOUS.findall(maps)]
        )
        self._refused.clear()
        self._choice = None

    def _usable(self, addresses: IntColumn) -> IntColumn:
        """Return the index of each address's mapping, -1 if advice isn't possible there."""
        mapping = self._anonymous.holding(addresses)
        if not self._refused:
            return mapping
        return np.where(np.isin(mapping, list(self._refused)), -1, mapping)

    def _smallest(self, hot: IntColumn, unit: int) -> Range | None:
        """Return the smallest range between two hot pages that are far enough apart."""
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
        if end - start > _MAX_PAGES * unit:
            return None
        return self._around(Range(start, end), number, unit)

    def _around(self, inner: Range, mapping: int, unit: int) -> Range | None:
        """Return a range with its neighbours in the mapping; None if that is too small to flush."""
        low, high = int(self._anonymous.start[mapping]), int(self._anonymous.end[mapping])
        # Rounded inwards, so that no huge page at an end is included in part.
        low, high = -(-low // unit) * unit, high // unit * unit
        margin = _MARGIN_PAGES if unit == PAGE_SIZE_BYTES else 0
        if (inner.end - inner.start) // unit <= _FLUSH_PAGES:
            margin += _FLUSH_PAGES // 2 + 1
        wider = Range(max(inner.start - margin * unit, low), min(inner.end + margin * unit, high))
        return wider if (wider.end - wider.start) // unit > _FLUSH_PAGES + 1 else None


def _unchanged(pages: Pagemap, choice: _Choice) -> bool:
    """Return whether the range still has the same frames, and so the same kinds of pages."""
    entries = pages.read_at(choice.steps)
    return entries is not None and every(entries == choice.entries)


def _entries(pages: Pagemap, flags: Frames, addresses: Range, unit: int) -> WordColumn | None:
    """Return the entry of each page of a range; None if it has a part of a larger page."""
    if unit == PAGE_SIZE_BYTES:
        return _small_entries(pages, flags, addresses)
    return _huge_entries(pages, addresses)


def _small_entries(pages: Pagemap, flags: Frames, addresses: Range) -> WordColumn | None:
    """Return the entries of a range; None if it has a part of a compound page."""
    entries = pages.read_range(addresses)
    frames = pagemap.frames(entries)[pagemap.present(entries)]
    compound = flags.flags(np.sort(frames)) & (HEAD | TAIL)
    return None if compound.any() else entries


def _huge_entries(pages: Pagemap, addresses: Range) -> WordColumn | None:
    """Return the first entry of each huge page of a range; None if one isn't complete.

    A huge page is complete if it has 512 consecutive frames from a multiple of 512 on.
    """
    entries = pages.read_range(addresses)
    if len(entries) % 512 or not pagemap.present(entries).all():
        return None
    frames = pagemap.frames(entries).reshape(-1, 512)
    whole = (frames[:, 0] % 512 == 0) & np.all(np.diff(frames, axis=1) == 1, axis=1)
    return entries[::512] if whole.all() else None
