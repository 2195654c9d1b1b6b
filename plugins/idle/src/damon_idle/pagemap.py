"""Which page frame is behind an address of a process: `/proc/PID/pagemap`."""

import os

import numpy as np
from damon_vaddr import Process

from damon_core import PAGE_SIZE_BYTES, Range
from damon_idle.words import BoolColumn, IntColumn, Places, WordColumn, read_range

_FRAME = np.uint64((1 << 55) - 1)
_FILE = np.uint64(1 << 61)
_PRESENT = np.uint64(1 << 63)

#: A call costs as much as some dozens of words of one.
_NEAR = 32


class Pagemap:
    """The pages of one process. Its memory stays the one it had when this was opened.

    Args:
        process: The process.

    Raises:
        ProcessLookupError: It has ended.
        OSError: The file can't be opened.
    """

    def __init__(self, process: Process) -> None:
        self._descriptor = process.open_file("pagemap", os.O_RDONLY)

    def read(self, addresses: IntColumn) -> WordColumn | None:
        """Return the entries of addresses, ascending, each page once.

        Returns:
            The entries; None if the memory is gone, by the end of the process or an exec.
        """
        entries, told = Places.of(addresses // PAGE_SIZE_BYTES, _NEAR).read(self._descriptor)
        if told is not None:
            return None
        return entries

    def read_range(self, places: Range) -> WordColumn:
        """Return the entries of all pages of a range of addresses, none if the memory is gone."""
        return read_range(
            self._descriptor,
            Range(places.start // PAGE_SIZE_BYTES, places.end // PAGE_SIZE_BYTES),
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def present(entries: WordColumn) -> BoolColumn:
    """Tell which entries are of pages in memory."""
    bits: BoolColumn = entries >= _PRESENT
    return bits


def of_files(entries: WordColumn) -> BoolColumn:
    """Tell which entries are of pages of files or shared memory."""
    bits: BoolColumn = (entries & _FILE) != 0
    return bits


def frames(entries: WordColumn) -> IntColumn:
    """Return the page frames of entries; they mean something where a page is present."""
    return (entries & _FRAME).view(np.int64)
