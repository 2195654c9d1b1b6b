"""A monitoring target: a name and its regions."""

from attrs import define, field

from damon_core.regions import Regions
from damon_core.samples import Samples


@define(eq=False)
class Target:
    """Something with an address space: a process, a machine, a simulated space.

    Owned by the worker of its context: touch it only from hooks.

    Attributes:
        name: What users know it by, such as ``redis-server[1234]``; unique in its context.
        regions: Its regions; a primitive replaces the table when the address space changes.
        adaptive: Whether regions may be merged and split to follow accesses, and single pages
            can be checked: then a policy chooses `samples`. Otherwise regions stay as they are
            and the primitive adds to their nr_accesses itself.
        samples: For an adaptive target the pages that the check under way looks at.
    """

    name: str
    regions: Regions = field(factory=Regions)
    adaptive: bool = False
    samples: Samples | None = field(default=None, init=False)
