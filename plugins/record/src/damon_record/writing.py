"""The callback of a recording: it hands snapshots over to the record's writer."""

from pathlib import Path

from damon_core import (
    Context,
    DamonError,
    RecordFormat,
    RecordInfo,
    RecordWriter,
    hookimpl,
    one_line,
)


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


class Writing:
    """Writes each snapshot to a record, and completes that at the end.

    Attributes:
        writer: The record, to be set before the context starts; None once it is complete.
    """

    name = "writer"

    def __init__(self) -> None:
        self.writer: RecordWriter | None = None

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Write the snapshot."""
        assert self.writer is not None
        assert context.snapshot is not None
        self.writer.write(context.snapshot)

    @hookimpl
    def before_terminate(self) -> None:
        """Complete the record."""
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()

    @hookimpl
    def release(self) -> None:
        """Close the record of a context that never ran."""
        self.before_terminate()
