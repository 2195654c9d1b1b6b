"""The backend `referenced`: clear_refs and smaps, which every distribution kernel has.

Accessed bits accumulate until they are cleared. At the start of an aggregation those of the whole
process are cleared. Then smaps reports how much of each mapping was referenced since: one sampling
interval later this is the memory accessed in an interval, and at the end of the aggregation all
memory that was accessed, page by page. The process loses time when its processors set cleared bits
again, so they are cleared only once an aggregation, and now and then not for a minute, to see what
is idle for so long (`damon_vaddr.idling`). The CPU time of clearing and reading is
proportional to the resident memory, so the CPU budget may lengthen the aggregation interval.
"""

import io
import logging
import os
import time
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import (
    AccumulatingSampling,
    Finding,
    HookContext,
    Regions,
    validators,
)
from damon_vaddr.calibration import reset_us
from damon_vaddr.clearing import clear_accessed_bits
from damon_vaddr.descriptors import is_shortage
from damon_vaddr.idling import IDLE_SHARE, IdleWatch
from damon_vaddr.layouts import Mappings
from damon_vaddr.mappings import parse_addresses
from damon_vaddr.rivals import find_rivals, rivals_finding
from damon_vaddr.smaps import SmapsParser, accessed_bits
from damon_vaddr.target import ProcessTarget

logger = logging.getLogger(__name__)

_Column = npt.NDArray[np.int64]
_FloatColumn = npt.NDArray[np.float64]
_KIB = 1024
_SAMPLE_BYTES = 4096
#: How much of smaps fits in a buffer at first: there may be a buffer for each of many services.
_BUFFER_BYTES = 1 << 14


def _addresses(headers: Sequence[bytes]) -> tuple[_Column, _Column]:
    """Return starts and ends."""
    lines = b" \n".join(header.rpartition(b"\n")[2] for header in headers)
    start, end, _ = parse_addresses(lines + b" ")
    return start, end


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


@define(eq=False)
class _Files:
    """The open files of one process, and the region of each of its mappings.

    Attributes:
        row: The index of each mapping's region, by `headers`; len(regions) if there is none.
        aggregation: The number of the aggregation that was last prepared; -1 for none.
        checks: The number of checks since then.
        bits: How many accessed bits were set since they were cleared, at the last check.
        idle: Says when the bits are to be cleared, and what has been idle since.
    """

    smaps: io.FileIO
    idle: IdleWatch
    regions: Regions | None = None
    headers: list[bytes] = field(factory=list)
    row: _Column = field(factory=lambda: np.zeros(0, dtype=np.int64))
    aggregation: int = -1
    checks: int = 0
    bits: float = 0.0

    def match(self, regions: Regions, headers: list[bytes]) -> None:
        """Find the region of each mapping: the last one that it overlaps.

        A mapping may have grown, in either direction, since the regions were made.
        """
        start, end = _addresses(headers)
        row = np.searchsorted(regions.start, end) - 1
        outside = (row < 0) | (start >= regions.end[row])
        row[outside] = len(regions)
        self.regions, self.headers, self.row = regions, headers, row

    def close(self) -> None:
        self.smaps.close()


class Referenced:
    """The backend `referenced`: regions are mappings, and a check reads the share referenced.

    The first check of an aggregation adds Referenced / Rss, each summed over the mappings of the
    region, to nr_accesses: what the check of one random resident page would add on average. Each
    check sets touched_bytes to Referenced. Until the next update, a new mapping doesn't count, one
    that has grown counts with at most its old size, and a region that is no longer mapped has no
    accesses and no resident bytes.

    Of a single process all that is in memory counts. Of several, each has its share of what they
    have in common, so that sums count memory once: `resident_bytes` and `touched_bytes` are those
    above times Pss / Rss of the mapping. A page that is mapped n times counts 1 / n in each
    process, whether the others are monitored or not.

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

    def __init__(self, options: ReferencedOptions | None = None) -> None:
        self._idle_share = (options or ReferencedOptions()).idle_share
        with open("/proc/self/smaps", "rb", buffering=0) as file:
            self._parser = SmapsParser(file.read(_SAMPLE_BYTES))  # some records, of hundreds
        self._files: dict[ProcessTarget, _Files] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._reset_us = reset_us()

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
        try:
            size, longest_us = self._read(files.smaps)
        except ProcessLookupError:
            return False
        if not size:  # The memory of these files is gone: the process ended or called exec.
            return False
        with memoryview(self._buffer)[:size] as text:
            headers, rss, pss, referenced, huge = self._parser.parse(text)
        regions = target.regions
        if regions is not files.regions or headers != files.headers:
            files.match(regions, headers)
        resident = _sums(files.row, rss, regions)
        seen = _sums(files.row, referenced, regions)
        shares = np.minimum(seen / np.maximum(resident, 1), 1.0)
        if several:
            resident = _sums(files.row, pss, regions)
            seen = _sums(files.row, referenced * (pss / np.maximum(rss, 1)), regions)
        # A mapping that has grown may have more resident bytes than its region has bytes.
        resident_bytes = np.minimum(resident * _KIB, regions.size_bytes)
        seen_bytes = np.minimum(seen * _KIB, resident_bytes)
        touched_bytes = files.idle.look(regions, resident_bytes, seen_bytes, _now_us(context))
        if not files.checks:
            accessed_bytes = files.idle.accessed(shares * resident_bytes)
            regions.nr_accesses += accessed_bytes / np.maximum(resident_bytes, 1)
        files.checks += 1
        regions.resident_bytes = resident_bytes.astype(np.int64)
        regions.touched_bytes = touched_bytes.astype(np.int64)
        if files.checks > 1 or context is None or context.intervals.checks == 1:
            target.idle_ages = files.idle.describe(regions)
        # The process has set these bits again since the last check.
        bits = accessed_bits(rss, referenced, huge)
        new_bits, files.bits = max(bits - files.bits, 0.0), bits
        target.toll = target.toll.with_held(longest_us).with_cpu(new_bits * self._reset_us)
        return True

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
