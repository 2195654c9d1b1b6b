"""The files that a conversion writes: one, or a new one after some time or size."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from damon_cli.writing import begin_record

from damon_core import InputError, RecordFormat, RecordInfo, RecordWriter, SelfClosing, Snapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Split:
    """When a new file begins.

    Attributes:
        every_us: At each whole multiple of this time, in UTC; None: at none.
        size_bytes: Once a file has this size; None: never.
    """

    every_us: int | None = None
    size_bytes: int | None = None

    def __bool__(self) -> bool:
        return self.every_us is not None or self.size_bytes is not None

    def is_due(self, begun_us: int, time_us: int, path: Path) -> bool:
        """Return whether an aggregation that ends at a time goes to a new file.

        Args:
            begun_us: When the first aggregation in the file ended.
            time_us: When this one ended.
            path: The file.
        """
        if self.size_bytes is not None and path.stat().st_size >= self.size_bytes:
            return True
        return self.every_us is not None and (
            # What ends at the very end of a time belongs to it.
            (time_us - 1) // self.every_us != (begun_us - 1) // self.every_us
        )


class SplitWriter(SelfClosing):
    """Writes aggregations to a new file, or to several.

    Several are named by when the first aggregation in them ended, in UTC, so that the order of
    names is that of time: ``OUT.20261126T130000.000000Z.parquet``.

    Args:
        record_format: Their format.
        output: Where to write to.
        info: How the record was made.
        split: When a new file begins.

    Attributes:
        paths: The files so far.

    Raises:
        InputError: A file is there already, or can't be written.
    """

    def __init__(
        self, record_format: RecordFormat, output: Path, info: RecordInfo, split: Split
    ) -> None:
        self._format, self._output, self._info, self._split = record_format, output, info, split
        self._writer: RecordWriter | None = None
        self._begun_us = 0
        self.paths: list[Path] = []
        if not split:
            self._begin(output)

    def write(self, snapshot: Snapshot) -> None:
        """Write an aggregation, to a new file if it is time for one.

        Raises:
            DamonError: It can't be written.
        """
        if self._split and (
            self._writer is None
            or self._split.is_due(self._begun_us, snapshot.time_us, self.paths[-1])
        ):
            self.close()
            when = _EPOCH + timedelta(microseconds=snapshot.time_us)
            stamp = when.strftime("%Y%m%dT%H%M%S.%fZ")
            self._begin(self._output.with_name(f"{self._output.stem}.{stamp}{self._output.suffix}"))
            self._begun_us = snapshot.time_us
        assert self._writer is not None
        self._writer.write(snapshot)

    def close(self) -> None:
        """Complete the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def discard(self) -> None:
        """Remove what was begun."""
        self.close()
        for path in self.paths:
            path.unlink(missing_ok=True)

    def _begin(self, path: Path) -> None:
        if os.path.lexists(path):
            raise InputError(f"'{path}' is there already: remove it, or choose another name")
        self._writer = begin_record(self._format, path, self._info)
        self.paths.append(path)
        if self._split.size_bytes is not None and not path.exists():
            self.discard()
            raise InputError(
                f"--split-size: a file in the format {self._format.name} has no size before it is "
                "complete; use --split-every"
            )
