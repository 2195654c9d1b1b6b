"""How much of each part of a process's address space is in memory, estimated from sampled pages.

`/proc/PID/pagemap` shows for each page whether it is in memory. Random pages are read there, one
every two milliseconds on average, and the last `WINDOW` of them are remembered. Each represents
the mapped bytes around it. The estimate is then adjusted so that its sum is what the kernel counts
as in memory (VmRSS and HugetlbPages in `/proc/PID/status`): where sampled pages disagree with their
neighbours it is changed most. So sums are right, the cost doesn't depend on the size of the
process, and the error is in the places: about the distance of two sampled pages wherever memory
begins or ends to be resident.

Of several processes in a context each has its share of a page: one in as many as map it, which
/proc/kpagecount says of the same sampled pages.
"""

import itertools
import mmap
import os
import re
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import Range, Regions
from damon_vaddr.mappings import Mapped
from damon_vaddr.processes import Process

#: The number of pages remembered of each process.
WINDOW = 4096
#: Pages are read when this many are due, and at most the second number at once.
_LEAST = 256
_MOST = 1024
#: One page is due in this time, for all processes of a context together.
_PAGE_INTERVAL_US = 2_000
#: An estimate takes this many pages on either side of a page as its neighbours.
_REACH = 4
#: How often what doesn't fit is distributed again.
_ROUNDS = 4
_ENTRY_BYTES = 8
_PRESENT = np.uint64(63)
_OF_FILE, _EXCLUSIVE = np.uint64(1 << 61), np.uint64(1 << 56)
_FRAME = np.uint64((1 << 55) - 1)
_COUNTS = "/proc/kpagecount"
_IN_MEMORY = re.compile(rb"(?m)^(?:VmRSS|HugetlbPages):\s+(\d+) kB$")
_KIB = 1024

_IntColumn = npt.NDArray[np.int64]
_FloatColumn = npt.NDArray[np.float64]
_Entries = npt.NDArray[np.uint64]
_BoolColumn = npt.NDArray[np.bool_]


@frozen(eq=False)
class Cells:
    """Parts of mappings, each represented by one page; ascending and disjoint.

    Attributes:
        start: First address of each.
        end: First address after each.
        resident: Bytes of each that are in memory; fractions are estimates.
        doubt: How uncertain that is, in relation to others.
    """

    start: _IntColumn
    end: _IntColumn
    resident: _FloatColumn
    doubt: _FloatColumn

    def scaled_to(self, total_bytes: int) -> _FloatColumn:
        """Return the resident bytes adjusted so that their sum is `total_bytes`, if it fits.

        The difference is distributed in proportion to the doubts.
        """
        size = self.end - self.start
        resident = self.resident.copy()
        for number in range(_ROUNDS + 1):
            missing = total_bytes - float(resident.sum())
            if abs(missing) < 1:
                break
            room = size - resident if missing > 0 else resident
            weight = self.doubt * (room > 0) if number < _ROUNDS else room
            whole = float(weight.sum())
            if whole <= 0:
                break
            change = np.minimum(weight * (abs(missing) / whole), room)
            resident += change if missing > 0 else -change
        return resident


def cells_around(
    pieces: Mapped, address: _IntColumn, present: _BoolColumn, total_bytes: int
) -> Cells:
    """Return the cells around sampled pages, and one for each mapping without any.

    Args:
        pieces: The mappings.
        address: The addresses of the pages, ascending, without repetitions.
        present: Whether each page is in memory.
        total_bytes: How many bytes of all mappings are in memory.
    """
    index = pieces.holding(address)
    inside = index >= 0
    index, address, present = index[inside], address[inside], present[inside]
    start, end = pieces.start[index], pieces.end[index]
    neighbours = index[1:] == index[:-1]
    middle = (address[1:] + address[:-1] + mmap.PAGESIZE) // 2
    start[1:][neighbours] = end[:-1][neighbours] = middle[neighbours]
    resident = np.where(present, end - start, 0).astype(np.float64)

    # How many of the pages around, of the same mapping, are in memory.
    count = np.bincount(index, minlength=len(pieces.start))
    last = count.cumsum()
    row = np.arange(len(index))
    low = np.maximum(row - _REACH, (last - count)[index])
    high = np.minimum(row + _REACH + 1, last[index])
    sums = np.append(0, present.cumsum())
    share = (sums[high] - sums[low] + 0.5) / (high - low + 1)

    unseen = np.flatnonzero(count == 0)
    seen_bytes = float((end - start).sum())
    if seen_bytes:
        mean = float(resident.sum()) / seen_bytes
    else:
        mean = min(total_bytes / max(float((pieces.end - pieces.start).sum()), 1.0), 1.0)
    start = np.concatenate((start, pieces.start[unseen]))
    end = np.concatenate((end, pieces.end[unseen]))
    size = (end - start).astype(np.float64)
    resident = np.concatenate((resident, size[len(index) :] * mean))
    share = np.concatenate((share, np.full(len(unseen), 0.5)))
    order = np.argsort(start, kind="stable")
    doubt = size * size * share * (1 - share)
    return Cells(start[order], end[order], resident[order], doubt[order])


@define(eq=False)
class ResidentEstimate:
    """What of a process's mappings is in memory, as far as it counts in this target.

    Attributes:
        counts_files_whole: Whether files and shared memory aren't divided among processes, as they
            count in one of them only.
    """

    counts_files_whole: bool = field(default=False, init=False)

    _pieces: Mapped = field(factory=Mapped, init=False)
    _counted: Mapped = field(factory=Mapped, init=False)
    _changed: bool = field(default=False, init=False)
    _taken_us: int | None = field(default=None, init=False)
    _address: _IntColumn = field(factory=lambda: np.zeros(0, dtype=np.int64), init=False)
    _present: _BoolColumn = field(factory=lambda: np.zeros(0, dtype=np.bool_), init=False)
    # The part of each page that is the process's, and whether that was asked.
    _share: _FloatColumn = field(factory=lambda: np.zeros(0), init=False)
    _divides: bool = field(default=False, init=False)
    # The resident bytes below each border of a cell.
    _border: _IntColumn = field(factory=lambda: np.zeros(1, dtype=np.int64), init=False)
    _below: _FloatColumn = field(factory=lambda: np.zeros(1), init=False)
    _rng: np.random.Generator = field(factory=np.random.default_rng, init=False)

    def follow(self, counted: Mapped, others: Sequence[Range]) -> None:
        """Follow a change of the mappings.

        Args:
            counted: Those that count in this target.
            others: Those that count in another one, but are in the memory of the process.
        """
        both = [*zip(counted.start.tolist(), counted.end.tolist(), strict=True), *others]
        self._pieces = Mapped.of([Range(*each) for each in sorted(both)])
        self._counted = counted
        self._changed = True

    def refresh(self, process: Process, regions: Regions, now_us: int, sharing: int) -> None:
        """Read some pages if that many are due, and estimate again.

        Args:
            process: The process.
            regions: Its regions: half of the pages are spread evenly over them.
            now_us: The time.
            sharing: The number of processes that share the time for reading pages, and memory.
        """
        interval_us = _PAGE_INTERVAL_US * sharing
        if (sharing > 1) != self._divides:  # alone it has all of its memory
            self._divides, self._taken_us = sharing > 1, None
            self._address, self._present = self._address[:0], self._present[:0]
            self._share = self._share[:0]
        first = self._taken_us is None
        if self._taken_us is None:
            due = max(_LEAST, _MOST // sharing)
        else:
            due = (now_us - self._taken_us) // interval_us
        if due < _LEAST and not self._changed:
            return
        total_bytes = _in_memory_bytes(process)
        if total_bytes is None:
            return
        self._changed = False
        self._taken_us = now_us
        if first:  # So that processes that are added together aren't due together.
            self._taken_us -= int(self._rng.integers(_LEAST)) * interval_us
        self._sample(process, regions, min(due, _MOST))
        order = np.argsort(self._address, kind="stable")
        address = self._address[order]
        newest = np.append(np.diff(address) > 0, True)[: len(address)]
        address, present = address[newest], self._present[order][newest]
        cells = cells_around(self._pieces, address, present, total_bytes)
        counts = self._counted.holds(cells.start)
        share = _share_of(cells, address[present], self._share[order][newest][present])
        sums = (cells.scaled_to(total_bytes) * counts * share).cumsum()
        self._border = np.append(0, np.column_stack((cells.start, cells.end)).ravel())
        self._below = np.repeat(np.append(0.0, sums), 2)[:-1]

    def bytes_in(self, start: _IntColumn, end: _IntColumn) -> _IntColumn:
        """Return how many bytes of each given range are in memory."""
        return self._bytes_below(end) - self._bytes_below(start)

    def _bytes_below(self, addresses: _IntColumn) -> _IntColumn:
        return np.rint(np.interp(addresses, self._border, self._below)).astype(np.int64)

    def _sample(self, process: Process, regions: Regions, count: int) -> None:
        """Read random pages: half of them spread over all mappings, half over the regions."""
        address = self._choose(regions, count)
        entries = _entries(process, address)
        if entries is not None:
            share = np.ones(len(entries))
            if self._divides:
                share = shares(entries, counts_files_whole=self.counts_files_whole)
            # The newest are last.
            self._address = np.append(self._address, address)[-WINDOW:]
            self._present = np.append(self._present, _is_present(entries))[-WINDOW:]
            self._share = np.append(self._share, share)[-WINDOW:]

    def _choose(self, regions: Regions, count: int) -> _IntColumn:
        pieces, rng = self._pieces, self._rng
        if not len(pieces.start) or not count:
            return np.zeros(0, dtype=np.int64)
        mapped_bytes = int((pieces.end - pieces.start).sum())
        half = count // 2
        # One page in each of as many parts of equal size.
        everywhere = (np.arange(count - half) + rng.random(count - half)) / (count - half)
        row = ((np.arange(half) + rng.random()) * len(regions) / max(half, 1)).astype(np.int64)
        start, end = regions.start[row], regions.end[row]
        inside = pieces.bytes_in(start, end)
        below = pieces.bytes_in(np.zeros(half, dtype=np.int64), start)
        offset = np.concatenate(
            (everywhere * mapped_bytes, (below + rng.random(half) * inside)[inside > 0])
        )
        address = np.sort(pieces.at(offset.astype(np.int64)))
        return address - address % mmap.PAGESIZE


def _share_of(cells: Cells, address: _IntColumn, share: _FloatColumn) -> _FloatColumn:
    """Return the share of each cell: that of the last page in memory up to its end.

    Args:
        cells: The cells.
        address: The addresses of the pages in memory, ascending.
        share: Their shares.
    """
    if not len(address):
        return np.ones(len(cells.start))
    last = np.searchsorted(address, cells.end) - 1
    found: _FloatColumn = share[np.maximum(last, 0)]
    return found


def shares(
    entries: _Entries, counts: str = _COUNTS, *, counts_files_whole: bool = False
) -> _FloatColumn:
    """Return the part of each page that is the process's: one in as many as map it.

    It is 1 where that can't be read, which takes CAP_SYS_ADMIN and a file of root's.

    Args:
        entries: What pagemap says of the pages.
        counts: The file with how often frames are mapped.
        counts_files_whole: Whether pages of files and shared memory aren't divided.
    """
    share = np.ones(len(entries))
    undivided = _EXCLUSIVE | _OF_FILE if counts_files_whole else _EXCLUSIVE
    divided = np.flatnonzero(_is_present(entries) & (entries & undivided == 0))
    places = ((entries[divided] & _FRAME) * _ENTRY_BYTES).tolist()
    try:
        descriptor = os.open(counts, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return share
    try:
        for row, place in zip(divided.tolist(), places, strict=True):
            if place:  # otherwise the frame is hidden
                data = os.pread(descriptor, _ENTRY_BYTES, place)
                share[row] = 1 / max(int.from_bytes(data, sys.byteorder), 1)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return share


def _is_present(entries: _Entries) -> _BoolColumn:
    """Return whether each page is in memory."""
    return (entries >> _PRESENT).astype(np.bool_)


def _entries(process: Process, address: _IntColumn) -> _Entries | None:
    """Return what pagemap says of each page; None if that can't be read."""
    places = (address // mmap.PAGESIZE * _ENTRY_BYTES).tolist()
    try:
        descriptor = process.open_file("pagemap")
        try:
            sizes = itertools.repeat(_ENTRY_BYTES)
            data = b"".join(map(os.pread, itertools.repeat(descriptor), sizes, places))
        finally:
            os.close(descriptor)
    except OSError:  # it has ended, or may not be read
        return None
    if len(data) != len(places) * _ENTRY_BYTES:  # its memory is gone
        return None
    return np.frombuffer(data, dtype=np.uint64)


def _in_memory_bytes(process: Process) -> int | None:
    """Return how much of the process is in memory; None if that can't be read."""
    try:
        descriptor = process.open_file("status")
        try:
            text = os.read(descriptor, 1 << 16)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    found = _IN_MEMORY.findall(text)
    return sum(map(int, found)) * _KIB if found else None
