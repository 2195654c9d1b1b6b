"""A monitoring target: a name, its regions, and whose memory they are."""

from collections.abc import Sequence
from typing import NamedTuple

from attrs import define, evolve, field, frozen

from damon_core.memory.regions import Regions
from damon_core.memory.samples import Samples


class Area(NamedTuple):
    """A named part of a target's address space, such as a mapping or a range of RAM.

    Attributes:
        start: Its first address.
        end: The first address after it.
        name: What users know it by, such as ``[heap]`` or the path of a mapped file.
    """

    start: int
    end: int
    name: str


@frozen
class Owner:
    """An owner of part of a target's memory, with shares estimated from sampled pages.

    Attributes:
        kind: What it is, such as ``cgroup``.
        name: What users know it by.
        total_bytes: Its memory in the target.
        working_set_bytes: Its memory that was accessed in the aggregation.
        accessed_bytes: Its memory accessed in a sampling interval, on average.
    """

    kind: str
    name: str
    total_bytes: int
    working_set_bytes: int
    accessed_bytes: int


@frozen
class Toll:
    """What monitoring has cost a target since it was added, as far as that is known.

    Attributes:
        cpu_us: CPU time that the target lost, in microseconds: accessed bits that its processors
            had to set again, interrupts that flush a TLB.
        held_us: How long the target's memory map was locked, in microseconds; meanwhile its own
            mmap, munmap and page faults may wait.
        longest_us: The longest of these times.
    """

    cpu_us: int = 0
    held_us: int = 0
    longest_us: int = 0

    def since(self, before: "Toll") -> "Toll":
        """Return what was added since.

        The longest time since then isn't known; it is at most the longest of all, and at most all
        the time since. So one outlier doesn't count for ever.
        """
        held_us = self.held_us - before.held_us
        return Toll(self.cpu_us - before.cpu_us, held_us, min(self.longest_us, held_us))

    def at_least(self, other: "Toll") -> "Toll":
        """Return the greater of each figure."""
        return Toll(
            max(self.cpu_us, other.cpu_us),
            max(self.held_us, other.held_us),
            max(self.longest_us, other.longest_us),
        )

    def with_cpu(self, us: float) -> "Toll":
        """Return the toll after the target has lost CPU time."""
        return evolve(self, cpu_us=self.cpu_us + round(us))

    def with_held(self, us: int) -> "Toll":
        """Return the toll after the memory map was locked once more."""
        longest_us = max(self.longest_us, us)
        return evolve(self, held_us=self.held_us + us, longest_us=longest_us)


@define(eq=False)
class Target:
    """Something with an address space: a process, a machine, a simulated space.

    Owned by the worker of its context: touch it only from hooks.

    Attributes:
        name: What users know it by, such as ``redis-server[1234]``; unique in its context.
        regions: Its regions; a primitive replaces the table when the address space changes.
        areas: Named parts of the address space, ascending and disjoint; neighbours with the same
            name may be reported as one. A primitive replaces the tuple when it changes; empty if
            the primitive doesn't report them.
        owners: Owners of the memory; empty if the primitive doesn't report them.
        samples: The pages of the current check, where a policy chooses pages.
        toll: What monitoring has cost it; nothing where the primitive doesn't know.
    """

    name: str
    regions: Regions = field(factory=Regions)
    areas: tuple[Area, ...] = field(default=(), init=False, repr=False)
    owners: Sequence[Owner] = field(default=(), init=False)
    samples: Samples | None = field(default=None, init=False)
    toll: Toll = field(factory=Toll, init=False)
