"""Kinds of memory of processes: anonymous, of files, huge, dirty, swapped, on which NUMA node.

A backend that reads smaps anyway finds most of it there, exact for each mapping. For others it is
estimated from random pages: as `damon_vaddr.resident` does, one page is read each two milliseconds
for all processes of a context together, and the last `WINDOW` of them are remembered. Of a region
each kind has the share that it has among the pages in it that are in memory. Nodes are always
estimated so, where there are several.

| kind | from smaps | from pages |
|---|---|---|
| anonymous | ``Anonymous`` | pagemap: no page of a file |
| shmem, file | the rest, by the device of the mapping | likewise |
| huge | huge pages that are mapped as one | PAGEMAP_SCAN (6.7), or kpageflags |
| dirty | ``Shared_Dirty`` and ``Private_Dirty`` | kpageflags: anonymous, or to be written back |
| locked | ``Locked`` | kpageflags |
| swapped | ``Swap``, or ``SwapPss`` of several processes | pagemap; the sum is VmSwap of status |
| node0, node1 … | | move_pages(2), which moves nothing |

What takes rights that the process doesn't have is left out.
"""

import ctypes
import itertools
import mmap
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import SWAPPED, Range, Regions, kind_columns
from damon_vaddr.mappings import Mapped, parse_accessible
from damon_vaddr.page_sample import huge_at
from damon_vaddr.processes import Process
from damon_vaddr.target import ProcessTarget

#: The number of pages remembered of each process.
WINDOW: Final = 4096
#: Pages are read when this many are due, and at most the second number at once.
_LEAST, _MOST = 256, 1024
#: One page is due in this time, for all processes of a context together.
_PAGE_INTERVAL_US = 2_000
_ENTRY_BYTES = 8
#: Bits of pagemap: Documentation/admin-guide/mm/pagemap.rst.
_PRESENT, _SWAP, _OF_FILE = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(1 << 61)
_FRAME = np.uint64((1 << 55) - 1)
#: Bits of kpageflags: include/uapi/linux/kernel-page-flags.h, and of its hidden part.
_DIRTY, _HUGE, _MLOCKED = 1 << 4, 1 << 17 | 1 << 22, 1 << 33
_MOVE_PAGES = {"x86_64": 279, "aarch64": 239}
_NODES = "/sys/devices/system/node/online"
_VM_SWAP = re.compile(rb"(?m)^VmSwap:\s+(\d+) kB$")
_KIB = 1024

_IntColumn = npt.NDArray[np.int64]
_BoolColumn = npt.NDArray[np.bool_]
_Entries = npt.NDArray[np.uint64]

#: A mapping with its permissions, and its device and inode, if it has any.
_MAPPING = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ ([0-9a-f]+:[0-9a-f]+) (\d+)")


def nodes_online(path: str = _NODES) -> tuple[int, ...]:
    """Return the numbers of the NUMA nodes of this machine; node 0 alone if that isn't known."""
    try:
        with open(path, encoding="ascii") as file:
            parts = [each.partition("-") for each in file.read().strip().split(",")]
        ranges = [range(int(low), int(high or low) + 1) for low, _, high in parts]
    except (OSError, ValueError):
        return (0,)
    return tuple(node for each in ranges for node in each)


def shmem_devices(process: Process) -> frozenset[bytes]:
    """Return the devices of shared memory, as /proc/PID/maps writes them: of tmpfs, and memfd."""
    found = set()
    try:
        descriptor = os.memfd_create("damon", os.MFD_CLOEXEC)
        try:
            device = os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)
        found.add((os.major(device), os.minor(device)))
        file = process.open_file("mountinfo")
        with open(file, encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                if after.startswith(("tmpfs ", "devtmpfs ")):
                    major, _, minor = before.split()[2].partition(":")
                    found.add((int(major), int(minor)))
    except (OSError, ValueError, IndexError):
        pass
    return frozenset(b"%02x:%02x" % each for each in found)


def shmem_ranges(maps: bytes, devices: frozenset[bytes]) -> list[Range]:
    """Return the mappings of shared memory of a `/proc/PID/maps`."""
    return [
        Range(int(start, 16), int(end, 16))
        for start, end, device, inode in _MAPPING.findall(maps)
        if device in devices and inode != b"0"
    ]


#: What smaps says of each mapping besides what `SmapsParser` reads; in KiB.
_SMAPS_FIELDS = ("Anonymous", "Shared_Dirty", "Private_Dirty", "Locked", "Swap", "SwapPss")
_SMAPS = {name: re.compile(rb"\n%b: +(\d+) kB" % name.encode()) for name in _SMAPS_FIELDS}


def of_smaps(
    text: bytes | memoryview,
    rss: _IntColumn,
    pss: _IntColumn,
    huge: _IntColumn,
    is_shmem: _BoolColumn,
    *,
    divided: bool,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the KiB of each mapping by kind, as far as a smaps says it; nodes are not among them.

    Args:
        text: The smaps.
        rss: What is in memory of each mapping, in KiB.
        pss: The process's share of that.
        huge: What is in huge pages.
        is_shmem: Whether each is of shared memory.
        divided: Whether memory is divided among the processes that share it.
    """
    found = {
        name: np.array(pattern.findall(text), dtype=np.int64) for name, pattern in _SMAPS.items()
    }
    known = {name: column for name, column in found.items() if len(column) == len(rss)}
    share = pss / np.maximum(rss, 1) if divided else np.ones(len(rss))
    kinds: dict[str, npt.NDArray[np.float64]] = {}
    if "Anonymous" in known:
        anonymous = np.minimum(known["Anonymous"], rss)
        kinds["anonymous"] = anonymous * share
        kinds["shmem"] = np.where(is_shmem, rss - anonymous, 0) * share
        kinds["file"] = np.where(is_shmem, 0, rss - anonymous) * share
    kinds["huge"] = np.minimum(huge, rss) * share
    if "Private_Dirty" in known and "Shared_Dirty" in known:
        dirty = known["Private_Dirty"] + known["Shared_Dirty"]
        kinds["dirty"] = np.minimum(dirty, rss) * share
    if "Locked" in known:  # It is divided already.
        kinds["locked"] = np.minimum(known["Locked"] / np.maximum(pss, 1), 1.0) * rss * share
    swap = known.get("SwapPss" if divided else "Swap", known.get("Swap"))
    if swap is not None:
        kinds[SWAPPED] = swap.astype(np.float64)
    return kinds


@define(eq=False)
class PageKinds:
    """What random pages of one process are: as many as fit into the budget, the last ones.

    Attributes:
        shmem: Its mappings of shared memory.
    """

    shmem: Mapped = field(factory=Mapped, init=False)
    _pieces: Mapped = field(factory=Mapped, init=False)
    _maps: bytes = field(default=b"", init=False)
    _taken_us: int | None = field(default=None, init=False)
    _address: _IntColumn = field(factory=lambda: np.zeros(0, dtype=np.int64), init=False)
    # For each page a value for each kind: 1 or 0. Only `in_memory` and `swapped` are always there.
    _is: dict[str, _BoolColumn] = field(factory=dict, init=False)
    _rng: np.random.Generator = field(factory=np.random.default_rng, init=False)

    def follow(self, process: Process, maps: bytes) -> None:
        """Follow a change of the mappings."""
        if maps == self._maps:
            return
        self._maps = maps
        self._pieces = Mapped.of(parse_accessible(maps))
        self.shmem = Mapped.of(shmem_ranges(maps, shmem_devices(process)))

    def refresh(
        self,
        process: Process,
        regions: Regions,
        now_us: int,
        sharing: int,
        nodes: Sequence[int],
    ) -> None:
        """Read some pages if that many are due.

        Args:
            process: The process.
            regions: Its regions: half of the pages are spread evenly over them.
            now_us: The time.
            sharing: The number of processes that share the time for it.
            nodes: The NUMA nodes to tell apart; none if they aren't asked for.
        """
        interval_us = _PAGE_INTERVAL_US * sharing
        due = _MOST // min(sharing, 4)
        if self._taken_us is not None:
            due = min((now_us - self._taken_us) // interval_us, _MOST)
        if due < _LEAST or not len(self._pieces.start):
            return
        self._taken_us = now_us
        address = self._choose(regions, int(due))
        found = _look(process, address, nodes)
        if found is None:
            return
        found["shmem"] = self.shmem.holds(address) & found["of_file"]
        found["file"] = found["of_file"] & ~found["shmem"]
        del found["of_file"]
        if found.keys() != self._is.keys():  # other rights than before, or the first pages
            self._address, self._is = self._address[:0], {name: found[name][:0] for name in found}
        # Stable, as numpy's fastest argsort errs where QEMU emulates AVX2.
        self._address = np.concatenate((self._address, address))[-WINDOW:]
        self._is = {
            name: np.concatenate((self._is[name], column))[-WINDOW:]
            for name, column in found.items()
        }

    def columns(
        self, regions: Regions, swapped_bytes: int | None
    ) -> Iterator[tuple[str, _IntColumn]]:
        """Yield the bytes of regions of each kind that is known.

        Args:
            regions: The regions.
            swapped_bytes: What is swapped in all; None if that isn't known.
        """
        inside = self._pieces.holds(self._address) if len(self._pieces.start) else None
        if inside is None or not inside.any():
            return
        order = np.argsort(self._address[inside], kind="stable")
        address = self._address[inside][order]
        flags = {name: column[inside][order] for name, column in self._is.items()}
        there = flags.pop("in_memory")
        swapped = flags.pop(SWAPPED)
        in_memory = address[there]
        for name, column in flags.items():
            share = _shares(regions, in_memory, column[there])
            yield name, np.rint(regions.resident_bytes * share).astype(np.int64)
        size = self._pieces.bytes_in(regions.start, regions.end)
        room = np.maximum(size - regions.resident_bytes, 0)
        estimate = np.minimum(size * _shares(regions, address, swapped), room)
        if swapped_bytes is not None:
            whole = float(estimate.sum())
            estimate = np.minimum(estimate * (swapped_bytes / whole if whole else 0.0), room)
        yield SWAPPED, np.rint(estimate).astype(np.int64)

    def _choose(self, regions: Regions, count: int) -> _IntColumn:
        """Return the addresses of random pages."""
        pieces, rng, half = self._pieces, self._rng, count // 2
        mapped_bytes = int((pieces.end - pieces.start).sum())
        offset = rng.random(count - half) * mapped_bytes
        if len(regions):
            row = rng.integers(len(regions), size=half)
            start, end = regions.start[row], regions.end[row]
            inside = pieces.bytes_in(start, end)
            below = pieces.bytes_in(np.zeros(half, dtype=np.int64), start)
            offset = np.concatenate((offset, (below + rng.random(half) * inside)[inside > 0]))
        address = np.sort(pieces.at(offset.astype(np.int64)))
        return address - address % mmap.PAGESIZE


def _shares(regions: Regions, address: _IntColumn, flags: _BoolColumn) -> npt.NDArray[np.float64]:
    """Return for each region which share of the pages in it have a flag.

    The page next to a region counts as one more, and alone if there is none in it.

    Args:
        regions: The regions.
        address: The addresses of the pages, ascending.
        flags: Whether each has the flag.
    """
    if not len(address):
        return np.zeros(len(regions))
    begin, end = np.searchsorted(address, regions.start), np.searchsorted(address, regions.end)
    sums = np.append(0, flags.cumsum())
    count, found = end - begin, sums[end] - sums[begin]
    left, right = np.maximum(begin - 1, 0), np.minimum(end, len(address) - 1)
    is_left = regions.start - address[left] <= address[right] - regions.end
    near = flags[np.where(is_left & (begin > 0), left, right)]
    share: npt.NDArray[np.float64] = np.where(count > 0, found / np.maximum(count, 1), near)
    return share


def _look(
    process: Process, address: _IntColumn, nodes: Sequence[int]
) -> dict[str, _BoolColumn] | None:
    """Return what pages are; None if that can't be read."""
    places = (address // mmap.PAGESIZE * _ENTRY_BYTES).tolist()
    try:
        descriptor = process.open_file("pagemap")
        try:
            data = b"".join(
                map(os.pread, itertools.repeat(descriptor), itertools.repeat(8), places)
            )
            huge = huge_at(descriptor, address)
        finally:
            os.close(descriptor)
    except OSError:  # it has ended, or may not be read
        return None
    if len(data) != len(places) * _ENTRY_BYTES:  # its memory is gone
        return None
    entries: _Entries = np.frombuffer(data, dtype=np.uint64)
    there = (entries & _PRESENT) != 0
    of_file = there & ((entries & _OF_FILE) != 0)
    found = {
        "in_memory": there,
        SWAPPED: ((entries & _SWAP) != 0) & ~there,
        "anonymous": there & ~of_file,
        "of_file": of_file,
    }
    flags = _frame_flags(entries, there)
    if huge is None and flags is not None:
        huge = (flags & _HUGE) != 0
    if huge is not None:
        found["huge"] = huge & there
    if flags is not None:
        found["dirty"] = there & (found["anonymous"] | ((flags & _DIRTY) != 0))
        found["locked"] = there & ((flags & _MLOCKED) != 0)
    if len(nodes) == 1:
        found[f"node{nodes[0]}"] = there
    elif nodes and (at := _nodes_of(process.pid, address)) is not None:
        found.update({f"node{node}": there & (at == node) for node in nodes})
    return found


def _frame_flags(entries: _Entries, there: _BoolColumn) -> _Entries | None:
    """Return the flags of pages in memory, 0 of others; None if they may not be read."""
    frames = np.where(there, entries & _FRAME, np.uint64(0))
    if there.any() and not frames.any():  # hidden from who lacks CAP_SYS_ADMIN
        return None
    flags = np.zeros(len(entries), dtype=np.uint64)
    try:
        descriptor = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for row, frame in enumerate(frames.tolist()):
            if frame:
                data = os.pread(descriptor, _ENTRY_BYTES, frame * _ENTRY_BYTES)
                flags[row] = int.from_bytes(data, sys.byteorder)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return flags


def _nodes_of(pid: int, address: _IntColumn) -> _IntColumn | None:
    """Return the node of each page, negative for one that isn't there; None if nobody says.

    Without nodes to move them to, move_pages only says where pages are. It takes the right to read
    the process, and nothing else.
    """
    number = _MOVE_PAGES.get(platform.machine())
    if number is None:
        return None
    pages, status = address.astype(np.uint64), np.full(len(address), -1, dtype=np.int32)
    failed = ctypes.CDLL(None, use_errno=True).syscall(
        *map(ctypes.c_long, (number, pid, len(pages))),
        ctypes.c_void_p(pages.ctypes.data),
        None,
        ctypes.c_void_p(status.ctypes.data),
        ctypes.c_long(0),
    )
    return None if failed else status.astype(np.int64)


class Kinds:
    """Sets the kinds of memory of the regions of processes.

    Args:
        exact: Whether the backend has set all of them but nodes, from smaps.
    """

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact
        self._nodes = nodes_online()
        self._pages: dict[ProcessTarget, PageKinds] = {}

    def describe(self, targets: Sequence[ProcessTarget], now_us: int) -> None:
        """Set the `kinds` of the regions of targets, at the end of an aggregation."""
        for target in targets:
            if not target.resting:
                self._describe(target, now_us, len(targets))

    def forget(self, target: ProcessTarget) -> None:
        """Forget a target."""
        self._pages.pop(target, None)

    def _describe(self, target: ProcessTarget, now_us: int, sharing: int) -> None:
        regions = target.regions
        known: Mapping[str, _IntColumn] = {}
        if self._exact:
            if regions.kinds is None:
                return
            known = {name: regions.kinds[name] for name in regions.kinds.dtype.names or ()}
            known = {name: known[name] for name in known if not name.startswith("node")}
            if len(self._nodes) == 1:
                found = {**known, f"node{self._nodes[0]}": regions.resident_bytes}
                regions.kinds = kind_columns(len(regions), found)
                return
        pages = self._pages.setdefault(target, PageKinds())
        pages.follow(target.process, target.layout_input.maps)
        pages.refresh(target.process, regions, now_us, sharing, self._nodes)
        swapped_bytes = None if self._exact else _swapped_bytes(target.process)
        estimated = dict(pages.columns(regions, swapped_bytes))
        regions.kinds = kind_columns(len(regions), {**estimated, **known}) if estimated else None


def _swapped_bytes(process: Process) -> int | None:
    """Return how much of a process is swapped; None if that isn't known."""
    try:
        descriptor = process.open_file("status")
        try:
            found = _VM_SWAP.search(os.read(descriptor, 1 << 16))
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return int(found[1]) * _KIB if found else None
