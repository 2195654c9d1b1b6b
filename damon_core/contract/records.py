"""Records: results kept in files, whatever their format.

A format is a pair of functions that a package registers as a `RecordFormat`. What passes between
formats and those who use them (``damon record``, ``damon convert``, reports) are snapshots, one
at a time, so that records may be longer than memory.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from attrs import field, frozen

from damon_core.contract.provenance import RecordInfo
from damon_core.contract.registration import check_name
from damon_core.errors import InputError
from damon_core.memory.snapshot import Snapshot


class SelfClosing(Protocol):
    """Something to be closed, also by leaving a ``with``: a base class of readers and writers."""

    def close(self) -> None:
        """Release what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RecordReader(SelfClosing, Protocol):
    """A record that is open for reading; to be closed by its user.

    The columns that a record lacks are filled in: `resident_bytes` with sizes, `idle_us` with what
    follows from ages, intervals with what follows from times, areas, owners and what monitoring
    has cost with nothing; `touched_bytes`, bytes idle for spans, their ages and spectra stay
    unknown.
    `RecordInfo.filled_in` of `info` names them.
    """

    @property
    def info(self) -> RecordInfo:
        """Where and how it was made."""

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first aggregation began and the last ended, Unix microseconds.

        None if there isn't any. As cheap as the format allows.
        """

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield snapshots in the order of their time, one or a few in memory at a time.

        Args:
            begin_us: Only those of aggregations that ended after this, Unix microseconds.
            end_us: Only those that ended at this time or before.

        Raises:
            DamonError: The file is damaged from here on; what came before is right.
        """


class RecordWriter(SelfClosing, Protocol):
    """A record that is being written. One thread at a time uses it."""

    def write(self, snapshot: Snapshot) -> None:
        """Append an aggregation; times never go back within a context.

        Raises:
            DamonError: It can't be kept, and why; what was written before stays whole.
            OSError: Likewise.
        """

    def close(self) -> None:
        """Complete the file. Closing twice is closing once."""


#: What compressed files end in.
_COMPRESSED = {".gz", ".xz", ".zst", ".bz2", ".zip", ".lz4"}
_SUFFIX = re.compile(r"(\.[A-Za-z0-9_-]+)+")


def _check_suffixes(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    if not value or not all(_SUFFIX.fullmatch(suffix) for suffix in value):
        raise ValueError(f"suffixes must be such as '.rows', at least one, not {value!r}")


@frozen
class RecordFormat:
    """A file format of records.

    Attributes:
        name: What people call it. Letters, digits, ``_`` and ``-``.
        suffixes: How the names of its files end, such as ``.csv``; the usual one first.
        read: Opens a file. It raises `InputError` if that isn't there or isn't of this format.
        write: Begins a new file. It raises `InputError` if that can't be written. What was in a
            file of this name before is never lost: the writer appends to it or moves it away.
        summary: One line for listings.
        pages: Whether it can keep every page of targets; see `RecordInfo.pages`.
        problem: Why it can't be used; empty for all but what stands for the format of a package
            that can't be loaded.

    Raises:
        ValueError: The name or a suffix has other characters.
    """

    name: str = field(validator=check_name)
    suffixes: tuple[str, ...] = field(validator=_check_suffixes)
    read: Callable[[Path], RecordReader]
    write: Callable[[Path, RecordInfo], RecordWriter]
    summary: str = ""
    pages: bool = False
    problem: str = ""


def format_of(path: Path, formats: Sequence[RecordFormat]) -> RecordFormat:
    """Return the format of a file, by the end of its name.

    Raises:
        InputError: It has an ending of none of `formats`, or of more than one.
    """
    endings: dict[str, list[RecordFormat]] = {}
    for each in formats:
        for suffix in each.suffixes:
            endings.setdefault(suffix, []).append(each)
    matching = [suffix for suffix in endings if path.name.endswith(suffix)]
    if not matching:
        known = ", ".join(endings) or "no format is installed"
        hint = ""
        if path.suffix in _COMPRESSED:
            hint = (
                "; compressed files aren't read: decompress it, or choose a format that compresses"
            )
        for each in formats:
            hint += f"; format '{each.name}' can't be used: {each.problem}" if each.problem else ""
        raise InputError(f"'{path}' has no ending of a known format; possible: {known}{hint}")
    ending = max(matching, key=len)
    if len(endings[ending]) > 1:
        names = " and ".join(f"'{each.name}'" for each in endings[ending])
        raise InputError(f"'{path}': files that end with {ending} are of formats {names}")
    return endings[ending][0]
