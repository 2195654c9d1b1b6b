"""How the regions of a process are made: from whole mappings, or from ranges that span them."""

from collections.abc import Sequence
from typing import Protocol

from damon_core import RegionLimits
from damon_vaddr.mappings import (
    Mapped,
    mapping_regions,
    parse_accessible,
    parse_areas,
    parse_maps,
    range_regions,
    without,
)
from damon_vaddr.target import LayoutInput, ProcessTarget


class Layout(Protocol):
    """Makes the regions of a target from its mappings."""

    def lay_out(self, target: ProcessTarget, given: LayoutInput, limits: RegionLimits) -> None:
        """Update the regions to the current mappings; regions that stay keep their counters."""

    def describe(self, targets: Sequence[ProcessTarget], now_us: int) -> None:
        """Set the `resident_bytes` of the regions of all targets, unless the backend does."""


def lay_out(
    target: ProcessTarget, given: LayoutInput, layout: Layout, limits: RegionLimits
) -> None:
    """Update what follows from the mappings of a target: its regions and areas.

    Nothing is done if they are as they were.
    """
    if given == target.layout_input:
        return
    layout.lay_out(target, given, limits)
    if given.maps != target.layout_input.maps:
        target.areas = parse_areas(given.maps)
    target.layout_input = given


class Mappings:
    """One region for each mapping; neighbours are joined if there are too many.

    For backends that check whole regions and set their `resident_bytes`.
    """

    def lay_out(self, target: ProcessTarget, given: LayoutInput, limits: RegionLimits) -> None:
        """Make one region for each mapping."""
        target.regions = mapping_regions(target.regions, parse_maps(given.maps), given.max_regions)

    def describe(self, targets: Sequence[ProcessTarget], now_us: int) -> None:
        """Do nothing: the backend sets `resident_bytes`."""


class Ranges:
    """Regions that cut the three ranges around the two biggest gaps, with smaller gaps inside.

    For backends that check single pages; a page that isn't mapped counts as not accessed.
    """

    def lay_out(self, target: ProcessTarget, given: LayoutInput, limits: RegionLimits) -> None:
        """Make the regions cover the current ranges."""
        mappings = without(parse_maps(given.maps), given.claimed)
        target.regions = range_regions(target.regions, mappings, limits)
        self._follow(target, given)

    def describe(self, targets: Sequence[ProcessTarget], now_us: int) -> None:
        """Set `resident_bytes`, estimated as `damon_vaddr.resident` describes."""
        for target in targets:
            regions, resident = target.regions, target.resident
            resident.refresh(target.process, regions, now_us, len(targets))
            regions.resident_bytes = resident.bytes_in(regions.start, regions.end)

    @staticmethod
    def _follow(target: ProcessTarget, given: LayoutInput) -> None:
        """Update what is mapped."""
        accessible = parse_accessible(given.maps)
        counted = without(accessible, given.claimed)
        target.mapped = Mapped.of(counted)
        target.resident.follow(target.mapped, without(accessible, counted))


class FirstRanges(Ranges):
    """`Ranges` at first; later the backend sets the regions, such as the kernel's."""

    def lay_out(self, target: ProcessTarget, given: LayoutInput, limits: RegionLimits) -> None:
        """Make regions only if there are none; always update what is mapped."""
        if len(target.regions):
            self._follow(target, given)
        else:
            super().lay_out(target, given, limits)
