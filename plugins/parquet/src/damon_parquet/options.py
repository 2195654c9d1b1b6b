"""The options of the callback."""

from pathlib import Path

from attrs import Attribute, field, frozen
from attrs.validators import optional

from damon_core import AttributeValueError, Microseconds, format_duration, validators

DAY_US = 86_400_000_000
#: How often files go into a dataset, unless `rotate_every` says otherwise.
PUBLISH_EVERY_US = Microseconds(3_600_000_000)


def _divides_a_day(
    instance: "ParquetOptions",
    attribute: "Attribute[Microseconds | None]",
    value: Microseconds | None,
) -> None:
    if instance.dataset is not None and value is not None and DAY_US % value:
        allowed = "must divide a day with dataset, which has a partition for each: '1h', '6h', '1d'"
        raise AttributeValueError(attribute.name, format_duration(value), allowed)


def _without_pages(
    instance: "ParquetOptions",
    attribute: "Attribute[Microseconds | None]",
    value: Microseconds | None,
) -> None:
    if instance.pages and value is not None:
        allowed = "can't be set with pages: every page isn't kept of longer aggregations"
        raise AttributeValueError(attribute.name, format_duration(value), allowed)


@frozen
class ParquetOptions:
    """Options of the callback ``parquet``.

    Attributes:
        path: The file. One that is there already is moved aside.
        rotate_every: Begin a new file at each whole multiple of this, in UTC. None: never.
        keep: How many files that were moved aside stay, beside the one being written. None: all.
        group: A group that may read the file. None: only its owner may.
        dataset: A directory or URL: completed files go there, partitioned by host and date.
        pages: Whether to keep every page, where the backend knows them.
        every: Put the aggregations of each such time together into one. None: keep each.
    """

    path: Path = field(
        metadata={"help": "the file; one that is there is moved aside", "writes": "alone"}
    )
    dataset: str | None = field(
        default=None,
        validator=optional(validators.printable),
        metadata={"help": "a directory or URL where completed files go, by host and date"},
    )
    rotate_every: Microseconds | None = field(
        default=None,
        validator=[optional(validators.positive), _divides_a_day],
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
    every: Microseconds | None = field(
        default=None,
        validator=[optional(validators.positive), _without_pages],
        metadata={"help": "put the aggregations of each such time together into one"},
    )
