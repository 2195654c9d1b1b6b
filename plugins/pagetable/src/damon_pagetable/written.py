"""The backend `written`: writes to every page of processes, by soft-dirty bits."""

import os
from collections.abc import Sequence

from attrs import define, field
from damon_vaddr import Process, ProcessTarget, clear_soft_dirty_bits, parse_maps

from damon_core import (
    HookContext,
    NoOptions,
    PluginError,
    Range,
    RegionPolicy,
    SpacedSampling,
)
from damon_pagetable.clearing import ClearedProcesses, Files
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
class _Files(Files):
    """The open files of a process.

    Attributes:
        looks: Looks at its pagemap.
        maps: Its maps, of which the mappings are:
        mappings: Its mappings.
    """

    looks: WrittenLooks
    maps: bytes = field(default=b"", init=False)
    mappings: Sequence[Range] = field(default=(), init=False)


class Written(ClearedProcesses[_Files]):
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
        super().__init__()
        self._fault_us = fault_us()

    def add(self, target: ProcessTarget) -> None:
        """Open the files of a process; raises what `ProcessBackend.add` may raise."""
        self._open(target, lambda pagemap: _Files(pagemap, WrittenLooks(pagemap)))

    def _clear(self, process: Process) -> int:
        return clear_soft_dirty_bits(process)

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
