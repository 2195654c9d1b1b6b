"""The options of the callback."""

from pathlib import Path

from attrs import field, frozen
from attrs.validators import optional

from damon_core import Microseconds, validators


@frozen
class ParquetOptions:
    """Options of the callback ``parquet``.

    Attributes:
        path: The file. One that is there already is moved aside.
        rotate_every: Begin a new file at each whole multiple of this, in UTC. None: never.
        keep: How many files that were moved aside stay, beside the one being written. None: all.
        group: A group that may read the file. None: only its owner may.
        pages: Whether to keep every page, where the backend knows them.
    """

    path: Path = field(
        metadata={"help": "the file; one that is there is moved aside", "writes": "alone"}
    )
    rotate_every: Microseconds | None = field(
        default=None,
        validator=optional(validators.positive),
        metadata={"help": "begin a new file at each whole multiple of this, in UTC"},
    )
    keep: int | None = field(
        default=None,
        validator=optional(validators.between(1, 1_000_000)),
        metadata={"help": "how many files that were moved aside to keep"},
    )
    group: str | None = field(
        default=None,
        validator=optional(validators.group),
        metadata={"help": "a group that may read the file; by default only its owner may"},
    )
    pages: bool = field(
        default=False,
        metadata={"help": "keep every page, where the backend knows them"},
    )
