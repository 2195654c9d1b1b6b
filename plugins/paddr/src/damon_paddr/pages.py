"""What single pages tell beyond accesses: how much of a region can be watched, and whose it is.

A part of the pages that checks look at is remembered, with what was seen and with the memory
cgroup that each is charged to: one page a millisecond, at most `MOST_AT_ONCE` of a check. All
estimates are made from the last `WINDOW` of them. So they lag behind by the time in which as many
are collected, four seconds and more, and a share of all memory is right to one or two hundredths.
"""

import os
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import PAGE_SIZE_BYTES, Owner, Regions, Target
from damon_paddr.cgroups import CgroupNames

WINDOW = 4096
MOST_AT_ONCE = 512
#: Checks that come sooner after another than this many pages are worth are passed over.
_LEAST_AT_ONCE = 32
_US_A_PAGE = 1_000
#: Owners are told anew no sooner than this after the last time: it takes milliseconds.
_OWNERS_EVERY_US = 1_000_000
_ENTRY_BYTES = 8
#: In /proc/kpageflags: the page is part of a compound page, and not the head of it.
_TAIL = np.uint64(1 << 16)
_HUGE_FRAMES = 512
#: What a region without pages in the window is taken for: like the whole node, with the weight
#: of one page.
_PRIOR_PAGES = 1.0

_IntColumn = npt.NDArray[np.int64]
_FloatColumn = npt.NDArray[np.float64]
_BoolColumn = npt.NDArray[np.bool_]


class Charges:
    """Reads which memory cgroup pages are charged to.

    Args:
        cgroups: A file with an inode number of 64 bits for each page frame, 0 for none.
        flags: A file with the flags of each page frame, as many bits.

    Raises:
        OSError: They aren't there or may not be read.
    """

    def __init__(self, cgroups: str = "/proc/kpagecgroup", flags: str = "/proc/kpageflags") -> None:
        self._cgroups = os.open(cgroups, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._flags = os.open(flags, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._cgroups)
            raise

    def of(self, addresses: _IntColumn) -> _IntColumn:
        """Return the inode number of each page's cgroup, 0 where there is none."""
        frames = (addresses // PAGE_SIZE_BYTES).tolist()
        return np.array([self._inode(frame) or self._of_head(frame) for frame in frames], np.int64)

    def _inode(self, frame: int) -> int:
        # Behind the last frame of the machine there is nothing to be read.
        raw = os.pread(self._cgroups, _ENTRY_BYTES, frame * _ENTRY_BYTES)
        return int.from_bytes(raw, sys.byteorder)

    def _of_head(self, frame: int) -> int:
        """Return the same of the head of a huge page: before Linux 6.5 only the head has it."""
        if not self._tails(frame, 1).any():
            return 0
        first = frame - frame % _HUGE_FRAMES
        heads = np.flatnonzero(~self._tails(first, frame - first))
        return self._inode(first + int(heads[-1])) if len(heads) else 0

    def _tails(self, first: int, count: int) -> _BoolColumn:
        """Return which of some frames are no heads of their compound page."""
        raw = os.pread(self._flags, count * _ENTRY_BYTES, first * _ENTRY_BYTES)
        return (np.frombuffer(raw, dtype=np.uint64) & _TAIL) > 0

    def close(self) -> None:
        """Close the files."""
        os.close(self._cgroups)
        os.close(self._flags)


@define(eq=False)
class PageWindow:
    """The last pages that were looked at, of all nodes together.

    Args:
        charges: Where to read whose they are; None where that isn't known.
        started_us: When the checks began.
    """

    charges: Charges | None = None
    _taken_us: int = field(default=0, alias="started_us")
    _owners_us: int = field(default=-_OWNERS_EVERY_US, init=False)
    _address: _IntColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.int64), init=False)
    _known: _BoolColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.bool_), init=False)
    _accessed: _BoolColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.bool_), init=False)
    _inode: _IntColumn = field(factory=lambda: np.zeros(WINDOW, dtype=np.int64), init=False)
    _count: int = field(default=0, init=False)
    _rng: np.random.Generator = field(factory=np.random.default_rng, init=False)

    def remember(self, targets: Sequence[Target], now_us: int) -> None:
        """Take in a part of the pages of a check that was made now.

        Which part doesn't depend on what was seen there: pages at even distances in the list of
        all, beginning anywhere.
        """
        worth = (now_us - self._taken_us) // _US_A_PAGE
        if worth < _LEAST_AT_ONCE:
            return
        self._taken_us = now_us
        samples = [target.samples for target in targets if target.samples is not None]
        available = sum(len(one.addresses) for one in samples)
        quota = min(worth, MOST_AT_ONCE, available)
        if not quota:
            return
        rows = ((np.arange(quota) + self._rng.random()) * available / quota).astype(np.int64)
        address = np.concatenate([one.addresses for one in samples])[rows]
        known = np.concatenate([one.known for one in samples])[rows]
        accessed = np.concatenate([one.accessed for one in samples])[rows] & known
        place = (self._count + np.arange(quota)) % WINDOW
        self._address[place], self._known[place] = address, known
        self._accessed[place], self._inode[place] = accessed, 0
        if self.charges is not None:
            self._inode[place[known]] = self.charges.of(address[known])
        self._count += quota

    def describe(
        self, targets: Sequence[Target], checks: int, now_us: int, names: CgroupNames
    ) -> None:
        """Set `resident_bytes`, and once a second `owners`, after an aggregation of `checks`.

        Each page of the window stands for what lies around it, half way to its neighbours in the
        same region: so it doesn't matter how evenly a policy spreads its checks. The resident
        bytes of a region are what known pages stand for, and an owner has those of its pages.
        That is in the working set if the region is, and some page of the owner was seen accessed
        there; if no page of the window was, all is. The region's accessed bytes are split as its
        accessed pages are, or else as the known ones.
        """
        owners = self.charges is not None and now_us - self._owners_us >= _OWNERS_EVERY_US
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
            stands_for = _stands_for(regions, index, address[inside])
            told = known[inside]
            regions.resident_bytes = _resident_bytes(regions, index, stands_for * told)
            if owners:
                pages = _KnownPages(
                    index[told],
                    stands_for[told],
                    accessed[inside][told],
                    inode[inside][told],
                )
                target.owners = _owners(regions, pages, checks, names)


def _stands_for(regions: Regions, index: _IntColumn, address: _IntColumn) -> _IntColumn:
    """Return the bytes that each page stands for: of each region all bytes together.

    Args:
        regions: The regions.
        index: The region of each page.
        address: Where the pages are, ascending.
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
        index: The region of each.
        stands_for: The bytes that each stands for.
        accessed: Whether it was seen accessed.
        inode: Its owner.
    """

    index: _IntColumn
    stands_for: _IntColumn
    accessed: _BoolColumn
    inode: _IntColumn


def _owners(regions: Regions, pages: _KnownPages, checks: int, names: CgroupNames) -> list[Owner]:
    """Return the owners, the largest working set first; `checks` is the greatest nr_accesses."""
    inodes, owner = np.unique(pages.inode, return_inverse=True)
    # A cell is what one owner has of one region.
    cells, cell = np.unique(pages.index * len(inodes) + owner, return_inverse=True)
    region, owner = cells // len(inodes), cells % len(inodes)
    hit_bytes = pages.stands_for * pages.accessed
    hits = np.bincount(cell, hit_bytes, len(cells))
    region_hits = np.bincount(pages.index, hit_bytes, len(regions))[region]
    told = np.bincount(pages.index, pages.stands_for, len(regions))[region]
    share = np.bincount(cell, pages.stands_for, len(cells)) / np.maximum(told, 1)
    resident = regions.resident_bytes[region]
    total = resident * share

    hot_share = np.where(region_hits > 0, hits / np.maximum(region_hits, 1), share)
    frequency = regions.nr_accesses[region] / max(checks, 1)
    accessed_bytes = np.minimum(resident * frequency * hot_share, total)
    # A fraction of an access is that part of the region, as in a snapshot's working set.
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
