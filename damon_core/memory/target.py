"""A monitoring target: a name, its regions, and whose memory they are."""

from collections.abc import Sequence
from typing import NamedTuple

from attrs import define, field, frozen

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
    """

    name: str
    regions: Regions = field(factory=Regions)
    areas: tuple[Area, ...] = field(default=(), init=False, repr=False)
    owners: Sequence[Owner] = field(default=(), init=False)
    samples: Samples | None = field(default=None, init=False)
