"""One check of the pages of processes: what is returned of each page, and how Python finds it.

A helper, `damon_idle.helper`, does the same in compiled code.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from damon_idle import pagemap
from damon_idle.marking import Marked, Marking
from damon_idle.opening import frames_hidden
from damon_idle.pagemap import Pagemap
from damon_idle.words import BoolColumn, IntColumn, WordColumn, count, every

#: The bits of a page's state.
#: It was accessed.
ACCESSED = 1
#: Whether it was accessed isn't known; never together with ACCESSED.
UNKNOWN = 2
#: It was in memory when pages were marked.
IN_MEMORY = 4
#: It was in memory and accessed, and is part of a larger page.
COMPOUND = 8

#: The pages of some processes: an open pagemap, and ascending addresses of pages.
Pages = Sequence[tuple[Pagemap, IntColumn]]

_NONE: IntColumn = np.zeros(0, dtype=np.int64)
_NO_ENTRIES: WordColumn = np.zeros(0, dtype=np.uint64)
_IDLE = bytes([IN_MEMORY])


class Check(Protocol):
    """Pages of some processes that were marked, and can be looked at."""

    @property
    def in_memory(self) -> Sequence[int | None]:
        """The number of pages in memory of each process; None if its memory is gone."""

    def look(self) -> Sequence[bytes | None]:
        """Return the state of each page of each process, a byte with the bits above.

        Returns:
            For each process the states in the order of its addresses; None if its memory is gone.
        """


#: Marks pages, and returns what looks at them.
MarkPages = Callable[[Marking, Pages], Check]


class _Found(NamedTuple):
    """The pages of one process that were marked.

    Attributes:
        pages: Its pagemap.
        addresses: Their addresses.
        entries: Their entries of pagemap.
        present: Which of them are in memory; None if all are.
    """

    pages: Pagemap
    addresses: IntColumn
    entries: WordColumn
    present: BoolColumn | None

    @property
    def frames(self) -> IntColumn:
        """The frames of the pages in memory."""
        frames = pagemap.frames(self.entries)
        return frames if self.present is None else frames[self.present]

    @property
    def in_memory(self) -> int:
        """The number of pages in memory."""
        return len(self.entries) if self.present is None else count(self.present)

    def expand(self, of_present: BoolColumn, absent: bool) -> BoolColumn:
        """Expand a column for the pages in memory to all pages, with `absent` for the others."""
        if self.present is None:
            return of_present
        column = np.full(len(self.present), absent)
        column[self.present] = of_present
        return column


class _Reread(NamedTuple):
    """The pages of one process after the marks were read, with those entries that matter.

    Attributes:
        found: The pages.
        frame: The index in the marked frames of each page in memory; None if all are idle.
        pages: Indices of the pages that are no longer idle or weren't in memory.
        entries: The current entries of these.
    """

    found: _Found
    frame: IntColumn | None
    pages: IntColumn
    entries: WordColumn


class PythonCheck:
    """The check in Python.

    Args:
        marking: Marks frames.
        pages: The pages to mark.

    Raises:
        PluginError: The kernel hides page frames from this program.
    """

    def __init__(self, marking: Marking, pages: Pages) -> None:
        self._marking = marking
        self._found = [_find(each, addresses) for each, addresses in pages]
        parts = [found.frames for found in self._found if found is not None]
        frames = parts[0] if len(parts) == 1 else np.concatenate(parts or [_NONE])
        frames.sort()
        if len(frames) and not frames[0]:
            raise frames_hidden()
        self._marked = marking.mark(frames)

    @property
    def in_memory(self) -> Sequence[int | None]:
        """The number of pages in memory of each process; None if its memory is gone."""
        return [None if found is None else found.in_memory for found in self._found]

    def look(self) -> Sequence[bytes | None]:
        """Return the state of each page of each process; None if its memory is gone."""
        used, unknown = self._marking.used(self._marked)
        all_reread = [
            None if found is None else self._reread(found, used, unknown) for found in self._found
        ]
        accessed = None if used is None else self._marking.still_there(self._marked, used)
        return [
            None if reread is None else _states(reread, self._marked, accessed, unknown)
            for reread in all_reread
        ]

    def _reread(
        self, found: _Found, used: BoolColumn | None, unknown: BoolColumn | None
    ) -> _Reread | None:
        """Read the entries of a process's pages again where they matter; None if it is gone.

        They don't matter for pages that are still idle, as a mark moves with its page, nor for
        unknown ones. For pages that weren't in memory they show whether these were touched.
        """
        frame, pages = None, _NONE
        if used is not None or unknown is not None:
            frame = self._marked.frames.searchsorted(found.frames)
        if used is not None and frame is not None:
            pages = found.expand(used[frame], True).nonzero()[0]
        elif found.present is not None:
            pages = (~found.present).nonzero()[0]
        entries = _NO_ENTRIES
        if len(pages):
            now = found.pages.read(found.addresses[pages])
            if now is None:
                return None
            entries = now
        return _Reread(found, frame, pages, entries)


def _find(pages: Pagemap, addresses: IntColumn) -> _Found | None:
    """Return pages with their entries; None if the memory of the process is gone."""
    entries = pages.read(addresses)
    if entries is None:
        return None
    present = pagemap.present(entries)
    return _Found(pages, addresses, entries, None if every(present) else present)


def _states(
    reread: _Reread, marked: Marked, accessed: BoolColumn | None, unknown: BoolColumn | None
) -> bytes:
    """Return the states of a process's pages from the results of the marked frames."""
    found, frame = reread.found, reread.frame
    if frame is None and not len(reread.pages):
        return _IDLE * len(found.entries)
    states = np.zeros(len(found.entries), dtype=np.uint8)
    states[slice(None) if found.present is None else found.present] = IN_MEMORY
    if frame is not None and unknown is not None:
        states[found.expand(unknown[frame], False)] |= UNKNOWN
    if len(reread.pages):
        before, now = found.entries[reread.pages], reread.entries
        was, is_present = pagemap.present(before), pagemap.present(now)
        # A new page of a file may have been mapped only because a neighbour was touched.
        is_accessed = ~was & is_present & ~pagemap.of_files(now)
        if frame is not None and accessed is not None:
            same = is_present & (pagemap.frames(before) == pagemap.frames(now))
            is_accessed |= was & same & found.expand(accessed[frame], False)[reread.pages]
        states[reread.pages[is_accessed]] |= ACCESSED
        states[reread.pages[~is_accessed & (was | is_present)]] |= UNKNOWN
        if marked.heads is not None and frame is not None:
            compound = found.expand(marked.heads.compound[frame], False)
            states[compound & ((states & ACCESSED) != 0)] |= COMPOUND
    return states.tobytes()
