"""The backend `idle` for processes."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from attrs import define, field
from damon_vaddr import ProcessTarget, Ranges

from damon_core import HookContext, PageSampling, Samples
from damon_idle.checking import ACCESSED, COMPOUND, IN_MEMORY, UNKNOWN, Check, PythonCheck
from damon_idle.flushing import FlushedProcess, Flusher, FlushStats
from damon_idle.helper import Helper, find_helper
from damon_idle.marking import Marking
from damon_idle.opening import open_marking
from damon_idle.options import IdleOptions
from damon_idle.pagemap import Pagemap
from damon_idle.words import BoolColumn, IntColumn, as_byte, count, every

logger = logging.getLogger(__name__)

_IDLE = bytes([IN_MEMORY])
_ABSENT = b"\0"
_HOT = as_byte(IN_MEMORY | ACCESSED)
_ACCESSED = as_byte(ACCESSED)
_UNKNOWN = as_byte(UNKNOWN)
_COMPOUND = as_byte(COMPOUND)
_ZERO = as_byte(0)


class _Prepared(NamedTuple):
    """The pages of one process in a check.

    Attributes:
        number: The number of the process in the check.
        which: Which of the samples are mapped, and so checked; None if all are.
        addresses: The addresses of these.
    """

    number: int
    which: BoolColumn | None
    addresses: IntColumn


@define(eq=False)
class _ProcessState:
    """The open pagemap of one process, its TLB flushes, and its pages in the current check."""

    pagemap: Pagemap
    flushing: FlushedProcess = field(factory=FlushedProcess)
    prepared: _Prepared | None = None


class ProcessIdle:
    """Detects accesses to single pages of processes, through any mapping.

    A page that isn't mapped, was never touched or is swapped out wasn't accessed. Unknown are
    pages that idle page tracking doesn't cover, such as those of hugetlbfs, and pages that moved
    during the check. All pages of a huge page have the same result.

    Args:
        options: The options.
        make_marking: Opens the kernel's files when they are first needed.
        helper: What checks pages in compiled code; without `mark` they are checked in Python.
            None: what is installed.
    """

    name = "idle"
    sampling = PageSampling
    layout = Ranges()
    sees_all_users = True

    def __init__(
        self,
        options: IdleOptions | None = None,
        make_marking: Callable[[], Marking] = open_marking,
        helper: Helper | None = None,
    ) -> None:
        self._make_marking = make_marking
        self._marking: Marking | None = None
        self._check: Check | None = None
        helper = find_helper() if helper is None else helper
        if helper.problem:
            logger.warning("%s %s; pages are checked in Python", helper.package, helper.problem)
        self._mark_pages = PythonCheck if helper.mark is None else helper.mark_pages
        self._flusher = Flusher() if options is None or options.flush_tlb else None
        self._states: dict[ProcessTarget, _ProcessState] = {}

    @property
    def flush_stats(self) -> FlushStats:
        """The TLB flushes so far, with their cost and effect; zeros if they are switched off."""
        return self._flusher.stats if self._flusher is not None else FlushStats()

    def add(self, target: ProcessTarget) -> None:
        """Open the pagemap of a process.

        Raises:
            PluginError: Idle page tracking doesn't work on this machine or for this user.
            OSError: The process has ended, or its pagemap can't be opened.
        """
        if self._marking is None:
            self._marking = self._make_marking()
        self._states[target] = _ProcessState(Pagemap(target.process))

    def prepare(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Mark the pages at `samples.addresses` that are in memory.

        Raises:
            PluginError: The kernel hides page frames from this program.
        """
        self._check = None
        if self._marking is None:
            return ()
        pages = []
        for number, target in enumerate(targets):
            assert target.samples is not None
            addresses, which = target.samples.addresses, None
            mapped = target.mapped.holds(addresses)
            if not every(mapped):
                addresses, which = addresses[mapped], mapped
            state = self._states[target]
            state.prepared = _Prepared(number, which, addresses)
            pages.append((state.pagemap, addresses))
        self._check = self._mark_pages(self._marking, pages)
        in_memory = self._check.in_memory
        if self._flusher is not None:
            self._flush(self._flusher, targets, self._marking, in_memory)
        return [target for target, pages in zip(targets, in_memory, strict=True) if pages is None]

    def _flush(
        self,
        flusher: Flusher,
        targets: Sequence[ProcessTarget],
        marking: Marking,
        in_memory: Sequence[int | None],
    ) -> None:
        for target, pages in zip(targets, in_memory, strict=True):
            state = self._states[target]
            # A page that wasn't marked doesn't need a flush.
            if state.prepared is not None and pages:
                flusher.flush(
                    target, state.flushing, state.pagemap, marking.frames, state.prepared.addresses
                )

    def check(
        self, targets: Sequence[ProcessTarget], _context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Set whether the samples were accessed since `prepare`."""
        if self._check is None:
            return ()
        gone = []
        all_states = self._check.look()
        for target in targets:
            if target.samples is None:  # it was added after `prepare`
                continue
            process = self._states[target]
            assert process.prepared is not None
            states = all_states[process.prepared.number]
            if states is None:
                gone.append(target)
            else:
                self._set_results(target.samples, process, process.prepared, states)
        return gone

    def _set_results(
        self, samples: Samples, process: _ProcessState, prepared: _Prepared, states: bytes
    ) -> None:
        """Set the samples of a process, and pass results of pages in memory on to the flusher."""
        known, hits = states.count(_IDLE), 0
        # Otherwise all were idle or absent: known and not accessed, as samples are at first.
        if known + states.count(_ABSENT) < len(states):
            column = np.frombuffer(states, dtype=np.uint8)
            which = slice(None) if prepared.which is None else prepared.which
            samples.accessed[which] = column & _ACCESSED
            samples.known[which] = (column & _UNKNOWN) == _ZERO
            hot = (column & _HOT) == _HOT
            hits = count(hot)
            known += hits
            if hits and self._flusher is not None:
                compound = (column[hot] & _COMPOUND) != _ZERO
                process.flushing.hot.add(
                    prepared.addresses[hot], compound if count(compound) else None
                )
        if self._flusher is not None:
            self._flusher.add(process.flushing, known, hits)

    def forget(self, target: ProcessTarget) -> None:
        """Close the pagemap of a process."""
        state = self._states.pop(target, None)
        if state is not None:
            state.pagemap.close()

    def close(self) -> None:
        """Close all files."""
        for target in list(self._states):
            self.forget(target)
        if self._marking is not None:
            self._marking.close()
            self._marking = self._check = None
        stats = self.flush_stats
        if stats.flushes:
            logger.info("%s", stats)
