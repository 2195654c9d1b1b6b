"""The compact protocol, as pyarrow writes it."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damon_parquet.rowgroup import split
from damon_parquet.thrift import decode_struct, encode_struct
from hypothesis import given
from hypothesis import strategies as st


def footer_of(table: pa.Table) -> bytes:
    """Return the footer that pyarrow writes, with everything in it."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=3, write_page_index=True)
    file = sink.getvalue()
    return file[-8 - int.from_bytes(file[-8:-4], "little") : -8]


@given(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=20),
    st.dictionaries(st.text(max_size=5), st.text(max_size=300), max_size=3),
    st.integers(1, 40),
)
def test_footers_come_back_byte_for_byte(
    values: list[int], metadata: dict[str, str], columns: int
) -> None:
    """What pyarrow reads, for any number of columns and row groups."""
    names = [f"column {number}" for number in range(columns)]
    table = pa.table(dict.fromkeys(names, pa.array(values, pa.int64())))
    footer = footer_of(table.replace_schema_metadata(metadata))
    assert encode_struct(decode_struct(footer)) == footer


@given(st.integers(0, 60))
def test_a_struct_that_ends_too_early_is_told(cut: int) -> None:
    """Damage is an error, not nonsense."""
    footer = footer_of(pa.table({"a": [1, 2, 3]}))
    with pytest.raises(ValueError, match=r"ends too early|has a field of type"):
        decode_struct(footer[: len(footer) - 1 - cut])


def test_what_is_no_parquet_has_no_footer() -> None:
    """The last bytes show it."""
    with pytest.raises(ValueError, match="doesn't end as Parquet files do"):
        split(b"PAR1 or not")
