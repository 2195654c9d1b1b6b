"""The record that is reported, open for reading."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import click
from attrs import define, field
from damon_cli.params import pass_plugins
from damon_cli.reading import reading_progress

from damon_core import (
    DamonError,
    InputError,
    Plugins,
    RecordInfo,
    RecordReader,
    SelfClosing,
    Snapshot,
    format_duration,
    format_of,
)
from damon_report.chain import Chain
from damon_report.naming import AreaCache, printable
from damon_report.selection import (
    Moment,
    Selection,
    mapping_matches,
    matches,
    selection_options,
)
from damon_report.times import local_time

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: The record that is reported if none is named; `damon record` writes it.
DEFAULT_PATH = Path("damon.parquet")

#: How much of the end of a record is looked through for its last aggregations, one after another.
_WINDOWS_US = (10_000_000, 600_000_000, 1 << 62)
#: How many snapshots, and names of theirs, are told of where nothing was found.
_LOOKED_THROUGH = 1_000
_NAMES_TOLD = 8


@define(eq=False)
class Record(SelfClosing):
    """What is selected of a record. It may be gone through several times.

    A record whose end is damaged is reported up to there, with a warning.

    Attributes:
        paths: Where it is; it may be in several files.
        reader: The whole of it.
        selection: What of it is reported.
        areas: Columns of its targets' areas.
    """

    paths: tuple[Path, ...]
    reader: RecordReader
    selection: Selection
    areas: AreaCache = field(factory=AreaCache, init=False)
    _whole_us: tuple[int, int] = field(init=False)
    _warned: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        span_us = self.reader.span_us()
        if span_us is None:
            raise InputError(
                f"'{self.name}' holds nothing: it ended before its first aggregation was complete"
            )
        # A single aggregation has no beginning in formats that tell only ends.
        self._whole_us = min(span_us[0], span_us[1] - 1), span_us[1]

    @property
    def name(self) -> str:
        """What to call it."""
        more = len(self.paths) - 1
        return f"{self.paths[0]} and {more} more" if more else str(self.paths[0])

    @property
    def info(self) -> RecordInfo:
        """Where and how it was made."""
        return self.reader.info

    @property
    def start_us(self) -> int:
        """When the whole record began, Unix microseconds."""
        return self._whole_us[0]

    def span_us(self) -> tuple[int, int]:
        """Return when the selected time begins and ends, Unix microseconds.

        Raises:
            InputError: The record has nothing in this time.
        """
        start_us, end_us = self._whole_us
        if self.selection.begin is not None:
            start_us = max(start_us, self.selection.begin.of(self.start_us))
        if self.selection.end is not None:
            end_us = min(end_us, self.selection.end.of(self.start_us))
        if start_us >= end_us:
            raise InputError(self._why_no_time())
        return start_us, end_us

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield what is selected of each snapshot, in the order of time.

        Raises:
            InputError: Nothing is selected.
            DamonError: The record can't be read from its beginning on.
        """
        begin_us, end_us = self.span_us()
        found = False
        with reading_progress("reading", (begin_us, end_us)) as advance:
            for snapshot in self._between(begin_us, end_us):
                found = found or self._counts(snapshot)
                advance(snapshot.time_us)
                yield snapshot
        if not found:
            raise InputError(self._why_nothing())

    def last(self, at: Moment | None = None) -> list[Snapshot]:
        """Return the last selected snapshot of each context, in the order of their names.

        That is the last with regions, if there is one: often a record ends after its targets.

        Args:
            at: The last that was complete at this time, with regions or without.

        Raises:
            InputError: Nothing is selected.
            DamonError: The record can't be read from its beginning on.
        """
        begin_us, end_us = self.span_us()
        if at is not None:
            end_us = min(end_us, at.of(self.start_us))
            if end_us <= begin_us:
                raise InputError(self._why_no_time())
        contexts = {context.name for context in self.info.contexts}
        if self.selection.contexts:
            contexts = {name for name in contexts if matches(name, self.selection.contexts)}
        found: dict[str, Snapshot] = {}
        empty: dict[str, Snapshot] = {}
        for window_us in _WINDOWS_US:
            # Most often the end of the record is enough, and it is much shorter.
            from_us = max(begin_us, end_us - window_us)
            for snapshot in self._between(from_us, end_us):
                if len(snapshot) or (at is not None and self._counts(snapshot)):
                    found[snapshot.context] = snapshot
                elif self._counts(snapshot):
                    empty[snapshot.context] = snapshot
            if from_us == begin_us or (found and contexts <= found.keys()):
                break
        found = empty | found
        if not found:
            raise InputError(self._why_nothing())
        return [found[name] for name in sorted(found)]

    def close(self) -> None:
        """Close the record."""
        self.reader.close()

    def _between(self, begin_us: int, end_us: int) -> Iterator[Snapshot]:
        whole = (begin_us, end_us) == self._whole_us
        any_was_read = False
        try:
            for snapshot in self.reader.snapshots(*((None, None) if whole else (begin_us, end_us))):
                any_was_read = True
                selected = self.selection.of_snapshot(snapshot, self.areas)
                if selected is not None:
                    yield selected
        except DamonError as error:
            if not any_was_read:
                raise
            if not self._warned:
                logger.warning("%s; what comes before is reported", error.message)
            self._warned = True

    def _counts(self, snapshot: Snapshot) -> bool:
        """Tell whether a snapshot has something that was selected: not only the same target."""
        return len(snapshot) > 0 or not self.selection.cuts

    def _why_no_time(self) -> str:
        start_us, end_us = self._whole_us
        return (
            f"'{self.name}' has nothing in this time: it is of {format_duration(end_us - start_us)}"
            f", from {local_time(start_us)} to {local_time(end_us)}"
        )

    def _why_nothing(self) -> str:
        """Return what was asked for in vain, and what there is."""
        chosen = self.selection
        contexts: set[str] = set()
        targets: set[str] = set()
        mappings: set[str] = set()
        for snapshot in islice(self.reader.snapshots(*self.span_us()), _LOOKED_THROUGH):
            contexts.add(snapshot.context)
            if chosen.contexts and not matches(snapshot.context, chosen.contexts):
                continue
            for target in snapshot.targets:
                targets.add(target.name)
                if not chosen.targets or matches(target.name, chosen.targets):
                    mappings.update(area.name for area in target.areas)
        if not contexts:
            return f"'{self.name}' has no aggregation that was complete in this time"
        for kind, patterns, names, test in (
            ("context", chosen.contexts, contexts, matches),
            ("target", chosen.targets, targets, matches),
            ("mapping", chosen.mappings, mappings, mapping_matches),
        ):
            if patterns and not any(test(name, patterns) for name in names):
                wanted = " or ".join(f"'{pattern}'" for pattern in patterns)
                return f"'{self.name}' has no {kind} {wanted}; {_told(names)}"
        return f"'{self.name}' has no regions at the addresses and in the mappings selected"


def _told(names: set[str]) -> str:
    """Return some names, for a user who gave another."""
    if not names:
        return "it tells none"
    # Of a file the last part is enough, and shorter.
    short = sorted({name.rpartition("/")[2] or name for name in names})
    some = [printable(name) for name in short[:_NAMES_TOLD]]
    more = len(short) - len(some)
    return "there are: " + ", ".join(some) + (f" and {more} more" if more else "")


def record_options(function: Callable[..., T]) -> Callable[..., T]:
    """Give a click command the record that it reports, open, as `record`.

    A decorator, above those of the command's own options: it adds the argument RECORD, which may be
    several files, and the options that select part of it. The record is closed when the command is
    done.
    """

    @click.argument("paths", metavar="[RECORD]...", nargs=-1, type=click.Path(path_type=Path))
    @selection_options
    @functools.wraps(function)
    @pass_plugins
    def command(
        plugins: Plugins,
        /,
        *args: object,
        paths: tuple[Path, ...],
        selection: Selection,
        **own: object,
    ) -> T:
        with open_record(plugins, paths or (DEFAULT_PATH,), selection) as record:
            return function(*args, record=record, **own)

    return command


def open_record(plugins: Plugins, paths: tuple[Path, ...], selection: Selection) -> Record:
    """Open a record of any installed format, or several of different times as one.

    Raises:
        InputError: One can't be read or has no known format, they overlap, or they hold nothing.
    """
    with contextlib.ExitStack() as opened:
        readers = {}
        for path in paths:
            if path == DEFAULT_PATH and not path.exists():
                raise InputError(
                    f"there is no '{path}' in this directory: make one with 'damon record', or "
                    "name another"
                )
            if path not in readers:
                reader = format_of(path, plugins.formats()).read(path)
                readers[path] = opened.enter_context(reader)
        whole = Chain(readers) if len(readers) > 1 else readers[paths[0]]
        record = Record(tuple(readers), whole, selection)
        opened.pop_all()
        return record
