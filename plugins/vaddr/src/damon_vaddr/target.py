"""A process's address space as a monitoring target."""

from attrs import define, field, frozen

from damon_core import Range, Target
from damon_vaddr.mappings import Mapped
from damon_vaddr.processes import Process
from damon_vaddr.resident import ResidentEstimate

_NOTHING = Mapped()


@frozen
class LayoutInput:
    """What the regions of a process are made from.

    Attributes:
        maps: Its `/proc/PID/maps`.
        max_regions: The process's share of the context's `max_regions`.
        claimed: Address ranges of memory that counts in another target.
    """

    maps: bytes = b""
    max_regions: int = 0
    claimed: tuple[Range, ...] = ()


@define(eq=False)
class ProcessTarget(Target):
    """A process's address space as a monitoring target.

    Attributes:
        process: The process.
        layout_input: What its regions were last made from.
        ranges: The only addresses that are monitored, ascending; empty for all.
        mapped: With layout `Ranges`: the accessible mappings that don't count in another target.
    """

    process: Process = field(kw_only=True)
    layout_input: LayoutInput = field(factory=LayoutInput, kw_only=True, repr=False)
    ranges: tuple[Range, ...] = field(default=(), kw_only=True)
    mapped: Mapped = field(default=_NOTHING, kw_only=True, repr=False)
    _resident: ResidentEstimate | None = field(default=None, init=False, repr=False)

    @property
    def resident(self) -> ResidentEstimate:
        """With layout `Ranges`: how much of these is in memory."""
        if self._resident is None:
            self._resident = ResidentEstimate()
        return self._resident
