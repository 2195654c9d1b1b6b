"""How the pages that a kdamond checks are replaced: each is a region of its own."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from damon_core import PAGE_SIZE_BYTES, Range
from damon_sysfs.tree import retrying

IntColumn = npt.NDArray[np.int64]

#: No two pages are beside each other: the kernel would make one region of them.
_STEP_BYTES = 2 * PAGE_SIZE_BYTES
#: Files of so many pages stay open: opening one takes several times as long as writing it.
_MOST_OPEN = 200
#: Where pages that nobody asked for lie, if nobody asked for any: nothing is mapped there.
_NOWHERE = 0


def apart(wanted: IntColumn, number: int) -> IntColumn:
    """Return pages of which none is beside another.

    Args:
        wanted: Addresses of pages, ascending. Of neighbours the first is kept.
        number: How many to return at least: others lie behind the last.
    """
    pages: list[int] = []
    for page in wanted.tolist():
        if not pages or page >= pages[-1] + _STEP_BYTES:
            pages.append(page)
    last = pages[-1] if pages else _NOWHERE
    pages += [last + _STEP_BYTES * each for each in range(1, number - len(pages) + 1)]
    return np.array(pages, dtype=np.int64)


def page_ranges(pages: IntColumn) -> tuple[Range, ...]:
    """Return a range for each page."""
    return tuple(Range(page, page + PAGE_SIZE_BYTES) for page in pages.tolist())


class PageFiles:
    """The files of the regions of a kdamond's targets, of one page each, and of its state.

    Args:
        kdamond: The directory of the kdamond.
        pages: The pages in the files now, of each target.

    Raises:
        OSError: A file can't be opened.
    """

    def __init__(self, kdamond: Path, pages: Sequence[IntColumn]) -> None:
        self._pages = list(pages)
        self._paths = [
            (folder / str(region) / "start", folder / str(region) / "end")
            for target, column in enumerate(pages)
            for folder in [kdamond / f"contexts/0/targets/{target}/regions"]
            for region in range(len(column))
        ]
        self._open: list[tuple[int, int]] = []
        self._closing = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            self._state = _opened(kdamond / "state", opened)
            for start, end in self._paths[:_MOST_OPEN]:
                self._open.append((_opened(start, opened), _opened(end, opened)))
            self._closing = opened.pop_all()

    def fits(self, pages: Sequence[IntColumn]) -> bool:
        """Return whether there are as many targets, and as many pages of each."""
        return [len(each) for each in pages] == [len(each) for each in self._pages]

    def write(self, pages: Sequence[IntColumn]) -> None:
        """Write other pages, where `fits` says that they fit.

        Raises:
            OSError: The kernel refuses.
        """
        first = 0
        for target, (before, after) in enumerate(zip(self._pages, pages, strict=True)):
            for region in (before != after).nonzero()[0].tolist():
                self._write(first + region, int(after[region]))
            self._pages[target] = after
            first += len(after)

    def commit(self) -> None:
        """Have the kernel take in what was written.

        Raises:
            OSError: The kernel refuses.
        """
        retrying(lambda: os.pwrite(self._state, b"commit\n", 0))

    def _write(self, region: int, page: int) -> None:
        start, end = b"%d" % page, b"%d" % (page + PAGE_SIZE_BYTES)
        if region < len(self._open):
            files = self._open[region]
            os.pwrite(files[0], start, 0)
            os.pwrite(files[1], end, 0)
            return
        with contextlib.ExitStack() as opened:
            for path, value in zip(self._paths[region], (start, end), strict=True):
                os.write(_opened(path, opened), value)

    def close(self) -> None:
        """Close the files."""
        self._closing.close()


def _opened(path: Path, until: contextlib.ExitStack) -> int:
    """Return the descriptor of a file, which is closed at the end of a block."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    until.callback(os.close, descriptor)
    return descriptor
