"""Access patterns: the truth that monitoring should find.

A pattern is a pure function of address and time, exact at any size. It returns rates: the
probability that the page at an address is accessed during one sampling interval.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from attrs import Attribute, field, frozen

from damon_core import PAGE_SIZE_BYTES, AttributeValueError, Bytes, Microseconds, validators

#: The end of the largest address space; half the range of int64, so that sums don't overflow.
MAX_BYTES = 1 << 62


class Pattern(Protocol):
    """The interface that `SimulatedMemory` needs; any function with this signature is a pattern."""

    def __call__(self, addresses: npt.NDArray[np.int64], time_us: int, /) -> npt.ArrayLike:
        """Return the rate of each address's page: 0 to 1, or False and True.

        Args:
            addresses: Addresses of pages, in any order.
            time_us: Microseconds since monitoring began.
        """


class Area(NamedTuple):
    """Addresses from `start` up to and without `end`, all with one rate."""

    start: int
    end: int
    rate: float


#: What a rate or a share of pages can be.
_SHARE = validators.between(0, 1)


def whole_pages(_instance: object, attribute: "Attribute[Any]", value: int) -> None:
    """Check that a size is a positive multiple of the page size (an attrs validator).

    Raises:
        AttributeValueError: The size isn't.
    """
    if value < 1 or value % PAGE_SIZE_BYTES or value > MAX_BYTES:
        raise AttributeValueError(
            attribute.name, value, f"must be a multiple of {PAGE_SIZE_BYTES} bytes, up to 4 EiB"
        )


class PiecewisePattern(ABC):
    """A pattern that consists, at each moment, of a few areas with one rate each."""

    @abstractmethod
    def areas(self, time_us: int) -> list[Area]:
        """Return the areas with a rate above 0, disjoint and sorted by address."""

    @property
    def extent_bytes(self) -> int:
        """The end of the last area at any time; 0 if the pattern fits any size."""
        return 0

    def __call__(self, addresses: npt.NDArray[np.int64], time_us: int, /) -> npt.ArrayLike:
        """Return the rate at each address."""
        areas = self.areas(time_us)
        borders = [border for area in areas for border in (area.start, area.end)]
        rates = [0.0] + [rate for area in areas for rate in (area.rate, 0.0)]
        return np.array(rates)[np.searchsorted(np.array(borders, np.int64), addresses, "right")]


@frozen
class Uniform(PiecewisePattern):
    """All pages have the same rate.

    Attributes:
        rate: The rate of every page.
    """

    rate: float = field(validator=_SHARE, metadata={"help": "rate of every page, 0 to 1"})

    def areas(self, time_us: int) -> list[Area]:
        """Return one area that spans every address."""
        return [Area(0, MAX_BYTES, self.rate)] if self.rate else []


@frozen
class Zone:
    """One of the adjacent areas of `Zones`.

    Attributes:
        size: Size in bytes, whole pages.
        rate: The rate of the zone's pages.
    """

    size: Bytes = field(validator=whole_pages, metadata={"help": "size of the area"})
    rate: float = field(validator=_SHARE, metadata={"help": "rate of its pages, 0 to 1"})


@frozen
class Zones(PiecewisePattern):
    """Areas side by side from address 0 on that never change; nothing else is accessed.

    Attributes:
        zones: The areas.
    """

    zones: tuple[Zone, ...]

    @property
    def extent_bytes(self) -> int:
        """The sum of the zones' sizes."""
        return sum(zone.size for zone in self.zones)

    def areas(self, time_us: int) -> list[Area]:
        """Return the zones with a rate above 0."""
        found = []
        start = 0
        for zone in self.zones:
            if zone.rate:
                found.append(Area(start, start + zone.size, zone.rate))
            start += zone.size
        return found


@frozen
class _HotArea(PiecewisePattern):
    """One hot area that changes its place each period.

    Attributes:
        area: Size of the hot area in bytes, whole pages.
        places: Number of places, side by side from address 0 on.
        period: Microseconds that the area stays at a place.
        rate: The rate of the area's pages; nothing else is accessed.
    """

    area: Bytes = field(validator=whole_pages, metadata={"help": "size of the hot area"})
    places: int = field(
        validator=validators.positive,
        metadata={"help": "number of places, side by side from address 0"},
    )
    period: Microseconds = field(
        validator=validators.positive, metadata={"help": "how long the area stays at a place"}
    )
    rate: float = field(
        default=1.0, validator=_SHARE, metadata={"help": "rate of its pages, 0 to 1"}
    )

    @property
    def extent_bytes(self) -> int:
        """The end of the last place."""
        return self.area * self.places

    def areas(self, time_us: int) -> list[Area]:
        """Return the hot area at its place of that time."""
        start = self._place(time_us // self.period) * self.area
        return [Area(start, start + self.area, self.rate)] if self.rate else []

    @abstractmethod
    def _place(self, period: int) -> int:
        """Return the number of the area's place in a period."""


@frozen
class Stairs(_HotArea):
    """A hot area that climbs from place to place, and starts again at the bottom."""

    def _place(self, period: int) -> int:
        return period % self.places


@frozen
class Zigzag(_HotArea):
    """A hot area that climbs from place to place, and then down again."""

    def _place(self, period: int) -> int:
        way = period % max(1, 2 * (self.places - 1))
        return min(way, 2 * (self.places - 1) - way)


@frozen
class Moving(_HotArea):
    """A hot area that jumps far in each period, and visits all places equally often."""

    def _place(self, period: int) -> int:
        # A stride near the golden section that is coprime to the number of places: every place
        # is visited once before any is visited again, and neighbours at distant times.
        stride = max(1, round(self.places * 0.618))
        while math.gcd(stride, self.places) > 1:
            stride += 1
        return period * stride % self.places


@frozen
class RandomPages:
    """Hot pages scattered at random: the worst case for monitoring by regions.

    The page number and the seed alone decide whether a page is hot.

    Attributes:
        share: The share of pages that are hot.
        rate: The rate of the hot pages; the others are not accessed.
        seed: Another seed makes other pages hot.
    """

    share: float = field(validator=_SHARE, metadata={"help": "share of pages that are hot, 0 to 1"})
    rate: float = field(
        default=1.0, validator=_SHARE, metadata={"help": "rate of these pages, 0 to 1"}
    )
    seed: int = field(default=0, metadata={"help": "another seed makes other pages hot"})

    def __call__(self, addresses: npt.NDArray[np.int64], _time_us: int, /) -> npt.ArrayLike:
        """Return the rate at each address."""
        pages = (addresses // PAGE_SIZE_BYTES).astype(np.uint64)
        return np.where(_hash(pages, self.seed) < self.share, self.rate, 0.0)


def _hash(numbers: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.float64]:
    """Return a hash of each number, scaled to [0, 1): the mixer of SplitMix64."""
    offset = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % (1 << 64))
    mixed = (numbers * np.uint64(0x9E3779B97F4A7C15)) ^ offset
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)
