"""What a process has mapped: `/proc/PID/maps`, read fast, and how it becomes regions."""

import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core import Area, Range, RegionLimits, Regions

_IntColumn = npt.NDArray[np.int64]

# The kernel's own pages in every process: its clock data and the legacy system call page.
_MAPPING = re.compile(
    rb"(?m)^([0-9a-f]+)-([0-9a-f]+) (?!.*\[(?:vvar|vvar_vclock|vsyscall|uprobes)\]$)"
)

# Address, permissions, offset, device, inode, name.
_NAMED_MAPPING = re.compile(_MAPPING.pattern + rb"(?:\S+ ){3}\d+ *(.*)$")

_INACCESSIBLE = re.compile(rb"(?m)^\S+ ---. .*\n?")
_SHARABLE = re.compile(
    rb"(?m)^([0-9a-f]+)-([0-9a-f]+) (?:...s|.-.p) ([0-9a-f]+) ([0-9a-f:]+) ([1-9]\d*)"
)


def parse_maps(text: bytes) -> list[Range]:
    """Return the mappings of a `/proc/PID/maps`, ascending.

    Left out is what isn't the program's: ``[vvar]``, ``[vvar_vclock]``, ``[vsyscall]`` and
    ``[uprobes]``.
    """
    return [Range(int(start, 16), int(end, 16)) for start, end in _MAPPING.findall(text)]


def parse_accessible(text: bytes) -> list[Range]:
    """Return the mappings as `parse_maps` does, without those that nobody may access.

    Programs reserve addresses that way, often more than the machine has memory.
    """
    return parse_maps(_INACCESSIBLE.sub(b"", text))


def parse_areas(text: bytes) -> tuple[Area, ...]:
    """Return the mappings as `parse_accessible` does, by name; neighbours of one name are one.

    Without a name of its own, such as ``[heap]`` or a path, a mapping is ``[anon]``.
    """
    areas: list[Area] = []
    for start, end, name in _NAMED_MAPPING.findall(_INACCESSIBLE.sub(b"", text)):
        area = Area(int(start, 16), int(end, 16), name.decode(errors="backslashreplace"))
        if not area.name:
            area = area._replace(name="[anon]")
        if areas and areas[-1].end == area.start and areas[-1].name == area.name:
            area = area._replace(start=areas.pop().start)
        areas.append(area)
    return tuple(areas)


@frozen
class SharedMapping:
    """A mapping whose pages belong to a file or to shared memory, not to the process.

    Attributes:
        place: Its range of addresses.
        source: What is mapped: the device and the inode number.
        offset: Where in that it begins, bytes.
    """

    place: Range
    source: tuple[bytes, bytes]
    offset: int


def parse_shared(text: bytes) -> list[SharedMapping]:
    """Return the mappings of a `/proc/PID/maps` whose pages other processes can have as well.

    That is shared memory and what is mapped from files, but for what is private and writable:
    of that the process may have pages of its own.
    """
    return [
        SharedMapping(Range(int(start, 16), int(end, 16)), (device, inode), int(offset, 16))
        for start, end, offset, device, inode in _SHARABLE.findall(text)
    ]


class Claims:
    """What of files and shared memory is mapped so far, so that it counts once."""

    def __init__(self) -> None:
        self._claimed: dict[tuple[bytes, bytes], list[Range]] = {}

    def claim(self, shared: Iterable[SharedMapping]) -> tuple[Range, ...]:
        """Claim what a process maps, and return the addresses of what others claimed before.

        What it maps twice counts twice.
        """
        taken: list[Range] = []
        own: list[tuple[tuple[bytes, bytes], Range]] = []
        for mapping in shared:
            start, end = mapping.place
            shift = start - mapping.offset
            own.append((mapping.source, Range(mapping.offset, end - shift)))
            for claimed in self._claimed.get(mapping.source, ()):
                low = max(claimed.start + shift, start)
                high = min(claimed.end + shift, end)
                if low < high:
                    taken.append(Range(low, high))
        for source, place in own:
            claimed_before = self._claimed.setdefault(source, [])
            # Libraries are mapped alike by every process: the list stays short.
            if place not in claimed_before:
                claimed_before.append(place)
        return tuple(taken)


def without(mappings: Sequence[Range], taken: Iterable[Range]) -> list[Range]:
    """Return what is left of ascending ranges without others, which may overlap."""
    left: list[Range] = []
    holes = sorted(taken)
    number = 0
    for start, end in mappings:
        position = start
        while number < len(holes) and holes[number].end <= start:
            number += 1
        for hole in itertools.islice(holes, number, None):
            if hole.start >= end:
                break
            if hole.start > position:
                left.append(Range(position, hole.start))
            position = max(position, hole.end)
        if position < end:
            left.append(Range(position, end))
    return left


@frozen(eq=False)
class Mapped:
    """Ascending, disjoint ranges of addresses that are mapped, as columns.

    Attributes:
        start: First address of each.
        end: First address behind each.
    """

    start: _IntColumn = field(factory=lambda: np.zeros(0, dtype=np.int64))
    end: _IntColumn = field(factory=lambda: np.zeros(0, dtype=np.int64))
    _borders: _IntColumn = field(init=False, repr=False)
    _below: _IntColumn = field(init=False, repr=False)

    @_borders.default
    def _all_borders(self) -> _IntColumn:
        return np.column_stack((self.start, self.end)).ravel()

    @_below.default
    def _below_borders(self) -> _IntColumn:
        """How many bytes are mapped below an address behind so many borders; it is to be added
        behind an odd number of them, where a range lies."""
        sizes = self.end - self.start
        below = sizes.cumsum()
        return np.append(0, np.column_stack((below - sizes - self.start, below)).ravel())

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> "Mapped":
        """Return the columns of ranges."""
        columns = np.array(ranges, dtype=np.int64).reshape(-1, 2)
        return cls(columns[:, 0].copy(), columns[:, 1].copy())

    def holding(self, addresses: _IntColumn) -> _IntColumn:
        """Return the index of the range that holds each address, -1 where none does."""
        if not len(self.start):
            return np.full(len(addresses), -1, dtype=np.int64)
        index = np.searchsorted(self.start, addresses, side="right") - 1
        return np.where(addresses < self.end[index], index, -1)

    def holds(self, addresses: _IntColumn) -> npt.NDArray[np.bool_]:
        """Tell which addresses are mapped; faster than `holding`."""
        # Behind an odd number of borders lies a range.
        return (self._borders.searchsorted(addresses, side="right") & 1).astype(np.bool_)

    def bytes_in(self, start: _IntColumn, end: _IntColumn) -> _IntColumn:
        """Return how many bytes of each of the given ranges are mapped."""
        return self._bytes_below(end) - self._bytes_below(start)

    def _bytes_below(self, addresses: _IntColumn) -> _IntColumn:
        passed = self._borders.searchsorted(addresses, side="right")
        total: _IntColumn = self._below.take(passed) + (passed & 1) * addresses
        return total


def three_ranges(mappings: Sequence[Range]) -> list[Range]:
    """Cut the address space at the two biggest gaps between mappings.

    A process typically has its heap, its mmapped areas and its stack far apart: what lies
    between would be sampled for nothing. Fewer gaps give fewer ranges, and neighbours without a
    gap are never cut apart.

    Args:
        mappings: Ascending and disjoint.

    Returns:
        Up to three ascending ranges that contain all mappings.
    """
    if not mappings:
        return []
    gaps = [
        (right.start - left.end, index)
        for index, (left, right) in enumerate(itertools.pairwise(mappings))
        if right.start > left.end
    ]
    cuts = sorted(index for _, index in sorted(gaps, reverse=True)[:2])
    first = [0, *(cut + 1 for cut in cuts)]
    last = [*cuts, len(mappings) - 1]
    return [Range(mappings[i].start, mappings[j].end) for i, j in zip(first, last, strict=True)]


def join_nearest(mappings: Sequence[Range], limit: int) -> list[Range]:
    """Join neighbouring mappings, the smallest gap first, until at most `limit` are left."""
    surplus = len(mappings) - max(limit, 1)
    if surplus <= 0:
        return list(mappings)
    start = np.array([mapping.start for mapping in mappings], dtype=np.int64)
    end = np.array([mapping.end for mapping in mappings], dtype=np.int64)
    keep = np.ones(len(start) - 1, dtype=bool)
    keep[np.argsort(start[1:] - end[:-1], kind="stable")[:surplus]] = False
    starts = start[np.concatenate(([True], keep))]
    ends = end[np.concatenate((keep, [True]))]
    return [Range(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def mapping_regions(known: Regions, mappings: Sequence[Range], limit: int) -> Regions:
    """Return one region a mapping, joined to at most `limit`, that keep the counters of `known`."""
    joined = join_nearest(mappings, limit)
    regions = known.matching(
        [mapping.start for mapping in joined], [mapping.end for mapping in joined]
    )
    # How much of a mapping is in memory isn't known before the next check.
    fresh = ~np.isin(regions.start, known.start)
    regions.resident_bytes[fresh] = 0
    return regions


def range_regions(known: Regions, mappings: Sequence[Range], limits: RegionLimits) -> Regions:
    """Return regions over the three ranges of `mappings` that keep the counters of `known`."""
    ranges = three_ranges(mappings)
    return known.cover(ranges, limits) if len(known) else Regions.evenly(ranges, limits)
