"""Several records as one, such as those of a monitor that begins a new file each day."""

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from damon_core import DamonError, InputError, RecordInfo, RecordReader, SelfClosing, Snapshot
from damon_report.times import local_time

logger = logging.getLogger(__name__)


@frozen
class _Part:
    """A record, and what is known of it: begin and end, Unix microseconds, and its contexts."""

    path: Path | str
    reader: RecordReader
    span_us: tuple[int, int]
    contexts: tuple[str, ...]


class Chain(SelfClosing):
    """Records read as one: see `damon_core.RecordReader`.

    Those of the same contexts are of different times. Others may be of the same time, such as those
    of a monitor that writes a file for each context: their aggregations come in the order of time.

    A record whose end is damaged is read up to the damage, with a warning; then the next one.

    Args:
        readers: The open records by their paths.

    Raises:
        InputError: Two records of a context overlap in time.
    """

    def __init__(self, readers: Mapping[Path | str, RecordReader]) -> None:
        found = []
        for path, reader in readers.items():
            span_us = reader.span_us()
            if span_us is not None:
                contexts = tuple(sorted({each.name for each in reader.info.contexts}))
                found.append(_Part(path, reader, span_us, contexts))
        # By their ends: when the first aggregation began may be a guess.
        found.sort(key=lambda each: (each.span_us[1], each.span_us[0], str(each.path)))
        lanes: dict[tuple[str, ...], list[_Part]] = {}
        for part in found:
            # One that doesn't say its contexts may have any.
            common = [
                lane for lane in lanes if not (lane and part.contexts) or {*lane} & {*part.contexts}
            ]
            for lane in common:
                _refuse_overlap(lanes[lane][-1], part)
            lanes.setdefault(part.contexts, []).append(part)
        self._all = tuple(readers.values())
        self._parts = found
        self._lanes = [*lanes.values()]
        self._damaged: set[RecordReader] = set()

    @property
    def info(self) -> RecordInfo:
        """The metadata of the last record, with the contexts and lacking columns of all records."""
        infos = [part.reader.info for part in self._parts] or [self._all[0].info]
        return RecordInfo.of_all(infos)

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first record begins and the last one ends, Unix microseconds."""
        if not self._parts:
            return None
        return min(part.span_us[0] for part in self._parts), self._parts[-1].span_us[1]

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield the snapshots of all records, in order of time."""
        lanes = [self._snapshots(lane, begin_us, end_us) for lane in self._lanes]
        return lanes[0] if len(lanes) == 1 else heapq.merge(*lanes, key=lambda each: each.time_us)

    def _snapshots(
        self, lane: Sequence[_Part], begin_us: int | None, end_us: int | None
    ) -> Iterator[Snapshot]:
        for part in lane:
            first_us, last_us = part.span_us
            if (begin_us is not None and last_us <= begin_us) or (
                end_us is not None and first_us >= end_us
            ):
                continue
            try:
                yield from part.reader.snapshots(begin_us, end_us)
            except DamonError as error:
                if part.reader not in self._damaged:
                    logger.warning("%s; what follows is read", error.message)
                self._damaged.add(part.reader)

    def close(self) -> None:
        """Close all records."""
        for reader in self._all:
            reader.close()


def _refuse_overlap(part: _Part, following: _Part) -> None:
    """Refuse a record that begins before another one ends.

    Raises:
        InputError: It does.
    """
    span_us, next_us = part.span_us, following.span_us
    # With several contexts an aggregation that ends in the next record may have ended before the
    # last of this one.
    shorter_us = min(span_us[1] - span_us[0], next_us[1] - next_us[0])
    latest_us = span_us[1] - shorter_us / 2
    if next_us[0] < latest_us and _first_end_us(following.reader) < latest_us:
        raise InputError(
            f"'{following.path}' begins at {local_time(next_us[0])}, before '{part.path}' ends: "
            "report them one by one"
        )


def _first_end_us(reader: RecordReader) -> int:
    """Return when the first aggregation of a record has ended; 0 if that can't be read."""
    try:
        return next((snapshot.time_us for snapshot in reader.snapshots()), 0)
    except DamonError:
        return 0
