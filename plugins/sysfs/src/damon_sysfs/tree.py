"""Reading and writing the kernel's files of DAMON below `/sys/kernel/mm/damon/admin`.

Writing to ``kdamonds/nr_kdamonds`` removes all directories of kdamonds and makes new ones; it fails
while a kdamond runs. The kernel's documentation, admin-guide/mm/damon/usage, describes the files of
a kdamond (state, pid, contexts/0/…).
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

ADMIN = Path("/sys/kernel/mm/damon/admin")

NUMBER = "kdamonds/nr_kdamonds"
#: Files of a kdamond that are not settings.
_NO_SETTINGS = {"state", "pid"}
#: While one writer is active, the kernel refuses others with EBUSY: they try again for this long.
_WRITE_SECONDS = 2.0
#: And readers, for longer: nothing else refuses them, and to make all directories takes seconds on
#: a slow machine.
_READ_SECONDS = 30.0
_PAUSE_SECONDS = 0.005

_Result = TypeVar("_Result")


class Tree:
    """The directories of the kernel's DAMON.

    Args:
        root: The topmost one. All paths are relative to it.
    """

    def __init__(self, root: Path = ADMIN) -> None:
        self.root = root

    def read(self, path: str) -> str:
        """Return the content of a file, without the newline.

        Raises:
            OSError: The file doesn't exist or can't be read.
        """

        def read() -> str:
            return (self.root / path).read_text(encoding="ascii").strip()

        return retrying(read, _READ_SECONDS)

    def write(self, path: str, value: object) -> None:
        """Write a value to a file.

        Raises:
            OSError: The file doesn't exist, or the kernel refuses the value.
        """

        def write() -> None:
            # Without O_CREAT: a missing file is a feature that the kernel lacks.
            descriptor = os.open(self.root / path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{value}\n".encode("ascii"))
            finally:
                os.close(descriptor)

        retrying(write)

    def write_all(self, files: Mapping[str, object], below: str = "") -> None:
        """Write values to files, in the order of the mapping."""
        for path, value in files.items():
            self.write(below + path, value)

    def holds(self, files: Mapping[str, object], below: str = "") -> bool:
        """Return whether files contain these values."""
        try:
            return all(self.read(below + path) == str(value) for path, value in files.items())
        except OSError:
            return False

    def has(self, path: str) -> bool:
        """Return whether a file exists."""
        return (self.root / path).exists()

    def number(self) -> int:
        """Return the number of directories of kdamonds."""
        return int(self.read(NUMBER))

    def running(self) -> dict[int, int]:
        """Return the thread ids of the running kdamonds, by the number of their directory."""
        found = {}
        for path in (self.root / "kdamonds").glob("[0-9]*"):
            kdamond = f"kdamonds/{path.name}"
            with contextlib.suppress(FileNotFoundError):  # removed in the meantime
                if self.read(f"{kdamond}/state") == "on":
                    found[int(path.name)] = int(self.read(f"{kdamond}/pid"))
        return dict(sorted(found.items()))

    def save(self) -> dict[str, str]:
        """Return all settings for `restore`, parents before children."""
        settings = {NUMBER: self.read(NUMBER)}
        for folder, folders, files in os.walk(self.root / "kdamonds"):
            folders.sort()
            for name in sorted(files, key=lambda name: not name.startswith("nr_")):
                path = Path(folder, name)
                if name not in _NO_SETTINGS and path.stat().st_mode & stat.S_IWUSR:
                    with contextlib.suppress(OSError):
                        relative = str(path.relative_to(self.root))
                        settings[relative] = self.read(relative)
        return settings

    def restore(self, settings: Mapping[str, str]) -> None:
        """Restore all directories and settings that `save` returned.

        Raises:
            OSError: A kdamond runs.
        """
        self.write(NUMBER, settings[NUMBER])
        for path, value in settings.items():
            # Some files contain values that may not be written, such as an empty list.
            with contextlib.suppress(OSError):
                if path != NUMBER and value and self.read(path) != value:
                    self.write(path, value)


def retrying(action: Callable[[], _Result], seconds: float = _WRITE_SECONDS) -> _Result:
    """Call `action`, and again for some seconds if the kernel is busy with another writer.

    Raises:
        OSError: What `action` raised last.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_SECONDS)
