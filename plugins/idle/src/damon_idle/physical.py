"""The backend `idle` for physical memory."""

from collections.abc import Callable, Sequence

import numpy as np

from damon_core import PAGE_SIZE_BYTES, HookContext, NoOptions, PageSampling, Target
from damon_idle.marking import Marked, Marking
from damon_idle.opening import open_marking


class PhysicalIdle:
    """Detects accesses to pages of physical memory, through any mapping of any process.

    Unknown are free pages, pages of the kernel and of devices, holes, and pages that were
    allocated, freed or moved during the check.

    Args:
        make_marking: Opens the kernel's files when they are first needed.
    """

    name = "idle"
    sampling = PageSampling

    def __init__(
        self,
        _options: NoOptions | None = None,
        make_marking: Callable[[], Marking] = open_marking,
    ) -> None:
        self._make_marking = make_marking
        self._marking: Marking | None = None
        self._marked: Marked | None = None

    def prepare(self, targets: Sequence[Target], _context: HookContext | None = None) -> None:
        """Mark the pages at `samples.addresses`, which are physical addresses.

        Raises:
            PluginError: Idle page tracking doesn't work on this machine or for this user.
        """
        if self._marking is None:
            self._marking = self._make_marking()
        frames = [target.samples.addresses for target in targets if target.samples is not None]
        if frames:
            self._marked = self._marking.mark(np.sort(np.concatenate(frames)) // PAGE_SIZE_BYTES)
        else:
            self._marked = None

    def check(self, targets: Sequence[Target], _context: HookContext | None = None) -> None:
        """Set whether the samples were accessed since `prepare`."""
        marking, marked = self._marking, self._marked
        if marking is None or marked is None:
            return
        used, unknown = marking.used(marked)
        if used is None and unknown is None:
            return
        nothing = np.zeros(len(marked.frames), dtype=np.bool_)
        accessed = nothing if used is None else marking.still_there(marked, used)
        known = ~nothing if unknown is None else ~unknown
        if used is not None:
            known &= accessed | ~used
        for target in targets:
            samples = target.samples
            if samples is None:
                continue
            index = marked.frames.searchsorted(samples.addresses // PAGE_SIZE_BYTES)
            samples.accessed[:] = accessed[index]
            samples.known[:] = known[index]

    def close(self) -> None:
        """Release everything."""
        if self._marking is not None:
            self._marking.close()
            self._marking = self._marked = None
