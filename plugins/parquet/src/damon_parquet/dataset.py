"""Reading a dataset as one record: the hosts one after the other, each in the order of time."""

import contextlib
import heapq
import logging
from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import evolve, frozen

from damon_core import DamonError, InputError, RecordInfo, SelfClosing, Snapshot
from damon_parquet.publishing import date_of
from damon_parquet.reader import ParquetReader
from damon_parquet.store import DatasetFile, Store

logger = logging.getLogger(__name__)


@frozen
class _Known:
    """What is known of a file since the dataset was opened."""

    file: DatasetFile
    info: RecordInfo
    span_us: tuple[int, int]


class DatasetReader(SelfClosing):
    """The records of many hosts as one: see `damon_core.RecordReader`, but for the order.

    Contexts are called ``HOST/CONTEXT``, and targets have the label ``host``. Snapshots come host
    by host, those of each in the order of their time. An aggregation that is in two files, as
    while they are compacted, comes once.

    Only the partitions of the hosts and times that are asked for are looked at, if in the listing.

    Args:
        location: The directory or URL.
        hosts: Names or patterns of hosts; none: all.
        begin_us: Only the days from this time on, Unix microseconds.
        end_us: Only those up to this.

    Raises:
        InputError: It can't be read, or has nothing of this.
    """

    def __init__(
        self,
        location: str,
        hosts: Sequence[str] = (),
        begin_us: int | None = None,
        end_us: int | None = None,
    ) -> None:
        self._store = Store(location)
        files = self._store.files(hosts, _day(begin_us), _day(end_us))
        if not files:
            raise InputError(
                f"'{location}' has no records of "
                f"{'these hosts and days' if hosts or begin_us or end_us else 'any host'}: "
                "they are in host=NAME/date=YYYY-MM-DD/*.parquet"
            )
        self._files = [known for file in files if (known := self._look_at(file)) is not None]

    @property
    def info(self) -> RecordInfo:
        """What is known of the last record, with the contexts and lacking columns of all."""
        infos = [each.info for each in self._files] or [RecordInfo()]
        contexts = {
            name: evolve(context, name=name)
            for each in self._files
            for context in each.info.contexts
            for name in (f"{each.file.host}/{context.name}",)
        }
        hosts = {each.file.host for each in self._files}
        whole = evolve(
            infos[-1],
            host=", ".join(sorted(hosts)) if len(hosts) <= 3 else f"{len(hosts)} hosts",
            contexts=tuple(contexts.values()),
            pages=any(info.pages for info in infos),
        )
        return whole.without(name for info in infos for name in info.filled_in)

    def span_us(self) -> tuple[int, int] | None:
        """Return when the first aggregation began and the last ended, Unix microseconds."""
        if not self._files:
            return None
        spans = [each.span_us for each in self._files]
        return min(span[0] for span in spans), max(span[1] for span in spans)

    def snapshots(
        self, begin_us: int | None = None, end_us: int | None = None
    ) -> Iterator[Snapshot]:
        """Yield snapshots, host by host."""
        wanted = [
            each
            for each in self._files
            if (begin_us is None or each.span_us[1] > begin_us)
            and (end_us is None or each.span_us[0] < end_us)
        ]
        for (host, _), group in groupby(wanted, lambda each: (each.file.host, each.file.date)):
            parts = [self._of_file(each.file, begin_us, end_us) for each in group]
            last: tuple[int, str, int] | None = None
            for snapshot in heapq.merge(*parts, key=_identity) if len(parts) > 1 else parts[0]:
                if _identity(snapshot) == last:
                    continue
                last = _identity(snapshot)
                yield _of_host(snapshot, host)

    def close(self) -> None:
        """Nothing is held between reads."""

    def _look_at(self, file: DatasetFile) -> _Known | None:
        try:
            with self._store.local(file) as path, ParquetReader(path) as reader:
                span_us = reader.span_us()
                return None if span_us is None else _Known(file, reader.info, span_us)
        except DamonError as error:
            # One file of ten thousand must not refuse the others.
            logger.warning("%s; it is left out", error.message)
            return None

    def _of_file(
        self, file: DatasetFile, begin_us: int | None, end_us: int | None
    ) -> Iterator[Snapshot]:
        with contextlib.ExitStack() as opened:
            try:
                path = opened.enter_context(self._store.local(file))
                reader = opened.enter_context(ParquetReader(path))
                yield from reader.snapshots(begin_us, end_us)
            except DamonError as error:
                logger.warning("%s; the report covers the rest", error.message)


def _day(time_us: int | None) -> str | None:
    return None if time_us is None else date_of(time_us)


def _identity(snapshot: Snapshot) -> tuple[int, str, int]:
    return snapshot.time_us, snapshot.context, snapshot.number


def _of_host(snapshot: Snapshot, host: str) -> Snapshot:
    targets = tuple(
        evolve(target, labels={**target.labels, "host": host}) for target in snapshot.targets
    )
    return evolve(snapshot, context=f"{host}/{snapshot.context}", targets=targets)
