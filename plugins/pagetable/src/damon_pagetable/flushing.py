"""Flushing the TLB of processes, so that accesses to the hottest memory aren't missed.

A processor that has the translation of a page in its TLB doesn't set the page's accessed bit again
after it was cleared. So memory that is used all the time, and little enough to stay in the TLB,
looks idle until the process is interrupted. The advice MADV_COLD makes x86 flush all translations
of a process, if the accessed bits that it clears are more than 33 pages apart. So it is given once
an aggregation, after a look has found two such pages: what is lost is their accessed bits, which
are known by then.

It also moves the pages of the range to the inactive list, from which a machine short of memory
takes pages first. So the range is as small as possible, in private anonymous memory, and has no
part of a larger page, which the advice would split.

Whether it makes a difference is measured: one aggregation in 16 is without a flush, and if as much
is found in these, nearly all are.
"""

import logging
from collections import deque
from typing import NamedTuple

import numpy as np
from attrs import define, field
from damon_vaddr import Mapped, ProcessTarget

from damon_core import PAGE_SIZE_BYTES, Range
from damon_pagetable.advice import Adviser, anonymous, is_of_small_pages
from damon_pagetable.look import Look, accessed
from damon_pagetable.tables import IntColumn

logger = logging.getLogger(__name__)

#: x86 flushes the whole TLB if the accessed bits that were cleared span more pages than this.
_FLUSH_PAGES = 33
#: How many blocks of memory in use are searched for a range.
_BLOCKS = 32
#: One aggregation out of this many is a trial: without a flush if flushes help, else with one.
_TRIAL = 16
#: The results of this many aggregations of each kind are compared, and of at least as many.
_COMPARED = 16
_ENOUGH = 3


class FlushStats(NamedTuple):
    """The effect of flushes on one process.

    Attributes:
        flushes: The number of flushes.
        touched_with: The share of its memory found touched in recent aggregations with a flush.
        touched_without: The same without.
    """

    flushes: int
    touched_with: float | None
    touched_without: float | None


def _results() -> "deque[float]":
    return deque(maxlen=_COMPARED)


@define(eq=False)
class FlushedProcess:
    """The state of flushing for one process.

    Attributes:
        wanted: Whether it is still to be flushed in this aggregation.
        flushes: How often it was flushed.
    """

    wanted: bool = field(default=False, init=False)
    flushes: int = field(default=0, init=False)
    _flushed: bool = field(default=False, init=False)
    _aggregations: int = field(default=0, init=False)
    _with: "deque[float]" = field(factory=_results, init=False)
    _without: "deque[float]" = field(factory=_results, init=False)
    _maps: bytes = field(default=b"", init=False)
    _anonymous: Mapped = field(factory=Mapped, init=False)

    @property
    def stats(self) -> FlushStats:
        """The effect so far."""
        both = (
            float(np.mean(shares)) if shares else None for shares in (self._with, self._without)
        )
        return FlushStats(self.flushes, *both)

    def begin(self) -> None:
        """Begin an aggregation: decide whether there is to be a flush."""
        self._aggregations += 1
        self._flushed = False
        self.wanted = (self._aggregations % _TRIAL == 0) != self._helps()

    def end(self, touched_share: float) -> None:
        """End an aggregation that found a share of the memory touched."""
        if self._flushed:
            self._with.append(touched_share)
        elif not self.wanted:
            self._without.append(touched_share)

    def flushed(self) -> None:
        """Note a flush."""
        self.wanted, self._flushed = False, True
        self.flushes += 1

    def usable(self, maps: bytes) -> Mapped:
        """Return the private anonymous memory of the process."""
        if maps is not self._maps:
            self._maps = maps
            self._anonymous = anonymous(maps)
        return self._anonymous

    def _helps(self) -> bool:
        if min(len(self._with), len(self._without)) < _ENOUGH:
            return True
        noise = np.sqrt(
            np.var(self._with) / len(self._with) + np.var(self._without) / len(self._without)
        )
        return bool(np.mean(self._with) - np.mean(self._without) > 2 * noise)


class Flusher:
    """Flushes the TLBs of processes, until the kernel refuses.

    Args:
        adviser: Gives the advice.
    """

    def __init__(self, adviser: Adviser) -> None:
        self._adviser = adviser
        self._rng = np.random.default_rng()

    def flush(
        self, target: ProcessTarget, process: FlushedProcess, pagemap: int, look: Look
    ) -> bool:
        """Flush the TLB of a process if that is wanted, possible and safe; return whether it was.

        Args:
            target: The process.
            process: Its state of flushing.
            pagemap: Its open pagemap.
            look: What has just been found.
        """
        if self._adviser.refused or not process.wanted or target.process.pidfd is None:
            return False
        chosen = self._choose(process.usable(target.layout_input.maps), look)
        if chosen is None or not is_of_small_pages(pagemap, chosen):
            return False
        if not self._advise(target.process.pidfd, chosen):
            return False
        process.flushed()
        return True

    def _choose(self, usable: Mapped, look: Look) -> Range | None:
        """Return the smallest range between two accessed pages that are far enough apart.

        Only some blocks are searched, each time others.
        """
        used = accessed(look.bits)
        blocks = np.flatnonzero(np.count_nonzero(used, axis=1) >= 2)
        if len(blocks) > _BLOCKS:
            blocks = self._rng.choice(blocks, _BLOCKS, replace=False)
        best: Range | None = None
        for block in blocks.tolist():
            address = int(look.blocks[block])
            found = smallest_range(address + np.flatnonzero(used[block]) * PAGE_SIZE_BYTES, usable)
            if found is not None and (best is None or _size(found) < _size(best)):
                best = found
        return best

    def _advise(self, pidfd: int, chosen: Range) -> bool:
        if self._adviser.cold(pidfd, [chosen]):
            return True
        if self._adviser.refused:
            logger.warning(
                "TLBs can't be flushed, so very hot memory may look idle: process_madvise: %s;"
                " set flush_tlb = false to avoid this warning",
                self._adviser.refused,
            )
        return False


def _size(addresses: Range) -> int:
    return addresses.end - addresses.start


def smallest_range(pages: IntColumn, usable: Mapped) -> Range | None:
    """Return the smallest range from one page to another that is far enough away.

    Args:
        pages: The addresses of pages, ascending.
        usable: Both have to be in one of these mappings.
    """
    other = np.searchsorted(pages, pages + (_FLUSH_PAGES + 1) * PAGE_SIZE_BYTES)
    first = np.flatnonzero(other < len(pages))
    other = other[first]
    mapping = usable.holding(pages)
    together = (mapping[first] >= 0) & (mapping[first] == mapping[other])
    first, other = first[together], other[together]
    if not len(first):
        return None
    best = int(np.argmin(pages[other] - pages[first]))
    return Range(int(pages[first[best]]), int(pages[other[best]]) + PAGE_SIZE_BYTES)
