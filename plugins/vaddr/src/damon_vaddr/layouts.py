"""What the regions of processes are made of: whole mappings, or ranges that span them."""

from typing import Protocol

from damon_core import RegionLimits
from damon_vaddr.mappings import (
    Mapped,
    mapping_regions,
    parse_accessible,
    parse_maps,
    range_regions,
    without,
)
from damon_vaddr.target import Look, ProcessTarget


class Layout(Protocol):
    """Makes the regions of a target from a look at its mappings."""

    def lay_out(self, target: ProcessTarget, look: Look, limits: RegionLimits) -> None:
        """Make the regions those of now, keeping what is known of them."""

    def describe(self, target: ProcessTarget) -> None:
        """Set the `resident_bytes` of the regions, where the backend doesn't."""


class Mappings:
    """One region a mapping, several joined where there are more than the limits allow.

    The backend looks at whole regions. It knows how much of them is in memory.
    """

    def lay_out(self, target: ProcessTarget, look: Look, limits: RegionLimits) -> None:
        """Make one region a mapping."""
        target.regions = mapping_regions(target.regions, parse_maps(look.maps), look.most_regions)

    def describe(self, target: ProcessTarget) -> None:
        """Do nothing: the backend has set it."""


class Ranges:
    """Pieces of the three ranges around the two biggest gaps, which needn't be mapped all over.

    Single pages are looked at; what of the ranges isn't mapped counts as not accessed.
    """

    def lay_out(self, target: ProcessTarget, look: Look, limits: RegionLimits) -> None:
        """Make the regions cover the ranges of now."""
        mappings = without(parse_maps(look.maps), look.taken)
        target.regions = range_regions(target.regions, mappings, limits)
        target.mapped = Mapped.of(without(parse_accessible(look.maps), look.taken))

    def describe(self, target: ProcessTarget) -> None:
        """Set it to how much of the regions is mapped."""
        regions = target.regions
        regions.resident_bytes = target.mapped.bytes_in(regions.start, regions.end)


class FirstRanges(Ranges):
    """Those ranges to begin with; then the backend makes the regions, as the kernel does."""

    def lay_out(self, target: ProcessTarget, look: Look, limits: RegionLimits) -> None:
        """Make regions if there are none; follow what is mapped."""
        if len(target.regions):
            target.mapped = Mapped.of(without(parse_accessible(look.maps), look.taken))
        else:
            super().lay_out(target, look, limits)
