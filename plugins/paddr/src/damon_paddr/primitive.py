"""The primitive: the machine's physical memory, by NUMA node, checked by a backend."""

import logging

from damon_core import (
    Area,
    HookContext,
    Intervals,
    Range,
    RegionLimits,
    Regions,
    SamplingFactory,
    Target,
    hookimpl,
    part_name,
)
from damon_paddr.backend import PhysicalBackend
from damon_paddr.cgroups import CgroupNames, memory_hierarchy
from damon_paddr.kinds import FrameKinds
from damon_paddr.machine import MachineMemory
from damon_paddr.pages import Charges, PageWindow
from damon_paddr.ranges import join_nearest, size_bytes

logger = logging.getLogger(__name__)


class PhysicalMemory:
    """Monitors memory: one target for each NUMA node, named ``node0``, ``node1`` and so on.

    Args:
        memory: The memory to monitor.
        backend: Detects accesses to it.
        kinds: Whether regions have kinds of memory (`damon_paddr.kinds`).

    Attributes:
        sampling: The backend's way of sampling.
        backend_name: The backend's name.
    """

    name = "paddr"

    def __init__(
        self, memory: MachineMemory, backend: PhysicalBackend, *, kinds: bool = False
    ) -> None:
        self._memory = memory
        self._backend = backend
        self.backend_name = part_name(backend)
        self.sampling: SamplingFactory = backend.sampling
        self._ranges: dict[str, list[Range]] = {}
        self._window = PageWindow()
        self._has_kinds = kinds
        self._names = CgroupNames(None)
        self._checks = 0  # of the context, up to the last aggregation

    @property
    def spent_elsewhere_us(self) -> int:
        """CPU time that others, such as the kernel, have spent on sampling; 0 if unknown."""
        return int(getattr(self._backend, "cpu_us", 0))

    @property
    def tuned_intervals(self) -> Intervals | None:
        """The intervals to which what samples has tuned itself; None if it doesn't."""
        tuned: Intervals | None = getattr(self._backend, "tuned_intervals", None)
        return tuned

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Find the memory and make its regions."""
        self._memory.check()
        self._close_charges()
        self._ranges.clear()
        kinds = _open_kinds(context) if self._has_kinds else None
        self._window = PageWindow(_open_charges(context), context.clock.now_us(), kinds)
        self._names = CgroupNames(memory_hierarchy())
        self._checks = 0
        self._follow(context)

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        """Return whether there is still memory."""
        return bool(context.targets)

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        """Let the backend prepare."""
        self._backend.prepare(context.targets, context)

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Let the backend check, and remember some of the pages."""
        self._backend.check(context.targets, context)
        self._window.remember(context.targets, context.clock.now_us())

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Set the resident bytes of regions, and the owners of targets."""
        before, self._checks = self._checks, context.stats.samples
        checks = self._checks - before
        self._window.describe(context.targets, checks, context.clock.now_us(), self._names)

    @hookimpl
    def update(self, context: HookContext) -> None:
        """Update targets and regions to the current memory."""
        self._names.refresh()
        if self._memory.changed():
            self._follow(context)

    @hookimpl
    def cleanup(self) -> None:
        """Release everything."""
        try:
            self._backend.close()
        finally:
            self._close_charges()

    @hookimpl
    def release(self) -> None:
        """Close the backend, which was made with the primitive."""
        self._backend.close()

    def _close_charges(self) -> None:
        """Close what reads more of pages than accesses."""
        charges, self._window.charges = self._window.charges, None
        if charges is not None:
            charges.close()
        kinds, self._window.kinds = self._window.kinds, None
        if kinds is not None:
            kinds.close()

    def _follow(self, context: HookContext) -> None:
        """Update targets to the current nodes, and regions to their current memory."""
        nodes = {f"node{node}": ranges for node, ranges in self._memory.nodes().items()}
        total = sum(map(size_bytes, nodes.values()))
        known = {target.name: target for target in context.targets}
        for name in known.keys() - nodes.keys():
            logger.info("context '%s': the memory of %s is gone", context.name, name)
            del self._ranges[name]
        targets = []
        for name, found in nodes.items():
            limits = _share_of(context.limits, size_bytes(found) / total)
            # Half of the regions are left for the policy to cut.
            ranges = join_nearest(found, limits.max_regions // 2)
            target = known.get(name) or Target(name)
            if ranges != self._ranges.get(name):
                logger.info(
                    "context '%s': %s has %d MiB", context.name, name, size_bytes(found) >> 20
                )
                fresh = not len(target.regions)
                target.regions = (
                    Regions.evenly(ranges, limits)
                    if fresh
                    else target.regions.cover(ranges, limits)
                )
                target.areas = tuple(Area(*each, "System RAM") for each in found)
                self._ranges[name] = ranges
            targets.append(target)
        context.targets[:] = targets


def _share_of(limits: RegionLimits, share: float) -> RegionLimits:
    """Return the limits for a node that has this share of the memory."""
    least = max(1, round(limits.min_regions * share))
    return RegionLimits(least, max(least, int(limits.max_regions * share)))


def _open_charges(context: HookContext) -> Charges | None:
    try:
        return Charges()
    except OSError as error:
        logger.info("context '%s': owners are not reported: %s", context.name, error)
        return None


def _open_kinds(context: HookContext) -> FrameKinds | None:
    try:
        return FrameKinds()
    except OSError as error:
        logger.warning("context '%s': kinds of memory are not reported: %s", context.name, error)
        return None
