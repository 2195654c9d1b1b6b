"""The columns of a record, one row a region an aggregation, and what explains them."""

import json
from typing import Any

import cattrs
import pyarrow as pa

from damon_core import RecordInfo

_NAME = pa.dictionary(pa.int32(), pa.string())
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

#: Columns that the rows of an aggregation have in common, beside its context.
AGGREGATION = (
    "time",
    "number",
    "elapsed_us",
    "sampling_us",
    "aggregation_us",
    "update_us",
    "max_nr_accesses",
)

#: Every column: its type, and what it means, for those who find the file in twenty years.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "time": (pa.timestamp("us", tz="UTC"), "when the aggregation ended"),
    "context": (_NAME, "name of the monitoring context"),
    "number": (pa.int64(), "number of the aggregation since the context started, from 1"),
    "elapsed_us": (pa.int64(), "how long the aggregation took, microseconds"),
    "sampling_us": (pa.int64(), "time between two access checks in force, microseconds"),
    "aggregation_us": (pa.int64(), "time of an aggregation in force, microseconds"),
    "update_us": (pa.int64(), "time between two looks for new mappings in force, microseconds"),
    "max_nr_accesses": (pa.int64(), "how many access checks the aggregation made"),
    "target": (_NAME, "name of the target; null in the row of an aggregation without targets"),
    "start": (pa.int64(), "first address of the region; start = end = 0: there is no region"),
    "end": (pa.int64(), "first address behind the region"),
    "nr_accesses": (
        pa.float32(),
        "in how many of the checks it was accessed; a fraction, from backends and policies that "
        "estimate, is right to 1 %",
    ),
    "alike_since": (
        pa.int64(),
        "number of the aggregation since which its frequency has stayed alike: "
        "number - alike_since is its age in aggregations",
    ),
    "idle_since": (
        pa.timestamp("us", tz="UTC"),
        "since when no access was seen: time - idle_since is how long; null where one was seen "
        "in this aggregation",
    ),
    "resident_bytes": (pa.int64(), "how many of its bytes were in memory"),
    "areas": (
        pa.list_(pa.field("element", _AREA, nullable=False)),
        "what there is in the target's address space: in the first row of a target in its first "
        "aggregation and whenever it has changed; null elsewhere",
    ),
    "owners": (
        pa.list_(pa.field("element", _OWNER, nullable=False)),
        "whose the target's memory is, where that is known: in its first row of each aggregation",
    ),
}

#: Columns that may be null.
NULLABLE = ("target", "idle_since", "areas", "owners")

SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=name in NULLABLE) for name, (kind, _) in COLUMNS.items()]
)

#: The keys of the file's metadata.
_INFO_KEY = b"damon"
_MEANINGS_KEY = b"damon.columns"
_VERSION = 1


def metadata_of(info: RecordInfo) -> dict[bytes, bytes]:
    """Return the metadata that explains a file: how it was made, and what its columns mean."""
    made: dict[str, Any] = {"version": _VERSION, **cattrs.unstructure(info)}
    meanings = {name: meaning for name, (_, meaning) in COLUMNS.items()}
    return {
        _INFO_KEY: json.dumps(made).encode(),
        _MEANINGS_KEY: json.dumps(meanings).encode(),
    }


def info_from(metadata: dict[bytes, bytes]) -> RecordInfo | None:
    """Return how a file was made; None if it isn't a record.

    Raises:
        ValueError: What it tells can't be understood.
    """
    if _INFO_KEY not in metadata:
        return None
    made = json.loads(metadata[_INFO_KEY])
    version = made.get("version")
    if version != _VERSION:
        raise ValueError(f"it has version {version!r} of the format, known is {_VERSION}")
    try:
        return cattrs.structure(made, RecordInfo)
    except Exception as error:  # cattrs raises groups of anything
        raise ValueError("what it tells of how it was made can't be understood") from error
