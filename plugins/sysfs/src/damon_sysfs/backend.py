"""The backend as it is registered: for processes and for physical memory.

Backends are told apart by name alone and `kernel` is what both are called, so one object keeps
the agreements of `damon_vaddr.ProcessSampler` and of the primitive for physical memory.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

from damon_vaddr import ProcessTarget

from damon_core import Intervals, NoOptions, RegionLimits, Target
from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses
from damon_sysfs.sampler import Sampler


class Kernel:
    """The kernel's DAMON, whatever the targets of the context are.

    Args:
        options: There are none.
    """

    name = "kernel"
    sees_all_users = False

    def __init__(self, options: NoOptions | None = None) -> None:
        self.sampler = Sampler()
        self._processes = KernelProcesses(self.sampler)
        self._memory = KernelMemory(self.sampler)

    @property
    def cpu_us(self) -> int:
        """As `Sampler.cpu_us`."""
        return self.sampler.cpu_us

    def add(self, target: ProcessTarget) -> None:
        """As `KernelProcesses.add`."""
        self._processes.add(target)

    def steer(
        self, targets: Sequence[Target], intervals: Intervals, limits: RegionLimits
    ) -> Collection[ProcessTarget]:
        """As `KernelProcesses.steer` or `KernelMemory.steer`."""
        if _are_processes(targets):
            processes = cast(Sequence[ProcessTarget], targets)
            return self._processes.steer(processes, intervals, limits)
        self._memory.steer(targets, intervals, limits)
        return ()

    def collect(self, targets: Sequence[Target]) -> Collection[ProcessTarget]:
        """As `KernelProcesses.collect` or `KernelMemory.collect`."""
        if _are_processes(targets):
            return self._processes.collect(cast(Sequence[ProcessTarget], targets))
        self._memory.collect(targets)
        return ()

    def watch_cgroup(self, path: str, place: Path) -> None:
        """As `KernelMemory.watch_cgroup`."""
        self._memory.watch_cgroup(path, place)

    def forget(self, target: ProcessTarget) -> None:
        """As `KernelProcesses.forget`."""
        self._processes.forget(target)

    def close(self) -> None:
        """Switch the kdamond off and let go of everything; more targets may be added later."""
        try:
            self._processes.close()
        finally:
            self._memory.close()


def _are_processes(targets: Sequence[Target]) -> bool:
    return all(isinstance(target, ProcessTarget) for target in targets)
