"""A file of whole rows, whatever happens: several writers, rotation, a kill, a full disk.

Writers, in this process or others, take turns by a lock on the file (flock), and each turn is
one write. So a writer that finds a torn row under the lock knows that its author is gone. Nobody
keeps count of writers: a file that was rotated by another is noticed by its inode.
"""

import contextlib
import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from damon_core import DamonError, InputError, Rotation, move_aside

logger = logging.getLogger(__name__)

_LOCK_WAIT_S = 2.0
_LOCK_POLL_S = 0.001
_BLOCK_BYTES = 65_536


class CsvFile:
    """A file that begins with one header line and is only ever appended to, by whole rows.

    Args:
        path: Where it is. Symbolic links are followed once, here.
        header: Its first line, with the newline.
        rotation: When to begin a new one.

    Not thread-safe: each thread has an object of its own, also for the same path.
    """

    def __init__(self, path: Path, header: bytes, rotation: Rotation | None = None) -> None:
        self.path = Path(os.path.realpath(path))
        self._header = header
        self._rotation = rotation or Rotation()
        self._fd: int | None = None
        self._begun_us: int | None = None

    def check(self) -> None:
        """See whether the file can be appended to, and change nothing.

        Raises:
            InputError: It can't, and why.
        """
        directory = self.path.parent
        try:
            if not directory.is_dir():
                raise InputError(f"'{self.path}': there is no directory '{directory}': create it")
            creates = self._rotation.enabled
            try:
                self._check_regular()
                fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                creates = True
            else:
                try:
                    self._check_header(fd)
                finally:
                    os.close(fd)
            if creates:
                # Asking for permission wouldn't show that a file system can't create files.
                tempfile.TemporaryFile(dir=directory).close()
        except OSError as error:
            raise InputError(
                f"'{self.path}' can't be written: {error.strerror}: "
                "choose another path, or change its permissions"
            ) from error

    def open(self) -> None:
        """Open the file, create it with its header, or mend the end that a kill left behind.

        Raises:
            InputError: It exists and begins with another header.
            DamonError: It can't be opened or written.
        """
        self.append(b"", 0)

    def append(self, rows: bytes, time_us: int) -> None:
        """Append whole rows of one aggregation, all or none; rotate first if that is due.

        Opens the file if it isn't open.

        Args:
            rows: Lines, each with its newline, the first field of each being its time.
            time_us: The time of these rows, microseconds since 1970-01-01 UTC.

        Raises:
            InputError: A file with another header has taken the place.
            DamonError: They can't be written; the file is as it was before.
        """
        try:
            self._append(rows, time_us)
        except OSError as error:
            raise DamonError(f"'{self.path}' can't be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; does nothing if it isn't open."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, rows: bytes, time_us: int) -> None:
        with self._turn() as (fd, size_bytes):
            if not self._is_rotation_due(fd, size_bytes, len(rows), time_us):
                self._write(fd, size_bytes, rows)
                return
            # Under the lock of the file that goes: other writers then find another in its place.
            move_aside(self.path, time_us)
            self._rotation.remove_oldest(self.path)
        with self._turn() as (fd, size_bytes):
            self._write(fd, size_bytes, rows)

    @contextlib.contextmanager
    def _turn(self) -> Generator[tuple[int, int]]:
        """Lock the file that is at the path now and yield it with its length, in whole rows."""
        fd = self._lock()
        try:
            yield fd, self._cut_torn_row(fd)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _lock(self) -> int:
        while True:
            fd = self._fd
            if fd is None:
                fd = self._open()
            _lock(fd, self.path)
            try:
                at_path = os.stat(self.path)
            except FileNotFoundError:
                at_path = None
            if at_path is not None and os.path.samestat(os.fstat(fd), at_path):
                return fd
            self.close()  # and so unlock

    def _open(self) -> int:
        # Not "if it exists": another writer may rotate it away at any moment.
        with contextlib.suppress(FileNotFoundError):
            self._check_regular()
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _lock(fd, self.path)  # a header that is being written is no wrong header
            self._check_header(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._begun_us = None
        return fd

    def _check_regular(self) -> None:
        if not stat.S_ISREG(os.stat(self.path).st_mode):
            raise InputError(f"'{self.path}' is not a regular file: choose another path")

    def _check_header(self, fd: int) -> None:
        start = os.pread(fd, max(len(self._header), 100), 0)
        if not start or start.startswith(self._header):
            return
        found = start.partition(b"\n")[0].decode(errors="backslashreplace")
        raise InputError(
            f"'{self.path}' has other columns and is left alone: it begins with {found!r} and not "
            f"with {self._header.decode().rstrip()!r}: move it away or choose another path"
        )

    def _cut_torn_row(self, fd: int) -> int:
        """Cut off what follows the last newline, and return the length that remains."""
        size_bytes = end = os.fstat(fd).st_size
        while end > 0:
            begin = max(0, end - (1 if end == size_bytes else _BLOCK_BYTES))
            newline = os.pread(fd, end - begin, begin).rfind(b"\n")
            if newline >= 0:
                end = begin + newline + 1
                break
            end = begin
        if end < size_bytes:
            os.ftruncate(fd, end)
            logger.warning(
                "'%s' ended in a row that was never completed: %d bytes cut off",
                self.path,
                size_bytes - end,
            )
        return end

    def _is_rotation_due(self, fd: int, size_bytes: int, more_bytes: int, time_us: int) -> bool:
        if not self._rotation.enabled or not more_bytes or size_bytes <= len(self._header):
            return False
        if self._begun_us is None:
            first_field = os.pread(fd, 24, len(self._header)).partition(b",")[0]
            # A file that someone edited may begin with anything: then it begins now.
            self._begun_us = int(first_field) if first_field.isdigit() else time_us
        return self._rotation.is_due(self._begun_us, time_us, size_bytes + more_bytes)

    def _write(self, fd: int, size_bytes: int, rows: bytes) -> None:
        """Write the header if there is none, and the rows: all in one write, or nothing."""
        data = rows if size_bytes else self._header + rows
        if not data:
            return
        try:
            written = os.write(fd, data)
            if written < len(data):
                # The next write fails with the reason that stopped the first.
                written += os.write(fd, data[written:])
            if written < len(data):
                raise DamonError(f"'{self.path}' can't be written: {written} of {len(data)} bytes")
        except BaseException:
            os.ftruncate(fd, size_bytes)
            raise


def _lock(fd: int, path: Path) -> None:
    """Lock a file against other writers.

    Raises:
        DamonError: Somebody else holds the lock for long: sampling can't wait for it.
    """
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise DamonError(f"'{path}' is locked by another program") from error
            time.sleep(_LOCK_POLL_S)
        else:
            return
