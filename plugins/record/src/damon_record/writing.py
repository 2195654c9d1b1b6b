"""The callback of a recording: it hands snapshots over to the record's writer."""

from damon_core import Context, RecordWriter, hookimpl


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
