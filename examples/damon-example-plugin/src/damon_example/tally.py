"""The callback: a line in a file for each aggregation."""

from io import TextIOWrapper
from pathlib import Path

from attrs import field, frozen

from damon_core import Context, InputError, hookimpl


@frozen
class TallyOptions:
    """The options of ``tally``. An option without a default is required."""

    path: Path = field(metadata={"help": "the file to write"})


class Tally:
    """The callback: it writes the working set of each snapshot.

    Data of one context is kept in ``context.private(self)``, as the same callback may serve
    several contexts.

    Raises:
        InputError: The file can't be written. Raised here, it ends `damon run` before the start.
    """

    name = "tally"

    def __init__(self, options: TallyOptions) -> None:
        self._path = options.path
        try:
            self._path.touch()
        except OSError as error:
            raise InputError(f"{self._path} can't be written: {error.strerror}") from error

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Open the file, line-buffered, so that every line is written at once."""
        context.private(self)["file"] = self._path.open("a", buffering=1, encoding="utf-8")

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Write the working set. A true result would ask to stop."""
        snapshot = context.snapshot
        assert snapshot is not None  # never None in this hook
        file: TextIOWrapper = context.private(self)["file"]
        file.write(f"{context.name} {snapshot.number} {snapshot.working_set_bytes()}\n")

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Close the file. This is called even if the start failed, so there may be no file."""
        file: TextIOWrapper | None = context.private(self).pop("file", None)
        if file is not None:
            file.close()
