"""Records: results kept in files, whatever their format, and what is known of how they were made.

A format is a pair of functions that a package registers as a `RecordFormat`. What passes between
formats and those who use them (``damon record``, ``damon convert``, reports) are snapshots, one
at a time, so that records may be longer than memory.
"""

import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from attrs import field, frozen

from damon_core.attributes import Intervals, RegionLimits
from damon_core.contract.context import HookContext
from damon_core.contract.registration import check_name
from damon_core.errors import InputError
from damon_core.memory.snapshot import Snapshot


@frozen
class ContextInfo:
    """How one context of a record was monitored; what isn't known is empty or None.

    Attributes:
        name: The context's name, as its snapshots tell it.
        primitive: What was monitored, such as ``vaddr``.
        backend: How accesses were seen, such as ``idle``.
        policy: How regions were adjusted; empty where whoever samples does that.
        intervals: The intervals at the start; each snapshot tells those in force.
        limits: The region limits at the start.
        cpu_budget: The share of one processor that the worker could use; None for no limit.
    """

    name: str
    primitive: str = ""
    backend: str = ""
    policy: str = ""
    intervals: Intervals | None = None
    limits: RegionLimits | None = None
    cpu_budget: float | None = None

    @classmethod
    def of(cls, context: HookContext) -> Self:
        """Return how a context is monitored now."""
        return cls(
            context.name,
            context.primitive_name,
            context.backend_name,
            context.policy_name,
            context.intervals,
            context.limits,
            context.cpu_budget,
        )


@frozen
class RecordInfo:
    """Where and how a record was made; what its format doesn't keep is empty.

    Attributes:
        host: The name of the machine.
        kernel: Its kernel, such as ``Linux 6.12.107``.
        command: The command line that made the record.
        program: The version of damon-core that made it, or of the other program by name.
        contexts: How each of its contexts was monitored, as far as that is known.
    """

    host: str = ""
    kernel: str = ""
    command: str = ""
    program: str = ""
    contexts: tuple[ContextInfo, ...] = ()

    @classmethod
    def here(cls, contexts: Sequence[HookContext] = ()) -> Self:
        """Return the information of a record that this process begins now."""
        return cls(
            host=platform.node(),
            kernel=f"{platform.system()} {platform.release()}",
            command=shlex.join(sys.argv),
            program=f"damon-core {metadata.version('damon-core')}",
            contexts=tuple(ContextInfo.of(context) for context in contexts),
        )


class SelfClosing(Protocol):
    """What has to be closed, and is at the end of a ``with``; others may inherit that from here."""

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
    """A record that is open for reading. Whoever opened it closes it.

    What a format doesn't keep of snapshots is filled in: `resident_bytes` with sizes, `idle_us`
    with what ages and intervals tell, areas and owners with nothing.
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
            DamonError: It can't be kept, for a reason told; what was written before stays whole.
            OSError: Likewise.
        """

    def close(self) -> None:
        """Complete the file. Closing twice is closing once."""


_SUFFIX = re.compile(r"(\.[A-Za-z0-9_-]+)+")


def _check_suffixes(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    if not value or not all(_SUFFIX.fullmatch(suffix) for suffix in value):
        raise ValueError(f"suffixes must be such as '.csv', at least one, not {value!r}")


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

    Raises:
        ValueError: The name or a suffix has other characters.
    """

    name: str = field(validator=check_name)
    suffixes: tuple[str, ...] = field(validator=_check_suffixes)
    read: Callable[[Path], RecordReader]
    write: Callable[[Path, RecordInfo], RecordWriter]
    summary: str = ""


def format_of(path: Path, formats: Sequence[RecordFormat]) -> RecordFormat:
    """Return the format of a file, as the end of its name tells it.

    Raises:
        InputError: It has an ending of none of `formats`.
    """
    endings = {suffix: each for each in formats for suffix in each.suffixes}
    matching = [suffix for suffix in endings if path.name.endswith(suffix)]
    if not matching:
        known = ", ".join(endings) or "no format is installed"
        raise InputError(f"'{path}' has no ending that tells its format; possible: {known}")
    return endings[max(matching, key=len)]
