"""Files that parts write: who may read them, who may write them at a time, whose links count.

A record has addresses and names of mappings, which /proc protects. So files are for their owner
alone, unless a group is named that may read them.
"""

import contextlib
import fcntl
import grp
import os
import stat
import time
from pathlib import Path

from damon_core.errors import InputError

#: Of new files: for their owner alone, and with a group that may read them.
PRIVATE_MODE = 0o600
GROUP_MODE = 0o640

_LOCK_POLL_S = 0.001
#: As many links in a row as the kernel follows.
_MOST_LINKS = 40


def output_path(path: Path) -> Path:
    """Return where a file is to be written: absolute, with symbolic links followed.

    Raises:
        InputError: The process is root's, and another user made one of the links: root would
            write where that user likes.
    """
    if os.geteuid() == 0:
        _check_links(path)
    return Path(os.path.realpath(path))


def _check_links(path: Path) -> None:
    at = Path("/")
    left = list(reversed(path.absolute().parts[1:]))
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            at = at.parent
            continue
        at /= part
        try:
            found = os.lstat(at)
        except OSError:
            continue  # That shows when it is opened.
        if not stat.S_ISLNK(found.st_mode):
            continue
        if found.st_uid != 0:
            raise InputError(
                f"'{path}': '{at}' is a link that user {found.st_uid} made, and root doesn't "
                "follow it: choose another path"
            )
        links += 1
        if links > _MOST_LINKS:
            return
        parts = Path(os.readlink(at)).parts
        at = at.parent
        if parts and parts[0] == "/":
            at, parts = Path("/"), parts[1:]
        left += reversed(parts)


def let_read(fd: int, group: str | None) -> None:
    """Let a group read a file that was just made; without one it stays private.

    Raises:
        KeyError: There is no such group.
        OSError: The process may not give files to it.
    """
    if group is not None:
        os.fchown(fd, -1, grp.getgrnam(group).gr_gid)
        os.fchmod(fd, GROUP_MODE)


class WriterLock:
    """The right to write a file, which one writer at a time has.

    It is a lock (flock) on ``.NAME.lock`` beside the file, which nobody but its owner can open: so
    those who may read the file can't keep its writer waiting. Where none can be created, it is on
    the file itself. What a killed writer leaves behind is used by the next.

    Args:
        path: The file, as `output_path` returns it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f".{path.name}.lock")
        self._fd: int | None = None

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take the right to write; return whether it was free.

        Args:
            wait_s: How long to wait for it.

        Raises:
            InputError: What is in the place of the lock belongs to another user.
            OSError: The lock can't be opened.
        """
        deadline = time.monotonic() + wait_s
        while True:
            if self._fd is None:
                self._fd = self._open()
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_LOCK_POLL_S)
                continue
            if self._is_there(self._fd):
                return True
            # Its last owner has removed it.
            os.close(self._fd)
            self._fd = None

    def release(self) -> None:
        """Let others have it; nothing stays behind. Without it, do nothing."""
        if self._fd is None:
            return
        with contextlib.suppress(OSError):
            # Also of one who gives up waiting: then another has it, and removes it.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(self._fd), os.lstat(self._lock_path)):
                self._lock_path.unlink()
        # A child of a fork may have the descriptor, and with it the lock.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
        self._fd = None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._lock_path, flags, PRIVATE_MODE)
        except OSError:
            # In a directory that others write to, or on a file of another user.
            with contextlib.suppress(OSError):
                return os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            raise
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise InputError(
                f"'{self._lock_path}' belongs to user {found.st_uid}: remove it, or choose a "
                "directory where nobody else creates files"
            )
        os.fchmod(fd, PRIVATE_MODE)
        return fd

    def _is_there(self, fd: int) -> bool:
        mine = os.fstat(fd)
        for path in (self._lock_path, self._path):
            with contextlib.suppress(OSError):
                if os.path.samestat(mine, os.lstat(path)):
                    return True
        return False
