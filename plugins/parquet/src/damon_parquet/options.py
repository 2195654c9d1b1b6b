"""The options of the callback."""

from pathlib import Path

from attrs import field, frozen


@frozen
class ParquetOptions:
    """Options of the callback ``parquet``.

    Attributes:
        path: The file. One that is there already is moved aside.
    """

    path: Path = field(metadata={"help": "the file; one that is there is moved aside"})
