"""Which page frame is behind an address of a process: `/proc/PID/pagemap`."""

import os

import numpy as np
from damon_vaddr import Process

from damon_core import PAGE_SIZE_BYTES, Range
from damon_idle.words import (
    BoolColumn,
    IntColumn,
    Places,
    WordColumn,
    as_number,
    as_word,
    read_range,
)

_FRAME = as_word((1 << 55) - 1)
_FILE = as_word(1 << 61)
_PRESENT = as_word(1 << 63)
_ZERO = as_word(0)
_PAGE_SHIFT = as_number(PAGE_SIZE_BYTES.bit_length() - 1)

#: A call costs as much as some dozens of words of one.
_NEAR = as_number(32)


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
        return self.read_at(self.places(addresses))

    @staticmethod
    def places(addresses: IntColumn) -> Places:
        """Return where the entries of addresses are, ascending; they may be read repeatedly."""
        return Places.of(addresses >> _PAGE_SHIFT, _NEAR)

    def read_at(self, places: Places) -> WordColumn | None:
        """Return entries, or None, as `read` does."""
        entries, told = places.read(self._descriptor)
        return entries if told is None else None

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
    bits: BoolColumn = (entries & _FILE) != _ZERO
    return bits


def frames(entries: WordColumn) -> IntColumn:
    """Return the page frames of entries; they mean something where a page is present."""
    return (entries & _FRAME).view(np.int64)
