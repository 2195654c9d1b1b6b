"""Completed records on their way into a dataset: copied there, and only then removed here.

A kill at any time loses nothing: what hasn't arrived is still here, and is published when the next
writer of the same path begins. The name in the dataset is made of the content, so that a file that
is published twice replaces itself.
"""

import hashlib
import logging
import platform
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from damon_core import DamonError, RecordInfo, moved_aside
from damon_parquet.file import RowGroupFile, is_record
from damon_parquet.options import DAY_US
from damon_parquet.reader import ParquetReader
from damon_parquet.store import DatasetFile, Store

logger = logging.getLogger(__name__)

#: How long to wait before what couldn't be published is tried again.
_AGAIN_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def date_of(time_us: int) -> str:
    """Return the day of a time, in UTC, such as ``2026-11-26``."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d")


def publish(path: Path, store: Store) -> None:
    """Put a record into a dataset, in the partitions of its host and days.

    One that was completed within a day goes as it is; another is rewritten.

    Raises:
        DamonError: It can't be read or written.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    with ParquetReader(path) as reader:
        host = reader.info.host or platform.node()
        span = reader.times_us()
        if span is None:
            return
        first, last = (date_of(time_us) for time_us in span)
        if reader.finished and first == last:
            store.put(path, DatasetFile(host, first, f"{path.stem}.{digest}.parquet"))
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".publishing-") as folder:
            for begin_us in range(span[0] // DAY_US * DAY_US, span[1] + 1, DAY_US):
                part = Path(folder) / f"{begin_us}.parquet"
                # Up to and without the first microsecond of the next day.
                if _rewrite(reader, part, begin_us - 1, begin_us + DAY_US - 1):
                    name = f"{path.stem}.{digest}.parquet"
                    store.put(part, DatasetFile(host, date_of(begin_us), name))


def _rewrite(reader: ParquetReader, part: Path, begin_us: int, end_us: int) -> bool:
    """Write the rows of a time to a file of their own; return whether there are any."""
    tables = reader.tables(begin_us, end_us)
    first = next(tables, None)
    if first is None:
        return False
    write_tables(part, reader.info, _and_more(first, tables))
    return True


def _and_more(first: object, more: Iterator[object]) -> Iterator[object]:
    yield first
    yield from more


def write_tables(path: Path, info: RecordInfo, tables: Iterator[object]) -> None:
    """Write rows to a new file, each table as a row group.

    Raises:
        DamonError: They can't be written.
    """
    file = RowGroupFile(path, info)
    try:
        for table in tables:
            file.append(table)
    finally:
        file.close()


class Publisher:
    """Publishes the files that were moved aside from a path, in a thread.

    Args:
        path: The path.
        store: The dataset.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self._path, self._store = path, store
        self._wanted, self._ending = threading.Event(), threading.Event()
        self._refused: set[str] = set()
        self._fails = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Publish what there is, soon."""
        self._wanted.set()
        if self._thread is None:
            self._ending.clear()
            self._thread = threading.Thread(target=self._work, name="parquet-dataset", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Publish what there is, and wait for that; what takes longer is left for the next time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ending.set()
        self._wanted.set()
        thread.join(timeout_s)
        left = [each for each in moved_aside(self._path) if is_record(each)]
        if left:
            logger.warning(
                "%d records beside '%s' aren't in '%s' yet: they are published when it is written "
                "the next time",
                len(left),
                self._path,
                self._store.location,
            )

    def _work(self) -> None:
        while True:
            self._wanted.wait(_AGAIN_S if self._fails else None)
            self._wanted.clear()
            # Before the look: what was moved aside before it was set is found.
            ending = self._ending.is_set()
            self._publish_all()
            if ending:
                return

    def _publish_all(self) -> None:
        for path in moved_aside(self._path):
            if path.name in self._refused or not is_record(path):
                continue
            try:
                publish(path, self._store)
                path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue  # `keep` has removed it
            except (DamonError, OSError) as error:
                if not self._fails:
                    logger.error("%s; it stays here and is tried again", error)
                self._fails = True
                return
            except Exception:
                # One that can't be understood must not keep the others.
                logger.exception("'%s' can't be published, and stays where it is", path)
                self._refused.add(path.name)
        if self._fails:
            logger.info("records are published to '%s' again", self._store.location)
        self._fails = False
