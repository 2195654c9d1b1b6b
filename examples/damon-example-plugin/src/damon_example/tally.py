"""The callback: a line in a file for each aggregation."""

from io import TextIOWrapper
from pathlib import Path

from attrs import field, frozen

from damon_core import Context, InputError, hookimpl


@frozen
class TallyOptions:
    """The options of ``tally``. One without a default has to be there."""

    path: Path = field(metadata={"help": "the file to write"})


class Tally:
    """The callback: what is asked of the snapshot is written down.

    What belongs to one context is kept with it, in ``context.private(self)``: the same object
    may serve several.

    Raises:
        InputError: The file can't be written. Raised here it ends `damon run` before it begins.
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
        """Open the file; it is line-buffered, so that every line is there at once."""
        context.private(self)["file"] = self._path.open("a", buffering=1, encoding="utf-8")

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Write the working set. A result that is true would ask to stop."""
        snapshot = context.snapshot
        assert snapshot is not None  # in this hook there is one
        file: TextIOWrapper = context.private(self)["file"]
        file.write(f"{context.name} {snapshot.number} {snapshot.working_set_bytes()}\n")

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Close the file; it is called even if the beginning failed, so there may be none."""
        file: TextIOWrapper | None = context.private(self).pop("file", None)
        if file is not None:
            file.close()
