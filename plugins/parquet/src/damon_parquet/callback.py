"""The callback ``parquet``: each aggregation, into a record in a file."""

import os
import tempfile
import threading
from pathlib import Path

from attrs import evolve

from damon_core import Context, ContextInfo, InputError, RecordInfo, Snapshot, hookimpl
from damon_parquet.options import ParquetOptions
from damon_parquet.writer import ParquetWriter


class _Shared:
    """A file that several contexts of this process write."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._info = RecordInfo.here()
        self._writer = ParquetWriter(path, self._info)
        self.users = 0

    def explain(self, context: Context) -> None:
        with self._lock:
            contexts = (*self._info.contexts, ContextInfo.of(context))
            self._info = evolve(self._info, contexts=contexts)
            self._writer.explain(self._info)

    def write(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._writer.write(snapshot)

    def close(self) -> None:
        with self._lock:
            self._writer.close()


# What files this process is writing: a configuration gives each context callbacks of its own, and
# those with one path mean one file.
_files: dict[Path, _Shared] = {}
_files_lock = threading.Lock()


class ParquetCallback:
    """Writes one row a region an aggregation to a record in a Parquet file.

    One object may serve several contexts, and several objects of a process may share a path: all
    that run at a time write one file. A file that is there before is moved aside.

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

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Open the file, or join those who write it."""
        with _files_lock:
            shared = _files.get(self._path)
            if shared is None:
                shared = _files[self._path] = _Shared(self._path)
            shared.users += 1
        context.private(self)["file"] = shared
        shared.explain(context)

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Hand the snapshot over to be written."""
        snapshot = context.snapshot
        if snapshot is not None:
            file: _Shared = context.private(self)["file"]
            file.write(snapshot)

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Complete the file with the last context; there may be none if this one never began."""
        shared: _Shared | None = context.private(self).pop("file", None)
        if shared is None:
            return
        with _files_lock:
            shared.users -= 1
            if shared.users == 0:
                del _files[self._path]
                shared.close()
