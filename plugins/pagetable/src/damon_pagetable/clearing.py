"""Processes whose bits are cleared when an aggregation begins, and looked at in its checks."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from attrs import define, field
from damon_vaddr import Process, ProcessTarget, is_shortage

from damon_core import HookContext
from damon_pagetable.layout import BestCut, Known


@define(eq=False)
class Files:
    """The open files of a process.

    Attributes:
        pagemap: Its pagemap.
        aggregation: The number of the last aggregation when this one began; -1 for never.
    """

    pagemap: int
    aggregation: int = field(default=-1, init=False)


F = TypeVar("F", bound=Files)


class ClearedProcesses(ABC, Generic[F]):
    """A backend that clears bits of all pages of a process, and sees which are set again.

    Attributes:
        layout: Makes regions of the pages.
    """

    def __init__(self) -> None:
        self._files: dict[ProcessTarget, F] = {}
        self._known: dict[ProcessTarget, Known] = {}
        self.layout = BestCut(self._known)

    def _open(self, target: ProcessTarget, make: Callable[[int], F]) -> None:
        """Open the files of a process; `make` is given the descriptor of its pagemap."""
        os.close(target.process.open_file("clear_refs", os.O_WRONLY))
        pagemap = target.process.open_kept("pagemap")
        self._files[target] = make(pagemap)
        self._known[target] = Known(pagemap)

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Clear the bits of each process when an aggregation begins that needs that."""
        number = context.snapshot.number if context.snapshot is not None else 0
        gone = []
        for target in targets:
            files, known = self._files[target], self._known[target]
            if files.aggregation == number:
                continue
            if not self._needs_clearing(target):
                files.aggregation = number
                self._begin_later(target, context)
                continue
            try:
                held_us = self._clear(target.process)
            except (ProcessLookupError, PermissionError):  # its files may no longer be used
                gone.append(target)
                continue
            except OSError as error:
                if not is_shortage(error):
                    raise
                continue  # What is set adds up until a file can be opened again.
            files.aggregation = number
            target.toll = target.toll.with_held(held_us)
            self._was_cleared(target, context)
            known.pages.clear()
            known.cleared_us, known.first_us = context.clock.now_us(), 0
            known.inference.begin_epoch(known.cleared_us)
        return gone

    @abstractmethod
    def _clear(self, process: Process) -> int:
        """Clear the bits; return how long that held the process's memory map, in microseconds."""

    def _needs_clearing(self, _target: ProcessTarget) -> bool:
        """Return whether the aggregation that begins is the first one of an epoch."""
        return True

    def _was_cleared(self, target: ProcessTarget, context: HookContext) -> None:
        """Note that a process's bits were cleared; what is known of its pages is still there."""

    def _begin_later(self, target: ProcessTarget, context: HookContext) -> None:
        """Begin an aggregation that isn't the first one of its epoch."""

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Look at all pages of each process; return those whose memory is gone."""
        return [each for each in targets if not self._look(each, context)]

    @abstractmethod
    def _look(self, target: ProcessTarget, context: HookContext) -> bool:
        """Look at all pages of a process; return whether it still has memory."""

    def forget(self, target: ProcessTarget) -> None:
        """Close the files of a process."""
        files = self._files.pop(target, None)
        self._known.pop(target, None)
        if files is not None:
            os.close(files.pagemap)

    def close(self) -> None:
        """Close all files."""
        for target in list(self._files):
            self.forget(target)
