"""Flushing the TLB of processes, so that accesses to hot memory are not missed.

Marking a page clears its accessed bits, but not the translations cached in TLBs. While a processor
has one cached it doesn't set the bit again, so the hottest memory looks most idle. MADV_COLD on
a small range of memory in use makes x86 flush all translations of the process: the kernel flushes
the whole TLB if the accessed bits that it cleared span more than 33 pages.

The advice has side effects: pages of the range lose their accessed bits and move to the inactive
list. So the range is as small as possible, in private anonymous memory (`damon_idle.hot`).
Whether flushes help is measured: some checks are made without one, and if that makes no
difference, nearly all are.
"""

import ctypes
import errno
import logging
import math
import os
import time

from attrs import define, field, frozen
from damon_vaddr import ProcessTarget

from damon_core import Range
from damon_idle.frames import Frames
from damon_idle.hot import HotPages
from damon_idle.pagemap import Pagemap
from damon_idle.words import IntColumn

logger = logging.getLogger(__name__)

# The number of this system call is the same on all architectures but alpha.
_SYS_PROCESS_MADVISE = 440
_MADV_COLD = 20

#: One check out of this many is a trial: without a flush if flushes help, with one if they don't.
_TRIAL = 16
#: Both counts, with and without a flush, need this many pages before they are compared.
_ENOUGH = 64
#: Whenever a count exceeds this many pages, its weight is halved.
_MANY = 4096


@frozen
class FlushStats:
    """The number of TLB flushes, their cost, and their effect.

    Attributes:
        flushes: Number of flushes of a process.
        cpu_us: Their CPU time in microseconds, with the choice of ranges.
        checked_with: Pages in memory that were checked after a flush.
        accessed_with: The number of these that were accessed.
        checked_without: Pages checked without a flush, in processes that could have been flushed.
        accessed_without: The number of these that were accessed.
    """

    flushes: int = 0
    cpu_us: int = 0
    checked_with: int = 0
    accessed_with: int = 0
    checked_without: int = 0
    accessed_without: int = 0

    def __str__(self) -> str:
        return (
            f"TLBs flushed {self.flushes} times, in {self.cpu_us / 1e3:.1f} ms of CPU time;"
            f" found accessed: {_percent(self.accessed_with, self.checked_with)} with a flush,"
            f" {_percent(self.accessed_without, self.checked_without)} without"
        )


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%} of {whole} pages" if whole else "no page checked"


@define
class _Recent:
    """The numbers of pages that were checked recently, and of those that were accessed."""

    checked: float = 0.0
    accessed: float = 0.0

    def add(self, checked: int, accessed: int) -> None:
        if self.checked > _MANY:
            self.checked /= 2
            self.accessed /= 2
        self.checked += checked
        self.accessed += accessed

    @property
    def share(self) -> float:
        return self.accessed / self.checked

    @property
    def variance(self) -> float:
        return self.share * (1 - self.share) / self.checked


@define(eq=False)
class FlushedProcess:
    """The state of flushing for one process.

    Attributes:
        hot: Its hot pages.
        flushed: Whether it was flushed for the current check; None if that wasn't possible.
    """

    hot: HotPages = field(factory=HotPages, init=False)
    flushed: bool | None = field(default=None, init=False)
    _with: _Recent = field(factory=_Recent, init=False)
    _without: _Recent = field(factory=_Recent, init=False)
    _checks: int = field(default=0, init=False)

    def due(self) -> bool:
        """Return whether to flush for this check: if flushes help, or as a trial if they don't."""
        self._checks += 1
        return (self._checks % _TRIAL == 0) != self._helps()

    def add(self, checked: int, accessed: int) -> None:
        """Add the results of the current check for pages in memory."""
        if self.flushed is not None:
            (self._with if self.flushed else self._without).add(checked, accessed)

    def _helps(self) -> bool:
        if min(self._with.checked, self._without.checked) < _ENOUGH:
            return True
        noise = math.sqrt(self._with.variance + self._without.variance)
        return self._with.share - self._without.share > 2 * noise


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Flusher:
    """Flushes the TLBs of processes, until the kernel refuses."""

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._works = True
        self._flushes = self._cpu_ns = 0
        self._with, self._without = [0, 0], [0, 0]

    @property
    def stats(self) -> FlushStats:
        """The flushes so far, with their cost and effect."""
        return FlushStats(self._flushes, self._cpu_ns // 1_000, *self._with, *self._without)

    def flush(
        self,
        target: ProcessTarget,
        process: FlushedProcess,
        pages: Pagemap,
        flags: Frames,
        marked: IntColumn,
    ) -> None:
        """Flush the TLB of a process if that is due, possible and safe.

        Args:
            target: The process.
            process: Its state of flushing.
            pages: Its pages.
            flags: The flags of page frames.
            marked: Addresses of the pages that have just been marked.
        """
        process.flushed = None
        if not self._works or target.process.pidfd is None:
            return
        if not process.due():
            process.flushed = False
            return
        began_ns = time.thread_time_ns()
        chosen = process.hot.choose(target, pages, flags, marked)
        if chosen is not None and self._advise(target.process.pidfd, chosen, process):
            process.flushed = True
        self._cpu_ns += time.thread_time_ns() - began_ns

    def add(self, process: FlushedProcess, checked: int, accessed: int) -> None:
        """Add the results of the current check for a process's pages in memory."""
        if process.flushed is None:
            return
        process.add(checked, accessed)
        counts = self._with if process.flushed else self._without
        counts[0] += checked
        counts[1] += accessed

    def _advise(self, pidfd: int, chosen: Range, process: FlushedProcess) -> bool:
        iovec = _Iovec(chosen.start, chosen.end - chosen.start)
        if self._syscall(_SYS_PROCESS_MADVISE, pidfd, ctypes.byref(iovec), 1, _MADV_COLD, 0) >= 0:
            self._flushes += 1
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
        elif code != errno.ESRCH:  # the range is locked, or was unmapped in the meantime
            process.hot.refuse(chosen)
        return False
