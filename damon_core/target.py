"""A monitoring target: a name and its regions."""

from attrs import define, field

from damon_core.regions import Regions


@define(eq=False)
class Target:
    """Something with an address space: a process, a machine, a simulated space.

    Owned by the worker of its context: touch it only from hooks.

    Attributes:
        name: What users know it by, such as ``redis-server[1234]``; unique in its context.
        regions: Its regions; a primitive replaces the table when the address space changes.
    """

    name: str
    regions: Regions = field(factory=Regions)
