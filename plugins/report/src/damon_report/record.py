"""The record of a report, open for reading."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from attrs import define, field
from damon_cli.reading import reading_progress

from damon_core import (
    COLUMNS,
    DamonError,
    InputError,
    Plugins,
    RecordFormat,
    RecordInfo,
    RecordReader,
    SelfClosing,
    Snapshot,
    format_duration,
    format_of,
)
from damon_report.chain import Chain
from damon_report.exact import by_page
from damon_report.files import DEFAULT_PATH
from damon_report.groups import GROUPS, By
from damon_report.moments import Moment
from damon_report.naming import AreaCache, printable
from damon_report.selection import Selection, mapping_matches, matches
from damon_report.shares import OTHERS, UNLABELLED
from damon_report.times import local_time

logger = logging.getLogger(__name__)


#: How far back from the end to search for the last aggregations, one window after another.
_WINDOWS_US = (10_000_000, 600_000_000, 1 << 62)
_FOR_EVER_US = 1 << 62
#: If nothing is selected: how many snapshots to search for names, and how many names to list.
_SEARCHED = 1_000
_NAMES_LISTED = 8
#: What stands in for columns that a record lacks, if reports depend on them.
_STAND_INS = {"resident_bytes": "sizes", "idle_us": "ages", "touched_bytes": "accesses"}


@define(eq=False)
class Record(SelfClosing):
    """The selected part of a record, which may be read several times.

    A record whose end is damaged is read up to the damage, with a warning; another warning is of
    one that lacks columns which reports depend on.

    Attributes:
        paths: The files of the record.
        reader: The whole record.
        selection: The part to report.
        strict: Whether damage is an error, and columns that are lacking are no reason to warn: for
            those who don't report what they read.
        areas: A cache of columns of the targets' areas.
    """

    paths: tuple[Path | str, ...]
    reader: RecordReader
    selection: Selection
    strict: bool = False
    areas: AreaCache = field(factory=AreaCache, init=False)
    _whole_us: tuple[int, int] = field(init=False)
    _warned: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        span_us = self._span_us()
        if span_us is None:
            raise InputError(
                f"'{self.name}' is empty: it ended before its first aggregation was complete"
            )
        # A single aggregation has no beginning in formats that only store the end.
        self._whole_us = min(span_us[0], span_us[1] - 1), span_us[1]
        lacking = [name for name in _STAND_INS if name in self.info.filled_in]
        if lacking and not self.strict:
            logger.warning(
                "'%s' has no %s: %s of regions stand in",
                self.name,
                _enumerated([COLUMNS[name].label for name in lacking], "or"),
                _enumerated([_STAND_INS[name] for name in lacking], "and"),
            )

    @property
    def name(self) -> str:
        """The name of the record in messages."""
        more = len(self.paths) - 1
        return f"{self.paths[0]} and {more} more" if more else str(self.paths[0])

    @property
    def info(self) -> RecordInfo:
        """The metadata: where and how the record was made."""
        return self.reader.info

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that a dataset has records of; none is known of a record."""
        return tuple(getattr(self.reader, "hosts", ()))

    def json(self) -> dict[str, object]:
        """Return what the JSON of each report says of the record."""
        return {"record": self.name, "filled_in": list(self.info.filled_in)}

    def json_of(self, snapshots: Sequence[Snapshot], by: By) -> dict[str, object]:
        """Return the same for a report of single aggregations, with their times and grouping."""
        times_us = {snapshot.context: snapshot.time_us for snapshot in snapshots}
        return {**self.json(), "by": by, "times_us": times_us}

    @property
    def start_us(self) -> int:
        """When the whole record began, Unix microseconds."""
        return self._whole_us[0]

    def span_us(self) -> tuple[int, int]:
        """Return begin and end of the selected time, Unix microseconds.

        Raises:
            InputError: The record doesn't cover this time.
        """
        start_us, end_us = self._whole_us
        if self.selection.begin is not None:
            start_us = max(start_us, self.selection.begin.of(self.start_us))
        if self.selection.end is not None:
            end_us = min(end_us, self.selection.end.of(self.start_us))
        if start_us >= end_us:
            raise InputError(self._why_no_time())
        return start_us, end_us

    def snapshots(
        self, *, pages: bool = False, keep_pages: bool = False, doing: str = "reading"
    ) -> Iterator[Snapshot]:
        """Yield the selected part of each snapshot, in order of time.

        Args:
            pages: Whether regions are to be runs of pages, where the record has every page.
            keep_pages: Whether parts of targets keep their pages beside their regions.
            doing: What the progress display calls it.

        Raises:
            InputError: Nothing is selected.
            DamonError: The record can't be read at all.
        """
        begin_us, end_us = self.span_us()
        found = False
        with reading_progress(doing, (begin_us, end_us)) as advance:
            for snapshot in self._between(begin_us, end_us, pages=pages, keep_pages=keep_pages):
                found = found or self._counts(snapshot)
                advance(snapshot.time_us)
                yield snapshot
        if not found:
            raise InputError(self._why_nothing())

    def last(self, at: Moment | None = None, *, pages: bool = False) -> list[Snapshot]:
        """Return the last selected snapshot of each context, sorted by name.

        Without `at` that is the last one with regions, if any: often a record ends after its
        targets.

        Args:
            at: A time; the snapshot is the last one complete by then, even without regions.
            pages: As in `snapshots`.

        Raises:
            InputError: Nothing is selected.
            DamonError: The record can't be read at all.
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
            # Usually a short window at the end is enough.
            from_us = max(begin_us, end_us - window_us)
            for snapshot in self._between(from_us, end_us, pages=pages):
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

    def refuse_unknown(self, by: By, names: Iterable[str]) -> None:
        """Refuse to group by labels that no target has.

        Args:
            by: How memory is grouped.
            names: The names of the groups.

        Raises:
            InputError: None of them is of a label.
        """
        if by in GROUPS or not {*names} <= {"", UNLABELLED, OTHERS}:
            return
        targets = [target for each in self.last() for target in each.targets]
        known = sorted({label for target in targets for label in target.labels})
        there = f"their labels are: {', '.join(known)}" if known else "they have no labels"
        raise InputError(f"'{self.name}': no target has the label '{by}'; {there}")

    def close(self) -> None:
        """Close the record."""
        self.reader.close()

    def _span_us(self) -> tuple[int, int] | None:
        """Return begin and end of the whole record; one whose end is damaged may go on for ever.

        Where damage is an error: reading it shows how far it goes.
        """
        try:
            return self.reader.span_us()
        except DamonError:
            if not self.strict:
                raise
            first = next(iter(self.reader.snapshots()), None)
            return None if first is None else (first.time_us - first.elapsed_us, _FOR_EVER_US)

    def _between(
        self, begin_us: int, end_us: int, *, pages: bool, keep_pages: bool = False
    ) -> Iterator[Snapshot]:
        whole = (begin_us, end_us) == self._whole_us
        any_was_read = False
        try:
            for snapshot in self.reader.snapshots(*((None, None) if whole else (begin_us, end_us))):
                any_was_read = True
                if pages and self.info.pages:
                    snapshot = by_page(snapshot)  # noqa: PLW2901
                selected = self.selection.of_snapshot(
                    snapshot, self.areas, pages=pages or keep_pages
                )
                if selected is not None:
                    yield selected
        except DamonError as error:
            if self.strict or not any_was_read:
                raise
            if not self._warned:
                logger.warning("%s; the report covers the part before", error.message)
            self._warned = True

    def _counts(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot has selected memory, not only a selected target."""
        return len(snapshot) > 0 or not self.selection.cuts

    def _why_no_time(self) -> str:
        start_us, end_us = self._whole_us
        return (
            f"'{self.name}' has no aggregations in this time: it covers "
            f"{format_duration(end_us - start_us)}, from {local_time(start_us)} to "
            f"{local_time(end_us)}"
        )

    def _why_nothing(self) -> str:
        """Return a message with the pattern that matches nothing, and the existing names."""
        chosen = self.selection
        contexts: set[str] = set()
        targets: set[str] = set()
        mappings: set[str] = set()
        for snapshot in islice(self.reader.snapshots(*self.span_us()), _SEARCHED):
            contexts.add(snapshot.context)
            if chosen.contexts and not matches(snapshot.context, chosen.contexts):
                continue
            for target in snapshot.targets:
                targets.add(target.name)
                if not chosen.targets or matches(target.name, chosen.targets):
                    mappings.update(area.name for area in target.areas)
        if not contexts:
            return f"'{self.name}' has no complete aggregation in this time"
        for kind, patterns, names, test in (
            ("context", chosen.contexts, contexts, matches),
            ("target", chosen.targets, targets, matches),
            ("mapping", chosen.mappings, mappings, mapping_matches),
        ):
            if patterns and not any(test(name, patterns) for name in names):
                wanted = " or ".join(f"'{pattern}'" for pattern in patterns)
                return f"'{self.name}' has no {kind} {wanted}; {_listed(kind, names)}"
        return f"'{self.name}' has no regions in the selected addresses and mappings"


def _listed(kind: str, names: set[str]) -> str:
    """Return a list of existing names, for a user who gave another."""
    if not names:
        return f"it has no {kind}s"
    # The last part of a path is enough, and shorter.
    short = sorted({name.rpartition("/")[2] or name for name in names})
    some = [printable(name) for name in short[:_NAMES_LISTED]]
    more = len(short) - len(some)
    return f"its {kind}s are: " + ", ".join(some) + (f" and {more} more" if more else "")


def open_record(
    plugins: Plugins,
    paths: tuple[Path | str, ...],
    selection: Selection,
    *,
    strict: bool = False,
) -> Record:
    """Open a record of any installed format, several of different times as one, or a dataset.

    A directory is a dataset, or stands for the records in it.

    Args:
        plugins: What is installed.
        paths: Where they are.
        selection: The part that is asked for.
        strict: As in `Record`.

    Raises:
        InputError: A record can't be read or has no known format, records overlap, or they are
            empty.
    """
    with contextlib.ExitStack() as opened:
        readers: dict[Path | str, RecordReader] = {}
        names = paths
        paths = tuple(each for path in names for each in _files(path, plugins.formats()))
        for path in paths:
            if path == DEFAULT_PATH and not Path(path).exists():
                raise InputError(
                    f"there is no '{path}' in this directory: make one with 'damon record', or "
                    "name another record"
                )
            if len(paths) > 1 and Path(path).is_file() and not Path(path).stat().st_size:
                # A kill while it was created: that is no reason to refuse the others.
                logger.warning("'%s' is empty and left out", path)
                continue
            if path in readers:
                continue
            try:
                readers[path] = opened.enter_context(_open(plugins, path, selection))
            except InputError as error:
                if path in names:
                    raise
                # One file of a directory must not keep the others from being read.
                logger.warning("%s; it is left out", error.message)
        if not readers:
            raise InputError(f"'{paths[0]}' and the others can't be read, or are empty")
        whole = Chain(readers) if len(readers) > 1 else next(iter(readers.values()))
        shown = names if len(names) == 1 else tuple(readers)
        record = Record(shown, whole, selection, strict)
        opened.pop_all()
        return record


def _files(path: Path | str, formats: Sequence[RecordFormat]) -> list[Path | str]:
    """Return the records in a directory; of a dataset, or of a file, the path itself.

    Raises:
        InputError: There are none.
    """
    if isinstance(path, str) or not path.is_dir():
        return [path]
    entries = sorted(each for each in path.iterdir() if each.name[:1] not in "._")
    if any(each.name.startswith("host=") for each in entries):
        return [path]
    endings = tuple(ending for each in formats for ending in each.suffixes)
    found: list[Path | str] = [
        each for each in entries if each.name.endswith(endings) and each.is_file()
    ]
    if not found:
        raise InputError(
            f"'{path}' has neither records ({', '.join(endings)}) nor the folders of a dataset "
            "(host=NAME/date=YYYY-MM-DD)"
        )
    return found


def _open(plugins: Plugins, path: Path | str, selection: Selection) -> RecordReader:
    """Open a dataset, of which only partitions are read that are selected, or a record."""
    if isinstance(path, str) or path.is_dir():
        # Imported here: pyarrow takes as long as a short record, and other formats don't need it.
        from damon_parquet.dataset import DatasetReader  # noqa: PLC0415

        begin, end = selection.begin, selection.end
        return DatasetReader(
            str(path),
            selection.hosts,
            None if begin is None or begin.since_start else begin.us,
            None if end is None or end.since_start else end.us,
        )
    reader = format_of(path, plugins.formats()).read(path)
    if selection.hosts and not matches(reader.info.host, selection.hosts):
        reader.close()
        raise InputError(f"'{path}' is of host '{printable(reader.info.host)}', not another")
    return reader


def _enumerated(words: Sequence[str], conjunction: str) -> str:
    """Return words with commas, and a conjunction before the last."""
    *first, last = words
    return f"{', '.join(first)} {conjunction} {last}" if first else last
