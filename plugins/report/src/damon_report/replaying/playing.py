"""Accesses to memory as a record says: region by region, in as many sampling intervals."""

import ctypes
import mmap
import time
import zlib
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from attrs import define, field

from damon_core import InputError, Plugins, Snapshot, format_size
from damon_report.figures import short_duration
from damon_report.record import open_record
from damon_report.replaying.compact import Compact, Floats, Ints
from damon_report.selection import Selection

_PAGE = 4096
#: MAP_NORESERVE, which Python's mmap doesn't name everywhere.
_NO_RESERVE = 0x4000
#: The share of the machine's available memory that a replay may take.
_MOST_OF_MEMORY = 0.8


@define(eq=False)
class Player:
    """Memory, and accesses to it.

    Attributes:
        compact: Which memory the record has.
        memory: The memory, byte by byte; an access changes the first byte of a page.
        late: Sampling intervals that were left out, as the ones before took too long.
        ticks: Sampling intervals in which memory was accessed as it should be.
    """

    compact: Compact
    late: int = field(default=0, init=False)
    ticks: int = field(default=0, init=False)
    memory: npt.NDArray[np.uint8] = field(init=False, repr=False)
    _there: npt.NDArray[np.bool_] = field(init=False, repr=False)
    _map: mmap.mmap = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        size = max(self.compact.size_bytes, _PAGE)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        self._map = mmap.mmap(-1, size, flags=flags)
        # Pages are those of the record, not 512 of them.
        self._map.madvise(mmap.MADV_NOHUGEPAGE)
        self.memory = np.frombuffer(self._map, np.uint8)
        self._divide()
        self._there = np.zeros(size // _PAGE, np.bool_)

    def _divide(self) -> None:
        """Make each range a mapping by itself, as it was: monitoring may tell mappings apart."""
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for place in self.compact.borders():
            if protect(self.address + place, _PAGE, 0):
                return  # There are as many mappings as the kernel allows.

    @property
    def address(self) -> int:
        """Where the memory begins."""
        return int(self.memory.ctypes.data)

    def play(self, snapshot: Snapshot, begin_s: float) -> None:
        """Access memory as it was in an aggregation, from a time on.

        Args:
            snapshot: The aggregation.
            begin_s: When it is to begin, on the monotonic clock.
        """
        first, last, share, phase = self._regions(snapshot)
        checks = max(snapshot.max_nr_accesses, 1)
        step_s = snapshot.elapsed_us / 1e6 / checks
        number = 0
        while number < checks:
            due_s = begin_s + number * step_s
            now_s = time.monotonic()
            if now_s < due_s:
                time.sleep(due_s - now_s)
            elif now_s - due_s >= step_s and number:
                # What has passed is left out: memory would be accessed more often than it was.
                behind = min(int((now_s - due_s) / step_s), checks - number)
                self.late += behind
                number += behind
                continue
            tick = self.ticks + self.late
            due = np.floor((tick + 1) * share + phase) > np.floor(tick * share + phase)
            for begin, end in zip(first[due].tolist(), last[due].tolist(), strict=True):
                self.memory[begin:end:_PAGE] += 1
            self.ticks += 1
            number += 1

    def _regions(self, snapshot: Snapshot) -> tuple[Ints, Ints, Floats, Floats]:
        """Return what is accessed: places, in which share of intervals, and beginning where.

        Memory that has come is made, and what has gone is given back.
        """
        now = np.zeros_like(self._there)
        parts = []
        for target, index, first, last in self.compact.pieces(snapshot):
            resident = -(-target.resident_bytes[index] // _PAGE) * _PAGE
            for begin, size in zip(first.tolist(), resident.tolist(), strict=True):
                now[begin // _PAGE : (begin + size) // _PAGE] = True
            share = target.frequency[index]
            used = last - first
            if target.touched_bytes is not None:
                # The frequency is that of resident bytes: the touched ones are accessed more often.
                used = -(-target.touched_bytes[index] // _PAGE) * _PAGE
                share = share * resident / np.maximum(used, 1)
            else:
                used = np.minimum(used, np.where(resident > 0, resident, used))
            # So that not all regions are accessed in the same intervals; the same in each.
            phase = [zlib.crc32(each.to_bytes(8, "little")) / 2**32 for each in first.tolist()]
            parts.append((first, first + used, np.clip(share, 0.0, 1.0), np.array(phase)))
        self._give_back(self._there & ~now)
        for begin, end in _runs(now & ~self._there):
            self.memory[begin * _PAGE : end * _PAGE : _PAGE] = 1
        self._there = now
        if not parts:
            empty = np.empty(0, np.int64)
            return empty, empty, empty.astype(np.float64), empty.astype(np.float64)
        first, last, share, phase_of = (np.concatenate(each) for each in zip(*parts, strict=True))
        kept = (share > 0) & (last > first)
        return first[kept], last[kept], share[kept], phase_of[kept]

    def _give_back(self, gone: npt.NDArray[np.bool_]) -> None:
        for begin, end in _runs(gone):
            self._map.madvise(mmap.MADV_DONTNEED, begin * _PAGE, (end - begin) * _PAGE)


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where flags that are set begin and end."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def replay_record(plugins: Plugins, path: Path | str, selection: Selection) -> None:
    """Access memory as a record says, and print what came of it.

    Args:
        plugins: What is installed.
        path: The record.
        selection: The part to replay.

    Raises:
        InputError: It can't be read, or needs more memory than there is.
    """
    with open_record(plugins, (path,), selection) as record:
        compact = Compact.of(record.snapshots())
        _refuse_too_much(compact, _available_bytes())
        player = Player(compact)
        begin_us, end_us = compact.span_us
        first = player.address
        span = short_duration(end_us - begin_us)
        click.echo(
            f"replaying {compact.aggregations} aggregations of {span}: "
            f"{format_size(compact.size_bytes)} at {first:x}-{first + compact.size_bytes:x}"
        )
        begin_s = time.monotonic()
        for snapshot in record.snapshots():
            after_us = snapshot.time_us - snapshot.elapsed_us - begin_us
            player.play(snapshot, begin_s + after_us / 1e6)
        remaining_s = begin_s + (end_us - begin_us) / 1e6 - time.monotonic()
        if remaining_s > 0:
            time.sleep(remaining_s)
    late = f", {player.late} left out: there wasn't enough time" if player.late else ""
    click.echo(f"accessed in {player.ticks} sampling intervals{late}")


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 1 << 62


def _refuse_too_much(compact: Compact, available_bytes: int) -> None:
    """Refuse what would drive others out of memory.

    Raises:
        InputError: It would.
    """
    if compact.resident_bytes > _MOST_OF_MEMORY * available_bytes:
        raise InputError(
            f"the record has {format_size(compact.resident_bytes)} in memory, of "
            f"{format_size(available_bytes)} that are available here: choose a part with --target, "
            "--mapping or --address"
        )
