"""The columns of a file, one row a region an aggregation, and what explains them."""

import json
from typing import Any

import cattrs
import pyarrow as pa

from damon_core import COLUMNS, IDLE_SPANS, Column, RecordInfo
from damon_parquet.pages import PAGES

_AREA = pa.struct(
    [
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
    ]
)
_OWNER = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("total_bytes", pa.int64(), nullable=False),
        pa.field("working_set_bytes", pa.int64(), nullable=False),
        pa.field("accessed_bytes", pa.int64(), nullable=False),
    ]
)
_CLASS = pa.struct(
    [
        pa.field("within_us", pa.int64()),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
_KIND = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
_TYPES = {
    "int64": pa.int64(),
    # As exact as `rounded_counts`, and half as long.
    "float64": pa.float32(),
    "text": pa.dictionary(pa.int32(), pa.string()),
    # As JSON, in every row, so that any tool can group by them; it takes no room.
    "labels": pa.dictionary(pa.int32(), pa.string()),
    "areas": pa.list_(pa.field("element", _AREA, nullable=False)),
    "owners": pa.list_(pa.field("element", _OWNER, nullable=False)),
    "spectrum": pa.list_(pa.field("element", _CLASS, nullable=False)),
    "kinds": pa.list_(pa.field("element", _KIND, nullable=False)),
    "percentiles": pa.list_(pa.field("element", pa.int64(), nullable=False)),
}
_TIMESTAMP = pa.timestamp("us", tz="UTC")

#: Columns of records that are kept in another form: their name here, type and meaning. What
#: doesn't change while nothing happens takes no room: since when, not for how long.
_OTHERWISE = {
    "time_us": ("time", _TIMESTAMP, "when the aggregation ended, UTC"),
    "age": (
        "alike_since",
        pa.int64(),
        "number of the aggregation since which the region's access frequency has stayed similar: "
        "number - alike_since is its age in aggregations",
    ),
    "idle_us": (
        "idle_since",
        _TIMESTAMP,
        "time since which no access to the region was seen; null if there was one in this "
        "aggregation",
    ),
}
#: What monitoring has cost a target.
TOLL = ("lost_us", "held_us", "longest_stall_us")
#: Bytes idle for the spans, and how old these numbers are, in the same order.
IDLE = tuple(span.column for span in IDLE_SPANS)
IDLE_AGES = tuple(span.age for span in IDLE_SPANS)
#: What something else says of a target.
REPORTED = ("reported_idle_us", "reported_bytes_per_second")
_FIRST_ROW = "only in the first row of a target in each aggregation"
#: What is to be known of others beside their meaning.
_REMARKS = {
    "target": "null in the row of an aggregation without targets",
    "start": "there is no region if start = end = 0",
    "areas": "only in the first row of a target in its first aggregation and when they have "
    "changed",
    "owners": _FIRST_ROW,
    "labels": "a JSON object",
    "spectrum": f"those accessed within a time, in microseconds, or null for all that are in "
    f"memory; {_FIRST_ROW}",
    **dict.fromkeys((*IDLE_AGES, *TOLL, *REPORTED), _FIRST_ROW),
    "stale_us": f"null for 0; {_FIRST_ROW}",
}


def _kept(column: Column) -> tuple[str, tuple[pa.DataType, str]]:
    """Return how a column of records is kept here: its name, its type and its meaning."""
    if column.name in _OTHERWISE:
        name, kind, meaning = _OTHERWISE[column.name]
        return name, (kind, meaning)
    remark = _REMARKS.get(column.name)
    meaning = f"{column.meaning}; {remark}" if remark else column.meaning
    return column.name, (_TYPES[column.dtype], meaning)


#: Every column: its type, and what it means, for those who find the file in twenty years.
FIELDS: dict[str, tuple[pa.DataType, str]] = dict(map(_kept, COLUMNS.values()))

#: Columns that the rows of an aggregation have in common, beside its context.
AGGREGATION = tuple(
    _kept(column)[0]
    for column in COLUMNS.values()
    if column.of == "aggregation" and column.dtype == "int64"
)

#: Columns that files of older versions don't have.
NEW = (
    "touched_bytes",
    *IDLE,
    *IDLE_AGES,
    *TOLL,
    "stale_us",
    "labels",
    "spectrum",
    "kinds",
    *REPORTED,
)

#: Columns that may be null.
NULLABLE = ("target", "idle_since", *NEW, "areas", "owners")

#: Columns that are null wherever the primitive or backend can't know them, and the path to their
#: values: the statistics of a row group say whether there are any.
SPARSE = {name: name for name in NEW} | {
    "owners": "owners.list.element.kind",
    "spectrum": "spectrum.list.element.bytes",
    "kinds": "kinds.list.element.bytes",
    "reported_idle_us": "reported_idle_us.list.element",
    "pages": "pages.longest",
}

SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=name in NULLABLE) for name, (kind, _) in FIELDS.items()]
)
#: What there is besides in records that have every page.
PAGES_MEANING = (
    "every page of the target: runs of pages of which the same is known, with the logarithm to "
    "base 2 of the microseconds within which they are accessed, rounded up, and how long ago they "
    f"last were, 0 if since the clearing; {_FIRST_ROW}"
)
#: Every column that a file can have.
WITH_PAGES = SCHEMA.append(pa.field("pages", PAGES))

#: The keys of the file's metadata.
_INFO_KEY = b"damon"
MEANINGS_KEY = b"damon.columns"
_VERSION = 1


def schema_of(info: RecordInfo) -> pa.Schema:
    """Return the columns of a record: every page has one only if it is kept."""
    return WITH_PAGES if info.pages else SCHEMA


def metadata_of(info: RecordInfo) -> dict[bytes, bytes]:
    """Return the metadata that explains a file: how it was made, and what its columns mean."""
    made: dict[str, Any] = {"version": _VERSION, **cattrs.unstructure(info)}
    meanings = {name: meaning for name, (_, meaning) in FIELDS.items()}
    if info.pages:
        meanings["pages"] = PAGES_MEANING
    return {
        _INFO_KEY: json.dumps(made).encode(),
        MEANINGS_KEY: json.dumps(meanings).encode(),
    }


def info_from(metadata: dict[bytes, bytes]) -> RecordInfo | None:
    """Return how a file was made; None if it isn't a record.

    Raises:
        ValueError: It can't be understood.
    """
    if _INFO_KEY not in metadata:
        return None
    made = json.loads(metadata[_INFO_KEY])
    version = made.get("version") if isinstance(made, dict) else None
    if version != _VERSION:
        raise ValueError(f"it has version {version!r} of the format, known is {_VERSION}")
    try:
        return cattrs.structure(made, RecordInfo)
    except Exception as error:  # cattrs raises groups of anything
        raise ValueError("how it was made can't be understood") from error
