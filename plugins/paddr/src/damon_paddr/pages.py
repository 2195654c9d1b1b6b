"""Estimates from checked pages: the bytes of a region that can be monitored, and their owners.

Some of the checked pages are remembered, with their results and the memory cgroups that they are
charged to: one page per millisecond, at most `MAX_PER_CHECK` of a check. Estimates are made from
the last `WINDOW` pages. So they lag behind by the time it takes to collect these, at least four
seconds, and a share of all memory has an error of one or two hundredths.
"""

import os
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import PAGE_SIZE_BYTES, KindColumns, Owner, Regions, Target, kind_columns
from damon_paddr.cgroups import CgroupNames
from damon_paddr.kinds import KINDS, FrameKinds

WINDOW = 4096
MAX_PER_CHECK = 512
#: A check is skipped if fewer pages than this are due.
_MIN_PER_CHECK = 32
_PAGE_INTERVAL_US = 1_000
#: Owners are estimated at most this often, because it takes milliseconds.
_OWNERS_INTERVAL_US = 1_000_000
_ENTRY_BYTES = 8
#: In /proc/kpageflags: the page is part of a compound page, but not its head.
_TAIL = np.uint64(1 << 16)
_HUGE_FRAMES = 512
#: The weight of the mean of the whole node in the estimate for a region, in pages.
_PRIOR_PAGES = 1.0

_IntColumn = npt.NDArray[np.int64]
_FloatColumn = npt.NDArray[np.float64]
_BoolColumn = npt.NDArray[np.bool_]


class Charges:
    """Reads the memory cgroups that pages are charged to.

    Args:
        cgroups: A file with the 64-bit inode number of each page frame's cgroup, 0 for none.
        flags: A file with the 64-bit flags of each page frame.

    Raises:
        OSError: A file doesn't exist or may not be read.
    """

    def __init__(self, cgroups: str = "/proc/kpagecgroup", flags: str = "/proc/kpageflags") -> None:
        self._cgroups = os.open(cgroups, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._flags = os.open(flags, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._cgroups)
            raise

    def of(self, addresses: _IntColumn) -> _IntColumn:
        """Return the inode number of each page's cgroup, 0 if there is none."""
        frames = (addresses // PAGE_SIZE_BYTES).tolist()
        return np.array([self._inode(frame) or self._of_head(frame) for frame in frames], np.int64)

    def _inode(self, frame: int) -> int:
        # Empty after the last frame of the machine.
        raw = os.pread(self._cgroups, _ENTRY_BYTES, frame * _ENTRY_BYTES)
        return int.from_bytes(raw, sys.byteorder)

    def _of_head(self, frame: int) -> int:
        """Return the number of the head of a huge page: before Linux 6.5 only the head has it."""
        if not self._tails(frame, 1).any():
            return 0
        first = frame - frame % _HUGE_FRAMES
        heads = np.flatnonzero(~self._tails(first, frame - first))
        return self._inode(first + int(heads[-1])) if len(heads) else 0

    def _tails(self, first: int, count: int) -> _BoolColumn:
        """Return whether each frame is a tail of a compound page."""
        raw = os.pread(self._flags, count * _ENTRY_BYTES, first * _ENTRY_BYTES)
        return (np.frombuffer(raw, dtype=np.uint64) & _TAIL) > 0

    def close(self) -> None:
        """Close the files."""
        os.close(self._cgroups)
        os.close(self._flags)


@define(eq=False)
class PageWindow:
    """The pages that were checked last, of all nodes together.

    Args:
        charges: Reads the owners of pages; None if they can't be read.
        started_us: The time when checks began.
        kinds: Reads of which kinds pages are; None if that isn't wanted or can't be read.
    """

    charges: Charges | None = None
    _taken_us: int = field(default=0, alias="started_us")
    kinds: FrameKinds | None = None
    _owners_us: int = field(default=-_OWNERS_INTERVAL_US, init=False)
    _address: _IntColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.int64), init=False)
    _known: _BoolColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.bool_), init=False)
    _accessed: _BoolColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.bool_), init=False)
    _inode: _IntColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.int64), init=False)
    _kinds: npt.NDArray[np.uint8] = field(
        factory=lambda: np.zeros(WINDOW, dtype=np.uint8), init=False
    )
    _count: int = field(default=0, init=False)
    _rng: np.random.Generator = field(factory=np.random.default_rng, init=False)

    def remember(self, targets: Sequence[Target], now_us: int) -> None:
        """Remember some of the pages of a check that has just been made.

        The choice doesn't depend on their results: pages at even distances in the list of all, from
        a random first one on.
        """
        due = (now_us - self._taken_us) // _PAGE_INTERVAL_US
        if due < _MIN_PER_CHECK:
            return
        self._taken_us = now_us
        samples = [target.samples for target in targets if target.samples is not None]
        available = sum(len(one.addresses) for one in samples)
        quota = min(due, MAX_PER_CHECK, available)
        if not quota:
            return
        rows = ((np.arange(quota) + self._rng.random()) * available / quota).astype(np.int64)
        address = np.concatenate([one.addresses for one in samples])[rows]
        known = np.concatenate([one.known for one in samples])[rows]
        accessed = np.concatenate([one.accessed for one in samples])[rows] & known
        slot = (self._count + np.arange(quota)) % WINDOW
        self._address[slot], self._known[slot] = address, known
        self._accessed[slot], self._inode[slot] = accessed, 0
        if self.charges is not None:
            self._inode[slot[known]] = self.charges.of(address[known])
        if self.kinds is not None:
            self._kinds[slot] = 0
            self._kinds[slot[known]] = self.kinds.of(address[known], PAGE_SIZE_BYTES)
        self._count += quota

    def describe(
        self, targets: Sequence[Target], checks: int, now_us: int, names: CgroupNames
    ) -> None:
        """Set `resident_bytes`, and once a second `owners`, after an aggregation of `checks`.

        Each page of the window represents the bytes around it, half way to its neighbours in the
        same region, so the estimate doesn't depend on how evenly a policy spreads its checks. The
        resident bytes of a region are those that its known pages represent, and each owner has
        those of its pages. An owner's bytes are in the working set if the region is and one of its
        pages there was accessed, or if no page of the region was. The region's accessed bytes are
        split in proportion to its accessed pages, or to its known ones if none was accessed.
        """
        owners = self.charges is not None and now_us - self._owners_us >= _OWNERS_INTERVAL_US
        if owners:
            self._owners_us = now_us
        filled = min(self._count, WINDOW)
        # Stable, as numpy's fastest argsort errs where QEMU emulates AVX2.
        order = np.argsort(self._address[:filled], kind="stable")
        address, inode = self._address[order], self._inode[order]
        known, accessed = self._known[order], self._accessed[order]
        for target in targets:
            regions = target.regions
            index = regions.holding(address)
            inside = index >= 0
            if not inside.any():
                continue
            index = index[inside]
            page_bytes = _represented_bytes(regions, index, address[inside])
            has_answer = known[inside]
            regions.resident_bytes = _resident_bytes(regions, index, page_bytes * has_answer)
            if self.kinds is not None:
                kinds = self._kinds[order][inside]
                regions.kinds = _kinds(target, index, page_bytes * has_answer, kinds)
            if owners:
                pages = _KnownPages(
                    index[has_answer],
                    page_bytes[has_answer],
                    accessed[inside][has_answer],
                    inode[inside][has_answer],
                )
                target.owners = _owners(regions, pages, checks, names)


def _kinds(
    target: Target, index: _IntColumn, known_bytes: _IntColumn, kinds: npt.NDArray[np.uint8]
) -> KindColumns:
    """Return the bytes of regions by kind: their shares of the pages that are known.

    Args:
        target: A NUMA node.
        index: The region of each page.
        known_bytes: The bytes that each page represents; 0 of those that aren't known.
        kinds: The kinds of each page.
    """
    regions = target.regions
    whole = np.maximum(np.bincount(index, known_bytes, len(regions)), 1)
    found: dict[str, _IntColumn] = {}
    for bit, name in enumerate(KINDS):
        of_kind = np.bincount(index, known_bytes * (kinds >> bit & 1), len(regions))
        found[name] = np.rint(regions.resident_bytes * (of_kind / whole)).astype(np.int64)
    # Targets are nodes, so that kinds can be added up over them as over processes.
    found[target.name] = regions.resident_bytes
    return kind_columns(len(regions), found)


def _represented_bytes(regions: Regions, index: _IntColumn, address: _IntColumn) -> _IntColumn:
    """Return the bytes that each page represents; their sum in a region is the region's size.

    Args:
        regions: The regions.
        index: The region of each page.
        address: The addresses of the pages, ascending.
    """
    start, end = regions.start[index], regions.end[index]
    neighbours = index[1:] == index[:-1]
    middle = (address[1:] + address[:-1]) // 2
    start[1:][neighbours] = end[:-1][neighbours] = middle[neighbours]
    return end - start


def _resident_bytes(regions: Regions, index: _IntColumn, known_bytes: _IntColumn) -> _IntColumn:
    size = regions.size_bytes
    seen = np.bincount(index, minlength=len(regions))
    share = np.bincount(index, known_bytes, len(regions)) / size
    mean = float(known_bytes.sum()) / int(size[seen > 0].sum())
    part = (share * seen + mean * _PRIOR_PAGES) / (seen + _PRIOR_PAGES)
    return np.minimum((size * part).astype(np.int64), size)


@frozen(eq=False)
class _KnownPages:
    """The known pages of the window in one target.

    Attributes:
        index: The region of each page.
        represented_bytes: The bytes that each page represents.
        accessed: Whether an access to each page was found.
        inode: The inode number of each page's owner.
    """

    index: _IntColumn
    represented_bytes: _IntColumn
    accessed: _BoolColumn
    inode: _IntColumn


def _owners(regions: Regions, pages: _KnownPages, checks: int, names: CgroupNames) -> list[Owner]:
    """Return the owners, the largest working set first; `checks` is the greatest nr_accesses."""
    inodes, owner = np.unique(pages.inode, return_inverse=True)
    # A cell is the part of one region that belongs to one owner.
    cells, cell = np.unique(pages.index * len(inodes) + owner, return_inverse=True)
    region, owner = cells // len(inodes), cells % len(inodes)
    hit_bytes = pages.represented_bytes * pages.accessed
    hits = np.bincount(cell, hit_bytes, len(cells))
    region_hits = np.bincount(pages.index, hit_bytes, len(regions))[region]
    known = np.bincount(pages.index, pages.represented_bytes, len(regions))[region]
    share = np.bincount(cell, pages.represented_bytes, len(cells)) / np.maximum(known, 1)
    resident = regions.resident_bytes[region]
    total = resident * share

    hot_share = np.where(region_hits > 0, hits / np.maximum(region_hits, 1), share)
    frequency = regions.nr_accesses[region] / max(checks, 1)
    accessed_bytes = np.minimum(resident * frequency * hot_share, total)
    # A fraction of an access counts as that part of the region, as in a snapshot's working set.
    part = np.minimum(regions.nr_accesses[region], 1.0)
    working_set = np.maximum(
        total * part * (hot_share > 0), np.minimum(resident * part * hot_share, total)
    )

    sums: dict[str, _FloatColumn] = {}
    columns = [
        np.bincount(owner, column, len(inodes)) for column in (total, working_set, accessed_bytes)
    ]
    for number, figures in zip(inodes.tolist(), np.stack(columns, axis=1), strict=True):
        if number:
            name = names[number]
            sums[name] = sums.get(name, np.zeros(3)) + figures
    owners = [Owner("cgroup", name, *map(round, sums[name].tolist())) for name in sums]
    return sorted(owners, key=lambda one: (-one.working_set_bytes, -one.total_bytes, one.name))
