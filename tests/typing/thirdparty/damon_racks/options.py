"""Options of its parts."""

from pathlib import Path
from typing import Literal, assert_type

from attrs import field, frozen

from damon_core import AUTO, BackendOption, Bytes, Microseconds, parse_size, validators


@frozen
class DiskOptions:
    """The options of the primitive."""

    path: Path = field(metadata={"help": "the file"})
    size: Bytes = field(
        default=Bytes(64 << 20), validator=validators.positive, metadata={"help": "its size"}
    )
    every: Microseconds = field(
        default=Microseconds(5_000),
        validator=validators.at_least(1_000),
        metadata={"help": "how often"},
    )
    order: Literal["up", "down"] = field(default="up", metadata={"help": "which way"})
    backend: BackendOption = field(default=AUTO, metadata={"help": "the backend"})


assert_type(parse_size("64MiB"), Bytes)
