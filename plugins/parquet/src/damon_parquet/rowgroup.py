"""Encoded row groups that can be put anywhere into a file, and footers made of them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import frozen

from damon_parquet.schema import AGGREGATION, IDLE, SPARSE
from damon_parquet.thrift import I64, LIST, STRUCT, List, Struct, decode_struct, encode_struct

#: What Parquet files begin and end with.
MAGIC = b"PAR1"

# The numbers of fields are those of parquet.thrift.
_FILE_ROWS, _FILE_ROW_GROUPS, _FILE_METADATA = 3, 4, 5
_GROUP_COLUMNS, _GROUP_ROWS, _GROUP_OFFSET = 1, 3, 5
_CHUNK_OFFSET, _CHUNK_METADATA = 2, 3
_PAGE_OFFSETS = (9, 10, 11)  # of data, index and dictionary pages
_VALUES, _UNCOMPRESSED_BYTES, _COMPRESSED_BYTES = 5, 6, 7
_ENCODING_STATISTICS, _SIZE_STATISTICS = 13, 16

#: Columns of few values; in the others zstd finds what repeats from one aggregation to the next.
_FEW_VALUES = [
    *AGGREGATION,
    "context",
    "target",
    "areas.list.element.name",
    "owners.list.element.kind",
    "owners.list.element.name",
    "spectrum.list.element.within_us",
    "kinds.list.element.kind",
    "reported_bytes_per_second",
    "pages.runs.list.element.period",
    "pages.runs.list.element.idle_us",
]
#: Columns in which what repeats are single bytes of the values.
_BY_BYTE = ("nr_accesses", "alike_since", "pages.runs.list.element.pages")
#: Columns whose shortest encoding depends on what is monitored, so it is tried: plain where whole
#: regions repeat, by byte where values are close to each other.
_TRIED = ("start", "end", "alike_since", "resident_bytes", "touched_bytes", *IDLE)
#: Likewise, and a dictionary where there are few values.
_TRIED_WITH_DICTIONARY = ("nr_accesses", "idle_since")
_PLAIN, _SPLIT, _DICTIONARY = "PLAIN", "BYTE_STREAM_SPLIT", "RLE_DICTIONARY"
#: It is tried with so many rows: with fewer, what repeats less often counts too little. With fewer
#: than the least it isn't worth its time.
_TRIED_ROWS = 1 << 17
_LEAST_TRIED_ROWS = 1 << 11
#: Reads as fast as any other level, writes still fast enough, and finds most.
_LEVEL = 5
#: No page ends before the row group does: what repeats is found only within a page.
_PAGE_BYTES = 1 << 27
#: No row group of any program has more, in rows, values or bytes.
_MOST_VALUES = 1 << 40


@frozen
class RowGroup:
    """A row group as it is in one place of one file.

    Attributes:
        rows: How many rows it has.
        described: Its description for a footer: the struct RowGroup, encoded.
    """

    rows: int
    described: bytes


def encode_table(table: pa.Table) -> bytes:
    """Return a Parquet file with one row group, or none if the table is empty."""
    return _encode(table, _shortest(table))


def _shortest(table: pa.Table) -> dict[str, str]:
    """Return the encodings of columns that aren't always the same, by trying them on some rows."""
    encodings = dict.fromkeys(_BY_BYTE, _SPLIT)
    if table.num_rows < _LEAST_TRIED_ROWS:
        return encodings
    # From the middle: a recording begins with what isn't usual later.
    some = table.slice(max(table.num_rows - _TRIED_ROWS, 0) // 2, _TRIED_ROWS)
    known = [
        name for name in (*_TRIED, *_TRIED_WITH_DICTIONARY) if some[name].null_count < some.num_rows
    ]
    tried = {encoding: _column_bytes(some, known, encoding) for encoding in (_PLAIN, _SPLIT)}
    few = [name for name in known if name in _TRIED_WITH_DICTIONARY]
    tried[_DICTIONARY] = _column_bytes(some, few, _DICTIONARY)
    for name in known:
        possible = [encoding for encoding, found in tried.items() if name in found]
        encodings[name] = min(possible, key=lambda encoding: tried[encoding][name])
    return encodings


def _column_bytes(table: pa.Table, names: Sequence[str], encoding: str) -> dict[str, int]:
    """Return how long columns are in an encoding."""
    file = _encode(table.select(names), dict.fromkeys(names, encoding))
    group = pq.read_metadata(pa.BufferReader(file)).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    return {column.path_in_schema: column.total_compressed_size for column in columns}


def _encode(table: pa.Table, encodings: dict[str, str]) -> bytes:
    """Return a Parquet file whose columns have these encodings, the others the usual ones."""
    by_dictionary = [name for name, each in encodings.items() if each == _DICTIONARY]
    others = {name: each for name, each in encodings.items() if each != _DICTIONARY}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[*_FEW_VALUES, *by_dictionary],
        column_encoding=others,
        write_statistics=["time", *SPARSE.values()],
        data_page_size=_PAGE_BYTES,
        write_page_checksum=True,
    ) as writer:
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def split(file: bytes) -> tuple[memoryview, Struct]:
    """Return what comes before the footer of a Parquet file, and the footer.

    Raises:
        ValueError: It has none.
    """
    length = footer_length(file[-8:])
    return memoryview(file)[: -8 - length], decode_struct(file[-8 - length : -8])


def footer_length(end: bytes) -> int:
    """Return the length of a footer, by the last eight bytes of its file.

    Raises:
        ValueError: They aren't the end of a Parquet file.
    """
    if len(end) < 8 or end[-4:] != MAGIC:
        raise ValueError("it doesn't end as Parquet files do")
    return int.from_bytes(end[-8:-4], "little")


def row_groups_of(footer: Struct) -> list[RowGroup]:
    """Return the row groups that a footer describes."""
    groups = footer[_FILE_ROW_GROUPS][1].items
    return [RowGroup(group[_GROUP_ROWS][1], encode_struct(group)) for group in groups]


def pages_begin(footer: Struct) -> list[int]:
    """Return where the pages of each row group begin that a footer describes."""
    return [
        min(
            chunk[_CHUNK_METADATA][1][number][1]
            for chunk in group[_GROUP_COLUMNS][1].items
            for number in _PAGE_OFFSETS
            if number in chunk[_CHUNK_METADATA][1]
        )
        for group in footer[_FILE_ROW_GROUPS][1].items
    ]


def is_sane(footer: Struct, size_bytes: int) -> bool:
    """Return whether what a footer says can be true of a file of this length.

    pyarrow believes what it says of sizes, and ends the process where they are beyond measure.
    """
    try:
        groups = footer[_FILE_ROW_GROUPS][1].items
        chunks = [
            chunk[_CHUNK_METADATA][1]
            for group in groups
            if group[_GROUP_ROWS][1]  # those without rows say anything
            for chunk in group[_GROUP_COLUMNS][1].items
        ]
        rows = [group[_GROUP_ROWS][1] for group in groups]
        return bool(
            footer[_FILE_ROWS][1] == sum(rows)
            and all(0 <= each < _MOST_VALUES for each in rows)
            and all(_is_sane_chunk(chunk, size_bytes) for chunk in chunks)
        )
    except (KeyError, TypeError, AttributeError):
        return False


def _is_sane_chunk(chunk: Struct, size_bytes: int) -> bool:
    begin = min(chunk[number][1] for number in _PAGE_OFFSETS if number in chunk)
    compressed_bytes = chunk[_COMPRESSED_BYTES][1]
    return bool(
        0 <= chunk[_VALUES][1] < _MOST_VALUES
        and 0 <= chunk[_UNCOMPRESSED_BYTES][1] < _MOST_VALUES
        and compressed_bytes >= 0
        and 0 < begin <= begin + compressed_bytes <= size_bytes
    )


def moved(footer: Struct, by: int) -> list[RowGroup]:
    """Return the row groups of a footer for when their data lies further behind in its file.

    They are described as briefly as readers allow.
    """
    for group in footer[_FILE_ROW_GROUPS][1].items:
        group.pop(_GROUP_OFFSET, None)
        for chunk in group[_GROUP_COLUMNS][1].items:
            chunk[_CHUNK_OFFSET] = I64, 0
            described = chunk[_CHUNK_METADATA][1]
            for number in _PAGE_OFFSETS:
                if number in described:
                    described[number] = I64, described[number][1] + by
            described.pop(_ENCODING_STATISTICS, None)
            described.pop(_SIZE_STATISTICS, None)
    return row_groups_of(footer)


def without_groups(footer: Struct) -> Struct:
    """Return what a footer says of the file: the schema, what explains it, who wrote it."""
    return {number: field for number, field in footer.items() if number != _FILE_ROW_GROUPS}


def with_groups(footer: Struct, groups: Sequence[RowGroup]) -> Struct:
    """Return a footer that describes other row groups."""
    return footer | {
        _FILE_ROWS: (I64, sum(group.rows for group in groups)),
        _FILE_ROW_GROUPS: (LIST, List(STRUCT, [group.described for group in groups])),
    }


def encode_footer(footer: Struct) -> bytes:
    """Return a footer with its length and the end of the file."""
    data = encode_struct(footer)
    return data + len(data).to_bytes(4, "little") + MAGIC


def parse(footer: bytes) -> Any:
    """Return what pyarrow makes of a footer."""
    return pq.read_metadata(pa.BufferReader(MAGIC + footer))
