"""The backend `referenced`: clear_refs and smaps, which every distribution kernel has.

Accessed bits accumulate until they are cleared. At the start of an aggregation those of the whole
process are cleared. Then smaps reports how much of each mapping was referenced since: one sampling
interval later this is the memory accessed in an interval, and at the end of the aggregation all
memory that was accessed, page by page. The process loses time when its processors set cleared bits
again, so they are cleared only once an aggregation, and now and then not for a minute, to see what
is idle for so long (`damon_vaddr.idling`). The CPU time of clearing and reading is
proportional to the resident memory, so the CPU budget may lengthen the aggregation interval.
"""

import functools
import io
import logging
import os
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field, frozen

from damon_core import (
    AccumulatingSampling,
    Finding,
    HookContext,
    KindColumns,
    Range,
    Regions,
    kind_columns,
    validators,
)
from damon_vaddr.calibration import reset_us
from damon_vaddr.clearing import clear_accessed_bits
from damon_vaddr.descriptors import is_shortage
from damon_vaddr.idling import IDLE_SHARE, IdleWatch
from damon_vaddr.kinds import of_smaps, shmem_devices, shmem_ranges
from damon_vaddr.layouts import Mappings, lay_out
from damon_vaddr.mappings import Mapped, clipped, parse_addresses
from damon_vaddr.rivals import find_rivals, rivals_finding
from damon_vaddr.smaps import RolledUp, SmapsParser, accessed_bits, rolled_up
from damon_vaddr.target import ProcessTarget

logger = logging.getLogger(__name__)

_Column = npt.NDArray[np.int64]
_FloatColumn = npt.NDArray[np.float64]
_KIB = 1024
_SAMPLE_BYTES = 4096
#: How much of smaps fits in a buffer at first: there may be a buffer for each of many services.
_BUFFER_BYTES = 1 << 14
#: After as many checks by sums alone, mappings are looked at again.
_MOST_GLANCES = 8


@functools.cache
def _sample() -> bytes:
    """Return some records of smaps, of hundreds: they are alike as long as a kernel runs."""
    with open("/proc/self/smaps", "rb", buffering=0) as file:
        return file.read(_SAMPLE_BYTES)


def _addresses(headers: Sequence[bytes]) -> tuple[_Column, _Column]:
    """Return starts and ends."""
    lines = b" \n".join(header.rpartition(b"\n")[2] for header in headers)
    start, end, _ = parse_addresses(lines + b" ")
    return start, end


def _parts(
    start: _Column, end: _Column, ranges: Sequence[Range]
) -> tuple[_Column, _Column, _Column, _FloatColumn]:
    """Return the parts of mappings in ranges: of which each is, start, end, and its share."""
    found = []
    for low, high in ranges:
        first, last = np.maximum(start, low), np.minimum(end, high)
        inside = np.flatnonzero(first < last)
        found.append((inside, first[inside], last[inside]))
    of, first, last = (np.concatenate(column) for column in zip(*found, strict=True))
    shares: _FloatColumn = (last - first) / (end - start)[of]
    return of, first, last, shares


def _is_shmem(target: ProcessTarget, headers: Sequence[bytes]) -> npt.NDArray[np.bool_]:
    """Return whether each mapping is of shared memory."""
    ranges = shmem_ranges(_maps(headers), shmem_devices(target.process))
    return Mapped.of(ranges).holds(_addresses(headers)[0])


def _maps(headers: Sequence[bytes]) -> bytes:
    """Return `/proc/PID/maps`, of which the headers have a line each."""
    return b"".join(header.rpartition(b"\n")[2] + b"\n" for header in headers)


def _sums(row: _Column, values: _Column | _FloatColumn, regions: Regions) -> _FloatColumn:
    """Return the sum over the mappings of each region; `row` is the region of each."""
    return np.bincount(row, values, len(regions) + 1)[:-1].astype(np.float64, copy=False)


@frozen
class ReferencedOptions:
    """The options of `referenced`.

    Attributes:
        idle_share: The share of the time for which accessed bits may add up for longer than an
            aggregation.
    """

    idle_share: float = field(
        default=IDLE_SHARE,
        validator=validators.between(0.0, 0.5),
        metadata={
            "help": "share of the time in which idle memory is measured; 0: only aggregations are"
        },
    )


class _Look(NamedTuple):
    """What a look has found, a value for each region.

    Attributes:
        resident: Bytes in memory.
        seen: Of these the bytes with an accessed bit.
        shares: Which share of all that is there has one, whosever it is.
        bits: How many accessed bits are set.
        held_us: The CPU time of the longest call, in microseconds.
    """

    resident: _FloatColumn
    seen: _FloatColumn
    shares: _FloatColumn
    bits: float
    held_us: int


@define(eq=False)
class _Files:
    """The open files of one process, and the region of each of its mappings.

    Attributes:
        row: The index of each mapping's region, by `headers`; len(regions) if there is none.
        parts: Where only ranges are monitored, which mapping each part in one is of; and
        shares: Which share of the mapping it is. Then `row` is by parts.
        aggregation: The number of the aggregation that was last prepared; -1 for none.
        checks: The number of checks since then.
        bits: How many accessed bits were set since they were cleared, at the last check.
        sums: Sums at the last look at single mappings that wasn't the first of its aggregation, if
            there is a single region; and what was made of them:
        resident_bytes: What was in memory.
        seen_bytes: What had an accessed bit.
        seen_bits: How many accessed bits were set.
        glances: How many checks have made do with sums since then.
        idle: Says when the bits are to be cleared, and what has been idle since.
        is_shmem: Whether each mapping is of shared memory, by `headers`; where kinds are read.
        kinds: The kinds of memory at the last look for them.
    """

    smaps: io.FileIO
    idle: IdleWatch
    regions: Regions | None = None
    headers: list[bytes] = field(factory=list)
    row: _Column = field(factory=lambda: np.zeros(0, dtype=np.int64))
    parts: _Column | None = None
    shares: _FloatColumn = field(factory=lambda: np.zeros(0))
    aggregation: int = -1
    checks: int = 0
    bits: float = 0.0
    sums: RolledUp | None = None
    resident_bytes: _FloatColumn = field(factory=lambda: np.zeros(1))
    seen_bytes: _FloatColumn = field(factory=lambda: np.zeros(1))
    seen_bits: float = 0.0
    glances: int = 0
    is_shmem: npt.NDArray[np.bool_] | None = None
    kinds: KindColumns | None = None

    def match(self, regions: Regions, headers: list[bytes], ranges: Sequence[Range] = ()) -> None:
        """Find the region of each mapping: the last one that it overlaps.

        A mapping may have grown, in either direction, since the regions were made.
        """
        start, end = _addresses(headers)
        if ranges:
            self.parts, start, end, self.shares = _parts(start, end, ranges)
        row = np.searchsorted(regions.start, end) - 1
        outside = (row < 0) | (start >= regions.end[row])
        row[outside] = len(regions)
        self.regions, self.headers, self.row, self.is_shmem = regions, headers, row, None

    def summed(self, column: _Column | _FloatColumn) -> _FloatColumn:
        """Return the sum of a column, of a value for each mapping, for each region.

        Of a mapping that lies in a range in part only, its share counts: how much of it was
        accessed is known of all of it alone.
        """
        assert self.regions is not None
        if self.parts is not None:
            column = column[self.parts] * self.shares
        return _sums(self.row, column, self.regions)

    def close(self) -> None:
        self.smaps.close()


class Referenced:
    """The backend `referenced`: regions are mappings, and a check reads the share referenced.

    The first check of an aggregation adds Referenced / Rss, each summed over the mappings of the
    region, to nr_accesses: what the check of one random resident page would add on average. Each
    check sets touched_bytes to Referenced, and follows the mappings, which it reads anyway.

    Where there are so many processes that each has a single region, sums over its mappings are
    read, which takes a fraction of the time: for nr_accesses always, and for touched_bytes as long
    as they differ by at most a 64th from those at the last look at the mappings, eight times at
    most. Then what is the process's own of what was accessed is in proportion to that.

    Of a single process all that is in memory counts. Of several, each has its share of what they
    have in common, so that sums count memory once: `resident_bytes` and `touched_bytes` are those
    above times Pss / Rss of the mapping. A page that is mapped n times counts 1 / n in each
    process, whether the others are monitored or not.

    Where only ranges of a process are monitored, a mapping that lies in one in part counts with its
    share. Bits of the whole process are cleared all the same.

    For `idle_share` of the time the bits aren't cleared for longer than an aggregation, so that
    what has been idle for longer is known. Meanwhile nr_accesses and touched_bytes are those of the
    aggregation before, within the bounds that the bits set since then give.

    The smaps of each process stays open, so that no other process that later has the same pid is
    read by mistake.
    """

    name = "referenced"
    sampling = AccumulatingSampling
    layout = Mappings()
    sees_all_users = False
    follows_mappings = True

    def __init__(self, options: ReferencedOptions | None = None) -> None:
        self._idle_share = (options or ReferencedOptions()).idle_share
        self._parser = SmapsParser(_sample())
        self._files: dict[ProcessTarget, _Files] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._reset_us = reset_us()
        self._reads_kinds = False

    def read_kinds(self) -> None:
        """Set the kinds of memory of regions, too: smaps says them, and nodes aren't among them."""
        self._reads_kinds = True

    def add(self, target: ProcessTarget) -> None:
        """Open the files of a process; raises what `ProcessBackend.add` may raise."""
        if not self._files and (rivals := find_rivals()):
            # Where mappings are summed up a few pages more or less are no reason to warn.
            logger.info("referenced: %s; some accesses may be missed", "; ".join(rivals))
        os.close(target.process.open_file("clear_refs", os.O_WRONLY))
        smaps = io.FileIO(target.process.open_kept("smaps"))
        self._files[target] = _Files(smaps, IdleWatch(self._idle_share))
        target.regions.touched_bytes = np.zeros(len(target.regions), dtype=np.int64)

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Clear the accessed bits of each process at the beginning of an aggregation.

        Not while they add up for longer.
        """
        snapshot = context.snapshot if context is not None else None
        number = snapshot.number if snapshot is not None else 0
        gone = []
        for target in targets:
            files = self._files[target]
            if context is not None and files.aggregation == number:
                continue
            if not files.idle.begin(_now_us(context)):
                files.aggregation, files.checks = number, 0
                continue
            try:
                held_us = clear_accessed_bits(target.process)
            except (ProcessLookupError, PermissionError):  # it may no longer be read
                gone.append(target)
                continue
            except OSError as error:
                if not is_shortage(error):
                    raise
                continue  # Accesses add up until a file can be opened again.
            files.idle.cleared(_now_us(context))
            files.aggregation, files.checks, files.bits = number, 0, 0.0
            target.toll = target.toll.with_held(held_us)
        return gone

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext | None = None
    ) -> Collection[ProcessTarget]:
        """Read what was referenced since the bits were cleared."""
        several = len(targets if context is None else context.targets) > 1
        return [
            each for each in targets if not self._check(each, self._files[each], several, context)
        ]

    def _check(
        self, target: ProcessTarget, files: _Files, several: bool, context: HookContext | None
    ) -> bool:
        found = self._glance(target, files) or self._look(target, files, several, context)
        if found is None:
            return False
        regions = target.regions
        touched_bytes = files.idle.look(regions, found.resident, found.seen, _now_us(context))
        if not files.checks:
            accessed_bytes = files.idle.accessed(found.shares * found.resident)
            regions.nr_accesses += accessed_bytes / np.maximum(found.resident, 1)
        files.checks += 1
        regions.resident_bytes = found.resident.astype(np.int64)
        regions.touched_bytes = touched_bytes.astype(np.int64)
        if files.kinds is not None and len(files.kinds) == len(regions):
            regions.kinds = files.kinds
        if files.checks > 1 or context is None or context.intervals.checks == 1:
            target.idle_ages = files.idle.describe(regions)
        # The process has set these bits again since the last check.
        new_bits, files.bits = max(found.bits - files.bits, 0.0), found.bits
        target.toll = target.toll.with_held(found.held_us).with_cpu(new_bits * self._reset_us)
        return True

    def _glance(self, target: ProcessTarget, files: _Files) -> _Look | None:
        """Return what follows from sums over all mappings; None if these have to be looked at.

        The kernel adds up in a fraction of the time that it takes to write out each mapping. Sums
        are enough where they are those of a single region: for how often it is accessed always,
        and for what was touched if they are as at the last look at its mappings.
        """
        regions, before = target.regions, files.sums
        if len(regions) != 1 or regions is not files.regions or before is None or target.ranges:
            return None
        begun_ns = time.thread_time_ns()
        sums = rolled_up(target.process.peek("smaps_rollup"))
        held_us = (time.thread_time_ns() - begun_ns) // 1_000
        if sums is None:
            return None
        if files.checks:
            files.glances += 1
            if files.glances > _MOST_GLANCES or not sums.is_like(before):
                return None
        resident = files.resident_bytes * (sums.pss_kib / max(before.pss_kib, 1))
        seen = files.seen_bytes * (sums.referenced_kib / max(before.referenced_kib, 1))
        resident = np.minimum(resident, regions.size_bytes)
        share = min(sums.referenced_kib / max(sums.rss_kib, 1), 1.0)
        bits = sums.referenced_kib / max(before.referenced_kib, 1) * files.seen_bits
        return _Look(resident, np.minimum(seen, resident), np.array([share]), bits, held_us)

    def _look(
        self, target: ProcessTarget, files: _Files, several: bool, context: HookContext | None
    ) -> _Look | None:
        """Look at all mappings; return None if they are gone."""
        try:
            size, longest_us = self._read(files.smaps)
        except ProcessLookupError:
            return None
        if not size:  # The memory of these files is gone: the process ended or called exec.
            return None
        with memoryview(self._buffer)[:size] as text:
            headers, rss, pss, referenced, huge = self._parser.parse(text)
            is_last = files.checks or context is None or context.intervals.checks == 1
            # Where other checks are missed there is no last one: better early than unknown.
            is_wanted = is_last or files.kinds is None or headers != files.headers
            kinds_text = bytes(text) if self._reads_kinds and is_wanted else None
        if headers != files.headers and context is not None and target.layout_input.maps:
            maps = clipped(_maps(headers), target.ranges)
            given = evolve(target.layout_input, maps=maps)
            lay_out(target, given, self.layout, context.limits)
        regions = target.regions
        if regions is not files.regions or headers != files.headers:
            files.match(regions, headers, target.ranges)
        if kinds_text is not None:
            if files.is_shmem is None:
                files.is_shmem = _is_shmem(target, headers)
            of_mappings = of_smaps(kinds_text, rss, pss, huge, files.is_shmem, divided=several)
            columns = {
                name: np.rint(files.summed(column) * _KIB).astype(np.int64)
                for name, column in of_mappings.items()
            }
            most = regions.size_bytes  # a mapping may have grown since
            files.kinds = kind_columns(
                len(regions), {name: np.minimum(each, most) for name, each in columns.items()}
            )
        resident, seen = files.summed(rss), files.summed(referenced)
        shares = np.minimum(seen / np.maximum(resident, 1), 1.0)
        if several:
            resident = files.summed(pss)
            seen = files.summed(referenced * (pss / np.maximum(rss, 1)))
        bits = accessed_bits(rss, referenced, huge)
        # A mapping that has grown may have more resident bytes than its region has bytes.
        resident_bytes = np.minimum(resident * _KIB, regions.size_bytes)
        seen_bytes = np.minimum(seen * _KIB, resident_bytes)
        if files.checks and len(regions) == 1:
            files.sums, files.glances = RolledUp(*map(int, map(sum, (rss, pss, referenced)))), 0
            files.resident_bytes, files.seen_bytes = resident_bytes, seen_bytes
            files.seen_bits = bits
        return _Look(resident_bytes, seen_bytes, shares, bits, longest_us)

    def _read(self, file: io.FileIO) -> tuple[int, int]:
        """Read a file of /proc from its start into the buffer.

        Returns:
            Its size in bytes, and the CPU time of the longest call in microseconds. The kernel
            locks the memory map for that time, or longer if it is preempted.
        """
        file.seek(0)
        size = longest_ns = 0
        begun_ns = time.thread_time_ns()
        while True:
            with memoryview(self._buffer) as view:
                # The kernel returns about a page at a time, however much is requested.
                while got := file.readinto(view[size:]):
                    size += got
                    now_ns = time.thread_time_ns()
                    longest_ns, begun_ns = max(longest_ns, now_ns - begun_ns), now_ns
            if size < len(self._buffer):
                return size, longest_ns // 1_000
            self._buffer += bytes(len(self._buffer))

    def forget(self, target: ProcessTarget) -> None:
        """Close the files of a process."""
        files = self._files.pop(target, None)
        if files is not None:
            files.close()

    def close(self) -> None:
        """Close all files."""
        for target in list(self._files):
            self.forget(target)


def _now_us(context: HookContext | None) -> int:
    return context.clock.now_us() if context is not None else 0


def probe() -> Sequence[Finding]:
    """Report whether this kernel has what the backend needs."""
    return (_clear_refs(), _referenced(), rivals_finding())


def _clear_refs() -> Finding:
    name = "/proc/PID/clear_refs"
    try:
        os.close(os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return Finding(name, False, f"{error.strerror}: the kernel needs CONFIG_PROC_PAGE_MONITOR")
    return Finding(name, True, "for your processes; run as root for those of other users")


def _referenced() -> Finding:
    name = "Referenced in /proc/PID/smaps"
    try:
        with open("/proc/self/smaps", "rb") as file:
            works = b"\nReferenced:" in file.read()
    except OSError as error:
        return Finding(name, False, f"{error.strerror}: the kernel needs CONFIG_PROC_PAGE_MONITOR")
    return Finding(name, works, "" if works else "this kernel doesn't report it")
