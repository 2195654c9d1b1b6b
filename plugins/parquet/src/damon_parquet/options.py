"""The options of the callback."""

from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

from damon_core import Microseconds


def _positive(_instance: object, _attribute: "Attribute[Any]", value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("must be above 0")


@frozen
class ParquetOptions:
    """Options of the callback ``parquet``.

    Attributes:
        path: The file. One that is there already is moved aside.
        rotate_every: Begin a new file at each whole multiple of this, in UTC. None: never.
        keep: How many files that were moved aside to keep. None: all.
    """

    path: Path = field(metadata={"help": "the file; one that is there is moved aside"})
    rotate_every: Microseconds | None = field(
        default=None,
        validator=_positive,
        metadata={"help": "begin a new file at each whole multiple of this, in UTC"},
    )
    keep: int | None = field(
        default=None,
        validator=_positive,
        metadata={"help": "how many files that were moved aside to keep"},
    )
