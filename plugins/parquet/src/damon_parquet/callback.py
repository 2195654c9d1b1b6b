"""The callback ``parquet``: each aggregation, into a record in a file."""

import os
import tempfile
import threading
from pathlib import Path

from attrs import evolve

from damon_core import Context, ContextInfo, InputError, RecordInfo, hookimpl
from damon_parquet.options import ParquetOptions
from damon_parquet.writer import ParquetWriter


class ParquetCallback:
    """Writes one row a region an aggregation to a record in a Parquet file.

    One object may serve several contexts: all that run at a time write one file. Several objects
    can't share a path. A file that is there before is moved aside.

    Raises:
        InputError: The directory doesn't exist, or the file can't be written.
    """

    name = "parquet"

    def __init__(self, options: ParquetOptions) -> None:
        self._path = Path(os.path.realpath(options.path))
        directory = self._path.parent
        if not directory.is_dir():
            raise InputError(f"'{options.path}': there is no directory '{directory}': create it")
        if self._path.exists() and not self._path.is_file():
            raise InputError(f"'{options.path}' is not a regular file: choose another path")
        try:
            # Asking for permission wouldn't tell of file systems that can't create files.
            tempfile.TemporaryFile(dir=directory).close()
        except OSError as error:
            raise InputError(f"'{options.path}' can't be written: {error.strerror}") from error
        # Contexts have a worker each.
        self._lock = threading.Lock()
        self._writer: ParquetWriter | None = None
        self._info = RecordInfo()
        self._contexts: set[Context] = set()

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Open the file, or join the contexts that write it."""
        with self._lock:
            if self._writer is None:
                self._info = RecordInfo.here()
                self._writer = ParquetWriter(self._path, self._info)
            self._contexts.add(context)
            contexts = (*self._info.contexts, ContextInfo.of(context))
            self._info = evolve(self._info, contexts=contexts)
            self._writer.explain(self._info)

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Hand the snapshot over to be written."""
        assert context.snapshot is not None
        with self._lock:
            # Without a file that was told once, at the start.
            if self._writer is not None and context in self._contexts:
                self._writer.write(context.snapshot)

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Complete the file with the last context."""
        with self._lock:
            self._contexts.discard(context)
            if self._writer is not None and not self._contexts:
                writer, self._writer = self._writer, None
                writer.close()
