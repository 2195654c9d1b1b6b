"""Where a dataset is: a directory or an object store, through pyarrow's filesystems."""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
from attrs import field, frozen
from pyarrow import fs

from damon_core import DamonError, InputError, let_read

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_FILE = re.compile(r"host=([^/]+)/date=(\d{4}-\d{2}-\d{2})/([^/]+\.parquet)")


def is_url(location: str) -> bool:
    """Return whether a location is one of an object store, and not a path."""
    return _URL.match(location) is not None


@frozen(order=True)
class DatasetFile:
    """A file of a dataset.

    Attributes:
        host: The host whose records it has.
        date: The day, in UTC, in which they ended, such as ``2026-11-26``.
        name: Its name in this partition.
        size_bytes: How long it is.
    """

    host: str
    date: str
    name: str
    size_bytes: int = field(default=0, order=False)

    @property
    def path(self) -> str:
        """Where it is in the dataset."""
        return f"host={quote(self.host, safe='')}/date={self.date}/{self.name}"


class Store:
    """A dataset: files partitioned by host and date.

    Args:
        location: A directory, or a URL such as
            ``s3://bucket/prefix?endpoint_override=127.0.0.1:9000&scheme=http``. Credentials come
            from where the store's own programs have them, such as AWS_ACCESS_KEY_ID.
        group: A group that may read files in a directory; None: only their owner may.

    Raises:
        InputError: There is no such file system.
    """

    def __init__(self, location: str, group: str | None = None) -> None:
        self.location = location
        self._group = group
        try:
            if is_url(location):
                self._fs, self._root = fs.FileSystem.from_uri(location)
            else:
                self._fs, self._root = fs.LocalFileSystem(), str(Path(location).absolute())
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"'{location}' can't be used: {_reason(error)}") from error
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)

    def files(
        self,
        hosts: Sequence[str] = (),
        first: str | None = None,
        last: str | None = None,
    ) -> list[DatasetFile]:
        """Return the files of partitions, sorted by host, date and name.

        Args:
            hosts: Only those of hosts with one of these names or patterns; none: all.
            first: Only those of this day and later.
            last: Only those of this day and before.

        Raises:
            InputError: The dataset can't be read.
        """
        try:
            folders = [
                each
                for each in self._listed(self._root)
                if (host := _value(each.base_name, "host")) is not None
                and (not hosts or any(fnmatchcase(host, pattern) for pattern in hosts))
            ]
            days = [
                each
                for folder in folders
                for each in self._listed(folder.path)
                if (day := _value(each.base_name, "date")) is not None
                and (first is None or day >= first)
                and (last is None or day <= last)
            ]
            found = [each for day in days for each in self._listed(day.path)]
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"'{self.location}' can't be read: {_reason(error)}") from error
        return sorted(
            DatasetFile(unquote(match[1]), match[2], match[3], each.size)
            for each in found
            if each.type == fs.FileType.File
            and (match := _FILE.fullmatch(each.path[len(self._root) :].strip("/")))
            and not match[3].startswith((".", "_"))
        )

    def put(self, source: Path, file: DatasetFile) -> None:
        """Copy a file into the dataset, where it is visible only when it is whole and safe.

        Raises:
            DamonError: It can't be written.
        """
        try:
            if self._is_local:
                self._put_local(source, Path(self._root) / file.path)
            else:
                self._put_object(source, f"{self._root}/{file.path}")
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DamonError(
                f"'{file.path}' can't be written to '{self.location}': {_reason(error)}"
            ) from error

    def remove(self, file: DatasetFile) -> None:
        """Remove a file.

        Raises:
            DamonError: It can't be removed.
        """
        try:
            self._fs.delete_file(f"{self._root}/{file.path}")
        except FileNotFoundError:
            pass
        except (OSError, pa.ArrowException) as error:
            raise DamonError(
                f"'{file.path}' can't be removed from '{self.location}': {_reason(error)}"
            ) from error

    @contextlib.contextmanager
    def local(self, file: DatasetFile) -> Iterator[Path]:
        """Yield the path of a file as one of this machine: a copy, of an object store's.

        Raises:
            InputError: It can't be read.
        """
        if self._is_local:
            yield Path(self._root) / file.path
            return
        with tempfile.TemporaryDirectory(prefix="damon-") as folder:
            copy = Path(folder) / file.name
            try:
                fs.copy_files(
                    f"{self._root}/{file.path}",
                    str(copy),
                    source_filesystem=self._fs,
                    destination_filesystem=fs.LocalFileSystem(),
                )
            except (OSError, pa.ArrowException) as error:
                reason = _reason(error)
                raise InputError(f"'{file.path}' can't be read: {reason}") from error
            yield copy

    def _listed(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(folder, allow_not_found=folder != self._root)
        return list(self._fs.get_file_info(selector))

    def _put_local(self, source: Path, target: Path) -> None:
        mode = 0o700 if self._group is None else 0o750
        target.parent.mkdir(mode=mode, parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.unfinished")
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            let_read(fd, self._group)
            with source.open("rb") as file:
                while chunk := file.read(1 << 20):
                    view = memoryview(chunk)
                    while view:
                        view = view[os.write(fd, view) :]
            os.fsync(fd)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        unfinished.replace(target)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _put_object(self, source: Path, target: str) -> None:
        # Mapped before the object is begun: one that can't be read must not become a part of it.
        with pa.memory_map(str(source)) as file:
            content = file.read_buffer()
            with self._fs.open_output_stream(target) as stream:
                stream.write(content)
            found = self._fs.get_file_info(target)
            if found.size != content.size:
                raise OSError(f"{found.size} of {content.size} bytes arrived")


def _value(folder: str, key: str) -> str | None:
    """Return the value of a partition's folder; None if it is something else."""
    name, equals, value = folder.partition("=")
    return unquote(value) if equals and name == key else None


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0]


#: Says how far work has come: files done, of how many.
Progress = Callable[[int, int], None]
