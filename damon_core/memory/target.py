"""A monitoring target: a name, its regions, and whose memory they are."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attrs import Factory, define, field, frozen

from damon_core.errors import escaped
from damon_core.memory.idle import IdleAges
from damon_core.memory.labels import NO_LABELS, freeze_labels
from damon_core.memory.pages import PageMap
from damon_core.memory.regions import Regions
from damon_core.memory.reported import Reported
from damon_core.memory.samples import Samples
from damon_core.validators import printable


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
        name: What users know it by; what can't be printed is escaped, as in its kind.
        total_bytes: Its memory in the target.
        working_set_bytes: Its memory that was accessed in the aggregation.
        accessed_bytes: Its memory accessed in a sampling interval, on average.
    """

    kind: str = field(converter=escaped)
    name: str = field(converter=escaped)
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
        lately_us: The longest of them in the aggregation under way.
    """

    cpu_us: int = 0
    held_us: int = 0
    longest_us: int = 0
    lately_us: int = field(default=Factory(lambda toll: toll.longest_us, takes_self=True), eq=False)

    def since(self, before: "Toll") -> "Toll":
        """Return what was added since the end of the last aggregation, given as it was then."""
        return Toll(self.cpu_us - before.cpu_us, self.held_us - before.held_us, self.lately_us)

    def settled(self) -> "Toll":
        """Return the toll when an aggregation has ended."""
        if not self.lately_us:
            return self
        return Toll(self.cpu_us, self.held_us, self.longest_us, 0)

    def at_least(self, other: "Toll") -> "Toll":
        """Return the greater of each figure."""
        return Toll(
            max(self.cpu_us, other.cpu_us),
            max(self.held_us, other.held_us),
            max(self.longest_us, other.longest_us),
        )

    def with_cpu(self, us: float) -> "Toll":
        """Return the toll after the target has lost CPU time."""
        return Toll(self.cpu_us + round(us), self.held_us, self.longest_us, self.lately_us)

    def with_held(self, us: int) -> "Toll":
        """Return the toll after the memory map was locked once more."""
        return Toll(
            self.cpu_us,
            self.held_us + us,
            max(self.longest_us, us),
            max(self.lately_us, us),
        )


@define(eq=False)
class Target:
    """Something with an address space: a process, a machine, a simulated space.

    Owned by the worker of its context: touch it only from hooks.

    Attributes:
        name: What users know it by, such as ``redis-server[1234]``: printable characters, unique
            in its context.
        regions: Its regions; a primitive replaces the table when the address space changes.
        areas: Named parts of the address space, ascending and disjoint; neighbours with the same
            name may be reported as one. A primitive replaces the tuple when it changes; empty if
            the primitive doesn't report them.
        owners: Owners of the memory; empty if the primitive doesn't report them.
        samples: The pages of the current check, where a policy chooses pages.
        toll: What monitoring has cost it; nothing where the primitive doesn't know.
        idle_ages: How old the bytes idle for some spans are in its regions, at the end of the
            aggregation.
        reported: What something else says of the memory that the primitive passes on, such as the
            kernel's DAMON_STAT.
        page_map: Every page at the end of the aggregation; a primitive that knows them all leaves
            it in `describe_regions`, and it is dropped after the callbacks.
        labels: What else it is known by, such as its ``unit`` and ``container``. A mapping that is
            assigned becomes one that can't be changed.
        epoch: Where what shows accesses is cleared once for several aggregations: the number of
            the epoch, which the way of sampling sets. The primitive clears when it changes.
        outdated: Set by the primitive where so much has changed that the next epoch should begin
            soon.
        resting: Set by the loop where the budget doesn't allow all targets to be looked at: the
            primitive leaves it alone in this aggregation. Only where it says that it does.
        doubtful: Set by the primitive while it can't infer well what is accessed in later
            aggregations of an epoch.
    """

    name: str = field(validator=printable)
    regions: Regions = field(factory=Regions)
    areas: tuple[Area, ...] = field(default=(), init=False, repr=False)
    owners: Sequence[Owner] = field(default=(), init=False)
    samples: Samples | None = field(default=None, init=False)
    toll: Toll = field(factory=Toll, init=False)
    idle_ages: IdleAges = field(factory=IdleAges, init=False)
    reported: Reported = field(factory=Reported, init=False, repr=False)
    page_map: PageMap | None = field(default=None, init=False, repr=False)
    labels: Mapping[str, str] = field(default=NO_LABELS, converter=freeze_labels, init=False)
    epoch: int = field(default=0, init=False, repr=False)
    outdated: bool = field(default=False, init=False, repr=False)
    resting: bool = field(default=False, init=False, repr=False)
    doubtful: bool = field(default=False, init=False, repr=False)
