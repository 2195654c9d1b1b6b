"""The mappings of a process, read from `/proc/PID/maps`, and the regions made from them."""

import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core import Area, Range, RegionLimits, Regions

_IntColumn = npt.NDArray[np.int64]

# The kernel's pages in each process: its clock data and the legacy system call page. They have no
# inode, as files have whose names end so.
_KERNELS = re.compile(rb"(?m) 00:00 0 +\[(?:vvar|vvar_vclock|vsyscall|uprobes)\]$")

_ANONYMOUS = b"[anon]"

# Two addresses of up to 16 digits, with a dash between them and a space behind them; permissions.
_ADDRESSES_LENGTH = 34
_PERMISSIONS_LENGTH = 4
_DIGITS = np.zeros(256, dtype=np.uint64)
_DIGITS[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
_POWERS = np.uint64(16) ** np.arange(15, -1, -1, dtype=np.uint64)
_TOP = int(np.iinfo(np.int64).max)

#: Up to how many bytes of text lines are read one by one: numpy takes longer for so few.
_FEW_BYTES = 1 << 14

_SHARABLE = re.compile(
    rb"(?m)^([0-9a-f]+)-([0-9a-f]+) (?:...s|.-.p) ([0-9a-f]+) ([0-9a-f:]+) ([1-9]\d*)"
)


def parse_addresses(text: bytes) -> tuple[_IntColumn, _IntColumn, npt.NDArray[np.bool_]]:
    """Return the addresses of lines that begin with ``start-end``, as those of maps and smaps do.

    Some processes have 60,000 mappings, so all lines are read at once.

    Returns:
        Starts and ends, at most 2**63 - 1, which the legacy system call page exceeds; and whether
        a mapping has any access permission.
    """
    if len(text) <= _FEW_BYTES:
        lines = [line.split(b" ", 2) for line in text.split(b"\n") if line]
        addresses = [
            min(int(address, 16), _TOP) for line in lines for address in line[0].split(b"-")
        ]
        start, end = np.array(addresses, dtype=np.int64).reshape(-1, 2).T
        return start, end, np.array([line[1][:3] != b"---" for line in lines], dtype=np.bool_)
    width = _ADDRESSES_LENGTH + _PERMISSIONS_LENGTH
    characters = np.frombuffer(text + bytes(width), dtype=np.uint8)
    line = np.append(0, np.flatnonzero(characters == ord("\n")) + 1)
    line = line[line < len(text)]
    window = np.lib.stride_tricks.sliding_window_view(characters, width)[line]
    dash, space = (window == ord("-")).argmax(axis=1), (window == ord(" ")).argmax(axis=1)
    start, end = np.zeros((2, len(line)), dtype=np.int64)
    accessible = np.zeros(len(line), dtype=np.bool_)
    lengths = dash * width + space  # few, so that most lines are read together
    for length in np.unique(lengths).tolist():
        dash_at, space_at = divmod(length, width)
        rows = np.flatnonzero(lengths == length)
        start[rows] = _hexadecimal(window[rows, :dash_at])
        end[rows] = _hexadecimal(window[rows, dash_at + 1 : space_at])
        accessible[rows] = (window[rows, space_at + 1 : space_at + 4] != ord("-")).any(axis=1)
    return start, end, accessible


def _hexadecimal(digits: npt.NDArray[np.uint8]) -> _IntColumn:
    numbers = _DIGITS[digits] @ _POWERS[-digits.shape[1] :]
    return np.minimum(numbers, np.uint64(_TOP)).astype(np.int64)


def _without_kernels(text: bytes) -> bytes:
    """Return a `/proc/PID/maps` without the kernel's mappings."""
    kept, position = [], 0
    for found in _KERNELS.finditer(text):
        kept.append(text[position : text.rfind(b"\n", 0, found.start()) + 1])
        position = found.end() + 1
    return b"".join((*kept, text[position:]))


def parse_maps(text: bytes) -> list[Range]:
    """Return the mappings of a `/proc/PID/maps`, ascending.

    The kernel's are left out: ``[vvar]``, ``[vvar_vclock]``, ``[vsyscall]`` and ``[uprobes]``.
    """
    start, end, _ = parse_addresses(_without_kernels(text))
    return list(map(Range, start.tolist(), end.tolist()))


def parse_accessible(text: bytes) -> list[Range]:
    """Return the mappings as `parse_maps` does, without those that have no access permission.

    Programs use these to reserve addresses, often more than the machine has memory.
    """
    start, end, accessible = parse_addresses(_without_kernels(text))
    return list(map(Range, start[accessible].tolist(), end[accessible].tolist()))


def parse_areas(text: bytes) -> tuple[Area, ...]:
    """Return the mappings as `parse_accessible` does, with names; join neighbours of one name.

    A name is a path or such as ``[heap]``; mappings without one are named ``[anon]``.
    """
    text = _without_kernels(text)
    start, end, accessible = parse_addresses(text)
    start, end = start[accessible], end[accessible]
    if not len(start):
        return ()
    # Addresses, permissions, offset, device, inode; and a name or nothing.
    names = [
        _ANONYMOUS if line.rstrip().count(b" ") == 4 else line.split(None, 5)[5]
        for line in itertools.compress(text.split(b"\n"), accessible)
    ]
    other_name = np.array([a != b for a, b in itertools.pairwise(names)], dtype=np.bool_)
    first = np.append(0, np.flatnonzero(other_name | (start[1:] != end[:-1])) + 1)
    last = np.append(first[1:], len(start)) - 1
    return tuple(
        Area(begin, finish, names[row].decode(errors="backslashreplace"))
        for begin, finish, row in zip(
            start[first].tolist(), end[last].tolist(), first.tolist(), strict=True
        )
    )


def clipped(text: bytes, ranges: Sequence[Range]) -> bytes:
    """Return the parts of a `/proc/PID/maps` that lie in ranges; all of it without any.

    Args:
        text: The mappings.
        ranges: The ranges, ascending and disjoint.
    """
    if not ranges:
        return text
    parts = []
    for line in text.splitlines():
        addresses, permissions, offset, rest = line.split(b" ", 3)
        start, end = (int(address, 16) for address in addresses.split(b"-"))
        for low, high in ranges:
            first, last = max(start, low), min(end, high)
            if first < last:
                moved = int(offset, 16) + first - start
                parts.append(b"%08x-%08x %b %08x %b\n" % (first, last, permissions, moved, rest))
    return b"".join(parts)


@frozen
class SharedMapping:
    """A mapping whose pages belong to a file or to shared memory, not to the process.

    Attributes:
        addresses: Its range of addresses.
        source: What is mapped: the device and the inode number.
        offset: The offset of its first byte in the source, in bytes.
    """

    addresses: Range
    source: tuple[bytes, bytes]
    offset: int


def parse_shared(text: bytes) -> list[SharedMapping]:
    """Return the mappings of a `/proc/PID/maps` whose pages other processes can map as well.

    These are shared memory and files. Private writable mappings are left out: their pages may be
    copies that only this process has.
    """
    return [
        SharedMapping(Range(int(start, 16), int(end, 16)), (device, inode), int(offset, 16))
        for start, end, offset, device, inode in _SHARABLE.findall(text)
    ]


class Claims:
    """The parts of files and shared memory that processes have claimed: each counts only once."""

    def __init__(self) -> None:
        self._claimed: dict[tuple[bytes, bytes], list[Range]] = {}

    def claim(self, shared: Iterable[SharedMapping]) -> tuple[Range, ...]:
        """Claim a process's mappings; return the addresses of what others claimed before.

        A part that the process itself maps twice counts twice.
        """
        claimed_by_others: list[Range] = []
        own: list[tuple[tuple[bytes, bytes], Range]] = []
        for mapping in shared:
            start, end = mapping.addresses
            shift = start - mapping.offset
            own.append((mapping.source, Range(mapping.offset, end - shift)))
            for claimed in self._claimed.get(mapping.source, ()):
                low = max(claimed.start + shift, start)
                high = min(claimed.end + shift, end)
                if low < high:
                    claimed_by_others.append(Range(low, high))
        for source, part in own:
            claimed_before = self._claimed.setdefault(source, [])
            # Processes map a library in the same parts: the list stays short.
            if part not in claimed_before:
                claimed_before.append(part)
        return tuple(claimed_by_others)


def without(mappings: Sequence[Range], excluded: Iterable[Range]) -> list[Range]:
    """Return ascending ranges without the excluded ones, which may overlap."""
    left: list[Range] = []
    holes = sorted(excluded)
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
    """Mapped address ranges, ascending and disjoint, as columns.

    Attributes:
        start: First address of each range.
        end: First address after each range.
    """

    start: _IntColumn = field(factory=lambda: np.zeros(0, dtype=np.int64))
    end: _IntColumn = field(factory=lambda: np.zeros(0, dtype=np.int64))
    _borders: _IntColumn = field(init=False, repr=False)
    _below: _IntColumn = field(init=False, repr=False)
    _inside: npt.NDArray[np.bool_] = field(init=False, repr=False)

    @_borders.default
    def _all_borders(self) -> _IntColumn:
        return np.column_stack((self.start, self.end)).ravel()

    @_below.default
    def _below_borders(self) -> _IntColumn:
        """The number of mapped bytes below an address, by the number of borders up to it.

        After an odd number of borders the address is in a range: then the address is to be added.
        """
        sizes = self.end - self.start
        below = sizes.cumsum()
        return np.append(0, np.column_stack((below - sizes - self.start, below)).ravel())

    @_inside.default
    def _after_odd_numbers_of_borders(self) -> npt.NDArray[np.bool_]:
        """Whether an address is in a range, by the number of borders up to it."""
        inside: npt.NDArray[np.bool_] = np.arange(len(self._borders) + 1) % 2 == 1
        return inside

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> "Mapped":
        """Return ranges as columns."""
        columns = np.array(ranges, dtype=np.int64).reshape(-1, 2)
        return cls(columns[:, 0].copy(), columns[:, 1].copy())

    def holding(self, addresses: _IntColumn) -> _IntColumn:
        """Return the index of the range that contains each address, -1 if there is none."""
        if not len(self.start):
            return np.full(len(addresses), -1, dtype=np.int64)
        index = np.searchsorted(self.start, addresses, side="right") - 1
        return np.where(addresses < self.end[index], index, -1)

    def holds(self, addresses: _IntColumn) -> npt.NDArray[np.bool_]:
        """Return whether each address is mapped; faster than `holding`."""
        inside: npt.NDArray[np.bool_] = self._inside[
            self._borders.searchsorted(addresses, side="right")
        ]
        return inside

    def at(self, offsets: _IntColumn) -> _IntColumn:
        """Return the address of each byte, given by the number of mapped bytes below it."""
        sizes = self.end - self.start
        through = sizes.cumsum()
        index = np.minimum(through.searchsorted(offsets, side="right"), len(sizes) - 1)
        addresses: _IntColumn = self.start[index] + offsets - (through - sizes)[index]
        return addresses

    def bytes_in(self, start: _IntColumn, end: _IntColumn) -> _IntColumn:
        """Return the number of mapped bytes of each given range."""
        return self._bytes_below(end) - self._bytes_below(start)

    def _bytes_below(self, addresses: _IntColumn) -> _IntColumn:
        passed = self._borders.searchsorted(addresses, side="right")
        total: _IntColumn = self._below.take(passed) + (passed & 1) * addresses
        return total


def three_ranges(mappings: Sequence[Range]) -> list[Range]:
    """Return up to three ranges, cut at the two biggest gaps between mappings.

    The heap, the mmapped areas and the stack of a process are typically far apart, and samples in
    between would be wasted. Fewer gaps give fewer ranges; adjacent mappings are never separated.

    Args:
        mappings: Ascending and disjoint.

    Returns:
        Ascending ranges that contain all mappings.
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
    """Return at most `limit` ranges: neighbouring mappings are joined, the smallest gap first."""
    surplus = len(mappings) - max(limit, 1)
    if surplus <= 0:
        return list(mappings)
    if limit <= 1:
        return [Range(mappings[0].start, mappings[-1].end)]
    start = np.array([mapping.start for mapping in mappings], dtype=np.int64)
    end = np.array([mapping.end for mapping in mappings], dtype=np.int64)
    keep = np.ones(len(start) - 1, dtype=bool)
    keep[np.argsort(start[1:] - end[:-1], kind="stable")[:surplus]] = False
    starts = start[np.concatenate(([True], keep))]
    ends = end[np.concatenate((keep, [True]))]
    return [Range(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def mapping_regions(known: Regions, mappings: Sequence[Range], limit: int) -> Regions:
    """Return one region for each mapping, joined to at most `limit`, with the counters of `known`.

    Resident bytes of new regions are 0 until the next check.
    """
    joined = join_nearest(mappings, limit)
    regions = known.matching(
        [mapping.start for mapping in joined], [mapping.end for mapping in joined]
    )
    fresh = ~np.isin(regions.start, known.start) if len(known) else slice(None)
    regions.resident_bytes[fresh] = 0
    return regions


def range_regions(known: Regions, mappings: Sequence[Range], limits: RegionLimits) -> Regions:
    """Return regions over the three ranges of `mappings`, with the counters of `known`."""
    ranges = three_ranges(mappings)
    return known.cover(ranges, limits) if len(known) else Regions.evenly(ranges, limits)
