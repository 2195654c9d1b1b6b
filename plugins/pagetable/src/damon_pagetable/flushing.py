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

import ctypes
import errno
import logging
import os
import re
from collections import deque
from typing import NamedTuple

import numpy as np
from attrs import define, field
from damon_vaddr import Mapped, ProcessTarget

from damon_core import PAGE_SIZE_BYTES, Range
from damon_pagetable.look import Look, accessed
from damon_pagetable.tables import IntColumn

logger = logging.getLogger(__name__)

# The number of this system call is the same on all architectures but alpha.
_SYS_PROCESS_MADVISE = 440
_MADV_COLD = 20

#: x86 flushes the whole TLB if the accessed bits that were cleared span more pages than this.
_FLUSH_PAGES = 33
#: How many blocks of memory in use are searched for a range.
_BLOCKS = 32
#: One aggregation out of this many is a trial: without a flush if flushes help, else with one.
_TRIAL = 16
#: The results of this many aggregations of each kind are compared, and of at least as many.
_COMPARED = 16
_ENOUGH = 3

_ENTRY_BYTES = 8
_PRESENT = np.uint64(1 << 63)
_FRAME = np.uint64((1 << 55) - 1)
#: Heads and tails of compound pages; include/uapi/linux/kernel-page-flags.h.
_COMPOUND = 1 << 15 | 1 << 16

# Private, writable, without a file: "7f…-7f… rw-p 00000000 00:00 0", with or without a name.
_ANONYMOUS = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) .w.p [0-9a-f]+ [0-9a-f:]+ 0\b")


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
            found = _ANONYMOUS.findall(maps)
            self._anonymous = Mapped.of([Range(int(a, 16), int(b, 16)) for a, b in found])
        return self._anonymous

    def _helps(self) -> bool:
        if min(len(self._with), len(self._without)) < _ENOUGH:
            return True
        noise = np.sqrt(
            np.var(self._with) / len(self._with) + np.var(self._without) / len(self._without)
        )
        return bool(np.mean(self._with) - np.mean(self._without) > 2 * noise)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Flusher:
    """Flushes the TLBs of processes, until the kernel refuses."""

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._works = True
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
        if not self._works or not process.wanted or target.process.pidfd is None:
            return False
        chosen = self._choose(process.usable(target.layout_input.maps), look)
        if chosen is None or not _is_of_small_pages(pagemap, chosen):
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
        iovec = _Iovec(chosen.start, _size(chosen))
        if self._syscall(_SYS_PROCESS_MADVISE, pidfd, ctypes.byref(iovec), 1, _MADV_COLD, 0) >= 0:
            return True
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            self._works = False
            needs = "Linux 5.10" if code == errno.ENOSYS else "CAP_SYS_NICE"
            logger.warning(
                "TLBs can't be flushed, so very hot memory may look idle: process_madvise: %s"
                " (needs %s); set flush_tlb = false to avoid this warning",
                os.strerror(code),
                needs,
            )
        return False


def _mean(shares: "deque[float]") -> float | None:
    return float(np.mean(shares)) if shares else None


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


def _is_of_small_pages(pagemap: int, addresses: Range) -> bool:
    """Return whether a range has no part of a larger page, as far as this user may know."""
    count = _size(addresses) // PAGE_SIZE_BYTES
    place = addresses.start // PAGE_SIZE_BYTES * _ENTRY_BYTES
    try:
        entries = np.frombuffer(os.pread(pagemap, count * _ENTRY_BYTES, place), np.uint64)
        frames = (entries & _FRAME)[(entries & _PRESENT) != 0].tolist()
        if 0 in frames:  # They aren't shown without CAP_SYS_ADMIN.
            return False
        with open("/proc/kpageflags", "rb", buffering=0) as file:
            flags = [os.pread(file.fileno(), 8, frame * _ENTRY_BYTES) for frame in frames]
    except OSError:
        return False
    return not any(int.from_bytes(each, "little") & _COMPOUND for each in flags)
