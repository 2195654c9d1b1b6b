"""The callback ``csv``: each aggregation's regions, appended to a file."""

from pathlib import Path

from attrs import field, frozen
from attrs.validators import optional

from damon_core import Bytes, HookContext, Microseconds, Rotation, hookimpl, validators
from damon_csv.file import CsvFile
from damon_csv.rows import format_rows, header


@frozen
class CsvOptions:
    """Options of the callback ``csv``.

    Attributes:
        path: The file. It is created with a header, or appended to if its header matches.
        rotate_size: Begin a new file before this one would get longer. None: never.
        rotate_every: Begin a new file at each whole multiple of this, in UTC. None: never.
        keep: How many files that were moved aside stay, beside the one being written. None: all.
        group: A group that may read files that are created. None: only their owner may.
    """

    path: Path = field(metadata={"help": "the file to append to", "writes": "shared"})
    rotate_size: Bytes | None = field(
        default=None,
        validator=optional(validators.positive),
        metadata={
            "help": "begin a new file before this one would get longer",
            "same_with": ("path",),
        },
    )
    rotate_every: Microseconds | None = field(
        default=None,
        validator=optional(validators.positive),
        metadata={
            "help": "begin a new file at each whole multiple of this, in UTC",
            "same_with": ("path",),
        },
    )
    keep: int | None = field(
        default=None,
        validator=optional(validators.between(1, 1_000_000)),
        metadata={"help": "how many files that were moved aside to keep", "same_with": ("path",)},
    )
    group: str | None = field(
        default=None,
        validator=optional(validators.group),
        metadata={
            "help": "a group that may read the file; by default only its owner may",
            "same_with": ("path",),
        },
    )

    def __attrs_post_init__(self) -> None:
        if self.keep is not None and self.rotate_size is None and self.rotate_every is None:
            raise ValueError("keep needs rotate_size or rotate_every")


class CsvCallback:
    """Appends one row a region an aggregation to a file.

    One object may serve several contexts, and several objects may share a path.

    Raises:
        InputError: The directory doesn't exist, or the file can't be written or has other
            columns.
    """

    name = "csv"

    def __init__(self, options: CsvOptions) -> None:
        self._options = options
        self._new_file().check()

    def _new_file(self) -> CsvFile:
        options = self._options
        rotation = Rotation(options.rotate_size, options.rotate_every, options.keep)
        return CsvFile(options.path, header(), rotation, options.group)

    @hookimpl
    def before_start(self, context: HookContext) -> None:
        """Open the file."""
        file = self._new_file()
        context.private(self)["file"] = file
        file.open()

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        """Append the snapshot's rows in one write."""
        snapshot = context.snapshot
        if snapshot is not None and len(snapshot):
            file: CsvFile = context.private(self)["file"]
            file.append(format_rows(snapshot), snapshot.time_us)

    @hookimpl
    def before_terminate(self, context: HookContext) -> None:
        """Close the file; there may be none if the context failed before it began."""
        file: CsvFile | None = context.private(self).pop("file", None)
        if file is not None:
            file.close()
