"""Several records in sequence, such as those of a monitor that begins a new file each day."""

import logging
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from attrs import evolve

from damon_core import DamonError, InputError, RecordInfo, RecordReader, SelfClosing, Snapshot
from damon_report.times import local_time

logger = logging.getLogger(__name__)


class Chain(SelfClosing):
    """Records of different times, read as one: see `damon_core.RecordReader`.

    A record whose end is damaged is read up to the damage, with a warning; then the next one.

    Args:
        readers: The open records by their paths.

    Raises:
        InputError: Two records overlap in time.
    """

    def __init__(self, readers: Mapping[Path | str, RecordReader]) -> None:
        spans = {path: reader.span_us() for path, reader in readers.items()}
        # By their ends: when the first aggregation began may be a guess.
        known = sorted(
            ((span, path) for path, span in spans.items() if span is not None),
            key=lambda each: (each[0][1], each[0][0], each[1]),
        )
        for (span, path), (next_span, following) in pairwise(known):
            # With several contexts an aggregation that ends in the next record may have ended
            # before the last of this one.
            shorter_us = min(span[1] - span[0], next_span[1] - next_span[0])
            latest_us = span[1] - shorter_us / 2
            if next_span[0] < latest_us and _first_end_us(readers[following]) < latest_us:
                raise InputError(
                    f"'{following}' begins at {local_time(next_span[0])}, before '{path}' ends: "
                    "report them one by one"
                )
        self._all = tuple(readers.values())
        self._parts = [(span, readers[path]) for span, path in known]
        self._damaged: set[RecordReader] = set()

    @property
    def info(self) -> RecordInfo:
        """The metadata of the last record, with the contexts and lacking columns of all records."""
        infos = [reader.info for _, reader in self._parts] or [self._all[0].info]
        contexts = {context.name: context for info in infos for context in info.contexts}
        whole = evolve(
            infos[-1],
            contexts=tuple(contexts.values()),
            pages=any(info.pages for info in infos),
        )
        return whole.without(name for info in infos for name in info.filled_in)

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first record begins and the last one ends, Unix microseconds."""
        if not self._parts:
            return None
        return self._parts[0][0][0], self._parts[-1][0][1]

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield the snapshots of all records, in order of time."""
        for (first_us, last_us), reader in self._parts:
            if (begin_us is not None and last_us <= begin_us) or (
                end_us is not None and first_us >= end_us
            ):
                continue
            try:
                yield from reader.snapshots(begin_us, end_us)
            except DamonError as error:
                if reader not in self._damaged:
                    logger.warning("%s; the report covers the rest", error.message)
                self._damaged.add(reader)

    def close(self) -> None:
        """Close all records."""
        for reader in self._all:
            reader.close()


def _first_end_us(reader: RecordReader) -> int:
    """Return when the first aggregation of a record has ended; 0 if that can't be read."""
    try:
        return next((snapshot.time_us for snapshot in reader.snapshots()), 0)
    except DamonError:
        return 0
