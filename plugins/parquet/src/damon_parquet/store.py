"""Where a dataset is: a directory or an object store, through pyarrow's filesystems."""

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
from attrs import field, frozen
from pyarrow import fs

from damon_core import DamonError, InputError, WriterLock, let_read
from damon_parquet.exchange import exchange

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_FILE = re.compile(r"host=([^/]+)/date=(\d{4}-\d{2}-\d{2})/([^/]+\.parquet)")
#: What follows in the names of folders in which partitions are put together.
_BESIDE = re.compile(r"(.+)-(\d{4}-\d{2}-\d{2})-[^-]+")
#: How often a file is written anew into a partition that is replaced meanwhile.
_ATTEMPTS = 3


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
        modified_ns: When it came there, Unix nanoseconds by the clock of the store.
        folder: The folder of the dataset that it is in; by default its partition.
    """

    host: str
    date: str
    name: str
    size_bytes: int = field(default=0, order=False)
    modified_ns: int = field(default=0, order=False, kw_only=True)
    folder: str = field()

    @folder.default
    def _partition(self) -> str:
        return f"host={quote(self.host, safe='')}/date={self.date}"

    @property
    def is_left_over(self) -> bool:
        """Whether a compaction that was killed has left it outside of its partition."""
        return self.folder != self._partition()

    @property
    def path(self) -> str:
        """Where it is in the dataset."""
        return f"{self.folder}/{self.name}"


class Store:
    """A dataset: files partitioned by host and date.

    Args:
        location: A directory, or a URL such as
            ``s3://bucket/prefix?endpoint_override=127.0.0.1:9000&scheme=http``. Credentials come
            from where the store's own programs have them, such as AWS_ACCESS_KEY_ID.
        group: A group that may read files in a directory; None: only their owner may.

    Raises:
        InputError: There is no such file system, or the name can't be one of a dataset.
    """

    def __init__(self, location: str, group: str | None = None) -> None:
        if not location:
            raise InputError("the name of a dataset is empty: give a directory or URL")
        self.location = location
        self._group = group
        try:
            if is_url(location):
                self._fs, self._root = fs.FileSystem.from_uri(location)
            else:
                self._fs, self._root = fs.LocalFileSystem(), str(Path(location).absolute())
            self._root.encode()
        except UnicodeError as error:
            raise InputError(f"'{location}' can't be used: its name isn't UTF-8") from error
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"'{location}' can't be used: {_reason(error)}") from error
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)

    @property
    def place(self) -> tuple[object, ...]:
        """What is equal for two of the same dataset, however their locations are written."""
        if self._is_local:
            with contextlib.suppress(OSError):
                found = Path(self._root).stat()
                return found.st_dev, found.st_ino
            return (os.path.realpath(self._root),)
        return self._fs, self._root.strip("/")

    def files(
        self,
        hosts: Sequence[str] = (),
        first: str | None = None,
        last: str | None = None,
        *,
        may_be_missing: bool = False,
    ) -> list[DatasetFile]:
        """Return the files of partitions, sorted by host, date and name.

        Args:
            hosts: Only those of hosts with one of these names or patterns; none: all.
            first: Only those of this day and later.
            last: Only those of this day and before.
            may_be_missing: Whether there are simply none if there is no such directory.

        Raises:
            InputError: The dataset can't be read.
        """
        try:
            folders = [
                each
                for each in self._listed(self._root, may_be_missing=may_be_missing)
                if (host := _value(each.base_name, "host")) is not None
                and (not hosts or any(fnmatchcase(host, pattern) for pattern in hosts))
            ]
            days = [
                each
                for folder in folders
                for each in self._listed(folder.path, may_be_missing=True)
                if (day := _value(each.base_name, "date")) is not None
                and (first is None or day >= first)
                and (last is None or day <= last)
            ]
            found = [each for day in days for each in self._listed(day.path, may_be_missing=True)]
        except (OSError, UnicodeError, pa.ArrowException) as error:
            raise InputError(f"'{self.location}' can't be read: {_reason(error)}") from error
        return sorted(self._records(found))

    def partition(self, host: str, date: str) -> list[DatasetFile]:
        """Return the files of one partition, sorted by name.

        Raises:
            InputError: The dataset can't be read.
        """
        folder = f"{self._root}/{DatasetFile(host, date, '').folder}"
        try:
            return sorted(self._records(self._listed(folder, may_be_missing=True)))
        except (OSError, UnicodeError, pa.ArrowException) as error:
            raise InputError(f"'{self.location}' can't be read: {_reason(error)}") from error

    def _records(self, found: Sequence[fs.FileInfo]) -> Iterator[DatasetFile]:
        for each in found:
            match = _FILE.fullmatch(each.path[len(self._root) :].strip("/"))
            if match and each.type == fs.FileType.File and not match[3].startswith((".", "_")):
                yield DatasetFile(
                    unquote(match[1]),
                    match[2],
                    match[3],
                    each.size,
                    modified_ns=each.mtime_ns or 0,
                )

    def left_over(self, hosts: Sequence[str] = (), last: str | None = None) -> list[DatasetFile]:
        """Return the files that compactions which were killed have left beside their partitions.

        Each may have rows that are in no partition.

        Args:
            hosts: Only those of hosts with one of these names or patterns; none: all.
            last: Only those of this day and before.
        """
        if not self._is_local:
            return []
        found: list[DatasetFile] = []
        for where, prefix in self._places_beside():
            with contextlib.suppress(OSError), os.scandir(f"{self._root}/{where}") as entries:
                for entry in entries:
                    match = _BESIDE.fullmatch(entry.name.removeprefix(prefix))
                    if match is None or not entry.name.startswith(prefix):
                        continue
                    host, date = unquote(match[1]), match[2]
                    if (last is None or date <= last) and (
                        not hosts or any(fnmatchcase(host, pattern) for pattern in hosts)
                    ):
                        for each in Path(entry.path).glob("[!.]*.parquet"):
                            status = each.stat()
                            found.append(
                                DatasetFile(
                                    host,
                                    date,
                                    each.name,
                                    status.st_size,
                                    where + entry.name,
                                    modified_ns=status.st_mtime_ns,
                                )
                            )
        return sorted(found)

    def _places_beside(self) -> list[tuple[str, str]]:
        """Return where partitions may be put together, and what names of folders begin with there.

        Beside the dataset, where nobody who searches it looks, if that can be; or in it.
        """
        root = Path(self._root).resolve()
        places = [("", ".compacting-")]
        if root.parent != root and root.parent.stat().st_dev == root.stat().st_dev:
            places.insert(0, ("../", f".{root.name}.compacting-"))
        return places

    @contextlib.contextmanager
    def compacting(self) -> Iterator[None]:
        """Keep others from compacting a directory at the same time; nobody else waits for it.

        Raises:
            InputError: Somebody does already.
        """
        if not self._is_local or not Path(self._root).is_dir():
            yield
            return
        lock = WriterLock(Path(self._root) / "compaction")
        try:
            if not lock.acquire():
                raise InputError(f"'{self.location}' is compacted by another program: wait for it")
        except OSError as error:
            raise DamonError(f"'{self.location}' can't be written: {_reason(error)}") from error
        try:
            yield
        finally:
            lock.release()

    def replace(self, files: Sequence[DatasetFile], source: Path, result: DatasetFile) -> None:
        """Put a file in the place of those of its partition.

        In a directory the folder of the partition is replaced as a whole, where the file system can
        exchange two: whoever lists it sees either the old files or the new one. Otherwise the new
        file is there before the old ones are removed.

        Args:
            files: All files that it has the rows of, `left_over` ones included.
            source: The new one, whole.
            result: What it is to be.

        Raises:
            DamonError: It can't be written, or an old one can't be removed.
        """
        try:
            done = self._is_local and self._exchange(files, source, result)
        except OSError as error:
            raise DamonError(
                f"'{result.folder}' can't be replaced in '{self.location}': {_reason(error)}"
            ) from error
        if not done:
            self.put(source, result)
        self.discard([each for each in files if not done or each.folder != result.folder])

    def discard(self, files: Sequence[DatasetFile]) -> None:
        """Remove files, and folders that compactions have left if they were there.

        Raises:
            DamonError: One can't be removed.
        """
        for file in files:
            self.remove(file)
        if not self._is_local:
            return
        for file in files:
            folder = Path(self._root) / file.folder
            if file.is_left_over:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):  # others are in it
                folder.rmdir()
                folder.parent.rmdir()

    def _exchange(self, files: Sequence[DatasetFile], source: Path, result: DatasetFile) -> bool:
        """Replace a partition's folder; return False where that can't be done at once."""
        root, partition = Path(self._root), Path(self._root) / result.folder
        if not partition.is_dir():  # all of its rows are left over
            return False
        end = f"{quote(result.host, safe='')}-{result.date}-"
        where, prefix = next(
            place
            for place in self._places_beside()
            if not place[0] or os.access(f"{self._root}/{place[0]}", os.W_OK)
        )
        beside = Path(tempfile.mkdtemp(prefix=prefix + end, dir=f"{self._root}/{where}"))
        try:
            self._copy(source, beside / result.name)
            _make_like(beside, partition)
            _make_like(beside / result.name, root / files[0].path)
            done = exchange(partition, beside)
        except BaseException:
            # No more than what was written here: it may be the old folder already.
            (beside / result.name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                beside.rmdir()
            raise
        if done:
            _sync(root)
            _sync(partition.parent)
            # What has arrived since the partition was listed.
            old = {file.name for file in files if file.folder == result.folder}
            for late in beside.glob("[!.]*.parquet"):
                if late.name not in old:
                    late.rename(partition / late.name)
            _sync(partition)
        shutil.rmtree(beside)
        return done

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

    def _listed(self, folder: str, *, may_be_missing: bool) -> list[fs.FileInfo]:
        selector = fs.FileSelector(folder, allow_not_found=may_be_missing)
        return list(self._fs.get_file_info(selector))

    def _put_local(self, source: Path, target: Path) -> None:
        mode = 0o700 if self._group is None else 0o750
        for attempt in range(1, _ATTEMPTS + 1):
            target.parent.mkdir(mode=mode, parents=True, exist_ok=True)
            try:
                self._copy(source, target)
            except FileNotFoundError:
                # The folder was replaced by a compaction.
                if attempt == _ATTEMPTS or not source.exists():
                    raise
            else:
                break
        _sync(target.parent)

    def _copy(self, source: Path, target: Path) -> None:
        """Copy a file to a path where it is seen only when it is whole and safe."""
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


def _make_like(new: Path, old: Path) -> None:
    """Give a new file or folder the owner and mode of an old one, as far as that is allowed."""
    found = old.stat()
    mode = stat.S_IMODE(found.st_mode)
    try:
        os.chown(new, found.st_uid, found.st_gid)
    except PermissionError:
        mode &= 0o700  # the group is another one
    new.chmod(mode)


def _sync(folder: Path) -> None:
    """See the names in a folder safe on the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeError):
        return "it has files whose names aren't UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0]


#: Says how far work has come: files done, of how many.
Progress = Callable[[int, int], None]
