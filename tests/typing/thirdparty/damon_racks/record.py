"""A format of records."""

from collections.abc import Callable, Iterator
from pathlib import Path

from damon_core import (
    RecordFormat,
    RecordInfo,
    RecordReader,
    RecordWriter,
    SelfClosing,
    Snapshot,
    hookimpl,
)


class Reader(SelfClosing):
    """Reads nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def info(self) -> RecordInfo:
        """Say how it was made."""
        return RecordInfo.here()

    def span_us(self) -> tuple[int, int] | None:
        """Say that there is nothing."""
        return None

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield nothing."""
        yield from ()

    def close(self) -> None:
        """Close."""


class Writer(SelfClosing):
    """Writes nothing."""

    def write(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""

    def close(self) -> None:
        """Close."""


def read(path: Path) -> RecordReader:
    """Open a record."""
    return Reader(path)


def write(_path: Path, _info: RecordInfo) -> RecordWriter:
    """Begin a record."""
    return Writer()


@hookimpl
def register_formats(register: Callable[[RecordFormat], None]) -> None:
    """Register."""
    register(RecordFormat("lines", (".lines",), read, write, "One line a region"))
