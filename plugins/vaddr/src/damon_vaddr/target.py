"""A process's address space as a monitoring target."""

from attrs import define, field, frozen

from damon_core import Range, Target
from damon_vaddr.mappings import Mapped
from damon_vaddr.processes import Process


@frozen
class Look:
    """What was found when the mappings of a process were last looked at.

    Attributes:
        maps: Its `/proc/PID/maps`.
        most_regions: How many regions it can have, of those that the context allows.
        taken: Ranges that are left to another target, because they are the same memory.
    """

    maps: bytes = b""
    most_regions: int = 0
    taken: tuple[Range, ...] = ()


@define(eq=False)
class ProcessTarget(Target):
    """A process's address space as a monitoring target.

    Attributes:
        process: The process.
        look: What its regions were last made from.
        mapped: For layout `Ranges`: what of its regions is mapped, may be accessed and isn't left
            to another target.
    """

    process: Process = field(kw_only=True)
    look: Look = field(factory=Look, kw_only=True, repr=False)
    mapped: Mapped = field(factory=Mapped, kw_only=True, repr=False)
