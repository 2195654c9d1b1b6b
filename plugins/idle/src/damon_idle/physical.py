"""The backend `idle` of the primitive for physical memory: pages by their frames."""

from collections.abc import Callable, Sequence

import numpy as np

from damon_core import PAGE_SIZE_BYTES, HookContext, NoOptions, PageSampling, Target
from damon_idle.marking import Marked, Marking
from damon_idle.opening import open_marking


class PhysicalIdle:
    """Tells which pages of physical memory were accessed, through any mapping of any process.

    What isn't memory of users is unknown: free pages, the kernel's own, holes, devices; and
    pages that came, went or moved while they were looked at.

    Args:
        make_marking: Opens the files of the kernel, when they are first needed.
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
        """Mark the pages at `samples.addresses`, which are physical.

        Raises:
            PluginError: Idle page tracking doesn't work here, or not for this user.
        """
        if self._marking is None:
            self._marking = self._make_marking()
        frames = [target.samples.addresses for target in targets if target.samples is not None]
        if frames:
            self._marked = self._marking.mark(np.sort(np.concatenate(frames)) // PAGE_SIZE_BYTES)
        else:
            self._marked = None

    def check(self, targets: Sequence[Target], _context: HookContext | None = None) -> None:
        """Tell which of the pages that were marked were accessed since."""
        marking, marked = self._marking, self._marked
        if marking is None or marked is None:
            return
        used, unknown = marking.look(marked)
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
            place = marked.frames.searchsorted(samples.addresses // PAGE_SIZE_BYTES)
            samples.accessed[:] = accessed[place]
            samples.known[:] = known[place]

    def close(self) -> None:
        """Release everything."""
        if self._marking is not None:
            self._marking.close()
            self._marking = self._marked = None
