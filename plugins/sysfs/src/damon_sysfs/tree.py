"""The kernel's directories of DAMON below `/sys/kernel/mm/damon/admin`: reading and writing.

``kdamonds/nr_kdamonds`` makes and removes the directories of kdamonds, always all of them, and
only while none runs. What is in one: state, pid, contexts/0/… as in the kernel's documentation,
admin-guide/mm/damon/usage.
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
#: Files of a kdamond that are no settings.
_NO_SETTINGS = {"state", "pid"}
#: One writer at a time: the kernel answers EBUSY to the others instead of letting them wait.
_PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.005

_Result = TypeVar("_Result")


class Tree:
    """The directories.

    Args:
        root: Where they are.
    """

    def __init__(self, root: Path = ADMIN) -> None:
        self.root = root

    def read(self, path: str) -> str:
        """Return what is in a file, without the newline.

        Raises:
            OSError: It isn't there or can't be read.
        """
        return _patiently(lambda: (self.root / path).read_text(encoding="ascii").strip())

    def write(self, path: str, value: object) -> None:
        """Write a value.

        Raises:
            OSError: It isn't there, or the kernel refuses the value.
        """

        def write() -> None:
            # Never O_CREAT: what isn't there is a feature that the kernel lacks.
            descriptor = os.open(self.root / path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{value}\n".encode("ascii"))
            finally:
                os.close(descriptor)

        _patiently(write)

    def write_all(self, files: Mapping[str, object], below: str = "") -> None:
        """Write several values, in their order."""
        for path, value in files.items():
            self.write(below + path, value)

    def holds(self, files: Mapping[str, object], below: str = "") -> bool:
        """Tell whether files hold these values."""
        try:
            return all(self.read(below + path) == str(value) for path, value in files.items())
        except OSError:
            return False

    def has(self, path: str) -> bool:
        """Tell whether a file is there."""
        return (self.root / path).exists()

    def number(self) -> int:
        """Return how many directories of kdamonds there are."""
        return int(self.read(NUMBER))

    def running(self) -> dict[int, int]:
        """Return the thread ids of the kdamonds that run, by the number of their directory."""
        found = {}
        for path in (self.root / "kdamonds").glob("[0-9]*"):
            kdamond = f"kdamonds/{path.name}"
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                if self.read(f"{kdamond}/state") == "on":
                    found[int(path.name)] = int(self.read(f"{kdamond}/pid"))
        return dict(sorted(found.items()))

    def save(self) -> dict[str, str]:
        """Return all settings, parents before children, as `restore` takes them."""
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
        """Bring back all directories and settings that were saved.

        Raises:
            OSError: A kdamond runs.
        """
        self.write(NUMBER, settings[NUMBER])
        for path, value in settings.items():
            # Some files tell what may not be written, such as a list that is empty.
            with contextlib.suppress(OSError):
                if path != NUMBER and value and self.read(path) != value:
                    self.write(path, value)


def _patiently(action: Callable[[], _Result]) -> _Result:
    """Try again as long as the kernel is busy with another writer and patience lasts."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_SECONDS)
