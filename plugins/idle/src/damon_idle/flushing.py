"""Flushing the TLB of processes, so that hot memory can't hide there.

Marking a page clears its accessed bits, but not the translations that processors hold. While one
does, it doesn't set the bit again, so the hottest memory looks idlest. MADV_COLD on a small range
of memory that is in use makes x86 flush all translations of the process: the kernel gathers what
it cleared, and flushes everything where that spans more than 33 pages.

The advice has side effects: pages of the range lose their accessed bits and go to the inactive
list. So the range is as small as can be, and lies in private anonymous memory (`damon_idle.hot`).
Whether it helps is measured: some checks do without, and where that makes no difference nearly
all do.
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

# Linux gives a system call this number on every architecture but alpha.
_SYS_PROCESS_MADVISE = 440
_MADV_COLD = 20

#: One check in so many is made the other way: without, or where it doesn't help with a flush.
_TRIAL = 16
#: How many pages have to be looked at with and without before the two are compared.
_ENOUGH = 64
#: After how many pages older ones count half.
_MANY = 4096


@frozen
class FlushStats:
    """What flushing did.

    Attributes:
        flushes: How many times a process was flushed.
        cpu_us: The processor time that took, the choice of ranges included.
        looked_with: Pages in memory that were looked at after a flush.
        accessed_with: How many of them were accessed.
        looked_without: Those looked at without one, in processes that could have been flushed.
        accessed_without: How many of them were accessed.
    """

    flushes: int = 0
    cpu_us: int = 0
    looked_with: int = 0
    accessed_with: int = 0
    looked_without: int = 0
    accessed_without: int = 0

    def __str__(self) -> str:
        return (
            f"TLBs flushed {self.flushes} times, in {self.cpu_us / 1e3:.1f} ms of processor time;"
            f" found accessed: {_percent(self.accessed_with, self.looked_with)} with a flush,"
            f" {_percent(self.accessed_without, self.looked_without)} without"
        )


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%} of {whole} pages" if whole else "no page looked at"


@define
class _Seen:
    """How many pages were looked at lately, and how many of them were accessed."""

    looked: float = 0.0
    accessed: float = 0.0

    def add(self, looked: int, accessed: int) -> None:
        if self.looked > _MANY:
            self.looked /= 2
            self.accessed /= 2
        self.looked += looked
        self.accessed += accessed

    @property
    def share(self) -> float:
        return self.accessed / self.looked

    @property
    def variance(self) -> float:
        return self.share * (1 - self.share) / self.looked


@define(eq=False)
class FlushedProcess:
    """What is known of flushing one process.

    Attributes:
        hot: Its hot pages.
        flushed: Whether it was flushed for the check under way; None if that wasn't possible.
    """

    hot: HotPages = field(factory=HotPages, init=False)
    flushed: bool | None = field(default=None, init=False)
    _with: _Seen = field(factory=_Seen, init=False)
    _without: _Seen = field(factory=_Seen, init=False)
    _checks: int = field(default=0, init=False)

    def due(self) -> bool:
        """Tell whether to flush for this check: as a rule if it helps, else as a trial."""
        self._checks += 1
        return (self._checks % _TRIAL == 0) != self._helps()

    def saw(self, looked: int, accessed: int) -> None:
        """Note what the check found among the pages in memory."""
        if self.flushed is not None:
            (self._with if self.flushed else self._without).add(looked, accessed)

    def _helps(self) -> bool:
        if min(self._with.looked, self._without.looked) < _ENOUGH:
            return True
        noise = math.sqrt(self._with.variance + self._without.variance)
        return self._with.share - self._without.share > 2 * noise


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Flusher:
    """Flushes processes, as long as the kernel lets it.

    Attributes:
        stats: What was done so far.
    """

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._works = True
        self._flushes = self._cpu_ns = 0
        self._with, self._without = [0, 0], [0, 0]

    @property
    def stats(self) -> FlushStats:
        """What was done so far."""
        return FlushStats(self._flushes, self._cpu_ns // 1_000, *self._with, *self._without)

    def flush(
        self,
        target: ProcessTarget,
        process: FlushedProcess,
        pages: Pagemap,
        flags: Frames,
        marked: IntColumn,
    ) -> None:
        """Flush a process if that is due, possible and safe.

        Args:
            target: The process.
            process: What is known of flushing it.
            pages: Its pages.
            flags: The flags of page frames.
            marked: Addresses of the pages that were marked just now.
        """
        process.flushed = None
        if not self._works or target.process.pidfd is None:
            return
        if not process.due():
            process.flushed = False
            return
        began_ns = time.thread_time_ns()
        places = process.hot.choose(target, pages, flags, marked)
        if places is not None and self._advise(target.process.pidfd, places, process):
            process.flushed = True
        self._cpu_ns += time.thread_time_ns() - began_ns

    def saw(self, process: FlushedProcess, looked: int, accessed: int) -> None:
        """Note what a check found among the pages of a process in memory."""
        if process.flushed is None:
            return
        process.saw(looked, accessed)
        counts = self._with if process.flushed else self._without
        counts[0] += looked
        counts[1] += accessed

    def _advise(self, pidfd: int, places: Range, process: FlushedProcess) -> bool:
        iovec = _Iovec(places.start, places.end - places.start)
        if self._syscall(_SYS_PROCESS_MADVISE, pidfd, ctypes.byref(iovec), 1, _MADV_COLD, 0) >= 0:
            self._flushes += 1
            return True
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            self._works = False
            needs = "Linux 5.10" if code == errno.ENOSYS else "CAP_SYS_NICE"
            logger.warning(
                "TLBs can't be flushed, so very hot memory may look idle: process_madvise: %s"
                " (needs %s); flush_tlb = false says that this is meant",
                os.strerror(code),
                needs,
            )
        elif code != errno.ESRCH:  # locked or unmapped meanwhile
            process.hot.refuse(places)
        return False
