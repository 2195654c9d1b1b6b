"""How accesses to physical memory are seen: what a backend of the primitive `paddr` has to do.

A package adds one by registering it for the primitive by name::

    @hookimpl
    def register_backends(register):
        register(Backend("mine", MyBackend, serves=("paddr",), preference=5, probe=what_is_missing))

Its factory is called as ``factory(options)`` and returns a `PhysicalBackend`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from damon_core import HookContext, SamplingFactory, Target


class PhysicalBackend(Protocol):
    """A way to see which physical memory was accessed. Only the worker calls it.

    Addresses are physical; the frame of a page is its address divided by 4096. They may lie in
    holes, in memory of devices, or in memory that was just taken away: that is not an error, such
    a page is unknown.

    An attribute `cpu_us`, if it has one, is the CPU time in microseconds that others, such as the
    kernel, have spent on sampling for it: it counts as the context's.
    """

    @property
    def sampling(self) -> SamplingFactory:
        """The way of sampling (see `damon_core.contract.sampling`); it says how it is asked.

        `PageSampling`: `prepare` and `check` look at the pages at `samples.addresses` of each
        target. `check` sets `samples.accessed`, and `samples.known` to False for pages that it
        can't answer for: what is free, the kernel's own, reserved or not there.

        `DelegatedSampling`: what is to be monitored is what the `regions` of the targets cover.
        `prepare` passes that on, with the intervals and limits of the context, once an
        aggregation; mostly nothing has changed. `check` gives each target the `regions` of the
        aggregation that is complete, and may wait for them a little. `samples` of some pages show
        how much of the regions can be watched and whose it is; without any, the `resident_bytes`
        of the regions stay.
        """

    def prepare(self, targets: Sequence[Target], context: HookContext, /) -> None:
        """Make the next check possible."""

    def check(self, targets: Sequence[Target], context: HookContext, /) -> None:
        """Find what was accessed since `prepare`, of the same targets."""

    def close(self) -> None:
        """Release everything; more checks may follow."""


@runtime_checkable
class CgroupBackend(PhysicalBackend, Protocol):
    """One that can report the memory of one cgroup alone."""

    def watch_cgroup(self, path: str, place: Path) -> None:
        """Report the memory of one cgroup alone, from the next `prepare` on.

        The `resident_bytes` of regions are what that very cgroup has of them, those below it not
        included, and there are no `samples`.

        Args:
            path: The path of the cgroup below the root of its hierarchy.
            place: Its directory.
        """
