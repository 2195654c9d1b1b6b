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

#: How often a partition that is replaced meanwhile is looked at again.
_ATTEMPTS = 3


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
        self._files = [
            known
            for _, partition in groupby(files, lambda file: (file.host, file.date))
            for known in self._look_at(list(partition))
        ]

    @property
    def info(self) -> RecordInfo:
        """What is known of the last record, with the contexts and lacking columns of all."""
        infos = [_info_of_host(each) for each in self._files] or [RecordInfo()]
        hosts = self.hosts
        return evolve(
            RecordInfo.of_all(infos),
            host=", ".join(hosts) if len(hosts) <= 3 else f"{len(hosts)} hosts",
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it has records of, sorted."""
        return tuple(sorted({each.file.host for each in self._files}))

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
            last: tuple[int, str, int] | None = None
            with contextlib.ExitStack() as opened:
                parts = [
                    _snapshots(reader, begin_us, end_us)
                    for _, reader in self._readers([each.file for each in group], opened)
                ]
                for snapshot in heapq.merge(*parts, key=_identity):
                    if _identity(snapshot) == last:
                        continue
                    last = _identity(snapshot)
                    yield _of_host(snapshot, host)

    def close(self) -> None:
        """Nothing is held between reads."""

    def _look_at(self, files: Sequence[DatasetFile]) -> list[_Known]:
        """Return what is known of the files of a partition, without those that have no rows."""
        with contextlib.ExitStack() as opened:
            return [
                _Known(file, reader.info, span_us)
                for file, reader in self._readers(files, opened)
                if (span_us := reader.span_us()) is not None
            ]

    def _readers(
        self, files: Sequence[DatasetFile], opened: contextlib.ExitStack
    ) -> list[tuple[DatasetFile, ParquetReader]]:
        """Open the files of a partition: as it is now, if it was replaced since it was listed.

        One that can't be read is left out, with a warning.
        """
        attempts = _ATTEMPTS
        while True:
            readers, missed = [], []
            with contextlib.ExitStack() as these:
                for file in files:
                    try:
                        path = these.enter_context(self._store.local(file))
                        readers.append((file, these.enter_context(ParquetReader(path))))
                    except DamonError as error:
                        missed.append(error.message)
                attempts -= 1
                now = self._store.partition(files[0].host, files[0].date) if missed else files
                if not attempts or not now or {*files} <= {*now}:
                    for reason in missed:
                        # One file of ten thousand must not refuse the others.
                        logger.warning("%s; it is left out", reason)
                    opened.enter_context(these.pop_all())
                    return readers
            files = now


def _snapshots(
    reader: ParquetReader, begin_us: int | None, end_us: int | None
) -> Iterator[Snapshot]:
    """Yield the snapshots of a file, up to where it is damaged."""
    try:
        yield from reader.snapshots(begin_us, end_us)
    except DamonError as error:
        logger.warning("%s; the report covers the rest", error.message)


def _info_of_host(known: _Known) -> RecordInfo:
    contexts = (
        evolve(context, name=f"{known.file.host}/{context.name}") for context in known.info.contexts
    )
    return evolve(known.info, contexts=tuple(contexts))


def _day(time_us: int | None) -> str | None:
    return None if time_us is None else date_of(time_us)


def _identity(snapshot: Snapshot) -> tuple[int, str, int]:
    return snapshot.time_us, snapshot.context, snapshot.number


def _of_host(snapshot: Snapshot, host: str) -> Snapshot:
    targets = tuple(
        evolve(target, labels={**target.labels, "host": host}) for target in snapshot.targets
    )
    return evolve(snapshot, context=f"{host}/{snapshot.context}", targets=targets)
