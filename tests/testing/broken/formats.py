"""Formats of records with one mistake each: they read and write CSV, but for that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
from damon_csv.record import CsvReader, CsvWriter

from damon_core import RecordInfo, Snapshot
from damon_core.contract.records import RecordReader, RecordWriter


def reads_anything(path: Path) -> RecordReader:
    """Take any file for one of the format, and fail on what is in it."""
    path.read_bytes().index(b"context")
    return CsvReader(path)


def reads_whole_files(path: Path) -> RecordReader:
    """Fail on a file whose last line isn't whole."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise EOFError
    return CsvReader(path)


def reads_what_is_there(path: Path) -> RecordReader:
    """Leave it to the user to find out that the file isn't there."""
    path.stat()
    return CsvReader(path)


def needs_an_aggregation(path: Path) -> RecordReader:
    """Read the first aggregation, though there may be none."""
    with CsvReader(path) as reader:
        next(iter(reader.snapshots()))
    return CsvReader(path)


def overwrites(path: Path, info: RecordInfo) -> RecordWriter:
    """Remove what is in the way."""
    path.unlink(missing_ok=True)
    return CsvWriter(path, info)


def lets_all_read(path: Path, info: RecordInfo) -> RecordWriter:
    """Let anybody read the file."""
    writer = CsvWriter(path, info)
    path.chmod(0o644)
    return writer


class LosesEverySecond(CsvWriter):
    """Writes every second aggregation."""

    def write(self, snapshot: Snapshot) -> None:
        if snapshot.number % 2:
            super().write(snapshot)


class HasRoomForFew(CsvWriter):
    """Writes aggregations of at most a hundred regions."""

    def write(self, snapshot: Snapshot) -> None:
        if len(snapshot) <= 100:
            super().write(snapshot)


class NeedsTargets(CsvWriter):
    """Takes the first target, though there may be none."""

    def write(self, snapshot: Snapshot) -> None:
        _ = snapshot.targets[0].start[0]
        super().write(snapshot)


class ForgetsContexts(CsvWriter):
    """Writes the aggregations of the second context as if they were of the first."""

    def write(self, snapshot: Snapshot) -> None:
        name = "one" if snapshot.context == "two" and snapshot.number == 1 else snapshot.context
        super().write(attrs.evolve(snapshot, context=name))


class ClosesOnce(CsvWriter):
    """Fails if it is closed twice."""

    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        super().close()


class IgnoresTimes(CsvReader):
    """Yields all aggregations, whichever are asked for."""

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        return super().snapshots()


class KnowsNothing(CsvReader):
    """Doesn't say how the record was made."""

    info: Any = None


class LeavesDescriptor(CsvReader):
    """Never closes its file."""

    kept: ClassVar[list[Any]] = []

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kept.append(path.open())


#: How a format reads and writes, and the rule that shows the mistake.
FORMATS: list[tuple[Any, Any, str]] = [
    (reads_anything, CsvWriter, "other-file"),
    (reads_whole_files, CsvWriter, "cut-file"),
    (reads_what_is_there, CsvWriter, "not-there"),
    (needs_an_aggregation, CsvWriter, "empty-record"),
    (CsvReader, overwrites, "never-overwrites"),
    (CsvReader, lets_all_read, "private"),
    (CsvReader, LosesEverySecond, "round-trip"),
    (CsvReader, HasRoomForFew, "thousand-regions"),
    (CsvReader, NeedsTargets, "no-regions"),
    (CsvReader, ForgetsContexts, "several-contexts"),
    (CsvReader, ClosesOnce, "closes-twice"),
    (IgnoresTimes, CsvWriter, "times"),
    (KnowsNothing, CsvWriter, "info"),
    (LeavesDescriptor, CsvWriter, "nothing-left"),
]


def clear() -> None:
    """Give back what broken formats have left behind."""
    while LeavesDescriptor.kept:
        LeavesDescriptor.kept.pop().close()
