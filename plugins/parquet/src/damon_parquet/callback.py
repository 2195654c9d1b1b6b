"""The callback ``parquet``: each aggregation, into a record in a file."""

import os
import tempfile
import threading
import time
from collections.abc import Iterable

from attrs import evolve

from damon_core import (
    Context,
    ContextInfo,
    InputError,
    RecordInfo,
    Rotation,
    Snapshot,
    SnapshotMerger,
    hookimpl,
    output_path,
)
from damon_parquet.file import is_record
from damon_parquet.options import PUBLISH_EVERY_US, ParquetOptions
from damon_parquet.publishing import Publisher
from damon_parquet.store import Store
from damon_parquet.writer import ParquetWriter

#: How long the end waits for the last file to arrive in a dataset.
_PUBLISHED_WITHIN_S = 8.0


class ParquetCallback:
    """Writes one row a region an aggregation to a record in a Parquet file.

    One object may serve several contexts: all that run at a time write one file. Several objects
    can't share a path. A file that is there before is moved aside, and so is one whose time is up
    (`ParquetOptions.rotate_every`). With `ParquetOptions.dataset` files go there once they are
    complete. With `ParquetOptions.every` aggregations are put together as by `SnapshotMerger`.

    Raises:
        InputError: The directory doesn't exist, or the file can't be written.
    """

    name = "parquet"

    def __init__(self, options: ParquetOptions) -> None:
        every_us = options.rotate_every
        if options.dataset is not None:
            every_us = every_us or PUBLISH_EVERY_US
        self._rotation = Rotation(every_us=every_us, keep=options.keep)
        self._group = options.group
        self._pages = options.pages
        self._every_us = options.every
        self._merger: SnapshotMerger | None = None
        self._path = output_path(options.path)
        directory = self._path.parent
        if not directory.is_dir():
            raise InputError(f"'{options.path}': there is no directory '{directory}': create it")
        if self._path.exists() and not self._path.is_file():
            raise InputError(f"'{options.path}' is not a regular file: choose another path")
        try:
            # Asking for permission wouldn't show that a file system can't create files.
            tempfile.TemporaryFile(dir=directory).close()
        except OSError as error:
            raise InputError(f"'{options.path}' can't be written: {error.strerror}") from error
        # Contexts have a worker each.
        self._lock = threading.Lock()
        self._writer: ParquetWriter | None = None
        self._written: os.stat_result | None = None  # the file that was begun last
        self._begun_us: int | None = None  # the time of the first aggregation in the file
        self._info = RecordInfo()
        self._contexts: set[Context] = set()
        self._publisher: Publisher | None = None
        if options.dataset is not None:
            self._publisher = Publisher(self._path, Store(options.dataset, options.group))

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Open the file, or join the contexts that write it."""
        with self._lock:
            if not self._contexts:
                self._info = evolve(RecordInfo.here(), pages=self._pages, every_us=self._every_us)
                self._written = None
                if self._every_us is not None:
                    self._merger = SnapshotMerger(self._every_us)
            writer = self._writer or self._open(time.time_ns() // 1000)
            self._contexts.add(context)
            contexts = (*self._info.contexts, ContextInfo.of(context))
            self._info = evolve(self._info, contexts=contexts)
            writer.explain(self._info)

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Hand the snapshot over to be written, to a new file if it is time for one."""
        snapshot = context.snapshot
        assert snapshot is not None
        with self._lock:
            # Without a file: its opening failed, and that was reported.
            if context not in self._contexts:
                return
            if self._merger is None:
                self._write(snapshot)
            else:
                self._write_all(self._merger.add(snapshot))

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Complete the file with the last context."""
        with self._lock:
            self._contexts.discard(context)
            if self._contexts:
                return
            try:
                if self._merger is not None:
                    self._write_all(self._merger.rest())
            finally:
                self._complete()

    def _complete(self) -> None:
        """Complete the last file."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._publisher is None:
            writer.close()
            return
        try:
            writer.close(aside_us=time.time_ns() // 1000)
        finally:
            self._publisher.wake()
            self._publisher.close(_PUBLISHED_WITHIN_S)

    def _write_all(self, snapshots: Iterable[Snapshot]) -> None:
        """Write each, whatever becomes of the others; then raise the first failure."""
        failure: Exception | None = None
        for snapshot in snapshots:
            try:
                self._write(snapshot)
            except Exception as error:  # it is raised below
                failure = failure or error
        if failure is not None:
            raise failure

    def _write(self, snapshot: Snapshot) -> None:
        try:
            if self._writer is not None and self._is_rotation_due(snapshot.time_us):
                self._rotate(self._writer, snapshot.time_us)
        finally:
            # A row group that was lost with the old file mustn't cost more than itself.
            writer = self._writer or self._open(snapshot.time_us)
            if self._begun_us is None:
                self._begun_us = snapshot.time_us
            writer.write(snapshot)

    def _open(self, now_us: int) -> ParquetWriter:
        writer = self._writer = ParquetWriter(
            self._path, self._info, group=self._group, replaces=self._written
        )
        self._written = writer.status()
        self._begun_us = None
        self._rotation.remove_oldest(self._path, now_us, is_record)
        if self._publisher is not None:
            # What was moved aside just now, and what another left that was killed.
            self._publisher.wake()
        return writer

    def _is_rotation_due(self, time_us: int) -> bool:
        return self._begun_us is not None and self._rotation.is_due(self._begun_us, time_us)

    def _rotate(self, writer: ParquetWriter, time_us: int) -> None:
        """Complete the file and move it aside, named by what comes next."""
        self._writer = None
        self._written = writer.status()
        writer.close(aside_us=time_us)
