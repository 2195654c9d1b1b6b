"""Snapshots as a record of damo."""

import contextlib
import json
import os
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from attrs import define, field

from damon_core import (
    PRIVATE_MODE,
    DamonError,
    InputError,
    Intervals,
    RecordInfo,
    SelfClosing,
    Snapshot,
    TargetSnapshot,
    move_aside,
    output_path,
)
from damon_damo.notes import KEY, RecordNotes, SnapshotNotes, unstructure

#: So much text of a target is gathered before it is put aside.
_GATHERED_CHARACTERS = 1 << 16
#: Counts of another number of checks come back exactly.
_DECIMALS = 9


@define(eq=False)
class _Record:
    """What is known so far of one target.

    Attributes:
        begin: The text in front of its snapshots.
        intervals: Those that its numbers are of.
        gathered: Texts of its last snapshots.
        gathered_characters: How long they are.
        aside: Where the texts before are: offset and length.
    """

    begin: str
    intervals: Intervals
    gathered: list[str] = field(factory=list)
    gathered_characters: int = 0
    aside: list[tuple[int, int]] = field(factory=list)


class DamoWriter(SelfClosing):
    """Begins a record of damo; the file is made when it is closed.

    The format has all of one target in one piece, so until then everything is put aside, in a
    file without a name in the same folder. A file that is there already is renamed then, to
    ``STEM.STAMP.SUFFIX``.

    Args:
        path: The file. It is compressed, as damo has it, unless its name ends in ``.json``.
        info: Kept, though damo doesn't show it.

    Raises:
        InputError: There is no such folder, or it can't be written to.
    """

    def __init__(self, path: Path, info: RecordInfo) -> None:
        self._path = output_path(path)
        # Not a name that damo or we would take for a record.
        self._unfinished = self._path.with_name(f".{self._path.name}.{os.getpid()}.unfinished")
        self._info = info
        self._records: dict[tuple[str, str], _Record] = {}
        self._contexts: dict[str, int] = {}
        try:
            self._check()
            # Open until close.
            self._aside = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
        except OSError as error:
            raise InputError(f"'{path}' can't be written: {error.strerror}") from error
        self._aside_bytes = 0

    def write(self, snapshot: Snapshot) -> None:
        """Append an aggregation; one without targets can't be kept.

        Raises:
            DamonError: There is no room for it; what was written before stays.
        """
        texts = []
        for target in snapshot.targets:
            key = snapshot.context, target.name
            if key not in self._records:
                self._records[key] = self._begin(snapshot, target.name)
            record = self._records[key]
            if record.gathered_characters >= _GATHERED_CHARACTERS:
                self._put_aside(record)
            texts.append((record, _snapshot_text(snapshot, target, record.intervals)))
        for record, text in texts:
            record.gathered.append(text)
            record.gathered_characters += len(text)

    def close(self) -> None:
        """Make the file. Closing twice is closing once.

        Raises:
            DamonError: It can't be written; what was there before is left as it was.
        """
        if self._aside.closed:
            return
        unfinished = self._unfinished
        try:
            with self._aside, open(unfinished, "xb", opener=_private) as file:
                self._write_all(file)
                file.flush()
                os.fsync(file.fileno())
            if os.path.lexists(self._path):
                move_aside(self._path, time.time_ns() // 1_000)
            unfinished.rename(self._path)
        except OSError as error:
            raise DamonError(f"'{self._path}' can't be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()

    def _check(self) -> None:
        """See whether the file can be made when all has been recorded.

        Raises:
            InputError: Something else is there.
            OSError: It can't be.
        """
        if os.path.lexists(self._path) and not stat.S_ISREG(os.lstat(self._path).st_mode):
            raise InputError(f"'{self._path}' is not a regular file: choose another path")
        # Its name is longer than that of the file.
        os.close(_private(str(self._unfinished), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        self._unfinished.unlink()

    def _begin(self, snapshot: Snapshot, target: str) -> _Record:
        intervals = snapshot.intervals
        header = {
            "kdamond_idx": self._contexts.setdefault(snapshot.context, len(self._contexts)),
            "context_idx": 0,
            "intervals": {
                "sample_us": str(intervals.sampling_us),
                "aggr_us": str(intervals.aggregation_us),
                "ops_update_us": str(intervals.update_us),
            },
            "scheme_idx": None,
            # Unique in the file: damo's reports don't always look at the kdamond.
            "target_id": len(self._records),
            "scheme_filters": [],
            "data_source": "unknown",
            KEY: unstructure(RecordNotes(snapshot.context, target, self._info)),
        }
        return _Record(json.dumps(header)[:-1] + ', "snapshots": [\n', intervals)

    def _put_aside(self, record: _Record) -> None:
        """Move what was gathered of a target to the file without a name."""
        data = zlib.compress(",\n".join(record.gathered).encode(), 1)
        try:
            self._aside.seek(self._aside_bytes)
            self._aside.write(data)
            self._aside.flush()
        except OSError as error:
            raise DamonError(f"'{self._path}' can't be written: {error.strerror}") from error
        record.aside.append((self._aside_bytes, len(data)))
        self._aside_bytes += len(data)
        record.gathered.clear()
        record.gathered_characters = 0

    def _write_all(self, file: BinaryIO) -> None:
        if self._path.suffix == ".json":
            for text in self._texts():
                file.write(text)
            return
        deflate = zlib.compressobj()
        for text in self._texts():
            file.write(deflate.compress(text))
        file.write(deflate.flush())

    def _texts(self) -> Iterator[bytes]:
        """Yield the whole text of the file."""
        yield b"["
        for number, record in enumerate(self._records.values()):
            yield (",\n" if number else "").encode() + record.begin.encode()
            separator = b""
            for offset, length in record.aside:
                self._aside.seek(offset)
                yield separator + zlib.decompress(self._aside.read(length))
                separator = b",\n"
            if record.gathered:
                yield separator + ",\n".join(record.gathered).encode()
            yield b"]}"
        yield b"]\n"


def _private(path: str, flags: int) -> int:
    """Create a file for its owner alone, as `open` wants it."""
    return os.open(path, flags, PRIVATE_MODE)


def _snapshot_text(snapshot: Snapshot, target: TargetSnapshot, intervals: Intervals) -> str:
    """Return one target's share of an aggregation.

    Args:
        snapshot: All of it.
        target: The target.
        intervals: Those that numbers are of: damo knows one pair for a whole record, so counts
            are of as many checks as these make, and ages in these aggregations.
    """
    nr_accesses = target.nr_accesses
    if snapshot.max_nr_accesses != intervals.checks:
        nr_accesses = nr_accesses * (intervals.checks / max(snapshot.max_nr_accesses, 1))
    ages = target.age.tolist()
    ages_us = ["null"] * len(ages)
    aggregation_us = snapshot.intervals.aggregation_us
    if aggregation_us != intervals.aggregation_us:
        ages_us = [f'"{age * aggregation_us}"' for age in ages]
        ages = [age * aggregation_us // intervals.aggregation_us for age in ages]
    regions = ",".join(
        f'{{"start":"{start}","end":"{end}",'
        f'"nr_accesses":{{"samples":{int(count) if count.is_integer() else count},'
        f'"percent":null}},"age":{{"usec":{age_us},"aggr_intervals":"{age}"}}}}'
        for start, end, count, age_us, age in zip(
            target.start.tolist(),
            target.end.tolist(),
            nr_accesses.round(_DECIMALS).tolist(),
            ages_us,
            ages,
            strict=True,
        )
    )
    notes = SnapshotNotes.of(snapshot)
    more = "" if notes == SnapshotNotes.usual(intervals) else _notes_text(notes)
    begin_ns = (snapshot.time_us - snapshot.elapsed_us) * 1_000
    return (
        f'{{"start_time":"{begin_ns}","end_time":"{snapshot.time_us * 1_000}",'
        f'"regions":[{regions}],"total_bytes":"{int(target.size_bytes.sum())}",'
        f'"damos_stats":null,"sample_interval_us":null{more}}}'
    )


def _notes_text(notes: SnapshotNotes) -> str:
    return f',"{KEY}":{json.dumps(unstructure(notes))}'
