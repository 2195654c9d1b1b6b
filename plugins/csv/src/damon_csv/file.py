"""A file of whole rows, whatever happens: several writers, rotation, a kill, a full disk.

Writers, in this process or others, take turns by a lock that readers can't hold (`WriterLock`), and
each turn is one write. So a writer that finds a torn row under the lock knows that its author is
gone. Nobody keeps count of writers: a file that was rotated by another is noticed by its inode.
"""

import contextlib
import logging
import os
import stat
import tempfile
from collections import deque
from pathlib import Path

from damon_core import (
    PRIVATE_MODE,
    DamonError,
    InputError,
    Rotation,
    WriterLock,
    let_read,
    move_aside,
    output_path,
)

logger = logging.getLogger(__name__)

#: How long a turn of another writer is waited for: while sampling, and at the end.
_WAIT_S = 0.005
_WAIT_AT_END_S = 2.0
#: Rows that wait for another writer take no more memory.
_MOST_WAITING_BYTES = 1 << 24
_BLOCK_BYTES = 65_536


class CsvFile:
    """A file that begins with one header line and is only ever appended to, by whole rows.

    Args:
        path: Where it is. Symbolic links are followed once, here.
        header: Its first line, with the newline.
        rotation: When to begin a new one.
        group: A group that may read files; None: they are for their owner alone.

    Not thread-safe: each thread has an object of its own, also for the same path.

    Raises:
        InputError: Another user's link is on the way there, and the process is root's.
    """

    def __init__(
        self,
        path: Path,
        header: bytes,
        rotation: Rotation | None = None,
        group: str | None = None,
    ) -> None:
        self.path = output_path(path)
        self._group = group
        self._lock = WriterLock(self.path)
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
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
                fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
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

        Opens the file if it isn't open. While another writer has its turn the rows wait in memory,
        for the next call or for `close`.

        Args:
            rows: Lines, each with its newline, the first field of each being its time.
            time_us: The time of these rows, microseconds since 1970-01-01 UTC.

        Raises:
            InputError: A file with another header has taken the place.
            DamonError: They can't be written; the file is as it was before. Or another writer
                has had its turn for so long that no more rows can wait.
        """
        if self._waiting_bytes + len(rows) > _MOST_WAITING_BYTES:
            raise DamonError(f"'{self.path}' is locked by another program")
        these = rows, time_us
        self._waiting.append(these)
        self._waiting_bytes += len(rows)
        try:
            self._write_waiting(_WAIT_S)
        except BaseException:
            if self._waiting and self._waiting[-1] is these:
                self._waiting.pop()
                self._waiting_bytes -= len(rows)
            raise

    def close(self) -> None:
        """Close the file; does nothing if it isn't open.

        Raises:
            DamonError: Rows that waited can't be written.
        """
        try:
            if self._waiting and not self._write_waiting(_WAIT_AT_END_S):
                lost = sum(1 for rows, _ in self._waiting if rows)
                raise DamonError(
                    f"'{self.path}' is locked by another program: {lost} aggregations are lost"
                )
        finally:
            self._waiting.clear()
            self._waiting_bytes = 0
            self._close_file()
            self._lock.release()

    def _close_file(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write_waiting(self, wait_s: float) -> bool:
        """Write what waits; return whether that was possible."""
        try:
            if not self._lock.acquire(wait_s):
                return False
            try:
                while self._waiting:
                    rows, time_us = self._waiting.popleft()
                    self._waiting_bytes -= len(rows)
                    self._append(rows, time_us)
            finally:
                self._lock.release()
        except OSError as error:
            raise DamonError(f"'{self.path}' can't be written: {error.strerror}") from error
        return True

    def _append(self, rows: bytes, time_us: int) -> None:
        fd, size_bytes = self._whole_rows()
        if self._is_rotation_due(fd, size_bytes, len(rows), time_us):
            move_aside(self.path, time_us)
            fd, size_bytes = self._whole_rows()
            self._rotation.remove_oldest(self.path, time_us)
        self._write(fd, size_bytes, rows)

    def _whole_rows(self) -> tuple[int, int]:
        """Return the file that is at the path now, with its length in whole rows."""
        if self._fd is not None and not self._is_at_path(self._fd):
            self._close_file()
        fd = self._open() if self._fd is None else self._fd
        return fd, self._cut_torn_row(fd)

    def _is_at_path(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):
            self._check_regular()
        try:
            fd = os.open(self.path, flags)
        except FileNotFoundError:
            fd = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
            let_read(fd, self._group)
        try:
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
