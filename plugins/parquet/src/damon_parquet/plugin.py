"""What the package registers. pyarrow is imported when it is used."""

from collections.abc import Callable
from pathlib import Path

from damon_core import Callback, RecordFormat, RecordInfo, RecordReader, RecordWriter, hookimpl
from damon_parquet.options import ParquetOptions


def _read(path: Path) -> RecordReader:
    from damon_parquet.reader import ParquetReader  # noqa: PLC0415

    return ParquetReader(path)


def _write(path: Path, info: RecordInfo) -> RecordWriter:
    from damon_parquet.writer import ParquetWriter  # noqa: PLC0415

    return ParquetWriter(path, info)


def _callback(options: ParquetOptions) -> object:
    from damon_parquet.callback import ParquetCallback  # noqa: PLC0415

    return ParquetCallback(options)


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Offer the callback ``parquet``."""
    register(
        Callback("parquet", _callback, ParquetOptions, "Compressed rows for years, in one file")
    )


@hookimpl
def register_formats(register: Callable[[RecordFormat], None]) -> None:
    """Offer the format ``parquet``."""
    register(
        RecordFormat(
            "parquet", (".parquet",), _read, _write, "compressed rows for years", pages=True
        )
    )
