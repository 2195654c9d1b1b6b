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
import os
import re
import time
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import (
    PAGE_SIZE_BYTES,
    AccumulatingSampling,
    Finding,
    HookContext,
    Regions,
    validators,
)
from damon_vaddr.calibration import reset_us
from damon_vaddr.descriptors import is_shortage
from damon_vaddr.idling import IDLE_SHARE, IdleWatch
from damon_vaddr.layouts import Mappings
from damon_vaddr.mappings import parse_addresses
from damon_vaddr.processes import Process
from damon_vaddr.target import ProcessTarget

_Column = npt.NDArray[np.int64]
_FloatColumn = npt.NDArray[np.float64]

#: Any record of smaps. Slow, as it matches each line.
_ANY_RECORD = re.compile(
    rb"(?m)^([0-9a-f]+-[0-9a-f]+) .*\n"
    rb"(?:[A-Z].*\n)*?Rss: +(\d+) kB\n(?:[A-Z].*\n)*?Pss: +(\d+) kB\n"
    rb"(?:[A-Z].*\n)*?Referenced: +(\d+) kB\n"
    rb"((?:[A-Z].*\n)*)"
)
_KIB = 1024
#: What is read of each record of smaps.
_FIELDS = (b"Rss", b"Pss", b"Referenced")
#: What is in huge pages; older kernels have only some of these lines or none.
_HUGE = (b"AnonHugePages", b"ShmemPmdMapped", b"FilePmdMapped")
_HUGE_KIB = re.compile(rb"(?:%b): +(\d+) kB" % b"|".join(_HUGE))
_HUGE_PAGE_KIB = 2048
_PAGE_KIB = PAGE_SIZE_BYTES // _KIB
#: Numbers below 95 GiB have up to eight digits, in KiB.
_DIGITS = 8
_PAIRS = tuple(
    (np.uint64(mask), np.uint64((base << bits) + 1), np.uint64(bits))
    for mask, base, bits in (
        (0x0F0F0F0F0F0F0F0F, 10, 8),
        (0x00FF00FF00FF00FF, 100, 16),
        (0x0000FFFF0000FFFF, 10_000, 32),
    )
)


@frozen
class _Layout:
    """The layout of the records of smaps, from the end of a header to that of ``VmFlags:``.

    All records have the same lines with the same lengths, except for the first and the last line,
    and for mappings of 95 GiB or more.

    Attributes:
        record: Matches a record.
        length: Its length.
        ends: Where the numbers of `_FIELDS` end in it, and those of `_HUGE` that it has.
    """

    record: re.Pattern[bytes]
    length: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, sample: bytes) -> "_Layout":
        """Return the layout of the first record in `sample`.

        Raises:
            ValueError: The sample has another layout than that of Linux today.
        """
        end = b"VmFlags:"
        body = sample[sample.index(b"\n") : sample.index(end)]
        names = [*_FIELDS, *(name for name in _HUGE if b"\n%b:" % name in body)]
        ends = [body.index(b" kB", body.index(b"\n%b:" % name)) for name in names]
        # It starts with the name of the first line, a text that is quick to find.
        pattern = re.escape(body[: body.index(b":") + 1])
        position = body.index(b":") + 1
        for name, number_end in zip(_FIELDS, ends, strict=False):
            label = b"\n%b:" % name
            line = body.index(label)
            width = number_end - line - len(label)
            pattern += rb".{%d}%b.{%d} kB" % (line - position, label, width)
            position = number_end + len(b" kB")
        record = re.compile(rb"(?s)%b.{%d}%b" % (pattern, len(body) - position, end))
        return cls(record, len(body) + len(end), tuple(ends))

    def numbers(self, text: bytes | memoryview, begins: _Column) -> _Column:
        """Return the numbers of the fields, a row each, of the records that begin there."""
        # Each eight characters of the text, the first of them in the lowest byte.
        words: npt.NDArray[np.uint64] = np.ndarray(len(text) - 7, "<u8", text, strides=(1,))
        ends = np.array(self.ends, dtype=np.int64)[:, np.newaxis]
        return _decimal(words[begins + ends - _DIGITS])


def _decimal(words: npt.NDArray[np.uint64]) -> _Column:
    """Return the numbers that are written in words of eight digits or spaces."""
    # The low four bits of a digit are its value, and those of a space are 0. Neighbours are put
    # together to pairs, these to fours, and these to the number.
    for mask, factor, bits in _PAIRS:
        words = ((words & mask) * factor) >> bits
    return words.astype(np.int64)


def _accessed_bits(rss: _Column, referenced: _Column, huge: _Column) -> float:
    """Return how many accessed bits are set at most: a huge page has one, as any other page.

    Which pages were referenced isn't known: those of 4 KiB are taken to be first.
    """
    small = np.minimum(referenced, rss - huge)
    return float(small.sum()) / _PAGE_KIB + float((referenced - small).sum()) / _HUGE_PAGE_KIB


class SmapsParser:
    """Parses smaps text fast, by a layout of records that is learned once.

    Args:
        sample: The smaps of any process of this kernel, to learn the layout from.
    """

    def __init__(self, sample: bytes) -> None:
        try:
            self._layout: _Layout | None = _Layout.of(sample)
        except ValueError:
            self._layout = None

    def parse(
        self, text: bytes | memoryview
    ) -> tuple[list[bytes], _Column, _Column, _Column, _Column]:
        """Return header, Rss, Pss, Referenced and what is in huge pages, of each mapping.

        The numbers are in KiB. A header is text whose last line begins with the mapping's
        ``start-end``.
        """
        if self._layout is not None and (found := self._parse_fixed(text, self._layout)):
            return found
        records = _ANY_RECORD.findall(text)
        rss, pss, referenced = (
            np.array([int(record[column]) for record in records], dtype=np.int64)
            for column in (1, 2, 3)
        )
        huge = [sum(map(int, _HUGE_KIB.findall(record[4]))) for record in records]
        return (
            [record[0] for record in records],
            rss,
            pss,
            referenced,
            np.array(huge, dtype=np.int64),
        )

    @staticmethod
    def _parse_fixed(
        text: bytes | memoryview, layout: _Layout
    ) -> tuple[list[bytes], _Column, _Column, _Column, _Column] | None:
        """Return what `parse` does; None if a record has another layout."""
        # Between the records are the flags of one and the header of the next, with one line break;
        # there are more line breaks if a record has another layout.
        between: list[bytes] = layout.record.split(text)
        headers = between[:-1]
        count = len(headers)
        if b"".join(between).count(b"\n") != count:
            return None
        if not count:
            nothing = np.zeros(0, dtype=np.int64)
            return headers, nothing, nothing, nothing, nothing
        gaps = np.fromiter(map(len, headers), dtype=np.int64, count=count)
        begins = gaps.cumsum() + layout.length * np.arange(count)
        numbers = layout.numbers(text, begins)
        rss, pss, referenced = numbers[: len(_FIELDS)]
        return headers, rss, pss, referenced, numbers[len(_FIELDS) :].sum(axis=0)


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
        with open("/proc/self/smaps", "rb") as file:
            self._parser = SmapsParser(file.read())
        self._files: dict[ProcessTarget, _Files] = {}
        self._buffer = bytearray(1 << 18)
        self._reset_us = reset_us()

    def add(self, target: ProcessTarget) -> None:
        """Open the files of a process; raises what `ProcessBackend.add` may raise."""
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
                held_us = _clear(target.process)
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
        several = len(targets) > 1
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
        bits = _accessed_bits(rss, referenced, huge)
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


def _clear(process: Process) -> int:
    """Clear the accessed bits of a process; return the CPU time of that, in microseconds.

    Raises:
        ProcessLookupError: The process has ended.
        PermissionError: The process may not be written to by this user.
        OSError: Another failure, such as too many open files.
    """
    # Opened each time: a descriptor for each process would be dear, and the thread that it belongs
    # to may exit.
    clear_refs = process.open_file("clear_refs", os.O_WRONLY)
    try:
        begun_ns = time.thread_time_ns()
        os.write(clear_refs, b"1")
        return (time.thread_time_ns() - begun_ns) // 1_000
    finally:
        os.close(clear_refs)


def _now_us(context: HookContext | None) -> int:
    return context.clock.now_us() if context is not None else 0


def probe() -> Sequence[Finding]:
    """Report whether this kernel has what the backend needs."""
    return (_clear_refs(), _referenced())


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
