"""Writing a record: snapshots are collected, and written as row groups beside the monitoring."""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pyarrow as pa

from damon_core import (
    DamonError,
    InputError,
    RecordInfo,
    SelfClosing,
    Snapshot,
    WriterLock,
    output_path,
)
from damon_parquet.file import RowGroupFile, is_at, make_room
from damon_parquet.rows import KnownAreas, Maps, to_table

logger = logging.getLogger(__name__)

# With this pyarrow imports pandas where it is installed. That takes a while, and is too late for
# the first row group if the program is about to end.
pa.array(())

#: A row group is written when it has as many rows, which bounds memory, …
_MAX_ROWS = 1 << 19
#: … or the maps of as many pages are kept for it, a byte each, …
_MAX_PAGES = 1 << 23
#: … or covers as much time, which bounds what a kill costs; the first ones less, …
_MAX_SPAN_US = 60_000_000
#: … but each a second, or so many bytes of addresses and names alone would be written.
_MIN_SPAN_US = 1_000_000


class ParquetWriter(SelfClosing):
    """A new record in a Parquet file; one that is there already is moved aside.

    Snapshots are kept until they make a row group: of a minute, or of half a million rows; the
    first row groups are shorter, so that a short record that ends badly has most of it. Encoding
    and writing are done beside the caller, by a thread for each row group. What goes wrong there is
    raised by the next call.

    If the file is removed, moved or cut by somebody else, a new one begins with the next row group.
    If something else has taken its place, that is left alone, and rows go to the file wherever it
    was moved to, or are lost, which is an error.

    Args:
        path: The file.
        info: How the record is made.
        group: A group that may read it; None: it is for its owner alone.
        replaces: Of what is there, only this is moved aside: what `status` has returned of a
            record before. None: whatever is there.

    Raises:
        InputError: It can't be written, is being written, or something else is there.
    """

    def __init__(
        self,
        path: Path,
        info: RecordInfo,
        *,
        group: str | None = None,
        replaces: os.stat_result | None = None,
    ) -> None:
        self._path = output_path(path)
        self._info = info
        self._group = group
        self._lock = WriterLock(self._path)
        try:
            if not self._lock.acquire():
                raise InputError(f"'{path}' is being written by another: choose another path")
            if replaces is None or is_at(self._path, replaces):
                make_room(self._path)
            self._file = RowGroupFile(self._path, info, group)
        except OSError as error:
            self._lock.release()
            raise InputError(
                f"'{path}' can't be written: {error.strerror}: choose another path"
            ) from error
        except BaseException:
            self._lock.release()
            raise
        self._closed = False
        self._is_elsewhere = False
        self._snapshots: list[tuple[Snapshot, Maps]] = []
        self._rows = self._pages = 0
        self._begun_us: int | None = None
        self._flushed_us = 0
        self._known_areas: KnownAreas = {}
        self._under_way: Future[None] | None = None

    def status(self) -> os.stat_result:
        """Return what the file is, for `replaces` of the next record."""
        return self._file.status()

    def explain(self, info: RecordInfo) -> None:
        """Change what the file says of how the record is made."""
        self._wait()
        self._info = info
        if not self._closed:
            self._file.explain(info)

    def write(self, snapshot: Snapshot) -> None:
        """Append an aggregation.

        Raises:
            DamonError: A row group couldn't be written: it is lost, what came before is whole.
        """
        if self._closed:
            raise DamonError("the record is closed")
        now_us = snapshot.time_us
        if self._begun_us is None:
            self._begun_us = self._flushed_us = now_us - snapshot.elapsed_us
        maps: Maps = ()
        if self._info.pages:
            # Now: those of a context that goes on are gone when the row group is written.
            maps = [target.page_map() for target in snapshot.targets]
            self._pages += sum(each.codes.size for each in maps if each is not None)
        self._snapshots.append((snapshot, maps))
        self._rows += len(snapshot)
        due_us = min(max(self._flushed_us - self._begun_us, _MIN_SPAN_US), _MAX_SPAN_US)
        # A clock that was set back must not put it off.
        is_full = self._rows >= _MAX_ROWS or self._pages >= _MAX_PAGES
        if is_full or abs(now_us - self._flushed_us) >= due_us:
            self._flushed_us = now_us
            self._flush()

    def close(self, aside_us: int | None = None) -> None:
        """Write what is left and complete the file; do nothing if that has been done.

        Args:
            aside_us: Move it aside, too, with the stamp of this time; unless it isn't at its path.

        Raises:
            DamonError: Something couldn't be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._snapshots:
                self._flush()
            self._wait()
        finally:
            try:
                self._file.close(aside_us)
            finally:
                self._lock.release()

    def _flush(self) -> None:
        """Have a thread write what was collected; wait for what is still being written."""
        snapshots, self._snapshots, self._rows, self._pages = self._snapshots, [], 0, 0
        try:
            self._wait()
        finally:
            self._under_way = _begin(partial(self._append, snapshots))

    def _wait(self) -> None:
        before, self._under_way = self._under_way, None
        if before is not None:
            before.result()

    def _append(self, kept: list[tuple[Snapshot, Maps]]) -> None:
        # Several contexts hand theirs over as they come.
        kept.sort(key=lambda each: each[0].time_us)
        snapshots, maps = zip(*kept, strict=True)
        try:
            self._follow()
            self._file.append(
                to_table(snapshots, self._known_areas, maps if self._info.pages else None)
            )
        except BaseException:
            self._known_areas.clear()  # some were in what is lost
            raise

    def _follow(self) -> None:
        """Begin a new file if somebody else has removed, moved or cut this one.

        Raises:
            DamonError: There is no file to write to.
        """
        file = self._file
        is_at_its_path, is_whole = file.is_at_its_path(), file.is_whole()
        if is_at_its_path and is_whole:
            return
        is_removed = not file.status().st_nlink
        try:
            if is_at_its_path:
                make_room(self._path)
            self._file = RowGroupFile(self._path, self._info, self._group)
        except InputError as error:
            if is_removed or not is_whole:
                raise DamonError(
                    f"'{self._path}' was {'removed' if is_removed else 'cut'} while it was being "
                    f"written, and there can't be a new one: {error.message}"
                ) from error
            if not self._is_elsewhere:
                logger.error(
                    "'%s' was moved while it was being written; rows go to it wherever it is now, "
                    "as there can't be a new one: %s",
                    self._path,
                    error.message,
                )
            self._is_elsewhere = True
            return
        what = "removed" if is_removed else "moved" if is_whole else "cut"
        logger.warning(
            "'%s' was %s by another while it was being written: a new one begins", self._path, what
        )
        self._known_areas.clear()
        self._is_elsewhere = False
        file.close()


def _begin(function: Callable[[], None]) -> Future[None]:
    """Call a function in a thread, and return what becomes of it.

    Not by an executor: those end before the contexts of a program that doesn't stop them.
    """
    future: Future[None] = Future()

    def call() -> None:
        try:
            function()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    try:
        threading.Thread(target=call, name="parquet", daemon=True).start()
    except RuntimeError:  # So late in the program's end, or with so many others, there is none.
        call()
    return future
