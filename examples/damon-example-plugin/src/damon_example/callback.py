"""The callback: a line in a file for each aggregation."""

from io import TextIOWrapper
from pathlib import Path

from attrs import field, frozen
from damon_core import Bytes, HookContext, InputError, hookimpl


@frozen
class ExampleCallbackOptions:
    """The options, as keys of the callback's table in a configuration file.

    Types and validators say what is allowed; `damon check` reports every mistake.
    """

    # Without a default an option has to be given. With "writes" nobody else may write the file.
    path: Path = field(metadata={"help": "the file to append to", "writes": "alone"})
    at_least: Bytes = field(
        default=Bytes(0),
        metadata={"help": "leave smaller working sets out, such as 64MiB"},
    )


class ExampleCallback:
    """Writes the working set of each aggregation.

    A hook is a method with the name of one in `damon_core.hookspecs`, marked with `hookimpl`.

    Raises:
        InputError: The file can't be written. Raised here, it ends `damon run` before the start.
    """

    name = "example"

    def __init__(self, options: ExampleCallbackOptions) -> None:
        self._options = options
        try:
            options.path.open("a").close()
        except OSError as error:
            raise InputError(f"'{options.path}' can't be written: {error.strerror}") from error

    @hookimpl
    def before_start(self, context: HookContext) -> None:
        """Open the file, line-buffered, so that every line is written at once.

        What belongs to one run of one context is kept in `context.private(self)`: the same
        callback may serve several contexts.
        """
        file = self._options.path.open("a", buffering=1, encoding="utf-8")
        context.private(self)["file"] = file

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Write a line. A true result would ask to stop."""
        snapshot = context.snapshot
        assert snapshot is not None  # never None in this hook
        working_set = snapshot.working_set_bytes()
        if working_set >= self._options.at_least:
            file: TextIOWrapper = context.private(self)["file"]
            file.write(f"{snapshot.time_us} {snapshot.number} {working_set}\n")

    @hookimpl
    def before_terminate(self, context: HookContext) -> None:
        """Close the file. This is called even if the start failed, so there may be none."""
        file: TextIOWrapper | None = context.private(self).pop("file", None)
        if file is not None:
            file.close()
