"""Writing a record: snapshots are collected, and written as row groups beside the monitoring."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from damon_core import DamonError, RecordInfo, SelfClosing, Snapshot
from damon_parquet.file import RowGroupFile
from damon_parquet.rows import KnownAreas, to_table

#: A row group is written when it has as many rows, which bounds memory, …
_MAX_ROWS = 1 << 19
#: … or covers as much time, which bounds what a kill costs; the first ones less, …
_MAX_SPAN_US = 60_000_000
#: … but each a second, or so many bytes of addresses and names alone would be written.
_MIN_SPAN_US = 1_000_000


class ParquetWriter(SelfClosing):
    """A new record in a Parquet file; one that is there already is moved aside.

    Snapshots are kept until they make a row group: of a minute, or of half a million rows; the
    first row groups are shorter, so that a short record that ends badly has most of it. Encoding
    and writing are done by a thread of the writer. What goes wrong there is raised by the next
    call.

    Args:
        path: The file.
        info: How the record is made.

    Raises:
        InputError: It can't be written, or is being written.
    """

    def __init__(self, path: Path, info: RecordInfo) -> None:
        self._file: RowGroupFile | None = RowGroupFile(path, info)
        self._snapshots: list[Snapshot] = []
        self._rows = 0
        self._begun_us: int | None = None
        self._flushed_us = 0
        self._known_areas: KnownAreas = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._under_way: Future[None] | None = None

    def explain(self, info: RecordInfo) -> None:
        """Change what the file says of how the record is made."""
        self._wait()
        if self._file is not None:
            self._file.explain(info)

    def write(self, snapshot: Snapshot) -> None:
        """Append an aggregation.

        Raises:
            DamonError: A row group couldn't be written: it is lost, what came before is whole.
        """
        now_us = snapshot.time_us
        if self._begun_us is None:
            self._begun_us = self._flushed_us = now_us - snapshot.elapsed_us
        self._snapshots.append(snapshot)
        self._rows += len(snapshot)
        due_us = min(max(self._flushed_us - self._begun_us, _MIN_SPAN_US), _MAX_SPAN_US)
        # A clock that was set back must not put it off.
        if self._rows >= _MAX_ROWS or abs(now_us - self._flushed_us) >= due_us:
            self._flushed_us = now_us
            self._flush()

    def close(self) -> None:
        """Write what is left and complete the file; do nothing if that has been done.

        Raises:
            DamonError: Something couldn't be written.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._snapshots:
                self._flush(file)
            self._wait()
        finally:
            self._thread.shutdown()
            file.close()

    def _flush(self, file: RowGroupFile | None = None) -> None:
        """Have the thread write what was collected; wait for what it is still writing."""
        file = file or self._file
        if file is None:
            raise DamonError("the record is closed")
        snapshots, self._snapshots, self._rows = self._snapshots, [], 0
        before, self._under_way = self._under_way, None
        try:
            if before is not None:
                before.result()
        finally:
            self._under_way = self._thread.submit(self._append, file, snapshots)

    def _wait(self) -> None:
        before, self._under_way = self._under_way, None
        if before is not None:
            before.result()

    def _append(self, file: RowGroupFile, snapshots: list[Snapshot]) -> None:
        # Several contexts hand theirs over as they come.
        snapshots.sort(key=lambda each: each.time_us)
        try:
            file.append(to_table(snapshots, self._known_areas))
        except BaseException:
            self._known_areas.clear()  # some were in what is lost
            raise
