"""What damo's format has no place for, kept in keys of our own that damo passes over.

Under the key `KEY` a record (all that there is of one target) has its names and how it was made,
and a snapshot what it doesn't have in common with the record. When damo writes such a file
anew they are gone.
"""

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from damon_core import Intervals, RecordInfo, Snapshot

if TYPE_CHECKING:
    from cattrs import Converter

KEY = "damon_core"

_Notes = TypeVar("_Notes", "RecordNotes", "SnapshotNotes")


@frozen
class RecordNotes:
    """What is kept of one target.

    Attributes:
        context: The name of its context.
        target: Its name.
        info: Where and how the whole file was made.
    """

    context: str
    target: str
    info: RecordInfo = field(factory=RecordInfo)


@frozen
class SnapshotNotes:
    """What is kept of an aggregation.

    Attributes:
        intervals: Those in force in it.
        max_nr_accesses: How many checks it made.
    """

    intervals: Intervals
    max_nr_accesses: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> "SnapshotNotes":
        """Return what is to be kept of an aggregation."""
        return cls(snapshot.intervals, snapshot.max_nr_accesses)

    @classmethod
    def usual(cls, intervals: Intervals) -> "SnapshotNotes":
        """Return what holds where nothing is kept: all checks of the record's intervals."""
        return cls(intervals, intervals.checks)


def unstructure(notes: RecordNotes | SnapshotNotes) -> dict[str, Any]:
    """Return notes as JSON's values."""
    values: dict[str, Any] = _converter().unstructure(notes)
    return values


def record_notes(header: dict[str, Any]) -> RecordNotes:
    """Return the notes of a record, or what damo's own numbers say.

    Raises:
        ValueError: There are notes that aren't ours.
    """
    if KEY in header:
        return _structure(header[KEY], RecordNotes)
    numbers = [("kdamond", "kdamond_idx"), ("context", "context_idx"), ("scheme", "scheme_idx")]
    named = [f"{name}-{header[key]}" for name, key in numbers if header.get(key) is not None]
    return RecordNotes(
        "-".join(named) or "damo",
        f"target {header.get('target_id')}",
        RecordInfo(program="damo"),
    )


def snapshot_notes(snapshot: dict[str, Any], usual: SnapshotNotes) -> SnapshotNotes:
    """Return the notes of a snapshot, or those usual in its record.

    Raises:
        ValueError: There are notes that aren't ours.
    """
    return _structure(snapshot[KEY], SnapshotNotes) if KEY in snapshot else usual


def _structure(values: Any, kind: type[_Notes]) -> _Notes:
    try:
        return _converter().structure(values, kind)
    except Exception as error:  # cattrs wraps whatever went wrong
        raise ValueError(f"unknown notes under the key '{KEY}'") from error


@functools.cache
def _converter() -> "Converter":
    # Imported here: whoever looks for the format of another record waits for this module, too.
    from cattrs import Converter  # noqa: PLC0415

    return Converter()
