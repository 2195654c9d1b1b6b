"""The memory of some processes as files in the kernel's formats: pagemaps, flags, and a bitmap."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
from attrs import field, frozen
from damon_idle.checking import Check, Pages
from damon_idle.marking import Marking
from damon_idle.pagemap import Pagemap
from damon_vaddr import Process

PAGE = 4096
PRESENT = 1 << 63
SWAPPED = 1 << 62
FILE = 1 << 61


@frozen
class Memory:
    """What the kernel's files say.

    Attributes:
        entries: For each process the words of its pagemap, by page of its addresses.
        flags: The words of kpageflags, by frame.
        bitmap_words: The size of the bitmap: of what is behind no mark can be written.
    """

    entries: Sequence[Mapping[int, int]]
    flags: Sequence[int]
    bitmap_words: int
    #: What of a pagemap can be read: pages from here on can't.
    ends: Sequence[int] = field(factory=list)


@frozen
class Change:
    """What happens between marking and looking: everything as it is then, and pages in use."""

    memory: Memory
    used: Sequence[int] = ()


class Files:
    """Files of a memory, in memory themselves: the bitmap can't grow, as the kernel's can't."""

    def __init__(self, memory: Memory) -> None:
        self._pagemaps = [os.memfd_create("pagemap") for _ in memory.entries]
        self._flags = os.memfd_create("kpageflags")
        self._bitmap = os.memfd_create("bitmap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.write(memory)
        fcntl.fcntl(self._bitmap, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)

    def write(self, memory: Memory) -> None:
        """Make the files say what a memory is; marks stay, those within the bitmap."""
        for number, (file, entries) in enumerate(zip(self._pagemaps, memory.entries, strict=True)):
            end = memory.ends[number] if memory.ends else 1 << 20
            os.ftruncate(file, 0)
            os.ftruncate(file, end * 8)
            for page, entry in entries.items():
                if page < end:
                    os.pwrite(file, entry.to_bytes(8, "little"), page * 8)
        os.ftruncate(self._flags, 0)
        os.pwrite(self._flags, np.array(memory.flags, dtype=np.uint64).tobytes(), 0)
        os.ftruncate(self._bitmap, memory.bitmap_words * 8)

    def use(self, frames: Sequence[int]) -> None:
        """Take away the marks of frames."""
        words = self.marks()
        for frame in frames:
            if frame // 64 < len(words):
                words[frame // 64] &= ~(1 << frame % 64)
        os.pwrite(self._bitmap, np.array(words, dtype=np.uint64).tobytes(), 0)

    def marks(self) -> list[int]:
        """Return the words of the bitmap."""
        size = os.fstat(self._bitmap).st_size
        return cast(
            list[int], np.frombuffer(os.pread(self._bitmap, size, 0), dtype=np.uint64).tolist()
        )

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Marking, list[Pagemap]]]:
        """Open them as the backend does."""
        marking = Marking(_path(self._bitmap), _path(self._flags))
        pagemaps = [_pagemap(file) for file in self._pagemaps]
        try:
            yield marking, pagemaps
        finally:
            marking.close()
            for each in pagemaps:
                each.close()

    def close(self) -> None:
        """Remove them."""
        for file in (*self._pagemaps, self._flags, self._bitmap):
            os.close(file)


def _path(file: int) -> Path:
    return Path(f"/proc/self/fd/{file}")


def _pagemap(file: int) -> Pagemap:
    """Return a pagemap on a file, which needs no process."""
    process = SimpleNamespace(open_kept=lambda _name, flags: os.open(_path(file), flags))
    return Pagemap(cast(Process, process))


def check_once(
    mark: Callable[[Marking, Pages], Check],
    memory: Memory,
    pages: Sequence[Sequence[int]],
    change: Change,
) -> tuple[Sequence[int | None], list[int], Sequence[bytes | None]]:
    """Mark pages, let something happen, and look at them.

    Returns:
        The pages in memory of each process, the marks that were written, and the states.
    """
    files = Files(memory)
    try:
        with files.opened() as (marking, pagemaps):
            columns = [np.array(each, dtype=np.int64) * PAGE for each in pages]
            check = mark(marking, list(zip(pagemaps, columns, strict=True)))
            marks = files.marks()
            files.write(change.memory)
            files.use(change.used)
            return check.in_memory, marks, check.look()
    finally:
        files.close()
