"""The backend as it is registered: for processes and for physical memory.

Backends are told apart by name alone and `idle` is what both are called, so one object keeps the
agreements of `damon_vaddr.ProcessBackend` and of the primitive for physical memory.
"""

from collections.abc import Collection, Sequence
from typing import Literal, cast

from damon_vaddr import ProcessTarget

from damon_core import Target
from damon_idle.flushing import FlushStats
from damon_idle.options import IdleOptions
from damon_idle.physical import PhysicalIdle
from damon_idle.processes import ProcessIdle


class Idle:
    """Idle page tracking, whatever the targets of the context are.

    Args:
        options: The options.
    """

    name = "idle"
    layout: Literal["mappings", "ranges"] = "ranges"
    sees_all_users = True

    def __init__(self, options: IdleOptions) -> None:
        self._processes = ProcessIdle(options)
        self._physical = PhysicalIdle()

    @property
    def flush_stats(self) -> FlushStats:
        """What flushing TLBs did and cost so far."""
        return self._processes.flush_stats

    def add(self, target: ProcessTarget) -> None:
        """As `ProcessIdle.add`."""
        self._processes.add(target)

    def prepare(self, targets: Sequence[Target]) -> Collection[ProcessTarget]:
        """As `ProcessIdle.prepare` or `PhysicalIdle.prepare`."""
        if _are_processes(targets):
            return self._processes.prepare(cast(Sequence[ProcessTarget], targets))
        self._physical.prepare(targets)
        return ()

    def check(self, targets: Sequence[Target]) -> Collection[ProcessTarget]:
        """As `ProcessIdle.check` or `PhysicalIdle.check`."""
        if _are_processes(targets):
            return self._processes.check(cast(Sequence[ProcessTarget], targets))
        self._physical.check(targets)
        return ()

    def forget(self, target: ProcessTarget) -> None:
        """As `ProcessIdle.forget`."""
        self._processes.forget(target)

    def close(self) -> None:
        """Close all files; more targets may be added later."""
        self._processes.close()
        self._physical.close()


def _are_processes(targets: Sequence[Target]) -> bool:
    return all(isinstance(target, ProcessTarget) for target in targets)
