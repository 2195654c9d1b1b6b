"""The page frames of a process's addresses, from `/proc/PID/pagemap`."""

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

#: A system call costs as much as reading some dozens of words.
_NEAR = as_number(32)


class Pagemap:
    """The pagemap of one process: of the memory that it has when the file is opened.

    Args:
        process: The process.

    Attributes:
        descriptor: Its file descriptor.

    Raises:
        ProcessLookupError: The process has ended.
        OSError: The file can't be opened.
    """

    def __init__(self, process: Process) -> None:
        self.descriptor = process.open_kept("pagemap", os.O_RDONLY)

    def read(self, addresses: IntColumn) -> WordColumn | None:
        """Return the entries of ascending addresses.

        Returns:
            The entries; None if the memory is gone: the process has ended or called exec.
        """
        return self.read_at(self.places(addresses))

    @staticmethod
    def places(addresses: IntColumn) -> Places:
        """Return the places of the entries of ascending addresses, to read them repeatedly."""
        return Places.of(addresses >> _PAGE_SHIFT, _NEAR)

    def read_at(self, places: Places) -> WordColumn | None:
        """Return the entries at places, or None, as `read` does."""
        entries, readable = places.read(self.descriptor)
        return entries if readable is None else None

    def read_range(self, addresses: Range) -> WordColumn:
        """Return the entries of all pages in a range of addresses; none if the memory is gone."""
        return read_range(
            self.descriptor,
            Range(addresses.start // PAGE_SIZE_BYTES, addresses.end // PAGE_SIZE_BYTES),
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def present(entries: WordColumn) -> BoolColumn:
    """Return whether each entry is of a page in memory."""
    bits: BoolColumn = entries >= _PRESENT
    return bits


def of_files(entries: WordColumn) -> BoolColumn:
    """Return whether each entry is of a page of a file or of shared memory."""
    bits: BoolColumn = (entries & _FILE) != _ZERO
    return bits


def frames(entries: WordColumn) -> IntColumn:
    """Return the page frames of entries; valid only for pages that are present."""
    return (entries & _FRAME).view(np.int64)
