"""How accesses to physical memory are seen: what a backend of the primitive `paddr` has to do.

A package adds one by registering it for the primitive by name::

    @hookimpl
    def register_backends(register):
        register(Backend("mine", MyBackend, serves=("paddr",), preference=5, probe=what_is_missing))

Its factory is called as ``factory(options)`` and returns a `PhysicalBackend`, or a
`PhysicalSampler` where somebody else samples, such as the kernel.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from damon_core import Intervals, RegionLimits, Target


class PhysicalBackend(Protocol):
    """A way to see which pages of physical memory were accessed. Only the worker calls it.

    Addresses are physical; the frame of a page is its address divided by 4096. They may lie in
    holes, in memory of devices, or in memory that was just taken away: that is no error, such a
    page is unknown.
    """

    def prepare(self, targets: Sequence[Target]) -> None:
        """Make the next check possible: of the pages at `samples.addresses` of each target."""

    def check(self, targets: Sequence[Target]) -> None:
        """Tell what was accessed since `prepare`, of the same targets with the same samples.

        Set `samples.accessed`, and `samples.known` to False for pages that can't be told of: what
        is free, the kernel's own, reserved or not there.
        """

    def close(self) -> None:
        """Release everything; more checks may follow."""


@runtime_checkable
class PhysicalSampler(Protocol):
    """Somebody who samples accesses to physical memory by himself, and adapts the regions.

    The primitive wakes once an aggregation, and calls it instead of a `PhysicalBackend`. An
    attribute `cpu_us`, if it has one, is the processor time in microseconds that sampling has
    taken others so far: it counts for the context.
    """

    def steer(self, targets: Sequence[Target], intervals: Intervals, limits: RegionLimits) -> None:
        """Have these targets sampled from now on, at these intervals and within these limits.

        What is to be monitored is what the `regions` of the targets cover. Called before each
        aggregation; mostly nothing has changed.
        """

    def collect(self, targets: Sequence[Target]) -> None:
        """Give each target the `regions` of the aggregation that is complete.

        That is `nr_accesses`, out of ``intervals.checks``, `age` and `idle_us`. May wait for
        results that are a little late. `samples` of some pages tell how much of the regions can
        be watched and whose it is; without any, the `resident_bytes` of the regions stay.
        """

    def close(self) -> None:
        """Release everything; it may be steered again later."""


@runtime_checkable
class CgroupSampler(PhysicalSampler, Protocol):
    """One who can tell of the memory of one cgroup alone."""

    def watch_cgroup(self, path: str, place: Path) -> None:
        """Tell of the memory of one cgroup alone, from the next `steer` on.

        The `resident_bytes` of regions are what that very cgroup has of them, those below it not
        included, and there are no `samples`.

        Args:
            path: The path of the cgroup below the root of its hierarchy.
            place: Its directory.
        """
