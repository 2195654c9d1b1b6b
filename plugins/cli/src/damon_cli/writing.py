"""New records, written by commands."""

from pathlib import Path

from damon_core import DamonError, RecordFormat, RecordInfo, RecordWriter, one_line

__all__ = ["begin_record"]


def begin_record(record_format: RecordFormat, output: Path, info: RecordInfo) -> RecordWriter:
    """Begin a new record.

    Raises:
        DamonError: It can't be written, or the format fails in another way than it should.
    """
    try:
        return record_format.write(output, info)
    except DamonError:
        raise
    except (Exception, SystemExit) as error:
        raise DamonError(f"format '{record_format.name}' fails: {one_line(error)}") from error
