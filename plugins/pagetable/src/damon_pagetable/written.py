"""The backend `written`: writes to every page of processes, by soft-dirty bits."""

import os
from collections.abc import Collection, Sequence

from attrs import define, field
from damon_vaddr import ProcessTarget, clear_soft_dirty_bits, is_shortage, parse_maps

from damon_core import (
    HookContext,
    NoOptions,
    PluginError,
    Range,
    RegionPolicy,
    SpacedSampling,
)
from damon_pagetable.layout import BestCut, Known
from damon_pagetable.softdirty import WrittenLooks, fault_us, has_soft_dirty


class ClearingSampling(SpacedSampling):
    """`SpacedSampling` whose epochs are single aggregations: each begins with a clearing.

    In a second aggregation after a clearing nothing would show what was written again. So it is
    aggregations that become longer, for all that a clearing costs.
    """

    def __init__(self, policy: RegionPolicy) -> None:
        super().__init__(policy)
        self.most_aggregations = 1

    def set_epoch(self, epoch_us: float) -> None:
        """Do nothing but begin an epoch with each aggregation."""
        super().set_epoch(0.0)
        self.most_aggregations = 1


@define(eq=False)
class _Files:
    """The open files of a process.

    Attributes:
        pagemap: Its pagemap.
        looks: Looks at it.
        aggregation: The number of the last aggregation when the bits were cleared; -1 for never.
        maps: Its maps, of which the mappings are:
        mappings: Its mappings.
    """

    pagemap: int
    looks: WrittenLooks
    aggregation: int = field(default=-1, init=False)
    maps: bytes = field(default=b"", init=False)
    mappings: Sequence[Range] = field(default=(), init=False)


class Written:
    """Sees writes to every page of processes, and nothing of what is only read.

    Everything that results call an access is a write: the working set is what was written. At the
    beginning of an aggregation the bits of a process are cleared, by clear_refs; each look after
    that finds all pages that were written since. The process pays a fault for the first write to
    each page: that is in its `toll`, and intervals grow until it loses no more than `max_slowdown`.

    Raises:
        PluginError: This kernel has no soft-dirty bits.
    """

    name = "written"
    sampling = ClearingSampling
    sees_all_users = False
    #: Others see accesses: none is better.
    only_writes = True

    def __init__(self, options: NoOptions | None = None) -> None:
        if not has_soft_dirty():
            raise PluginError(self.name, "the kernel needs CONFIG_MEM_SOFT_DIRTY")
        self._files: dict[ProcessTarget, _Files] = {}
        self._known: dict[ProcessTarget, Known] = {}
        self._fault_us = fault_us()
        self.layout = BestCut(self._known)

    def add(self, target: ProcessTarget) -> None:
        """Open the files of a process; raises what `ProcessBackend.add` may raise."""
        os.close(target.process.open_file("clear_refs", os.O_WRONLY))
        pagemap = target.process.open_kept("pagemap")
        self._files[target] = _Files(pagemap, WrittenLooks(pagemap))
        self._known[target] = Known(pagemap)

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Clear the bits of each process at the beginning of an aggregation."""
        number = context.snapshot.number if context.snapshot is not None else 0
        gone = []
        for target in targets:
            files, known = self._files[target], self._known[target]
            if files.aggregation == number:
                continue
            try:
                held_us = clear_soft_dirty_bits(target.process)
            except (ProcessLookupError, PermissionError):  # it may no longer be written to
                gone.append(target)
                continue
            except OSError as error:
                if not is_shortage(error):
                    raise
                continue  # Writes add up until a file can be opened again.
            files.aggregation = number
            target.toll = target.toll.with_held(held_us)
            known.pages.clear()
            known.cleared_us, known.first_us = context.clock.now_us(), 0
            known.inference.begin_epoch(known.cleared_us)
        return gone

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext
    ) -> Collection[ProcessTarget]:
        """Look at all pages of each process."""
        return [each for each in targets if not self._look(each, context)]

    def _look(self, target: ProcessTarget, context: HookContext) -> bool:
        files, known = self._files[target], self._known[target]
        if files.maps != target.layout_input.maps:
            files.maps = target.layout_input.maps
            files.mappings = parse_maps(files.maps)
        try:
            found = files.looks.look(files.mappings)
        except OSError:
            return False
        if not os.pread(files.pagemap, 8, 0):  # Its memory is gone: it ended or called exec.
            return False
        now_us = context.clock.now_us()
        known.note_look(now_us, context.intervals.checks)
        pages = known.pages.add(found, known.last_us, now_us)
        known.inference.look(pages, known.last_us)
        target.toll = target.toll.with_held(files.looks.longest_us).with_cpu(pages * self._fault_us)
        return True

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
